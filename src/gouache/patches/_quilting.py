"""Textures of square blocks, sewn together along cuts of least error.

Notation of ``_copies.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check
from gouache.random import draw_seed
from gouache.registry import method

from ._blocks import Span, Usual, sides, spans_of, waves_of
from ._copies import (
    UNSET,
    Array,
    Errors,
    Places,
    Sources,
    continued,
    draw,
    fresh,
    sources,
    texture,
)
from ._texture import Texture, wanted

USUAL = Usual(share=5, least=12, most=64, laps=6)


@method("texture")
def quilting(
    exemplar: Tensor | Sequence[Tensor],
    size: int | tuple[int, int] | None = None,
    *,
    block: int | None = None,
    overlap: int | None = None,
    tolerance: float = 0.1,
    guide_weight: float = 1.0,
    tileable: bool = False,
    guides: tuple[Tensor | Sequence[Tensor], Tensor] | None = None,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Texture:
    """Sew blocks of the exemplar together along cuts of least error.

    A block is drawn from the places q with ``E(q) <= (1 + tolerance) E_min``, where
    ``E(q) = sum |u(q + i) - t(i)|^2 + guide_weight sum |g(q + i) - gamma(i)|^2``, the first sum
    over what the texture t has of the block already and the second over the whole block. A block
    that goes on with its neighbour's copy has E = 0 and would always win: ``E_min`` is the least
    among those at least an overlap away from that, so that such a block is one of several. A cut
    runs along each overlap, a path of least squared difference; where the left and the upper one
    meet, they are one path around the corner.

    Args:
        exemplar: one ``(C, h, w)`` in [0, 1], or several.
        size: rows and columns, or one number for both; None is the first exemplar's.
        block: side, at least 2: somewhat larger than the texture's elements; None is a fifth of the
            exemplar's smaller side, 12 to 64.
        overlap: pixels, at most half of the block; None is a sixth of it.
        tolerance: how much worse than the best a block may be, relatively.
        guide_weight: of the guides.
        tileable: whether it is to go on at its left where it ends at its right, and so upwards.
        guides: of the exemplars ``(G, h, w)`` and of the texture ``(G, H, W)``: what belongs where.
        rng: of the seed; the texture depends on it, never on the number of threads.
        progress: called with (blocks done, blocks in all).

    Raises:
        InputError: no images, a block that does not fit, guides that do not fit.

    Reference:
        A. Efros, W. Freeman, "Image quilting for texture synthesis and transfer", 2001.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> stripes = torch.arange(48).remainder(8).div(8).expand(1, 48, 48)
        >>> made = patches.quilting(stripes, (20, 80), tileable=True).image
        >>> torch.equal(made[:, :, 8:], made[:, :, :-8]), torch.equal(made[:, 1:], made[:, :-1])
        (True, True)
    """
    asked = wanted(exemplar, size, tileable, guides, patch=block or 1, name="block")
    side, lap = sides(asked.atlas.side, block, overlap, USUAL, "block")
    check.between(tolerance, "tolerance", 0)
    source = sources(asked)
    errors = Errors(source, check.between(guide_weight, "guide_weight", 0))
    spans = [spans_of(n, side, lap, tileable) for n in asked.size]
    quilt = Quilt(source, errors, np.full(asked.size, UNSET, np.int32), tolerance, draw_seed(rng))
    _sew(quilt, spans, progress)
    return texture(asked, quilt.place)


class Quilt(NamedTuple):
    """A quilt being sewn.

    Attributes:
        source: what it is copied from.
        errors: E over all places.
        place: the texture so far ``(H, W)``, written to.
        tolerance: see `quilting`.
        seed: of what is random.
    """

    source: Sources
    errors: Errors
    place: Places
    tolerance: float
    seed: int


def _sew(
    quilt: Quilt, spans: list[list[Span]], progress: Callable[[int, int], None] | None
) -> None:
    """Put all blocks in place, side by side where they do not touch."""
    from . import _jit

    height, width = (len(some) for some in spans)
    done = 0
    for wave in waves_of(height, width):
        blocks = [(spans[0][i], spans[1][j], i * width + j) for i, j in wave]
        deque(_jit.spread(lambda k, some=blocks: _put(quilt, *some[k]), len(blocks)), 0)
        done += len(wave)
        if progress is not None:
            progress(done, height * width)


def _put(quilt: Quilt, rows: Span, cols: Span, number: int) -> None:
    """Choose a block and sew it in."""
    source, place = quilt.source, quilt.place
    here = np.ix_(rows.pixels(place.shape[0]), cols.pixels(place.shape[1]))
    old, wide = place[here], source.free.shape[1]
    known = _known(rows, cols)
    seen = source.values.reshape(len(source.values), -1)[:, np.where(known, old, 0)]
    wish = source.wish[:, here[0], here[1]]
    at = _choose(
        quilt, quilt.errors(seen, known, wish), old, known, max(*rows[2:], *cols[2:]), number
    )
    new = at + np.arange(rows.length)[:, None] * wide + np.arange(cols.length)
    new = new.astype(np.int32)
    shown = source.values.reshape(len(source.values), -1)[:, new]
    e = np.where(known, np.square(shown - seen).sum(0), 0).astype(np.float32)
    place[here] = np.where(sewn(e, rows, cols), new, old)


def _known(rows: Span, cols: Span) -> NDArray[np.bool_]:
    """Return what lies on other blocks ``(h, w)``."""
    known = np.ones((rows.length, cols.length), bool)
    known[rows.before : rows.length - rows.after, cols.before : cols.length - cols.after] = False
    return known


def _choose(
    quilt: Quilt, found: Array, old: Places, known: NDArray[np.bool_], lap: int, number: int
) -> int:
    """Draw a place of the atlas, linear, from those within the tolerance."""
    wide = quilt.source.free.shape[1]
    best = fresh(found, continued(old, known, wide), wide, lap).min()
    limit = (1 + quilt.tolerance) * best + quilt.errors.unseen(known)
    near = np.flatnonzero(found <= limit)
    y, x = divmod(int(near[draw(len(near), quilt.seed, number)]), found.shape[1])
    return y * wide + x


def sewn(e: Array, rows: Span, cols: Span) -> NDArray[np.bool_]:
    """Return which pixels of a block are to be new ``(h, w)``, by the cuts along its sides.

    The cuts on the right and below, where a tileable texture ends, run along the whole side.

    Args:
        e: squared differences ``(h, w)``.
        rows: overlaps above and below.
        cols: overlaps on the left and on the right.
    """
    from . import _quilting_kernels as kernels

    left, top = np.zeros(rows.length, np.int64), np.zeros(cols.length, np.int64)
    right, below = left.copy(), top.copy()
    sides = [
        (left, e[:, : cols.before]),
        (top, e[: rows.before].T),
        (right, e[:, ::-1][:, : cols.after]),
        (below, e[::-1][: rows.after].T),
    ]
    strips = [(path, np.ascontiguousarray(strip)) for path, strip in sides]
    if rows.before and cols.before:
        kernels.corner(strips[0][1], strips[1][1], left, top)
        strips = strips[2:]
    for path, strip in strips:
        if strip.size:
            kernels.straight(strip, path)
    y, x = np.arange(e.shape[0])[:, None], np.arange(e.shape[1])
    new = (x >= left[:, None]) & (y >= top)
    return new & (e.shape[1] - 1 - x >= right[:, None]) & (e.shape[0] - 1 - y >= below)
