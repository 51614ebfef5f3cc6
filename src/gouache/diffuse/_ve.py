"""The variance-exploding schedule."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from gouache.registry import method

from ._schedule import Schedule


@final
@method("schedule")
class VE(Schedule):
    """Variance-exploding: alpha = 1, sigma(t) = sigma_min (sigma_max / sigma_min)^t.

    Args:
        sigma_min: noise at t = 0, in the unit of the data.
        sigma_max: noise at t = 1, in the unit of the data.

    Reference:
        Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, "Score-based generative modeling through
        stochastic differential equations", 2021, appendix C.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> round(float(diffuse.VE(0.01, 100.0).sigma(torch.tensor(0.5))), 3)
        1.0
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        self.ratio_min, self.ratio_max = sigma_min, sigma_max

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return sigma_min (sigma_max / sigma_min)^t."""
        return self.ratio_min * torch.exp(t * math.log(self.ratio_max / self.ratio_min))

    def time(self, ratio: Tensor) -> Tensor:
        """Return log(ratio / sigma_min) / log(sigma_max / sigma_min)."""
        return torch.log(ratio / self.ratio_min) / math.log(self.ratio_max / self.ratio_min)
