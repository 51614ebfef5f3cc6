"""Textures of patches laid over each other, each cut out along the seam of least cost.

Notation of ``_copies.py`` and ``_graphcut_seams.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check
from gouache.random import draw_seed
from gouache.registry import method

from ._blocks import Span, Usual, sides, spans_of
from ._copies import UNSET, Array, Errors, Places, Sources, continued, draw, fresh, sources, texture
from ._graphcut_seams import Mask, cut, seam_costs
from ._texture import Texture, wanted

Progress = Callable[[int, int], None] | None

USUAL = Usual(share=2, least=16, most=96, laps=3)
FINE = 1 << 53  # random numbers are fractions of it


@method("texture")
def graphcut(
    exemplar: Tensor | Sequence[Tensor],
    size: int | tuple[int, int] | None = None,
    *,
    patch: int | None = None,
    overlap: int | None = None,
    placement: str = "matching",
    randomness: float = 0.01,
    refinements: int | None = None,
    guide_weight: float = 1.0,
    tileable: bool = False,
    guides: tuple[Tensor | Sequence[Tensor], Tensor] | None = None,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Texture:
    """Lay patches of the exemplar over each other, cut out along seams of least cost.

    Patches are laid row by row, then over seams that cost much. By matching, a patch comes from the
    place q with probability ``~ exp(-C(q) / (randomness sigma^2))``, C being E over the known
    pixels' number and sigma^2 the exemplar's variance; places that go on with a copy already there
    count as the best of the others. What the patch covers is then divided into old and new by the
    minimum cut of a graph: neighbours p, t are joined by ``M(p, t, A, B)``, and where an old seam
    runs between them, by a node that leads to the new side at its cost ``M(p, t, A_p, A_t)``. So no
    patch laid over the others makes the seams cost more in all, but for rounding.

    Args:
        exemplar: one ``(C, h, w)`` in [0, 1], or several.
        size: rows and columns, or one number for both; None is the first exemplar's.
        patch: side, at least 2; None is half of the exemplar's smaller side, 16 to 96.
        overlap: pixels, at most half of the patch; None is a third of it.
        placement: "matching", or "random": from anywhere, heeding no guides.
        randomness: k of the choice; 0 takes the best.
        refinements: patches laid over seams in the end; None is half as many as before.
        guide_weight: of the guides.
        tileable: whether it is to go on at its left where it ends at its right, and so upwards.
        guides: of the exemplars ``(G, h, w)`` and of the texture ``(G, H, W)``: what belongs where.
        rng: of the seed.
        progress: called with (patches done, patches in all).

    Raises:
        InputError: no images, a patch that does not fit, guides that do not fit, another placement.

    Reference:
        V. Kwatra, A. Schoedl, I. Essa, G. Turk, A. Bobick, "Graphcut textures: image and video
        synthesis using graph cuts", 2003.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> stripes = torch.arange(48).remainder(8).div(8).expand(1, 48, 48)
        >>> made = patches.graphcut(stripes, (20, 80), tileable=True).image
        >>> torch.equal(made[:, :, 8:], made[:, :, :-8]), torch.equal(made[:, 1:], made[:, :-1])
        (True, True)
    """
    asked = wanted(exemplar, size, tileable, guides, patch=patch or 1)
    side, lap = sides(asked.atlas.side, patch, overlap, USUAL, "patch")
    check.choice(placement, "placement", ("matching", "random"))
    check.between(randomness, "randomness", 0)
    source = sources(asked)
    errors = Errors(source, check.between(guide_weight, "guide_weight", 0))
    variance = float(source.values[:, source.free].var(1, dtype=np.float64).sum())
    kT = randomness * variance if placement == "matching" else np.inf
    place = np.full(asked.size, UNSET, np.int32)
    work = Work(source, errors, place, kT, lap, asked.tileable, draw_seed(rng))
    rows, cols = (spans_of(n, side, lap, asked.tileable) for n in asked.size)
    blocks = [(y, x) for y in rows for x in cols]
    more = len(blocks) // 2 if refinements is None else check.count(refinements, "refinements", 0)
    _lay(work, blocks, more, progress)
    return texture(asked, place)


class Work(NamedTuple):
    """A texture being laid.

    Attributes:
        source: what it is copied from.
        errors: E over all places.
        place: the texture so far ``(H, W)``, written to.
        kT: randomness times the variance; infinite where any place will do.
        overlap: pixels.
        wraps: whether the texture goes round its ends.
        seed: of what is random.
    """

    source: Sources
    errors: Errors
    place: Places
    kT: float
    overlap: int
    wraps: bool
    seed: int


def _lay(work: Work, blocks: list[tuple[Span, Span]], more: int, progress: Progress) -> None:
    """Lay patches block by block, then ``more`` of them over what costs most."""
    shape, total = tuple(span.length for span in blocks[0]), len(blocks) + more
    for number in range(total):
        late = number >= len(blocks)
        block = _costly(work, shape, number) if late else blocks[number]
        if block is not None:
            _put(work, *block, number)
        if progress is not None:
            progress(number + 1, total)


def _costly(work: Work, shape: tuple[int, ...], number: int) -> tuple[Span, Span] | None:
    """Draw a block around a pixel, with the probability of its seams' costs; or none."""
    cost = seam_costs(work.source, work.place, work.wraps).sum(0)
    if not cost.any():
        return None
    at, whole = divmod(_drawn(cost, work.seed, number, 1), cost.shape[1]), cost.shape
    first = [c - k // 2 for c, k in zip(at, shape, strict=True)]
    if not work.wraps:
        first = [min(max(0, f), n - k) for f, n, k in zip(first, whole, shape, strict=True)]
    return Span(first[0], shape[0], 0, 0), Span(first[1], shape[1], 0, 0)


def _put(work: Work, rows: Span, cols: Span, number: int) -> None:
    """Lay a patch over a block, and keep what the cut gives it."""
    here = np.ix_(rows.pixels(work.place.shape[0]), cols.pixels(work.place.shape[1]))
    old, wide = work.place[here], work.source.free.shape[1]
    at = _choose(work, old, work.source.wish[:, here[0], here[1]], number)
    new = (at + np.arange(rows.length)[:, None] * wide + np.arange(cols.length)).astype(np.int32)
    taken = cut(work.source, old, new, _held(work, rows, cols))
    work.place[here] = np.where(taken, new, old)


def _choose(work: Work, old: Places, wish: Array, number: int) -> int:
    """Draw a place of the atlas, linear."""
    known, wide = old != UNSET, work.source.free.shape[1]
    values = work.source.values.reshape(len(work.source.values), -1)
    found = work.errors(values[:, np.where(known, old, 0)], known, wish)
    weight = np.isfinite(found)
    if work.kT < np.inf:
        least = fresh(found, continued(old, known, wide), wide, work.overlap).min()
        cost = np.maximum(found - least - work.errors.unseen(known), 0) / max(1, int(known.sum()))
        weight = np.exp(-cost.astype(np.float64) / work.kT) if work.kT else cost == 0
    row, col = divmod(_drawn(weight, work.seed, number, 0), found.shape[1])
    return row * wide + col


def _drawn(weight: NDArray[Any], seed: int, *path: int) -> int:
    """Return a random linear place, each with a probability proportional to its weight."""
    total = weight.cumsum(dtype=np.float64)
    at = draw(FINE, seed, *path) / FINE * total[-1]
    return int(np.searchsorted(total, min(at, np.nextafter(total[-1], 0)), "right"))


def _held(work: Work, rows: Span, cols: Span) -> Mask:
    """Return the pixels of a block ``(h, w)`` that keep their copy: those next to others' pixels.

    Beyond the end of a texture that does not wrap there are none.
    """
    known = np.pad(work.place != UNSET, 1, mode="wrap" if work.wraps else "constant")
    height, width = work.place.shape
    around = known[np.ix_(_around(rows, height), _around(cols, width))]
    held = np.zeros((rows.length, cols.length), bool)
    held[0] |= around[0, 1:-1]
    held[-1] |= around[-1, 1:-1]
    held[:, 0] |= around[1:-1, 0]
    held[:, -1] |= around[1:-1, -1]
    return held & around[1:-1, 1:-1]


def _around(span: Span, n: int) -> NDArray[np.int64]:
    """Return what a block covers of an axis of n pixels padded by one, and the pixel each side."""
    pixels = span.pixels(n) + 1
    return np.concatenate([[pixels[0] - 1], pixels, [pixels[-1] + 1]])
