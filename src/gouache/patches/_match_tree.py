"""A random tree of the source's patches, such that those of one leaf look alike.

A patch is known by its main components (of the source's patches), a byte each. A tree halves the
source's patches again and again at the median of one component, one of those in which they differ
most, until some 64 to 128 are left. Every sweep has a tree of its own, for which chance weighs the
components anew: patches that one tree keeps apart meet in another.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from gouache import random

from ._match import Problem

SAMPLE = 1024  # patches that say what the main components are
COMPONENTS, FEWER = 16, 10  # the second where there are more than LARGE patches, to save memory
LARGE = 2**19
DEVIATIONS = 5.0  # on either side of the mean, that the 256 levels of a component span
LEAF = 64  # patches at least
TOP = 3  # levels of a tree that are made one after the other, before its branches are side by side
JITTER = 1.0  # of the logarithm of a component's variance, when a tree weighs it
Tree: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True)
class Codes:
    """The main components of all patches, in levels.

    Rows may be loaded 16 bytes at a time: behind the last one there is room.

    Attributes:
        query: ``(h w, m)``.
        source: ``(h' w', m)``; the query's in a self-match.
        weight: square of a level of each component ``(16,)``, 0 for those that are none.
    """

    query: NDArray[np.uint8]
    source: NDArray[np.uint8]
    weight: NDArray[np.float32]


def codes(asked: Problem, task: tuple) -> Codes:
    """Return the components of the query's and of the source's patches."""
    basis, mean, spread = _components(asked)
    unit = 2 * DEVIATIONS * spread / 256
    some = spread > 1e-6 * spread.max()
    scale = np.where(some, 1 / np.where(some, unit, 1), 0)
    count = asked.source_shape[0] * asked.source_shape[1]
    m = FEWER if count > LARGE else COMPONENTS
    levels = (basis, mean - 128 * unit, scale)
    levels = tuple(np.ascontiguousarray(x, np.float32) for x in levels)
    query = _coded(task[0], asked.shape, asked, levels, m)
    same = task[1] is task[0]
    source = query if same else _coded(task[1], asked.source_shape, asked, levels, m)
    weight = np.where(some & (np.arange(len(unit)) < m), unit**2, 0)
    return Codes(query, source, weight.astype(np.float32))


def grown(found: Codes, listed: NDArray[np.int32], seed: int) -> Tree:
    """Return a tree: ``cuts`` of its nodes, ``starts`` of its leaves, and ``order``.

    The children of node n, the root being 1, are 2n and 2n + 1; ``cuts[n]`` is ``component << 8 |
    level``, and what is below the level is on the left. The patches of leaf c, from the left, are
    ``order[starts[c] : starts[c + 1]]``.

    Args:
        found: components.
        listed: the linear places that may be taken, or of length 0.
        seed: of chance.
    """
    from . import _match_tree_kernels as kernels
    from ._jit import spread

    order = listed.copy() if len(listed) else np.arange(len(found.source), dtype=np.int32)
    depth = max(0, int(np.log2(len(order) / LEAF))) if len(order) else 0
    cuts = np.zeros(2**depth, np.int32)
    starts = np.zeros(2**depth + 1, np.int32)
    starts[-1] = len(order)
    chance = torch.rand(depth + 1, COMPONENTS, generator=random.generator(seed)).numpy()
    weight = found.weight * np.exp(JITTER * (2 * chance - 1), dtype=np.float32)
    top = min(TOP, depth)
    head = (found.source, weight, order, cuts, starts, depth)
    kernels.grow(1, top, *head)
    deque(spread(lambda k: kernels.grow(2**top + k, depth, *head), 2**top), 0)
    return cuts, starts, order


def _components(
    asked: Problem,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the main components ``(P P C, 16)`` of some patches, their means and spreads.

    Where there are fewer than 16, the others are 0.
    """
    p, (high, wide) = asked.patch, asked.source_shape
    step = max(1, int((high * wide / SAMPLE) ** 0.5))
    view = asked.source.unfold(1, p, step).unfold(2, p, step)
    some = view.permute(1, 2, 3, 4, 0).flatten(2).flatten(0, 1).double()
    around = some - some.mean(0)
    if some.shape[1] <= len(some):
        basis = torch.linalg.eigh(around.T @ around).eigenvectors.flip(1)
    else:
        basis = torch.linalg.qr(
            around.T @ torch.linalg.eigh(around @ around.T).eigenvectors.flip(1)
        ).Q
    main = torch.zeros(some.shape[1], COMPONENTS, dtype=torch.double)
    main[:, : basis.shape[1]] = basis[:, :COMPONENTS]
    seen = some @ main
    return main.numpy(), seen.mean(0).numpy(), seen.std(0, correction=0).numpy()


def _coded(
    image: NDArray[np.float32], shape: tuple[int, int], asked: Problem, levels: tuple, m: int
) -> NDArray[np.uint8]:
    from . import _match_kernels as kernels
    from . import _match_tree_kernels as tree
    from ._jit import spread

    n = shape[0] * shape[1]
    out = np.empty(n * m + COMPONENTS, np.uint8)[: n * m].reshape(n, m)
    head = (image, shape, asked.patch, len(asked.query))
    bands = -(-shape[0] // kernels.BAND)
    deque(spread(lambda band: tree.codes(band, kernels.BAND, *head, *levels, out), bands), 0)
    return out
