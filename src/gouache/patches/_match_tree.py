"""A random tree of the source's patches, such that those of one leaf look alike.

A patch is known by its main components (of the source's patches), a byte each. A tree halves the
source's patches again and again at the median of one component, one of those in which they differ
most, until some 64 to 128 are left. Every sweep has a tree of its own, for which chance weighs the
components anew: patches that one tree keeps apart meet in another.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gouache import random

from ._match import Problem, patches_at

SAMPLE = 1024  # patches that say what the main components are
ROUNDS = 12  # of the iteration that finds them
COMPONENTS, FEWER = 16, 10  # the second where there are more than LARGE patches, to save memory
LARGE = 2**19
DEVIATIONS = 5.0  # on either side of the mean, that the 256 levels of a component span
LEAF = 64  # patches at least
TOP = 3  # levels of a tree that are made one after the other, before its branches are side by side
JITTER = 1.0  # of the logarithm of a component's variance, when a tree weighs it


class Codes(NamedTuple):
    """The main components of all patches, in levels.

    Rows may be loaded 16 bytes at a time: behind the last one there is room.

    Attributes:
        query: ``(h w, m)``.
        source: ``(h' w', m)``; the query's in a self-match.
        weight: square of a level of each component ``(16,)``; 0 where there is none, it does not
            vary, or it has no byte.
    """

    query: NDArray[np.uint8]
    source: NDArray[np.uint8]
    weight: NDArray[np.float32]


class Tree(NamedTuple):
    """A tree; the children of node n, the root being 1, are 2n and 2n + 1.

    Attributes:
        cuts: of each node, ``component << 8 | level``; what is below the level is on the left.
        starts: the patches of leaf c, from the left, are ``order[starts[c] : starts[c + 1]]``.
        order: linear places.
    """

    cuts: NDArray[np.int32]
    starts: NDArray[np.int32]
    order: NDArray[np.int32]


class Basis(NamedTuple):
    """The main components of some patches.

    Attributes:
        mean: patch, flat ``(P P C,)``.
        main: orthonormal columns ``(P P C, 16)``, 0 where there are fewer.
        spread: standard deviation along each ``(16,)``.
    """

    mean: NDArray[np.float32]
    main: NDArray[np.float32]
    spread: NDArray[np.float32]


class Coding(NamedTuple):
    """How patches become codes.

    Attributes:
        basis: their main components.
        scale: levels to a unit of each ``(16,)``; 0 as in ``Codes``.
        weight: see ``Codes``.
        bytes: of a code, m.
    """

    basis: Basis
    scale: NDArray[np.float32]
    weight: NDArray[np.float32]
    bytes: int


def coding(asked: Problem, listed: NDArray[np.int32]) -> Coding:
    """Return how the patches of a source are coded; the linear places listed may be taken."""
    basis = components(asked, listed)
    unit = 2 * DEVIATIONS * basis.spread / 256
    varies = basis.spread > 1e-6 * basis.spread.max()
    scale = np.where(varies, 1 / np.where(varies, unit, 1), 0)
    m = FEWER if asked.source_shape[0] * asked.source_shape[1] > LARGE else COMPONENTS
    weight = np.where(varies & (np.arange(COMPONENTS) < m), unit**2, 0)
    return Coding(basis, scale, weight, m)


def coded(
    image: NDArray[np.float32], shape: tuple[int, int], asked: Problem, known: Coding
) -> NDArray[np.uint8]:
    """Return the codes ``(h w, m)`` of a flat image's patches."""
    from . import _match_kernels as kernels
    from . import _match_tree_kernels as tree
    from ._jit import spread

    n, m = shape[0] * shape[1], known.bytes
    out = np.empty(n * m + COMPONENTS, np.uint8)[: n * m].reshape(n, m)
    channels, given = len(asked.query), (known.basis, known.scale, out)
    start = (kernels.BAND, image, shape, asked.patch, channels, *given)
    deque(spread(lambda band: tree.codes(band, *start), -(-shape[0] // kernels.BAND)), 0)
    return out


def grown(found: Codes, listed: NDArray[np.int32], seed: int) -> Tree:
    """Return a tree of the source's patches.

    Args:
        found: their codes.
        listed: the linear places that may be taken, or of length 0.
        seed: of chance.
    """
    from . import _match_tree_kernels as kernels
    from ._jit import spread

    order = listed.copy() if len(listed) else np.arange(len(found.source), dtype=np.int32)
    depth = max(0, int(np.log2(len(order) / LEAF)))
    tree = Tree(np.zeros(2**depth, np.int32), np.zeros(2**depth + 1, np.int32), order)
    tree.starts[-1] = len(order)
    chance = torch.rand(depth + 1, COMPONENTS, generator=random.generator(seed)).numpy()
    weight = found.weight * np.exp(JITTER * (2 * chance - 1), dtype=np.float32)
    top, given = min(TOP, depth), (found.source, weight, tree, depth)
    kernels.grow(1, top, *given)
    deque(spread(lambda k: kernels.grow(2**top + k, depth, *given), 2**top), 0)
    return tree


def components(asked: Problem, listed: NDArray[np.int32]) -> Basis:
    """Return the main components of some of the source's patches that may be taken.

    They are nearly the eigenvectors of the largest eigenvalues, by iterating a subspace, in an
    order of operations that does not depend on the number of threads.
    """
    from . import _match_tree_kernels as kernels

    count = len(listed) or asked.source_shape[0] * asked.source_shape[1]
    rng = random.generator(0)
    chosen = torch.arange(count)
    if count > SAMPLE:
        chosen = torch.randint(count, (SAMPLE,), generator=rng)
    at = torch.from_numpy(listed)[chosen].long() if len(listed) else chosen
    some = patches_at(asked.source, at, asked.patch).permute(1, 2, 0).flatten(1).numpy()
    mean = some.mean(0, dtype=np.float64)
    main = torch.randn(some.shape[1], COMPONENTS, generator=rng).numpy()
    spread = np.zeros(COMPONENTS, np.float32)
    kernels.iterate((some - mean).astype(np.float32), ROUNDS, main, spread)
    return Basis(mean.astype(np.float32), main, spread)
