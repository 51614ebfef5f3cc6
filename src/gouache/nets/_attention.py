"""Self-attention over the pixels of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ._norm import GroupNorm


def attend(q: Tensor, k: Tensor, v: Tensor, *, causal: bool = False) -> Tensor:
    """Return softmax(q k^T / sqrt(d)) v for ``(B, heads, N, d)``; causal: of places up to its own.

    On a CPU it runs in float32 whatever the autocast: the fused backward in bfloat16 is ten times
    slower there than in float32.
    """
    if q.device.type != "cpu":
        return F.scaled_dot_product_attention(q, k, v, is_causal=causal)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=causal)


class SelfAttention(nn.Module):
    """Residual multi-head attention among the positions of a map ``(B, C, H, W)``.

    ``x + W_o attend(q, k, v)`` with q, k, v linear in GroupNorm(x); the output starts at zero.

    Args:
        width: channels C.
        head: least channels a head, where C has as many: of the numbers of heads that divide C it
            is the largest.

    Reference: Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", 2020.
    """

    def __init__(self, width: int, head: int = 32) -> None:
        super().__init__()
        most = max(1, width // head)
        self.heads = next(heads for heads in range(most, 0, -1) if width % heads == 0)
        self.norm = GroupNorm(width)
        self.qkv = nn.Conv2d(width, 3 * width, 1)
        self.out = nn.Conv2d(width, width, 1)
        nn.init.zeros_(self.out.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        B, C, H, W = x.shape
        qkv = self.qkv(self.norm(x)).reshape(B, 3, self.heads, C // self.heads, H * W)
        q, k, v = qkv.transpose(-1, -2).unbind(1)
        return x + self.out(attend(q, k, v).transpose(-1, -2).reshape(B, C, H, W))
