"""Transformers that read a sequence from left to right, whole or a token at a time.

Notation: N tokens of a sequence, from V possible ones; W channels; L blocks.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor, nn

from gouache.check import InputError

from ._attention import attend


@dataclass
class Cache:
    """Keys and values of the tokens read so far, block by block.

    Attributes:
        length: how many tokens were read.
        pairs: for each block its keys and values ``(B, heads, N, d)``, room for all N.
    """

    length: int = 0
    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list[tuple[Tensor, Tensor]])


class CausalBlock(nn.Module):
    """Attention to oneself and to what came before, then a perceptron, both residual.

    ``x + W_o attend(q, k, v)``, then ``x + W_2 gelu(W_1 norm(x))``, with q, k, v linear in norm(x).

    Args:
        width: channels W.
        heads: that divide W.
        dropout: probability that a channel of a residual is left out.

    Reference: Radford et al., "Language models are unsupervised multitask learners", 2019.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"width must be a multiple of heads, got {width} and {heads}")
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.last = nn.Linear(4 * width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), self.last
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, N, W)`` to the same shape; place n depends on places up to n."""
        return self._after(x, attend(*self._qkv(x), causal=True))

    def step(self, x: Tensor, pair: tuple[Tensor, Tensor], at: int) -> Tensor:
        """Map place ``at`` ``(B, 1, W)``, of which the pair then knows key and value."""
        q, k, v = self._qkv(x)
        for known, new in zip(pair, (k, v), strict=True):
            known[:, :, at : at + 1] = new
        keys, values = (known[:, :, : at + 1] for known in pair)
        return self._after(x, attend(q, keys, values))

    def _qkv(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        B, N, W = x.shape
        qkv = self.qkv(self.norm(x)).view(B, N, 3, self.heads, W // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        return q, k, v

    def _after(self, x: Tensor, attended: Tensor) -> Tensor:
        x = x + self.dropout(self.out(attended.transpose(1, 2).flatten(2)))
        return x + self.dropout(self.mlp(x))


class TokenTransformer(nn.Module):
    """The distribution of every token given those before it: ``p(t_n | t_1, ..., t_n-1, label)``.

    What is read at place n is token n - 1 and where n lies: a sum of one embedding an axis, so that
    the tokens of an image know their row and column. At the first place the label is read.

    Args:
        vocabulary: V.
        axes: sides of the array that the sequence runs through, the last one fastest; N is their
            product.
        classes: number of labels; 0 is a model without.
        width: channels W.
        depth: blocks L.
        heads: that divide W.
        dropout: of the embeddings and of every residual.

    Reference: Radford et al., "Language models are unsupervised multitask learners", 2019; Chen et
    al., "Generative pretraining from pixels", 2020.
    """

    def __init__(
        self,
        vocabulary: int,
        axes: tuple[int, ...],
        classes: int = 0,
        width: int = 96,
        depth: int = 4,
        heads: int = 4,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.axes, self.classes, self.vocabulary = axes, classes, vocabulary
        self.token = nn.Embedding(vocabulary, width)
        self.place = nn.ModuleList(nn.Embedding(side, width) for side in axes)
        self.label = nn.Embedding(classes + 1, width)
        self.heads = heads
        self.blocks = nn.ModuleList(CausalBlock(width, heads, dropout) for _ in range(depth))
        self.norm, self.dropout = nn.LayerNorm(width), nn.Dropout(dropout)
        self.logits = nn.Linear(width, vocabulary)
        self._begin()

    def forward(self, tokens: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the logits of every token ``(B, N, V)``.

        Args:
            tokens: ``(B, N)``; logits n do not depend on tokens n and later.
            label: ``(B,)``, -1 or None is any.
        """
        before = torch.cat([self._first(len(tokens), label), self.token(tokens[:, :-1])], 1)
        x = self.dropout(before + self._places())
        for block in self._blocks():
            x = block(x)
        return self.logits(self.norm(x))

    def start(self, n: int) -> Cache:
        """Return what is known of n sequences before the first token is read."""
        like, length = self.logits.weight, math.prod(self.axes)
        shape = (n, self.heads, length, like.shape[1] // self.heads)
        return Cache(0, [(like.new_empty(shape), like.new_empty(shape)) for _ in self.blocks])

    def step(self, token: Tensor | None, cache: Cache, label: Tensor | None = None) -> Tensor:
        """Return the logits of the next token ``(B, V)``.

        Args:
            token: the last one ``(B,)``; None at the first.
            cache: of `start`, which then knows of it.
            label: as in `forward`, for the first.
        """
        n = len(cache.pairs[0][0])
        before = self._first(n, label) if token is None else self.token(token)[:, None]
        x = before + self._place(cache.length)
        for block, pair in zip(self._blocks(), cache.pairs, strict=True):
            x = block.step(x, pair, cache.length)
        cache.length += 1
        return self.logits(self.norm(x))[:, 0]

    def _first(self, n: int, label: Tensor | None) -> Tensor:
        """Return what is read at the first place ``(B, 1, W)``."""
        weight = self.label.weight
        slot = torch.full((n,), -1) if label is None else label
        return self.label(slot.to(weight.device) + 1)[:, None]

    def _place(self, n: int) -> Tensor:
        """Return the embedding of one place ``(W,)``."""
        at = torch.unravel_index(torch.tensor(n), self.axes)
        parts = zip(cast(list[nn.Embedding], list(self.place)), at, strict=True)
        return torch.stack([embedding.weight[int(i)] for embedding, i in parts]).sum(0)

    def _places(self) -> Tensor:
        """Return the embedding of every place ``(N, W)``."""
        total = torch.zeros((), device=self.logits.weight.device)
        for axis, embedding in enumerate(cast(list[nn.Embedding], list(self.place))):
            shape = [1] * len(self.axes) + [-1]
            shape[axis] = self.axes[axis]
            total = total + embedding.weight.view(shape)
        return total.expand(*self.axes, -1).flatten(0, -2)

    def _begin(self) -> None:
        """Draw the weights; what a block adds is small, the more blocks the smaller."""
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        for block in self._blocks():
            for last in (block.out, block.last):
                nn.init.normal_(last.weight, std=0.02 / math.sqrt(2 * len(self.blocks)))

    def _blocks(self) -> list[CausalBlock]:
        return cast(list[CausalBlock], list(self.blocks))
