"""The variance-preserving schedules that are tables of betas, made continuous.

Notation: ``abar_i = prod_{j <= i} (1 - beta_j)``, ``alpha_i^2 = abar_i``, ``sigma_i^2 = 1 -
abar_i``. Time t is index i = t (T - 1), where the schedule is the discrete model exactly; between
the integers the logarithm of the ratio ``r_i = sqrt((1 - abar_i) / abar_i)`` is linear.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from ._schedule import Schedule


class Table(Schedule):
    """A variance-preserving schedule given by its betas, ``alpha^2 + sigma^2 = 1``."""

    def __init__(self, betas: Tensor) -> None:
        abar = torch.cumprod(1 - betas.double(), 0)
        self.log_ratio = 0.5 * (torch.log1p(-abar) - torch.log(abar))
        self.table = len(betas)
        self.ratio_min = float(self.log_ratio[0].exp())
        self.ratio_max = float(self.log_ratio[-1].exp())

    @final
    def ratio(self, t: Tensor) -> Tensor:
        """Return ``sigma(t) / alpha(t)``."""
        table = self.log_ratio.to(t.device)
        i = t.double() * (len(table) - 1)
        low = i.floor().clamp(0, len(table) - 2).long()
        log_ratio = table[low] + (i - low) * (table[low + 1] - table[low])
        return log_ratio.exp().to(t.dtype)

    @final
    def alpha(self, t: Tensor) -> Tensor:
        """Return ``sqrt(abar)``."""
        return (1 + self.ratio(t.double()) ** 2).rsqrt().to(t.dtype)

    @final
    def sigma(self, t: Tensor) -> Tensor:
        """Return ``sqrt(1 - abar)``."""
        return (1 + self.ratio(t.double()) ** -2).rsqrt().to(t.dtype)

    @final
    def time(self, ratio: Tensor) -> Tensor:
        """Return the time at which ``sigma / alpha`` is ``ratio``."""
        table = self.log_ratio.to(ratio.device)
        log_ratio = ratio.double().log()
        low = (torch.searchsorted(table, log_ratio.contiguous()) - 1).clamp(0, len(table) - 2)
        i = low + (log_ratio - table[low]) / (table[low + 1] - table[low])
        return (i / (len(table) - 1)).to(ratio.dtype)
