"""The U-Net of the diffusion models, sized for images of 8 to 128 pixels a side."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gouache.contracts import Condition

from ._attention import SelfAttention
from ._embeddings import ConditionEmbedding
from ._norm import GroupNorm
from ._resnet import ResBlock


class UNet(nn.Module):
    """A U-Net ``F(x, c_noise, condition)`` of residual blocks, attention on its coarse levels.

    Level l works at 1 / 2^l of the resolution on ``widths[l]`` channels with ``blocks[l]``
    residual blocks on the way down and as many on the way up; the last level is passed once.
    Any size of image goes in: what is no multiple of 2^(levels - 1) is padded and cropped.

    Args:
        channels: channels in and out.
        widths: channels of each level, fine to coarse, multiples of 8.
        blocks: residual blocks of each level.
        attention: whether each level ends its blocks with self-attention.
        classes: number of labels; 0 is unconditional.
        dropout: probability that a residual block leaves out a channel.

    Reference: Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", 2020.
    """

    def __init__(
        self,
        channels: int,
        widths: Sequence[int] = (32, 64),
        blocks: Sequence[int] = (1, 3),
        attention: Sequence[bool] = (False, False),
        classes: int = 0,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        wide = 2 * max(widths)
        self.embedding = ConditionEmbedding(wide, classes)
        self.first = nn.Conv2d(channels, widths[0], 3, padding=1)

        def stage(level: int, inside: int) -> _Stage:
            return _Stage(inside, widths[level], blocks[level], wide, dropout, attention[level])

        fine = range(len(widths) - 1)
        self.down = nn.ModuleList(stage(level, widths[level]) for level in fine)
        self.shrink = nn.ModuleList(
            nn.Conv2d(widths[level], widths[level + 1], 2, stride=2) for level in fine
        )
        self.middle = stage(len(widths) - 1, widths[-1])
        self.grow = nn.ModuleList(
            nn.ConvTranspose2d(widths[level + 1], widths[level], 2, stride=2) for level in fine
        )
        self.up = nn.ModuleList(stage(level, 2 * widths[level]) for level in fine)
        self.norm = GroupNorm(widths[0])
        self.last = nn.Conv2d(widths[0], channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)

    def forward(self, x: Tensor, c_noise: Tensor, condition: Condition = None) -> Tensor:
        """Map ``(B, C, H, W)`` at noise embedding values ``(B,)`` to ``(B, C, H, W)``."""
        embedded = self.embedding(c_noise, condition)
        height, width = x.shape[-2:]
        step = 2 ** len(self.down)
        h = F.pad(x, (0, -width % step, 0, -height % step), mode="replicate")
        h = self.first(h.contiguous(memory_format=torch.channels_last))
        skips: list[Tensor] = []
        for stage, shrink in zip(self.down, self.shrink, strict=True):
            skips.append(stage(h, embedded))
            h = shrink(skips[-1])
        h = self.middle(h, embedded)
        for level in reversed(range(len(self.up))):
            h = torch.cat([self.grow[level](h), skips[level]], dim=1)
            h = self.up[level](h, embedded)
        return self.last(F.silu(self.norm(h)))[..., :height, :width]


class _Stage(nn.Module):
    """The residual blocks of one level, and its attention."""

    def __init__(
        self, inside: int, width: int, blocks: int, embedding: int, dropout: float, attention: bool
    ) -> None:
        super().__init__()
        inputs = [inside] + [width] * (blocks - 1)
        self.blocks = nn.ModuleList(ResBlock(i, width, embedding, dropout) for i in inputs)
        self.attention = SelfAttention(width) if attention else nn.Identity()

    def forward(self, h: Tensor, embedded: Tensor) -> Tensor:
        for block in self.blocks:
            h = block(h, embedded)
        return self.attention(h)
