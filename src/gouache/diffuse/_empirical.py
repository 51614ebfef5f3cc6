"""The exact denoiser of a finite set of points."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.contracts import Condition, Denoiser


@final
class EmpiricalDenoiser(Denoiser):
    """The ideal denoiser of a data set: a mean of its points, weighted by how likely they are.

    D(y, s) = sum_i w_i x_i,   w_i proportional to exp(-|y - x_i|^2 / (2 s^2))

    What a network of unlimited capacity would learn from these points, and nothing else: its
    samples are the points themselves, so what a trained model does better is generalisation. The
    points are visited in blocks, so memory does not grow with their number.

    Args:
        points: x_i, ``(N, ...)``.
        block: how many points at once.

    Raises:
        InputError: there is no point.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, appendix B.3.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> two = diffuse.EmpiricalDenoiser(torch.tensor([[-1.0], [1.0]]))
        >>> two(torch.tensor([[0.0], [9.0]]), 0.5).tolist()
        [[0.0], [1.0]]
    """

    def __init__(self, points: Tensor, block: int = 4096) -> None:
        if len(points) == 0:
            raise InputError("an EmpiricalDenoiser needs at least one point, got none")
        self.points, self.block = points, check.count(block, "block")

    def __call__(self, y: Tensor, sigma: Tensor | float, condition: Condition = None) -> Tensor:
        """Return the weighted mean of the points; ``sigma`` is a scalar or ``(B,)``."""
        flat = y.flatten(1)
        level = torch.as_tensor(sigma, dtype=y.dtype, device=y.device).reshape(-1, 1)
        mean, log_total = torch.zeros_like(flat), flat.new_full((len(flat), 1), -torch.inf)
        for points in self.points.flatten(1).to(y).split(self.block):
            logits = -((torch.cdist(flat, points) / level) ** 2) / 2
            log_block = logits.logsumexp(1, keepdim=True)
            log_both = torch.logaddexp(log_total, log_block)
            block_mean = logits.softmax(1) @ points
            mean = mean + (log_block - log_both).exp() * (block_mean - mean)
            log_total = log_both
        return mean.reshape(y.shape)
