"""Embeddings of noise levels and labels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gouache.contracts import Condition


def fourier(value: Tensor, width: int, highest: float = 100.0) -> Tensor:
    """Return sines and cosines of ``value`` ``(B,)`` at log-spaced frequencies, ``(B, width)``.

    ``[cos(w_k v), sin(w_k v)]`` with ``w_k`` from 1 to ``highest``; ``width`` is even.

    Reference: Vaswani et al., "Attention is all you need", 2017.
    """
    steps = torch.linspace(0, math.log(highest), width // 2, device=value.device)
    angle = value[:, None].float() * steps.exp()
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class ConditionEmbedding(nn.Module):
    """One vector a sample ``(B, width)`` from a noise level and an optional label.

    A label of -1, or no label at all, is the unconditional embedding, learned like a class.

    Args:
        width: length of the embedding, even.
        classes: number of classes; 0 is a model without labels.

    Reference: Dhariwal, Nichol, "Diffusion models beat GANs on image synthesis", 2021.
    """

    def __init__(self, width: int, classes: int = 0) -> None:
        super().__init__()
        self.width = width
        self.level = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.label = nn.Embedding(classes + 1, width) if classes else None

    def forward(self, c_noise: Tensor, condition: Condition = None) -> Tensor:
        """Embed ``c_noise`` ``(B,)`` and ``condition["label"]`` ``(B,)``, in -1 .. classes - 1."""
        embedded = self.level(fourier(c_noise, self.width))
        if self.label is not None:
            embedded = embedded + self.label(self._slot(c_noise, condition))
        return F.silu(embedded)

    def _slot(self, c_noise: Tensor, condition: Condition) -> Tensor:
        """Row of the label table: 0 is unconditional, class k is k + 1."""
        if condition is None or "label" not in condition:
            return torch.zeros(len(c_noise), dtype=torch.long, device=c_noise.device)
        return condition["label"].to(c_noise.device) + 1
