"""The exact nearest-neighbour field, by blocks of matrix products.

Notation of ``_match.py``. ``d(p, q) = |a|^2 - 2 <a, b> + |b|^2`` for patches a and b as vectors;
with weights w, ``<w, a^2> - 2 <w a, b> + <w, b^2>``: one product of matrices gives everything that
depends on q.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from gouache.registry import method

from ._match import Field, Problem, distances, problem, result

ROWS, COLUMNS = 4096, 1024  # patches of the query and of the source in a block


@method("match")
def brute_force(
    query: Tensor,
    source: Tensor | None = None,
    *,
    patch: int = 7,
    k: int = 1,
    query_mask: Tensor | None = None,
    source_mask: Tensor | None = None,
    weight: Tensor | None = None,
    exclusion: int | None = None,
    guides: tuple[Tensor, Tensor] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Field:
    """Match every patch with its k nearest by comparing all pairs.

    ``min over q of d(p, q)``, d from matrix products in float32 around the source's mean; the d of
    those found are then computed anew from differences. Two patches whose d differ by less than
    1e-6 of their squared norms may change places.

    Args:
        query: ``(C, H, W)``: an image, or any features.
        source: ``(C, H', W')``; None matches the query with itself.
        patch: side P of a patch.
        k: neighbours of each patch.
        query_mask: ``(H, W)`` bool: patches whose centre is true are looked up.
        source_mask: ``(H', W')`` bool: patches may be taken whose pixels are all true.
        weight: ``(H, W)`` >= 0: of the query's pixels; 0 ignores them.
        exclusion: places nearer than this to the patch's own, in the larger of the two directions,
            are not taken; None is 1 in a self-match, else 0.
        guides: ``(G, H, W)`` and ``(G, H', W')``: further channels to be matched, scaled by the
            caller.
        progress: called with (blocks done, blocks in all).

    Raises:
        InputError: images, masks, weights or guides that do not fit each other.

    Reference:
        L.-Y. Wei, M. Levoy, "Fast texture synthesis using tree-structured vector quantization",
        2000 (what tree search approximates).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(3, 20, 20)
        >>> field = patches.brute_force(image[:, 4:], image)
        >>> field.place[0, 0, 0].tolist(), float(field.distance.max())
        ([4, 0], 0.0)
    """
    masks = (query_mask, source_mask)
    asked = problem(query, source, patch, k, masks, weight, exclusion, guides)
    h, w = asked.shape
    places = torch.full((h * w, k), -1, device=query.device)
    found = torch.full((h * w, k), math.inf, device=query.device)
    wanted = torch.arange(h * w, device=query.device)
    wanted = wanted if asked.looked is None else wanted[asked.looked.flatten()]
    blocks = wanted.split(ROWS) if len(wanted) else ()
    for done, at in enumerate(blocks, 1):
        places[at] = _nearest(asked, at)
        found[at] = distances(asked, at, places[at])
        if progress is not None:
            progress(done, len(blocks))
    return result(places, found, asked)


def _nearest(asked: Problem, at: Tensor) -> Tensor:
    """Return the linear places ``(n, k)`` of the sources nearest to query patches ``at (n,)``."""
    k, mean = asked.k, asked.source.mean((1, 2))
    left = _left(asked, at, mean)
    best = left.new_full((len(at), k), math.inf)
    place = torch.full_like(best, -1, dtype=torch.long)
    buffer = left.new_empty(len(at), COLUMNS + asked.source_shape[1])
    for start, right in _right(asked, mean):
        block = torch.mm(
            left, right, out=buffer.view(-1)[: len(at) * right.shape[1]].view(len(at), -1)
        )
        _exclude(block, asked, at, start)
        _merge(block, start, best, place)
    return place


def _merge(block: Tensor, start: int, best: Tensor, place: Tensor) -> None:
    """Take what a block has that is nearer than the k-th so far; few rows have, after a while."""
    k = best.shape[1]
    rows = (block.amin(1) < best[:, -1]).nonzero()[:, 0]
    if not len(rows):
        return
    near, column = block[rows].topk(min(k, block.shape[1]), largest=False)
    near, column = torch.cat([best[rows], near], 1), torch.cat([place[rows], start + column], 1)
    chosen = near.argsort(dim=1, stable=True)[:, :k]
    best[rows] = near.gather(1, chosen)
    place[rows] = column.gather(1, chosen).where(best[rows] < math.inf, -1)


def _left(asked: Problem, at: Tensor, mean: Tensor) -> Tensor:
    """Return the left factor ``(n, D + 1)``, or ``(n, 2 D + 1)`` with weights."""
    p, w = asked.patch, asked.shape[1]
    a = _vectors(asked.query - mean[:, None, None], p, at // w, at % w)
    one = a.new_ones(len(a), 1)
    if asked.weight is None:
        return torch.cat([-2 * a, one], 1)
    weight = _vectors(asked.weight.expand_as(asked.query), p, at // w, at % w)
    return torch.cat([-2 * weight * a, weight, one], 1)


def _vectors(image: Tensor, p: int, rows: Tensor, cols: Tensor) -> Tensor:
    """Return patches as vectors ``(n, D)``."""
    return image.unfold(1, p, 1).unfold(2, p, 1)[:, rows, cols].transpose(0, 1).flatten(1)


def _right(asked: Problem, mean: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Yield the right factor by rows of the source, and the linear place of its first column."""
    p, (high, wide) = asked.patch, asked.source_shape
    view = (asked.source - mean[:, None, None]).unfold(1, p, 1).unfold(2, p, 1)
    step = max(1, COLUMNS // wide)
    for top in range(0, high, step):
        b = view[:, top : top + step].permute(0, 3, 4, 1, 2).flatten(0, 2).flatten(1)
        squares = b.square()
        last = squares.sum(0) if asked.weight is None else b.new_zeros(b.shape[1])
        if asked.allowed is not None:
            last[~asked.allowed[top : top + step].flatten()] = math.inf
        factors = [b] if asked.weight is None else [b, squares]
        yield top * wide, torch.cat([*factors, last[None]])


def _exclude(block: Tensor, asked: Problem, at: Tensor, start: int) -> None:
    """Make infinite what lies too near to the patch's own place."""
    if not asked.exclusion:
        return
    w, wide = asked.shape[1], asked.source_shape[1]
    count = block.shape[1] // wide
    rows = start // wide + torch.arange(count, device=at.device) - (at // w)[:, None]
    near = rows.abs() < asked.exclusion
    if near.any():
        cols = (torch.arange(wide, device=at.device) - (at % w)[:, None]).abs() < asked.exclusion
        block.view(len(at), count, wide).masked_fill_(near[:, :, None] & cols[:, None], math.inf)
