"""The stochastic sampler of EDM."""

from __future__ import annotations

from torch import Tensor

from gouache import check
from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._schedule import Grid
from ._walk import Normals, OnStep, Walk, normals


@method("sampler")
def edm_stochastic(
    denoiser: Denoiser,
    x: Tensor,
    grid: Grid,
    *,
    condition: Condition = None,
    noise: Normals | None = None,
    on_step: OnStep | None = None,
    churn: float = 40.0,
    churn_range: tuple[float, float] = (0.05, 50.0),
    noise_scale: float = 1.0,
) -> Tensor:
    """Sample by Heun's method with churn: raise the noise a little, then step further down.

    s^ = (1 + gamma) s,   y^ = y + S_noise sqrt(s^^2 - s^2) n,   then Heun from (y^, s^) to s'

    with gamma = min(churn / K, sqrt(2) - 1) for s in ``churn_range``, else 0. With ``churn = 0`` it
    is `heun`. The paper's values for ImageNet are 40, (0.05, 50) and S_noise = 1.003.

    Args:
        denoiser: D(y, s, condition).
        x: x_t at the grid's first level, ``(B, ...)``.
        grid: K + 1 levels from noise to data; 2K - 1 evaluations (2K if it does not end at 0).
        condition: handed to the denoiser.
        noise: ``noise(k, like)``; step k uses draw k + 1.
        on_step: called as ``on_step(k, x, x0)`` after step k.
        churn: how much noise is added over all steps, >= 0.
        churn_range: the lowest and highest s at which it is added.
        noise_scale: S_noise; above 1 it makes up for a denoiser that removes too much.

    Raises:
        InputError: the grid does not fall from noise to data, or there is no noise.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, algorithm 2.

    Example:
        >>> import torch
        >>> from gouache import diffuse, random
        >>> ring, noise = diffuse.GaussianMixture.ring(), random.Noise(random.keys(None, 100))
        >>> grid = diffuse.EDM().grid(50)
        >>> x = diffuse.start(grid, torch.empty(100, 2), noise)
        >>> x = diffuse.edm_stochastic(ring, x, grid, noise=noise)
        >>> bool((x.norm(dim=1) - 1).abs().mean() < 0.2)
        True
    """
    check.between(churn, "churn", 0)
    walk = Walk(denoiser, grid, condition, on_step)
    draw = normals(noise, "edm_stochastic")
    full, (low, high) = min(churn / (len(walk.s) - 1), 2**0.5 - 1), churn_range
    y = walk.start(x)
    for k, s, s_next in walk.steps():
        gamma = full if low <= s <= high else 0.0
        if gamma > 0:
            y = y + noise_scale * s * ((1 + gamma) ** 2 - 1) ** 0.5 * draw(k + 1, y)
        y, x0 = walk.heun(y, s * (1 + gamma), s_next)
        walk.report(k, y, x0)
    return walk.end(y)
