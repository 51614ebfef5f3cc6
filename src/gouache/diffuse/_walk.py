"""What every sampler shares: the way through the grid.

Notation: samplers hold ``x_t``; inside, the variable is ``y = x_t / alpha_t`` at ``s = sigma_t /
alpha_t``, in which all schedules follow one ODE, ``dy/ds = (y - D(y, s)) / s`` (Karras et al. 2022,
"Elucidating the design space of diffusion-based generative models", equation 4). A formula of a
paper in ``(alpha, sigma)`` becomes one in ``s`` alone: ``lambda = -log s``.

The levels are Python floats, so that a step waits for no device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeAlias

import torch
from torch import Tensor

from gouache.check import InputError
from gouache.contracts import Condition, Denoiser

from ._schedule import Grid

Normals: TypeAlias = Callable[[int, Tensor], Tensor]
OnStep: TypeAlias = Callable[[int, Tensor, Tensor], None]


class Walk:
    """A denoiser bound to a condition, and the levels that it goes through."""

    def __init__(
        self, denoiser: Denoiser, grid: Grid, condition: Condition, on_step: OnStep | None
    ) -> None:
        self.denoiser, self.condition, self.on_step = denoiser, condition, on_step
        self.alpha, self.s = _levels(grid)

    def start(self, x: Tensor) -> Tensor:
        """Return y of the start ``x``."""
        return x / self.alpha[0]

    def steps(self) -> Iterator[tuple[int, float, float]]:
        """Yield step k with its two levels, ``(k, s_k, s_{k+1})``."""
        yield from zip(range(len(self.s)), self.s[:-1], self.s[1:], strict=False)

    def denoise(self, y: Tensor, s: float) -> Tensor:
        """Return D(y, s)."""
        return self.denoiser(y, y.new_full((len(y),), s), self.condition)

    def heun(self, y: Tensor, s: float, s_next: float) -> tuple[Tensor, Tensor]:
        """Take one step of Heun's method (Euler's, to 0); return y and the last D used."""
        x0 = self.denoise(y, s)
        slope = (y - x0) / s
        ahead = y + (s_next - s) * slope
        if s_next > 0:
            x0 = self.denoise(ahead, s_next)
            ahead = y + (s_next - s) / 2 * (slope + (ahead - x0) / s_next)
        return ahead, x0

    def report(self, k: int, y: Tensor, x0: Tensor) -> None:
        """Tell the caller of step k: ``x_t`` after it and the estimate of x0 that it used."""
        if self.on_step is not None:
            self.on_step(k, y * self.alpha[k + 1], x0)

    def end(self, y: Tensor) -> Tensor:
        """Return ``x`` at the last level."""
        return y * self.alpha[-1]


def normals(noise: Normals | None, name: str) -> Normals:
    """Return the noise of a stochastic sampler, which must have been given."""
    if noise is None:
        raise InputError(
            f"{name} is stochastic and was called without noise; "
            "pass noise=gouache.random.Noise(gouache.random.keys(rng, len(x)))"
        )
    return noise


def _levels(grid: Grid) -> tuple[list[float], list[float]]:
    alpha, sigma = grid.alpha.double(), grid.sigma.double()
    if alpha.ndim != 1 or alpha.shape != sigma.shape or len(alpha) < 2:
        raise InputError(
            "a grid must hold alpha and sigma (K + 1,) with K >= 1, "
            f"got {tuple(alpha.shape)} and {tuple(sigma.shape)}"
        )
    s = sigma / alpha
    if not bool((alpha > 0).all() and (s >= 0).all() and (torch.diff(s) < 0).all()):
        raise InputError(
            "a grid must fall from noise to data: alpha > 0 and sigma / alpha strictly falling, "
            f"got ratios {[round(value, 4) for value in s.tolist()[:6]]}; "
            "Schedule.grid and Schedule.at make one"
        )
    return alpha.tolist(), s.tolist()
