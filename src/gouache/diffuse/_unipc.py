"""UniPC, the unified predictor-corrector."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gouache import check
from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._schedule import Grid
from ._walk import Normals, OnStep, Walk

History = list[tuple[float, Tensor]]


@method("sampler")
def unipc(
    denoiser: Denoiser,
    x: Tensor,
    grid: Grid,
    *,
    condition: Condition = None,
    noise: Normals | None = None,
    on_step: OnStep | None = None,
    order: int = 2,
) -> Tensor:
    """Sample by UniPC with B(h) = e^h - 1 ("bh2"), predicting x0.

    y' = (s'/s) y + (1 - s'/s) (D_0 + sum_m rho_m (D_m - D_0) / r_m),
    r_m = (lambda_m - lambda_0) / h, lambda = -log s, h = log(s / s')

    with rho from equation 5 of the paper. Each new value of D first corrects the step that led to
    it, then predicts the next. The order grows with the first steps and falls to 1 with the last.

    Args:
        denoiser: D(y, s, condition).
        x: x_t at the grid's first level, ``(B, ...)``.
        grid: K + 1 levels from noise to data; K evaluations.
        condition: handed to the denoiser.
        noise: not used: the sampler is deterministic.
        on_step: called as ``on_step(k, x, x0)`` after step k, with the predicted x.
        order: of the predictor, 1 to 4; 2 for guided sampling, 3 for unconditional.

    Raises:
        InputError: the grid does not fall from noise to data, or the order is not in 1..4.

    Reference:
        Zhao, Bai, Rao, Zhou, Lu, "UniPC: a unified predictor-corrector framework for fast sampling
        of diffusion models", 2023, algorithms 5 and 6.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> ring = diffuse.GaussianMixture.ring()
        >>> x = diffuse.unipc(ring, 80 * torch.randn(100, 2), diffuse.EDM().grid(20))
        >>> bool((x.norm(dim=1) - 1).abs().mean() < 0.2)
        True
    """
    check.count(order, "order", 1, 4)
    walk = Walk(denoiser, grid, condition, on_step)
    y, history, before = walk.start(x), [], None
    for k, s, s_next in walk.steps():
        new = (s, walk.denoise(y, s))
        if before is not None:
            y = _correct(*before, new)
        history = [new, *history[: order - 1]]
        before = y, history[: len(walk.s) - 1 - k]
        y = _predict(*before, s_next)
        walk.report(k, y, new[1])
    return walk.end(y)


def _predict(y: Tensor, history: History, s_next: float) -> Tensor:
    """Return y at ``s_next``; the order is the number of values in the history."""
    (s, x0), *older = history
    if s_next == 0:
        return x0
    h = math.log(s / s_next)
    r = [math.log(s / level) / h for level, _ in older]
    rho = [0.5] if len(r) == 1 else _solve(h, r)
    slopes = [(d - x0) / r_m for (_, d), r_m in zip(older, r, strict=True)]
    ahead = x0 + sum(rho_m * d for rho_m, d in zip(rho, slopes, strict=True))
    return ahead + (s_next / s) * (y - ahead)


def _correct(y: Tensor, history: History, new: tuple[float, Tensor]) -> Tensor:
    """Redo the step from ``y`` with the value ``new`` that was found at its end."""
    (s, x0), *older = history
    s_next, x0_next = new
    h = math.log(s / s_next)
    r = [*(math.log(s / level) / h for level, _ in older), 1.0]
    rho = [0.5] if len(r) == 1 else _solve(h, r)
    values = [*(d for _, d in older), x0_next]
    slopes = [(d - x0) / r_m for d, r_m in zip(values, r, strict=True)]
    ahead = x0 + sum(rho_m * d for rho_m, d in zip(rho, slopes, strict=True))
    return ahead + (s_next / s) * (y - ahead)


def _solve(h: float, r: list[float]) -> list[float]:
    """Return rho with ``sum_m rho_m r_m^(i - 1) = b_i``, b_i = i! h phi_{i+1}(-h) / B(-h)."""
    if not r:
        return []
    b, phi = [], math.expm1(-h) / -h
    for i in range(1, len(r) + 1):
        phi = (phi - 1 / math.factorial(i)) / -h
        b.append(math.factorial(i) * phi * -h / math.expm1(-h))
    powers = torch.tensor(r, dtype=torch.float64) ** torch.arange(len(r))[:, None]
    return torch.linalg.solve(powers, torch.tensor(b, dtype=torch.float64)).tolist()
