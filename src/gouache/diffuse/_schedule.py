"""What a schedule is, and the grid of noise levels that a sampler goes through.

Notation: ``x_t = alpha(t) x0 + sigma(t) n`` with ``n ~ N(0, I)``, time ``t`` in [0, 1] from data
to noise, ``r(t) = sigma(t) / alpha(t)`` the ratio at which a denoiser sees ``x_t / alpha(t)``.

The end point ``alpha = 0`` (flow matching at t = 1) has an infinite ratio. A schedule names the
largest ratio at which a sampler starts, ``ratio_max``, and every grid starts at or below it: the
signal that is ignored there is ``1 / ratio_max`` of the noise.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ._spacing import karras


class Grid(NamedTuple):
    """The levels of a sampler, ``(K + 1,)`` float64 each, from noise to data.

    Attributes:
        alpha: scale of the signal, > 0.
        sigma: scale of the noise; ``sigma / alpha`` falls strictly, and may end at 0.
    """

    alpha: Tensor
    sigma: Tensor


class Schedule(ABC):
    """How signal and noise are mixed: ``x_t = alpha(t) x0 + sigma(t) n``, t in [0, 1].

    Attributes:
        ratio_min: the smallest ratio of a grid before its end at 0.
        ratio_max: the largest ratio of a grid.
        table: how many discrete steps the schedule has, None if it is continuous.

    Reference:
        Kingma, Salimans, Poole, Ho, "Variational diffusion models", 2021, section 3.
    """

    ratio_min: float
    ratio_max: float
    table: int | None = None

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """Return the scale of the signal at times ``t`` in [0, 1], in the shape of ``t``."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """Return the scale of the noise at times ``t`` in [0, 1], in the shape of ``t``."""

    @abstractmethod
    def time(self, ratio: Tensor) -> Tensor:
        """Return the time at which ``sigma / alpha`` is ``ratio`` > 0, the inverse of `ratio`."""

    def ratio(self, t: Tensor) -> Tensor:
        """Return ``sigma(t) / alpha(t)``, the sigma that the denoiser sees."""
        return self.sigma(t) / self.alpha(t)

    def at(self, ratios: Tensor) -> Grid:
        """Return the grid that goes through these ratios (falling; the last may be 0)."""
        ratios = ratios.double()
        t = self.time(torch.where(ratios > 0, ratios, self.ratio_min))
        alpha = torch.where(ratios > 0, self.alpha(t), 1.0)
        return Grid(alpha, alpha * ratios)

    def grid(
        self, steps: int, spacing: Callable[[Schedule, int], Tensor] = karras, *, zero: bool = True
    ) -> Grid:
        """Return the levels of a sampler that takes ``steps`` steps.

        Args:
            steps: K; a sampler with one evaluation a step calls the denoiser K times.
            spacing: where the levels are, a function of (schedule, points) such as `karras`.
            zero: end at sigma = 0 after K levels of the spacing; else its K + 1 levels as they are.

        Returns:
            alpha and sigma, ``(K + 1,)`` float64 on the CPU, from noise to data.

        Example:
            >>> from gouache import diffuse
            >>> grid = diffuse.EDM().grid(3)
            >>> [round(sigma, 3) for sigma in grid.sigma.tolist()]
            [80.0, 2.515, 0.002, 0.0]
        """
        if zero:
            return self.at(torch.cat([spacing(self, steps), torch.zeros(1, dtype=torch.float64)]))
        return self.at(spacing(self, steps + 1))
