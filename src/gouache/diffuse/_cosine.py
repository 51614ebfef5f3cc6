"""The cosine schedule of improved DDPM."""

from __future__ import annotations

import math
from typing import final

import torch

from gouache.registry import method

from ._table import Table


@final
@method("schedule")
class VPCosine(Table):
    """Variance-preserving, abar a squared cosine, betas capped.

    beta_i = min(1 - f((i + 1) / T) / f(i / T), cap), f(t) = cos^2(pi/2 (t + s) / (1 + s))

    f(1) is 0; the cap leaves a little signal in the last step (a ratio of about 2 10^4), where a
    grid starts.

    Args:
        offset: s, which keeps the first betas from vanishing.
        cap: the largest beta.
        steps: T.

    Reference:
        Nichol, Dhariwal, "Improved denoising diffusion probabilistic models", 2021, equation 17.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> round(float(diffuse.VPCosine().alpha(torch.tensor(0.5))), 3)
        0.702
    """

    def __init__(self, offset: float = 0.008, cap: float = 0.999, steps: int = 1000) -> None:
        t = torch.arange(steps + 1, dtype=torch.float64) / steps
        f = torch.cos(math.pi / 2 * (t + offset) / (1 + offset)) ** 2
        super().__init__((1 - f[1:] / f[:-1]).clamp(max=cap))
