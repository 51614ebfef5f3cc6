"""The exponential moving average of the weights."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ._shard import whole


class Average:
    """A second copy of a model whose parameters trail the first.

    ``theta <- d theta + (1 - d) w`` with ``d = min(decay, (k + 1) / (k + 10))`` at update k;
    buffers are copied. With ``decay`` 0 it is the model itself. Every rank holds it whole, also
    where the model is sharded, so that one rank alone can preview.

    Reference: Polyak, Juditsky, "Acceleration of stochastic approximation by averaging", 1992;
    for generative models: Yazici et al., "The unusual effectiveness of averaging", 2019.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self._mine = list(self.model.parameters()), list(self.model.buffers())

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Move the average towards the weights of ``model`` after step ``step`` = 0, 1, ..."""
        decay = min(self.decay, (step + 1) / (step + 10))
        parameters, buffers = self._mine
        theirs = whole(model.parameters())
        torch._foreach_lerp_(parameters, theirs, 1 - decay)  # pyright: ignore
        for mine, buffer in zip(buffers, model.buffers(), strict=True):
            mine.copy_(buffer)
