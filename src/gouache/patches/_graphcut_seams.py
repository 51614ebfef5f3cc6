"""Seams between copies: what they cost, and the cut through a graph that costs least.

A pixel p shows the copy A_p that it was taken from, and ``A_p(t)`` is what that copy has at another
pixel t. The seam between neighbours costs ``M(p, t, A, B) = |A(p) - B(p)| + |A(t) - B(t)|``, the
lengths being those of colours. Places and the atlas as in ``_copies.py``.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ._copies import UNSET, Array, Places, Sources

UNITS = 1e4  # capacities are whole numbers: of the pixel range
RIGHT, DOWN = (0, 1), (1, 0)

Mask = NDArray[np.bool_]
Arcs = tuple[NDArray[np.int64], NDArray[np.int64], Array]  # from, to, cost


class Pairs(NamedTuple):
    """Neighbours p, t and what their copies have at both, each ``(C, n)``.

    Attributes:
        pp: ``A_p(p)``.
        pt: ``A_p(t)``; A_p(p) where that copy's exemplar ends.
        tp: ``A_t(p)``, likewise.
        tt: ``A_t(t)``.
        seam: whether a seam runs between them ``(n,)``.
    """

    pp: Array
    pt: Array
    tp: Array
    tt: Array
    seam: Mask


def _pairs(source: Sources, p: Places, t: Places, step: tuple[int, int]) -> Pairs:
    """Return what pixels copied from places p and t show, t being a step from p."""
    values = source.values.reshape(len(source.values), -1)
    beyond, back = _beside(source.free, p, step), _beside(source.free, t, (-step[0], -step[1]))
    return Pairs(values[:, p], values[:, beyond], values[:, back], values[:, t], beyond != t)


def _beside(free: Mask, place: Places, step: tuple[int, int]) -> Places:
    """Return the places a step further, or the same where the exemplar ends."""
    rows, cols = (c + s for c, s in zip(np.divmod(place, free.shape[1]), step, strict=True))
    y, x = (np.clip(c, 0, n - 1) for c, n in zip((rows, cols), free.shape, strict=True))
    inside = (y == rows) & (x == cols) & free[y, x]
    return np.where(inside, y * free.shape[1] + x, place).astype(np.int32)


def _seam(a: Array, b: Array, c: Array, d: Array) -> Array:
    """Return ``|a - b| + |c - d|``."""
    return np.sqrt(np.square(a - b).sum(0)) + np.sqrt(np.square(c - d).sum(0))


def _sides(pixels: NDArray[Any], step: tuple[int, int]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return p and t of all pairs a step apart ``(n,)``."""
    h, w = (n - s for n, s in zip(pixels.shape, step, strict=True))
    return pixels[:h, :w].ravel(), pixels[step[0] :, step[1] :].ravel()


def seam_costs(source: Sources, place: Places, wraps: bool) -> Array:
    """Return what the seams cost from each pixel to the right and downwards ``(2, H, W)``."""
    out = np.zeros((2, *place.shape), np.float32)
    for axis, step in enumerate((RIGHT, DOWN)):
        other = np.roll(place, (-step[0], -step[1]), (0, 1))
        pairs = _pairs(source, place.ravel(), other.ravel(), step)
        found = _seam(pairs.pp, pairs.tp, pairs.pt, pairs.tt) * pairs.seam
        out[axis] = found.reshape(place.shape)
        if not wraps:
            out[axis, place.shape[0] - step[0] :] = 0
            out[axis, :, place.shape[1] - step[1] :] = 0
    return out


def cut(source: Sources, old: Places, new: Places, held: Mask) -> Mask:
    """Return which pixels of a block are to be new ``(h, w)``, by a minimum cut.

    Args:
        source: what is copied from.
        old: places ``(h, w)``, -1 where there is none yet, so that the pixel is new.
        new: places.
        held: pixels that stay old.
    """
    if not held.any():
        return np.ones(old.shape, bool)
    start, end = old.size, old.size + 1
    nodes = np.where(held, start, np.arange(old.size).reshape(old.shape))
    nodes = np.where(old == UNSET, end, nodes)
    arcs, count = list[Arcs](), end + 1
    for step in (RIGHT, DOWN):
        sides = [tuple(s) for s in zip(*(_sides(a, step) for a in (old, new, nodes)), strict=True)]
        found, count = _arcs(source, sides, step, end, count)
        arcs += found
    return ~_kept(arcs, start, end, count)[nodes]


def _arcs(
    source: Sources,
    sides: list[tuple[NDArray[Any], ...]],
    step: tuple[int, int],
    end: int,
    count: int,
) -> tuple[list[Arcs], int]:
    """Return the graph's arcs between all p and t, and how many nodes it has with the new ones.

    Args:
        source: what is copied from.
        sides: for p and for t, their old places, their new ones and their nodes, each ``(n,)``.
        step: from p to t.
        end: node of the new side.
        count: nodes so far.
    """
    (old_p, new_p, p), (old_t, new_t, t) = sides
    pairs, new = _pairs(source, old_p, old_t, step), _pairs(source, new_p, new_t, step)
    from_p = _seam(pairs.pp, new.pp, pairs.pt, new.tt)
    from_t = _seam(pairs.tp, new.pp, pairs.tt, new.tt)
    seam = pairs.seam & (p != end) & (t != end) & (p != t)
    plain = (p != t) & ~seam
    lone = np.where(p == end, from_t, from_p)[plain]
    p1, t1, node = p[seam], t[seam], count + np.arange(seam.sum())
    cost = _seam(pairs.pp, pairs.tp, pairs.pt, pairs.tt)[seam]
    both = [(p[plain], t[plain], lone), (p1, node, from_p[seam]), (node, t1, from_t[seam])]
    back = [(b, a, c) for a, b, c in both]
    return [*both, *back, (node, np.full_like(node, end), cost)], count + len(node)


def _kept(arcs: list[Arcs], start: int, end: int, count: int) -> Mask:
    """Return the nodes on the old side of the minimum cut ``(count,)``."""
    from scipy import sparse
    from scipy.sparse import csgraph

    rows, cols, costs = (np.concatenate(some) for some in zip(*arcs, strict=True))
    whole = np.rint(UNITS * costs.astype(np.float64)).astype(np.int32)
    entries = (whole, (rows.astype(np.int32), cols.astype(np.int32)))
    graph = sparse.csr_matrix(entries, (count, count), dtype=np.int32)
    rest = graph - csgraph.maximum_flow(graph, start, end).flow
    rest.data = (rest.data > 0).astype(np.int32)
    rest.eliminate_zeros()
    kept = np.zeros(count, bool)
    kept[csgraph.breadth_first_order(rest, start, return_predecessors=False)] = True
    return kept
