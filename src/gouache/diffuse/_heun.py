"""Heun's method on the probability-flow ODE, the deterministic sampler of EDM."""

from __future__ import annotations

from torch import Tensor

from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._schedule import Grid
from ._walk import Normals, OnStep, Walk


@method("sampler")
def heun(
    denoiser: Denoiser,
    x: Tensor,
    grid: Grid,
    *,
    condition: Condition = None,
    noise: Normals | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Sample by Heun's method: an Euler step, then the mean of the slopes at its two ends.

    y~ = y + (s' - s) d(y, s),   y' = y + (s' - s) (d(y, s) + d(y~, s')) / 2

    with d = (y - D) / s; the step to s' = 0 is Euler's, the slope there being undefined.

    Args:
        denoiser: D(y, s, condition).
        x: x_t at the grid's first level, ``(B, ...)``.
        grid: K + 1 levels from noise to data; 2K - 1 evaluations (2K if it does not end at 0).
        condition: handed to the denoiser.
        noise: not used: the sampler is deterministic.
        on_step: called as ``on_step(k, x, x0)`` after step k.

    Raises:
        InputError: the grid does not fall from noise to data.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, algorithm 1.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> ring = diffuse.GaussianMixture.ring()
        >>> x = diffuse.heun(ring, 80 * torch.randn(100, 2), diffuse.EDM().grid(20))
        >>> bool((x.norm(dim=1) - 1).abs().mean() < 0.2)
        True
    """
    walk = Walk(denoiser, grid, condition, on_step)
    y = walk.start(x)
    for k, s, s_next in walk.steps():
        y, x0 = walk.heun(y, s, s_next)
        walk.report(k, y, x0)
    return walk.end(y)
