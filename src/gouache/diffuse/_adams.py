"""The recommended sampler: exponential Adams steps in the angle between signal and noise.

Notation: ``theta = arctan(s / sigma_data)``. In ``y = x / alpha`` the ODE has the exact solution

    y(s') = (s'/s) y(s) + integral_{s'}^{s} (s' / q^2) D(y(q), q) dq

and a solver is a rule by which D is interpolated under the integral. Along a path of Gaussian data
of standard deviation ``sigma_data``, D is linear in ``cos theta``; polynomials in ``cos theta``
through the values already computed are thus exact for such data from second order on, at any step
size, and stay finite at s = 0, where those in log s do not.
"""

from __future__ import annotations

import functools

import numpy as np
from torch import Tensor

from gouache import check
from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._schedule import Grid
from ._walk import Normals, OnStep, Walk


@method("sampler")
def adams(
    denoiser: Denoiser,
    x: Tensor,
    grid: Grid,
    *,
    condition: Condition = None,
    noise: Normals | None = None,
    on_step: OnStep | None = None,
    order: int = 3,
    sigma_data: float = 0.5,
) -> Tensor:
    """Sample by exponential Adams predictor and corrector, with D a polynomial in cos theta.

    y' = (s'/s) y + sum_j c_j D_j,   c_j = integral_{s'}^{s} (s' / q^2) L_j(cos theta(q)) dq

    with L_j the Lagrange polynomials through the last ``order`` levels. Each new value of D is used
    twice: it first redoes the step that led to it (the corrector, one order higher), then makes the
    next. Made for the grid ``schedule.grid(K, angular)``.

    Args:
        denoiser: D(y, s, condition).
        x: x_t at the grid's first level, ``(B, ...)``.
        grid: K + 1 levels from noise to data; K evaluations.
        condition: handed to the denoiser.
        noise: not used: the sampler is deterministic.
        on_step: called as ``on_step(k, x, x0)`` after step k, with the predicted x.
        order: how many values of D a step uses, from 1 (which is `ddim` with a corrector) to 6.
        sigma_data: standard deviation of the data, the unit of tan theta; a rough value will do.

    Raises:
        InputError: the grid does not fall from noise to data, or the order is not in 1..6.

    Reference:
        Zhang, Chen, "Fast sampling of diffusion models with exponential integrator", 2023 (the
        integrator); Zhao, Bai, Rao, Zhou, Lu, "UniPC: a unified predictor-corrector framework for
        fast sampling of diffusion models", 2023 (the corrector without an evaluation of its own).

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> ring, schedule = diffuse.GaussianMixture.ring(), diffuse.EDM()
        >>> x = diffuse.adams(ring, 80 * torch.randn(100, 2), schedule.grid(20, diffuse.angular))
        >>> bool((x.norm(dim=1) - 1).abs().mean() < 0.2)
        True
    """
    check.count(order, "order", 1, 6)
    walk = Walk(denoiser, grid, condition, on_step)
    y, history, before = walk.start(x), [], None
    for k, s, s_next in walk.steps():
        history = [(s, walk.denoise(y, s)), *history[:order]]
        if before is not None:
            y = _step(*before, s, history, sigma_data)
        before = y, s
        y = _step(y, s, s_next, history[:order], sigma_data)
        walk.report(k, y, history[0][1])
    return walk.end(y)


def _step(
    y: Tensor, s: float, s_next: float, history: list[tuple[float, Tensor]], sigma_data: float
) -> Tensor:
    """Return y at ``s_next``, D being the polynomial through the history's (level, value)."""
    c = _weights(tuple(level for level, _ in history), s, s_next, sigma_data)
    return (s_next / s) * y + sum(c_j * d for c_j, (_, d) in zip(c, history, strict=True))


@functools.lru_cache(maxsize=1024)
def _weights(nodes: tuple[float, ...], s: float, s_next: float, sigma_data: float) -> list[float]:
    """Return c_j by Gauss quadrature in w = s' / q, on which the integrand is smooth."""
    start = s_next / s
    points, measure = _gauss()
    if s_next > 0:
        w = start + (1 - start) * (points + 1) / 2
        at, measure = _cosine(s_next / w / sigma_data), measure * (1 - start) / 2
    else:
        at, measure = np.zeros(1), np.ones(1)
    knots = _cosine(np.array(nodes) / sigma_data)
    return [float(measure @ _lagrange(at, knots, j)) for j in range(len(nodes))]


def _cosine(u: np.ndarray) -> np.ndarray:
    """Return cos(arctan u) - 1, without cancellation at small u."""
    root = np.sqrt(1 + u * u)
    return -u * u / (root * (1 + root))


def _lagrange(at: np.ndarray, knots: np.ndarray, j: int) -> np.ndarray:
    others = np.delete(knots, j)
    return np.prod((at[:, None] - others) / (knots[j] - others), axis=1)


@functools.cache
def _gauss() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(48)
