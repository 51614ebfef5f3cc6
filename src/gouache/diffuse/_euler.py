"""Euler's method on the probability-flow ODE."""

from __future__ import annotations

from torch import Tensor

from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._schedule import Grid
from ._walk import Normals, OnStep, Walk


@method("sampler")
def euler(
    denoiser: Denoiser,
    x: Tensor,
    grid: Grid,
    *,
    condition: Condition = None,
    noise: Normals | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Sample by Euler's method: follow the slope of the probability-flow ODE.

    y' = y + (s' - s) d,   d = (y - D(y, s)) / s

    in y = x / alpha and s = sigma / alpha. In these variables DDIM is the same step, and so is
    Euler's method along a flow-matching path.

    Args:
        denoiser: D(y, s, condition).
        x: x_t at the grid's first level, ``(B, ...)``.
        grid: K + 1 levels from noise to data; K evaluations.
        condition: handed to the denoiser.
        noise: not used: the sampler is deterministic.
        on_step: called as ``on_step(k, x, x0)`` after step k.

    Raises:
        InputError: the grid does not fall from noise to data.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, algorithm 1 without its correction.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> ring = diffuse.GaussianMixture.ring()
        >>> x = diffuse.euler(ring, 80 * torch.randn(100, 2), diffuse.EDM().grid(20))
        >>> bool((x.norm(dim=1) - 1).abs().mean() < 0.2)
        True
    """
    walk = Walk(denoiser, grid, condition, on_step)
    y = walk.start(x)
    for k, s, s_next in walk.steps():
        x0 = walk.denoise(y, s)
        y = y + (s_next - s) * ((y - x0) / s)
        walk.report(k, y, x0)
    return walk.end(y)
