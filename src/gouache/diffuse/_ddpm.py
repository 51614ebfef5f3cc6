"""Ancestral sampling."""

from __future__ import annotations

from torch import Tensor

from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._schedule import Grid
from ._walk import Normals, OnStep, Walk, normals


@method("sampler")
def ddpm(
    denoiser: Denoiser,
    x: Tensor,
    grid: Grid,
    *,
    condition: Condition = None,
    noise: Normals | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Sample by DDPM: draw from the posterior q(x_{t'} | x_t, x0) at the predicted x0.

    y' = D + (s'^2 / s^2) (y - D) + s' sqrt(1 - s'^2 / s^2) n

    in y = x / alpha and s = sigma / alpha: the posterior of equations 6 and 7 with the smaller of
    the paper's two variances, beta-tilde, for steps of any size. The sampler called "Euler
    ancestral" elsewhere is the same step written in another way.

    Args:
        denoiser: D(y, s, condition).
        x: x_t at the grid's first level, ``(B, ...)``.
        grid: K + 1 levels from noise to data; K evaluations.
        condition: handed to the denoiser.
        noise: ``noise(k, like)``; step k uses draw k + 1.
        on_step: called as ``on_step(k, x, x0)`` after step k.

    Raises:
        InputError: the grid does not fall from noise to data, or there is no noise.

    Reference:
        Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", 2020, algorithm 2.

    Example:
        >>> import torch
        >>> from gouache import diffuse, random
        >>> ring, noise = diffuse.GaussianMixture.ring(), random.Noise(random.keys(None, 100))
        >>> grid = diffuse.EDM().grid(50)
        >>> x = diffuse.start(grid, torch.empty(100, 2), noise)
        >>> x = diffuse.ddpm(ring, x, grid, noise=noise)
        >>> bool((x.norm(dim=1) - 1).abs().mean() < 0.2)
        True
    """
    walk = Walk(denoiser, grid, condition, on_step)
    draw = normals(noise, "ddpm")
    y = walk.start(x)
    for k, s, s_next in walk.steps():
        x0 = walk.denoise(y, s)
        kept = (s_next / s) ** 2
        y = x0 + kept * (y - x0)
        if s_next > 0:
            y = y + s_next * (1 - kept) ** 0.5 * draw(k + 1, y)
        walk.report(k, y, x0)
    return walk.end(y)
