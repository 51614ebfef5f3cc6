"""DPM-Solver++(2M) for the diffusion's stochastic equation."""

from __future__ import annotations

import math

from torch import Tensor

from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._schedule import Grid
from ._walk import Normals, OnStep, Walk, normals


@method("sampler")
def dpm_2m_sde(
    denoiser: Denoiser,
    x: Tensor,
    grid: Grid,
    *,
    condition: Condition = None,
    noise: Normals | None = None,
    on_step: OnStep | None = None,
) -> Tensor:
    """Sample by SDE-DPM-Solver++(2M): `ddpm` with x0 extrapolated from the last two steps.

    y' = E + (s'^2 / s^2) (y - E) + s' sqrt(1 - s'^2 / s^2) n,
    E = D_k + h_k / (2 h_{k-1}) (D_k - D_{k-1}),   h_k = log(s_k / s_{k+1})

    The first step, and one to s' = 0, are of first order.

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
        Lu, Zhou, Bao, Chen, Li, Zhu, "DPM-Solver++: fast solver for guided sampling of diffusion
        probabilistic models", 2022, appendix C.

    Example:
        >>> import torch
        >>> from gouache import diffuse, random
        >>> ring, noise = diffuse.GaussianMixture.ring(), random.Noise(random.keys(None, 100))
        >>> grid = diffuse.EDM().grid(50)
        >>> x = diffuse.start(grid, torch.empty(100, 2), noise)
        >>> x = diffuse.dpm_2m_sde(ring, x, grid, noise=noise)
        >>> bool((x.norm(dim=1) - 1).abs().mean() < 0.2)
        True
    """
    walk = Walk(denoiser, grid, condition, on_step)
    draw = normals(noise, "dpm_2m_sde")
    y, before, h_before = walk.start(x), None, 0.0
    for k, s, s_next in walk.steps():
        x0 = walk.denoise(y, s)
        h, kept, ahead = math.inf, (s_next / s) ** 2, x0
        if s_next > 0:
            h = math.log(s / s_next)
            if before is not None:
                ahead = x0 + h / (2 * h_before) * (x0 - before)
        y = ahead + kept * (y - ahead)
        if s_next > 0:
            y = y + s_next * (1 - kept) ** 0.5 * draw(k + 1, y)
        before, h_before = x0, h
        walk.report(k, y, x0)
    return walk.end(y)
