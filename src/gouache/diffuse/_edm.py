"""The schedule of EDM."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from gouache.registry import method

from ._schedule import Schedule


@final
@method("schedule")
class EDM(Schedule):
    """Noise added to unscaled data: alpha = 1, sigma^(1/rho) linear in t.

    sigma(t) = (sigma_min^(1/rho) + t (sigma_max^(1/rho) - sigma_min^(1/rho)))^rho

    Args:
        sigma_min: noise at t = 0, in the unit of the data.
        sigma_max: noise at t = 1, in the unit of the data.
        rho: how strongly the times crowd towards small noise.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, table 1 and equation 5.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> round(float(diffuse.EDM().sigma(torch.tensor(0.5))), 3)
        2.515
    """

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> None:
        self.ratio_min, self.ratio_max, self.rho = sigma_min, sigma_max, rho
        self.low, self.high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return the noise at time ``t``."""
        return (self.low + t * (self.high - self.low)) ** self.rho

    def time(self, ratio: Tensor) -> Tensor:
        """Return the time at which the noise is ``ratio``."""
        return (ratio ** (1 / self.rho) - self.low) / (self.high - self.low)
