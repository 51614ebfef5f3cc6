"""Nearest-neighbour fields by PatchMatch: guesses from random trees, handed on by neighbours.

Notation of ``_match.py``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check, random
from gouache.check import InputError
from gouache.registry import method

from ._match import Field, Problem, problem
from ._match_tree import Codes, Tree, coded, coding, grown

APART = 32  # numbers between what two threads write, lest they wait for each other
LONGEST = 2**15 - 1  # a row and a column are packed into 32 bits


class Task(NamedTuple):
    """A problem as the kernels take it; what is not asked for has length 0.

    Attributes:
        query: flat, a pixel's channels side by side.
        source: likewise.
        codes: of their patches.
        weight: of the query's pixels, flat.
        allowed: which patches of the source may be taken, flat.
        exclusion: see ``Problem``.
        width: w.
        high: h'.
        wide: w'.
        patch: P.
        channels: C.
    """

    query: NDArray[np.float32]
    source: NDArray[np.float32]
    codes: Codes
    weight: NDArray[np.float32]
    allowed: NDArray[np.bool_]
    exclusion: int
    width: int
    high: int
    wide: int
    patch: int
    channels: int


@method("match")
def patchmatch(
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
    iterations: int = 5,
    start: Field | None = None,
    rng: torch.Generator | None = None,
) -> Field:
    """Match every patch with k near ones, in time near linear in the pixels.

    Every place begins with random patches. A sweep visits the places in order, in turn forwards and
    backwards. A place tries ``q + (p - p')`` for each match q of a neighbour p' just visited; those
    patches of its leaf whose main components are most like its own, the leaf being one of a random
    tree over the source's patches, another one every sweep; and random places around its best
    match, in windows that halve down to one pixel. The first window is 9 pixels wide, or twice the
    source if there is a ``weight``, as components know of no weights; pixels of weight 0 should
    hold a guess, since the leaf depends on them. A GPU's sweep has no trees, but hands matches on
    over several distances at once.

    Args:
        query: and the next eight: as in ``brute_force``.
        source: see there.
        patch: see there.
        k: see there.
        query_mask: see there.
        source_mask: see there.
        weight: see there.
        exclusion: see there.
        guides: see there.
        iterations: sweeps.
        start: a field to begin with, of the same places; what is -1 in it is random.
        rng: of the seed; the field depends on it, never on the number of threads.

    Raises:
        InputError: images, masks, weights, guides or a start that do not fit each other.

    Reference:
        C. Barnes, E. Shechtman, A. Finkelstein, D. Goldman, "PatchMatch: a randomized
        correspondence algorithm for structural image editing", 2009; C. Barnes, E. Shechtman,
        D. Goldman, A. Finkelstein, "The generalized PatchMatch correspondence algorithm", 2010;
        K. He, J. Sun, "Computing nearest-neighbor fields via propagation-assisted kd-trees", 2012;
        M. Muja, D. Lowe, "Fast approximate nearest neighbors with automatic algorithm
        configuration", 2009 (random trees).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.linspace(0, 6, 900).sin().view(1, 30, 30)
        >>> field = patches.patchmatch(image[:, 4:], image, patch=5)
        >>> float(field.distance.mean()) < 1e-3
        True
    """
    check.count(iterations, "iterations", 0)
    masks = (query_mask, source_mask)
    asked = checked_sides(problem(query, source, patch, k, masks, weight, exclusion, guides))
    place = first_places(start, asked)
    if asked.query.is_cuda:
        from ._patchmatch_tensors import search

        return search(asked, place, iterations, random.draw_seed(rng))
    return _kernels(asked, place, iterations, random.draw_seed(rng))


def checked_sides(asked: Problem) -> Problem:
    """Return a problem whose places can be packed.

    Raises:
        InputError: an image whose rows or columns do not fit into 15 bits.
    """
    if max(*asked.query.shape, *asked.source.shape) > LONGEST:
        raise InputError(
            f"patchmatch takes sides of at most {LONGEST} pixels, got {tuple(asked.query.shape)} "
            f"and {tuple(asked.source.shape)}; crop, or use brute_force"
        )
    return asked


def first_places(start: Field | None, asked: Problem) -> Tensor:
    """Return the first places ``(h, w, k)``, packed, -1 where they are to be random."""
    place = torch.full((*asked.shape, asked.k), -1, dtype=torch.int32)
    if start is None:
        return place
    if tuple(start.place.shape[1:3]) != asked.shape:
        raise InputError(
            f"start must have places {asked.shape}, got {tuple(start.place.shape[1:3])}"
        )
    known, limit = start.place[: asked.k].cpu(), torch.tensor(asked.source_shape)
    if start.patch != asked.patch or not (known < limit).all():
        raise InputError(
            f"start must be of patches of {asked.patch} pixels and point into the source, got "
            f"patches of {start.patch} and places up to {known.amax((0, 1, 2)).tolist()}"
        )
    packed = torch.where(known[..., 0] < 0, -1, known[..., 0] << 16 | known[..., 1])
    place[:, :, : len(known)] = packed.permute(1, 2, 0)
    return place


def _kernels(asked: Problem, start: Tensor, iterations: int, seed: int) -> Field:
    """Search by the compiled kernels."""
    listed = listed_of(asked)

    def tree(known: Codes, number: int) -> Tree:
        return grown(known, listed, random.derive(seed, number))

    # The task is not named here: its codes are gone before the field is unpacked.
    found = sweeps(asked, task(asked, listed), listed, start, (iterations, tree), seed)
    return unpacked(*found, asked)


def sweeps(
    asked: Problem,
    given: Task,
    listed: NDArray[np.int32],
    start: Tensor,
    trees: tuple[int, Callable[[Codes, int], Tree]],
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Search by the compiled kernels, and return packed places and distances ``(h, w, k)``.

    Args:
        asked: what is matched.
        given: the same for the kernels.
        listed: the linear places of the source that may be taken, or of length 0.
        start: packed first places ``(h, w, k)``, -1 where they are to be random.
        trees: how many sweeps, and what gives the tree of some codes for each, from 1.
        seed: of chance.
    """
    from . import _match_kernels as kernels

    looked = flat(asked.looked, np.bool_)
    place, far = start.numpy(), np.full(start.shape, np.inf, np.float32)
    bands = range(-(-asked.shape[0] // kernels.BAND))
    room = np.empty((len(bands), asked.k + kernels.TRIED + APART), np.int32)
    lists = (room, np.empty(room.shape, np.float32))
    _each(bands, kernels.begin, given, looked, listed, lists, seed, place, far)
    for number in range(1, trees[0] + 1):
        tree = None  # the last sweep's is gone before this one's is made
        tree = trees[1](given.codes, number)
        for some in (bands[::2], bands[1::2]):
            _each(some, kernels.sweep, given, looked, tree, lists, seed, number, place, far)
    return torch.from_numpy(place), torch.from_numpy(far)


def _each(bands: range, kernel: Callable[..., None], *given: object) -> None:
    """Run a kernel on some bands."""
    from ._jit import spread

    deque(spread(lambda k: kernel(bands[k], *given), len(bands)), 0)


def unpacked(place: Tensor, far: Tensor, asked: Problem) -> Field:
    """Return the k best of packed lists ``(h, w, k)``."""
    best = place[..., : asked.k].permute(2, 0, 1)
    places = torch.empty(*best.shape, 2, dtype=torch.int32)
    torch.bitwise_right_shift(best, 16, out=places[..., 0])
    torch.where(best < 0, best, best & 0xFFFF, out=places[..., 1])
    return Field(places, far[..., : asked.k].permute(2, 0, 1).contiguous(), asked.patch)


def task(asked: Problem, listed: NDArray[np.int32]) -> Task:
    """Return a problem as the kernels take it; the linear places listed may be taken."""
    a = pixels(asked.query)
    b = a if asked.source is asked.query else pixels(asked.source)
    known = coding(asked, listed)
    query = coded(a, asked.shape, asked, known)
    source = query if b is a else coded(b, asked.source_shape, asked, known)
    return task_of(asked, a, b, Codes(query, source, known.weight))


def task_of(asked: Problem, a: NDArray[np.float32], b: NDArray[np.float32], found: Codes) -> Task:
    """Return a problem as the kernels take it, of flat images and their codes."""
    weight, allowed = flat(asked.weight, np.float32), flat(asked.allowed, np.bool_)
    shapes = (asked.shape[1], *asked.source_shape, asked.patch, len(asked.query))
    return Task(a, b, found, weight, allowed, asked.exclusion, *shapes)


def listed_of(asked: Problem) -> NDArray[np.int32]:
    """Return the linear places of the source that may be taken, none if all may."""
    return np.flatnonzero(flat(asked.allowed, np.bool_)).astype(np.int32)


def pixels(image: Tensor) -> NDArray[np.float32]:
    """Return an image flat, a pixel's channels side by side."""
    return flat(image.permute(1, 2, 0), np.float32)


def flat(values: Tensor | None, kind: type) -> np.ndarray:
    """Return an array of one axis, of length 0 for None."""
    return np.empty(0, kind) if values is None else values.flatten().contiguous().numpy()
