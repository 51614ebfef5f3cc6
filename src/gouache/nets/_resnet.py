"""The residual block of diffusion U-Nets."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._norm import GroupNorm


class ResBlock(nn.Module):
    """Two 3x3 convolutions, the second modulated by an embedding, around a skip.

    ``h = conv1(silu(norm1(x)))``, ``h = (1 + scale(c)) norm2(h) + shift(c)``,
    ``skip(x) + conv2(dropout(silu(h)))``; ``conv2`` starts at zero, the modulation small: at zero
    it would have nothing to learn a label from for the first hundreds of steps.

    Args:
        inside: channels in.
        outside: channels out.
        embedding: length of the embedding ``c``.
        dropout: probability that a channel is left out, whole, as neighbours tell of each other.

    Reference: Dhariwal, Nichol, "Diffusion models beat GANs on image synthesis", 2021; Tompson et
    al., "Efficient object localization using convolutional networks", 2015 (dropout by channel).
    """

    def __init__(self, inside: int, outside: int, embedding: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm1 = GroupNorm(inside)
        self.conv1 = nn.Conv2d(inside, outside, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * outside)
        self.norm2 = GroupNorm(outside)
        self.conv2 = nn.Conv2d(outside, outside, 3, padding=1)
        self.skip = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)
        self.dropout = dropout
        nn.init.normal_(self.modulation.weight, std=0.03)
        nn.init.zeros_(self.conv2.weight)

    def forward(self, x: Tensor, embedded: Tensor) -> Tensor:
        """Map ``(B, inside, H, W)`` and ``(B, embedding)`` to ``(B, outside, H, W)``."""
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.modulation(embedded)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        return self.skip(x) + self.conv2(F.dropout2d(h, self.dropout, self.training))
