"""The schedule of DDPM: betas that rise linearly."""

from __future__ import annotations

from typing import final

import torch

from gouache.registry import method

from ._table import Table


@final
@method("schedule")
class VPLinear(Table):
    """Variance-preserving, betas linear from ``beta_min`` to ``beta_max`` over T steps.

    abar_i = prod_{j <= i} (1 - beta_j), alpha = sqrt(abar), sigma = sqrt(1 - abar)

    Args:
        beta_min: the first beta.
        beta_max: the last beta.
        steps: T.

    Reference:
        Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", 2020, section 4.

    Example:
        >>> from gouache import diffuse
        >>> round(diffuse.VPLinear().ratio_max, 2)
        157.41
    """

    def __init__(self, beta_min: float = 1e-4, beta_max: float = 0.02, steps: int = 1000) -> None:
        super().__init__(torch.linspace(beta_min, beta_max, steps, dtype=torch.float64))
