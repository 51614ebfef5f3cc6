"""Squares of several sizes that tile a picture, what each may be copied from, and which one is.

Notation: a *cell* is a square of t pixels; its *piece* has t / 4 more on every side. Each of n
pieces has K candidates, places of a source.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Cells(NamedTuple):
    """Pieces and their candidates.

    Attributes:
        at: row and column of each cell ``(n, 2)``.
        corner: of its piece ``(n, 2)``.
        side: of each piece ``(n,)``.
        place: row and column of each candidate ``(n, K, 2)``.
        cost: of taking it ``(n, K)``.
    """

    at: Tensor
    corner: Tensor
    side: Tensor
    place: Tensor
    cost: Tensor


def matched(pieces: Tensor, source: Tensor, apart: int, k: int) -> tuple[Tensor, Tensor]:
    """Return the k places ``(n, k, 2)`` nearest to pieces, and the sums of squares ``(n, k)``.

    No two lie in the same square of a grid; where it has fewer squares, places are repeated.

    Args:
        pieces: ``(n, s, s)``.
        source: ``(H, W)``.
        apart: side of the squares.
        k: how many.
    """
    mean, side = source.mean(), pieces.shape[-1]
    a, b = pieces - mean, (source - mean)[None, None]
    own = F.avg_pool2d(b.square(), side, 1, divisor_override=1)
    d = own - 2 * F.conv2d(b, a[:, None])[0][:, None]
    low, at = F.max_pool2d(-d, apart, apart, ceil_mode=True, return_indices=True)
    low, best = low.flatten(1).topk(min(k, low[0].numel()))
    at = at.flatten(1).gather(1, best)
    place = torch.stack([at // d.shape[-1], at % d.shape[-1]], -1)
    far = (a.square().sum((1, 2))[:, None] - low).clamp(min=0)
    again = torch.arange(k, device=at.device) % at.shape[1]
    return place[:, again], far[:, again]


def neighbours(corner: Tensor, side: Tensor, unit: int) -> Tensor:
    """Return all pairs of cells ``(m, 2)`` that touch each other, be it at a corner.

    Args:
        corner: of cells ``(n, 2)``, in multiples of ``unit``.
        side: of cells ``(n,)``, likewise.
        unit: the least side.
    """
    at, size = corner // unit, side // unit
    last = (at + size[:, None]).amax(0).tolist()
    drawn = torch.full(last, -1, device=corner.device)
    for n, ((y, x), t) in enumerate(zip(at.tolist(), size.tolist(), strict=True)):
        drawn[y : y + t, x : x + t] = n
    bordered = F.pad(drawn, (1, 1, 0, 1), value=-1)
    found = [
        torch.stack([drawn, bordered[dy : dy + last[0], 1 + dx : 1 + dx + last[1]]], -1)
        for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1))
    ]
    pairs = torch.cat([x.flatten(0, 1) for x in found])
    pairs = pairs[(pairs >= 0).all(1) & (pairs[:, 0] != pairs[:, 1])]
    return pairs.sort(1).values.unique(dim=0)


def disagreement(cells: Cells, pairs: Tensor, source: Tensor) -> Tensor:
    """Return by how much candidates of two pieces differ where both lie ``(m, K, K)``.

    It is the sum of squares over the pixels, the mean over the channels of ``source (C, H, W)``.
    """
    (i, j), k = pairs.T, cells.place.shape[1]
    shape = torch.cat(
        [cells.side[i, None], cells.side[j, None], cells.corner[j] - cells.corner[i]], 1
    )
    kinds, which = shape.unique(dim=0, return_inverse=True)
    out = source.new_empty(len(pairs), k, k)
    for n, (first, second, dy, dx) in enumerate(kinds.tolist()):
        some = (which == n).nonzero()[:, 0]
        rows = torch.arange(max(0, dy), min(first, dy + second), device=source.device)
        cols = torch.arange(max(0, dx), min(first, dx + second), device=source.device)
        a = _cut(source, cells.place[i[some]], rows, cols)
        b = _cut(source, cells.place[j[some]], rows - dy, cols - dx)
        d = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        out[some] = d.square() / len(source)
    return out


def repeats(cells: Cells, pairs: Tensor) -> Tensor:
    """Return the pixels of the smaller piece where two candidates show the same, else 0.

    They do if they are less than half a piece apart, and one does not go on with the other.

    Returns:
        ``(m, K, K)``.
    """
    i, j = pairs.T
    shift = cells.place[j][:, None] - cells.place[i][:, :, None]
    least = torch.minimum(cells.side[i], cells.side[j])[:, None, None]
    own = (cells.corner[j] - cells.corner[i])[:, None, None]
    again = (shift.abs().amax(-1) < least // 2) & (shift != own).any(-1)
    return again * least.square()


def _cut(source: Tensor, place: Tensor, rows: Tensor, cols: Tensor) -> Tensor:
    """Return some rows and columns of pieces at places ``(m, K, 2)``, as vectors ``(m, K, D)``."""
    y = (place[..., 0, None] + rows)[..., None]
    x = (place[..., 1, None] + cols)[..., None, :]
    return source[:, y, x].permute(1, 2, 0, 3, 4).flatten(2)


def believed(cost: Tensor, pairs: Tensor, between: Tensor, rounds: int) -> Tensor:
    """Return the candidate of each cell ``(n,)`` that min-sum belief propagation ends with.

    Messages are halved with their predecessors, as else they swing where there are loops.

    Args:
        cost: of candidates ``(n, K)``.
        pairs: of cells ``(m, 2)``.
        between: the cost of pairs of candidates ``(m, K, K)``.
        rounds: of messages along all pairs, both ways.

    Reference:
        J. Pearl, "Probabilistic reasoning in intelligent systems", 1988; P. Felzenszwalb,
        D. Huttenlocher, "Efficient belief propagation for early vision", 2006.
    """
    m = len(pairs)
    start, end = torch.cat([pairs, pairs.flip(1)]).T
    table = torch.cat([between, between.transpose(1, 2)])
    message, back = cost.new_zeros(2 * m, cost.shape[1]), torch.arange(2 * m).roll(m)
    for _ in range(rounds):
        belief = cost.index_add(0, end, message)
        told = belief[start] - message[back]
        new = (told[:, :, None] + table).amin(1)
        message = (message + new - new.amin(1, keepdim=True)) / 2
    return cost.index_add(0, end, message).argmin(1)


def origins(cells: Cells, chosen: Tensor) -> Tensor:
    """Return row and column ``(2, H, W)`` in the source of every pixel, of its cell's piece."""
    height, width = (cells.corner + cells.side[:, None]).amax(0).tolist()
    out = torch.zeros(2, height, width, dtype=torch.long, device=cells.at.device)
    place = cells.place[torch.arange(len(chosen)), chosen]
    shift = (place - cells.corner).tolist()
    for (y, x), s, (dy, dx) in zip(cells.at.tolist(), cells.side.tolist(), shift, strict=True):
        rows, cols = (range(i, min(i + s * 2 // 3, n)) for i, n in ((y, height), (x, width)))
        at = [torch.arange(r.start, r.stop, device=out.device) for r in (rows, cols)]
        out[:, rows.start : rows.stop, cols.start : cols.stop] = torch.stack(
            torch.meshgrid(at[0] + dy, at[1] + dx, indexing="ij")
        )
    return out
