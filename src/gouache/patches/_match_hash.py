"""Keys of patches, such that patches of one key look alike, and the source's patches by key.

A key is the patch's main components (of the source's patches), each cut into equal bins, their
numbers side by side. As many bins are made as leave some 16 patches to a key. Every sweep has keys
of its own: where bins begin is random, and so is which components get more of them, so that patches
that one sweep keeps apart meet in another.
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

COMPONENTS, SAMPLE, PER_KEY = 5, 4096, 16
JITTER = 0.7  # of the logarithm of a component's width, when bins are given out
Hashes: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


def unhashed() -> Hashes:
    """Return no keys."""
    none = np.empty(0, np.int32)
    return none, none, none


@dataclass(frozen=True)
class Codes:
    """The main components of all patches, each in 256 levels over four deviations.

    Attributes:
        query: ``(h w, m)``.
        source: ``(h' w', m)``; the query's in a self-match.
        spread: deviation of each component over the source ``(m,)``.
    """

    query: NDArray[np.uint8]
    source: NDArray[np.uint8]
    spread: NDArray[np.float64]


def codes(asked: Problem, task: tuple) -> Codes:
    """Return the components of the query's and of the source's patches."""
    filters, mean, spread = _components(asked)
    scale = (256 / (4 * spread + 1e-12)).astype(np.float32)
    levels = (filters, (mean - 2 * spread).astype(np.float32), scale)
    query = _coded(task[0], asked.shape, asked, levels)
    same = task[1] is task[0]
    source = query if same else _coded(task[1], asked.source_shape, asked, levels)
    return Codes(query, source, spread)


def hashes_of(found: Codes, allowed: NDArray[np.bool_], seed: int) -> Hashes:
    """Return the keys of the query's places, and ``starts`` and ``order`` of the source's.

    The places of key c are ``order[starts[c] : starts[c + 1]]``.
    """
    from . import _match_kernels as kernels

    start, bits = _bins(found, random.generator(seed))
    other = np.empty(len(found.source), np.int32)
    kernels.keys(found.source, start, bits, other)
    starts = np.zeros(2 ** int(bits.sum()) + 2, np.int32)
    order = np.empty(len(other), np.int32)
    kernels.buckets(other, allowed, starts, order)
    if found.source is found.query:
        return other, starts, order
    del other  # memory is bounded by what large images need here
    key = np.empty(len(found.query), np.int32)
    kernels.keys(found.query, start, bits, key)
    return key, starts, order


def _components(
    asked: Problem,
) -> tuple[NDArray[np.float32], NDArray[np.float64], NDArray[np.float64]]:
    """Return the main components of some 4096 of the source's patches, their means and spreads."""
    p, (high, wide) = asked.patch, asked.source_shape
    step = max(1, int((high * wide / SAMPLE) ** 0.5))
    view = asked.source.unfold(1, p, step).unfold(2, p, step)
    some = view.permute(1, 2, 3, 4, 0).flatten(2).flatten(0, 1).double()
    around = some - some.mean(0)
    basis = torch.linalg.eigh(around.T @ around).eigenvectors.flip(1)
    filters = basis[:, :COMPONENTS].T.float().contiguous()
    seen = some @ filters.T.double()
    return filters.numpy(), seen.mean(0).numpy(), seen.std(0, correction=0).numpy()


def _coded(
    image: NDArray[np.float32], shape: tuple[int, int], asked: Problem, levels: tuple
) -> NDArray[np.uint8]:
    from . import _match_kernels as kernels
    from ._jit import spread

    out = np.empty((shape[0] * shape[1], len(levels[0])), np.uint8)
    head = (image, shape, asked.patch, len(asked.query))
    bands = -(-shape[0] // kernels.BAND)
    deque(spread(lambda band: kernels.codes(band, *head, *levels, out), bands), 0)
    return out


def _bins(found: Codes, rng: torch.Generator) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Halve the bins of the widest component again and again; let them begin at random."""
    m = len(found.spread)
    chance = torch.rand(2, m, generator=rng, dtype=torch.float64).numpy()
    width, bits = found.spread * np.exp(JITTER * (2 * chance[0] - 1)), np.zeros(m, np.int64)
    for _ in range(min(8 * m, int(np.log2(max(1, len(found.source) / PER_KEY))))):
        bits[np.argmax(np.where(bits < 8, width / 2.0**bits, -1))] += 1
    return (chance[1] * 2.0 ** (8 - bits)).astype(np.int64), bits
