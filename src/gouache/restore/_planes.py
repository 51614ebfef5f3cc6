"""What every operator asks of its images: planes of pixels ``(..., H, W)``."""

from __future__ import annotations

import torch
from torch import Tensor

from gouache.check import InputError


def planes(x: Tensor, name: str) -> Tensor:
    """Check a float tensor ``(..., H, W)`` that is not empty.

    Raises:
        InputError: no tensor, fewer than two axes, empty, or whole numbers.
    """
    if not isinstance(x, Tensor):
        raise InputError(
            f"{name} must be a torch tensor (..., H, W), got {type(x).__name__}; "
            "gouache.image.as_tensor converts NumPy and PIL images"
        )
    if x.ndim < 2 or 0 in x.shape:
        raise InputError(f"{name} must be (..., H, W), not empty, got shape {tuple(x.shape)}")
    if not x.is_floating_point():
        raise InputError(f"{name} must be float, got {x.dtype}; divide 8-bit levels by 255")
    return x


def working(x: Tensor) -> Tensor:
    """Return ``x`` in a precision that Fourier transforms have: float64 stays, the rest is float32.

    What is computed from it returns to ``x.dtype``.
    """
    return x if x.dtype == torch.float64 else x.float()
