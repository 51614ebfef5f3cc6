"""DDIM, the first-order solver."""

from __future__ import annotations

from torch import Tensor

from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._schedule import Grid
from ._walk import Normals, OnStep, Walk, normals


@method("sampler")
def ddim(
    denoiser: Denoiser,
    x: Tensor,
    grid: Grid,
    *,
    condition: Condition = None,
    noise: Normals | None = None,
    on_step: OnStep | None = None,
    eta: float = 0.0,
) -> Tensor:
    """Sample by DDIM: keep the predicted x0 and the predicted noise, change their scales.

    y' = D + sqrt(s'^2 - v) (y - D) / s + sqrt(v) n,   v = eta^2 s'^2 (1 - s'^2 / s^2)

    in y = x / alpha and s = sigma / alpha, which are equations 12 and 16 of the paper. With
    ``eta = 0`` it is deterministic, and is `euler`; with ``eta = 1`` it is `ddpm`.

    Args:
        denoiser: D(y, s, condition).
        x: x_t at the grid's first level, ``(B, ...)``.
        grid: K + 1 levels from noise to data; K evaluations.
        condition: handed to the denoiser.
        noise: ``noise(k, like)``, needed if eta > 0; step k uses draw k + 1.
        on_step: called as ``on_step(k, x, x0)`` after step k.
        eta: how much of the ancestral noise is added, in [0, 1].

    Raises:
        InputError: the grid does not fall from noise to data, or eta > 0 without noise.

    Reference:
        Song, Meng, Ermon, "Denoising diffusion implicit models", 2021.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> ring = diffuse.GaussianMixture.ring()
        >>> grid = diffuse.EDM().grid(20)
        >>> x = diffuse.ddim(ring, 80 * torch.randn(100, 2), grid)
        >>> bool((x.norm(dim=1) - 1).abs().mean() < 0.2)
        True
    """
    walk = Walk(denoiser, grid, condition, on_step)
    draw = normals(noise, "ddim with eta > 0") if eta > 0 else None
    y = walk.start(x)
    for k, s, s_next in walk.steps():
        x0 = walk.denoise(y, s)
        variance = eta**2 * s_next**2 * (1 - (s_next / s) ** 2)
        y = x0 + ((s_next**2 - variance) ** 0.5 / s) * (y - x0)
        if draw is not None and variance > 0:
            y = y + variance**0.5 * draw(k + 1, y)
        walk.report(k, y, x0)
    return walk.end(y)
