"""DPM-Solver++(2M), the second-order multistep solver."""

from __future__ import annotations

import math

from torch import Tensor

from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._schedule import Grid
from ._walk import Normals, OnStep, Walk


@method("sampler")
def dpm_2m(
    denoiser: Denoiser,
    x: Tensor,
    grid: Grid,
    *,
    condition: Condition = None,
    noise: Normals | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Sample by DPM-Solver++(2M): extrapolate the predicted x0 from the last two steps.

    y' = (s'/s) y + (1 - s'/s) (D_k + h_k / (2 h_{k-1}) (D_k - D_{k-1}))

    with h_k = log(s_k / s_{k+1}). The first step, and one to s' = 0, are of first order.

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
        Lu, Zhou, Bao, Chen, Li, Zhu, "DPM-Solver++: fast solver for guided sampling of diffusion
        probabilistic models", 2022, algorithm 2.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> ring = diffuse.GaussianMixture.ring()
        >>> x = diffuse.dpm_2m(ring, 80 * torch.randn(100, 2), diffuse.EDM().grid(20))
        >>> bool((x.norm(dim=1) - 1).abs().mean() < 0.2)
        True
    """
    walk = Walk(denoiser, grid, condition, on_step)
    y, before, h_before = walk.start(x), None, 0.0
    for k, s, s_next in walk.steps():
        x0 = walk.denoise(y, s)
        h = math.log(s / s_next) if s_next > 0 else math.inf
        ahead = x0
        if before is not None and s_next > 0:
            ahead = x0 + h / (2 * h_before) * (x0 - before)
        y = ahead + (s_next / s) * (y - ahead)
        before, h_before = x0, h
        walk.report(k, y, x0)
    return walk.end(y)
