"""Textures grown from a seed, pixel by pixel.

Notation of ``_neighbourhood_kernels.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.random import derive, draw_seed
from gouache.registry import method

from ._copies import UNSET, Places, Sources, sources, texture
from ._neighbourhood import Task, inner, offsets, unseen
from ._texture import Texture, wanted

SPREAD = 6.4  # windows to a sigma of their weights


@method("texture")
def efros_leung(
    exemplar: Tensor | Sequence[Tensor],
    size: int | tuple[int, int] | None = None,
    *,
    window: int = 11,
    tolerance: float = 0.1,
    guide_weight: float = 1.0,
    tileable: bool = False,
    guides: tuple[Tensor | Sequence[Tensor], Tensor] | None = None,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Texture:
    """Grow a texture from a seed, each pixel copied from where its surroundings look alike.

    The seed is 3 x 3 pixels in the middle; next come the pixels at the border of what is known,
    those with the most known neighbours first. A pixel p is drawn from the places q with ``d(q) <=
    (1 + tolerance) min d``, ``d(q) = sum_k G_k |u(q + k) - x(p + k)|^2 / sum_k G_k`` over the known
    pixels p + k of the window, the weights G being a Gaussian of sigma = window / 6.4; the guides'
    mean over the whole window is added, times ``guide_weight``. The time grows as the product of
    the texture's pixels and the exemplar's.

    Args:
        exemplar: one ``(C, h, w)`` in [0, 1], or several.
        size: rows and columns, or one number for both; None is the first exemplar's.
        window: side, odd, at least 3: somewhat larger than the texture's elements.
        tolerance: how much worse than the best a place may be, relatively.
        guide_weight: of the guides.
        tileable: whether it is to go on at its left where it ends at its right, and so upwards.
        guides: of the exemplars ``(G, h, w)`` and of the texture ``(G, H, W)``: what belongs where.
        rng: of the seed.
        progress: called with (pixels done, pixels in all).

    Raises:
        InputError: no images, a window that is even or does not fit, guides that do not fit.

    Reference:
        A. Efros, T. Leung, "Texture synthesis by non-parametric sampling", 1999.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> checks = torch.eye(2).kron(torch.ones(4, 4)).repeat(3, 3)[None]
        >>> made = patches.efros_leung(checks, 20).image
        >>> torch.equal(made[:, 8:], made[:, :-8]), torch.equal(made[:, 4:], 1 - made[:, :-4])
        (True, True)
    """
    if check.count(window, "window", 3) % 2 == 0:
        raise InputError(f"window must be odd, so that it has a centre, got {window}")
    asked = wanted(exemplar, size, tileable, guides, patch=window, name="window")
    check.between(tolerance, "tolerance", 0)
    check.between(guide_weight, "guide_weight", 0)
    given = (window, tolerance, guide_weight, asked.tileable, draw_seed(rng))
    place = np.full(asked.size, UNSET, np.int32)
    _grow(_task(sources(asked), *given), place, progress)
    return texture(asked, place)


def _task(
    source: Sources, window: int, tolerance: float, guide_weight: float, wraps: bool, seed: int
) -> Task:
    """Return the task of a window with Gaussian weights."""
    near = offsets(window // 2)
    weight = np.exp(-np.square(near).sum(1) / (2 * (window / SPREAD) ** 2)).astype(np.float32)
    share = np.full(len(source.guide), guide_weight, np.float32)
    return Task(
        np.concatenate([source.values, source.guide]).ravel(),
        len(source.values),
        inner(source.free, window // 2),
        window // 2,
        near,
        weight,
        source.wish,
        near,
        weight,
        share,
        np.float32(tolerance),
        unseen(len(source.values), share),
        wraps,
        seed,
    )


def _grow(task: Task, place: Places, progress: Callable[[int, int], None] | None) -> None:
    """Fill ``place``, ring by ring."""
    from ._neighbourhood_kernels import grow

    _seed(task, place)
    rng = np.random.default_rng(derive(task.seed, 1) & (1 << 64) - 1)
    while (pixels := _ring(place >= 0, task, rng.random(place.shape))).size:
        grow(pixels, task, place)
        if progress is not None:
            progress(int((place >= 0).sum()), place.size)
    if progress is not None and place.size <= 9:
        progress(place.size, place.size)


def _seed(task: Task, place: Places) -> None:
    """Copy 3 x 3 pixels into the middle, or as many as there are."""
    from ._neighbourhood_kernels import grow

    y, x = (n // 2 for n in place.shape)
    grow(np.array([y * place.shape[1] + x], np.int32), task, place)
    first, wide = int(place[y, x]), task.allowed.shape[1]
    for i, j in np.ndindex(3, 3):
        if 0 <= y + i - 1 < place.shape[0] and 0 <= x + j - 1 < place.shape[1]:
            place[y + i - 1, x + j - 1] = first + (i - 1) * wide + j - 1


def _ring(known: NDArray[np.bool_], task: Task, tie: NDArray[np.float64]) -> Places:
    """Return the unknown pixels that touch known ones, most known neighbours first ``(n,)``."""
    from scipy import ndimage

    mode = "wrap" if task.wraps else "constant"
    side = 2 * task.margin + 1
    touched = np.asarray(ndimage.maximum_filter(known, 3, mode=mode), bool) & ~known
    share = np.asarray(ndimage.uniform_filter(known.astype(float), side, mode=mode))
    count = np.round(share * side * side)[touched]
    return np.flatnonzero(touched)[np.lexsort((tie[touched], -count))].astype(np.int32)
