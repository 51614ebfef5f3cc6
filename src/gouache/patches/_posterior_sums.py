"""Sums over all patches of an exemplar, weighted by how likely they are, in blocks.

Notation of ``_patch_posterior.py``; D the numbers by which a patch is known, R those of it that are
kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Region(NamedTuple):
    """Patches at the crossings of some rows and columns, of which one rectangle is kept.

    Attributes:
        rows: of their places ``(n,)``.
        cols: of their places ``(m,)``.
        high: first row of the rectangle within a patch, and the row behind its last.
        wide: likewise its columns.
    """

    rows: Tensor
    cols: Tensor
    high: tuple[int, int]
    wide: tuple[int, int]

    def bands(self, most: int) -> Iterator[Region]:
        """Yield it some rows at a time, or parts of a row: at most ``most`` patches."""
        for rows in self.rows.split(max(1, most // len(self.cols))):
            for cols in self.cols.split(most):
                yield self._replace(rows=rows, cols=cols)


def regions(grid: tuple[Tensor, Tensor], side: int, margin: int, border: bool) -> list[Region]:
    """Return the patches of a grid by what is kept of them: all but a margin of their sides.

    Of the first and the last along an axis the margin at a border is kept too.
    """
    axes = [_parts(x, side, margin, border) for x in grid]
    return [Region(r, c, high, wide) for r, high in axes[0] for c, wide in axes[1]]


def _parts(
    places: Tensor, side: int, margin: int, border: bool
) -> list[tuple[Tensor, tuple[int, int]]]:
    """Return places along an axis, and what of a patch is kept there."""
    low, high = margin, side - margin
    if not border or margin == 0:
        return [(places, (low, high))]
    if len(places) == 1:
        return [(places, (0, side))]
    found = [(places[:1], (0, high)), (places[1:-1], (low, high)), (places[-1:], (low, side))]
    return [(some, kept) for some, kept in found if len(some)]


def blocks(image: Tensor, patch: int, scale: int) -> Tensor:
    """Return by what each patch is known: the means of its blocks ``(C, h, w, P, P)``, a view."""
    mean = functional.avg_pool2d(image, scale, 1)
    reach = scale * (patch - 1) + 1
    return mean.unfold(1, reach, 1).unfold(2, reach, 1)[..., ::scale, ::scale]


def crossing(view: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Return patches ``(n m, D)`` at the crossings of rows and columns of ``(C, h, w, P, P)``."""
    return view[:, rows[:, None], cols].flatten(1, 2).transpose(0, 1).flatten(1)


def posterior_mean(a: Tensor, weight: Tensor, patches: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Return ``sum_j p_j w_j / sum_j w_j``, ``w_j = exp(-weight |a - b_j|^2)``, for each a.

    ``-weight |a - b|^2 = weight (2 <a, b> - |b|^2)`` but for what does not depend on b. Sums are
    kept relative to the largest exponent so far, so that none overflows.

    Args:
        a: what the patches are known by ``(n, D)``.
        weight: a number, or one for each entry of a.
        patches: yields blocks of b ``(m, D)`` and p ``(m, R)``.
    """
    peak, total, mean = a.new_full((len(a), 1), -math.inf), a.new_zeros(len(a), 1), a.new_zeros(())
    left = torch.cat([2 * weight * a, -weight], 1) if weight.ndim else 2 * weight * a
    for b, p in patches:
        square = b.square()
        if weight.ndim:
            exponent = left @ torch.cat([b, square], 1).T
        else:
            exponent = torch.addmm(-weight * square.sum(1), left, b.T)
        top = torch.maximum(peak, exponent.detach().amax(1, keepdim=True))
        likely = exponent.sub_(top).exp_()
        before, peak = (peak - top).exp(), top
        total = total * before + likely.sum(1, keepdim=True)
        mean = mean * before + likely @ p
    return mean / total


def add(total: Tensor, count: Tensor, answers: Tensor, region: Region) -> None:
    """Add the rectangles ``(n m, R)`` of a region to an image, round a torus if they reach over."""
    (channels, height, width), n, m = total.shape, len(region.rows), len(region.cols)
    (top, bottom), (left, right) = region.high, region.wide
    stack = answers.view(n, m, channels, bottom - top, right - left).permute(2, 0, 1, 3, 4)
    for i in range(top, bottom):
        for j in range(left, right):
            at = ((region.rows + i)[:, None] % height, (region.cols + j) % width)
            total[(slice(None), *at)] += stack[..., i - top, j - left]
            count[at] += 1
