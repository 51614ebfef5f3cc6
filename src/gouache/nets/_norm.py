"""Normalisation."""

from __future__ import annotations

from typing import final

from torch import Tensor, nn


@final
class GroupNorm(nn.GroupNorm):
    """Group normalisation with up to eight groups, computed in float32.

    Beside the better rounding, it is what is fast: in bfloat16 on channels-last maps PyTorch's
    CPU kernel takes six times as long as in float32, the conversion included.

    Args:
        width: channels; with fewer than eight each is a group of its own.

    Reference: Wu, He, "Group normalization", 2018.
    """

    def __init__(self, width: int) -> None:
        super().__init__(min(8, width), width)

    def forward(self, input: Tensor) -> Tensor:
        """Normalise ``(B, width, H, W)``; the result is float32."""
        return super().forward(input.float())
