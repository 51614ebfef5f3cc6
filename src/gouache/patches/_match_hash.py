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

COMPONENTS, SAMPLE, PER_KEY = 6, 4096, 16
JITTER = 0.7  # of the logarithm of a component's width, when bins are given out
Hashes: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True)
class Components:
    """The main components of the source's patches.

    Attributes:
        filters: ``(m, D)``, a patch's values being in order of rows, columns, channels.
        mean: of each over the source ``(m,)``.
        spread: its standard deviation ``(m,)``.
    """

    filters: NDArray[np.float32]
    mean: NDArray[np.float64]
    spread: NDArray[np.float64]


@dataclass(frozen=True)
class Bins:
    """How components become keys.

    Attributes:
        filters: those that are used ``(m, D)``.
        offset: where the first bin begins ``(m,)``.
        scale: bins a unit ``(m,)``.
        bits: of each component's number ``(m,)``.
    """

    filters: NDArray[np.float32]
    offset: NDArray[np.float32]
    scale: NDArray[np.float32]
    bits: NDArray[np.int64]


def unhashed() -> Hashes:
    """Return no keys."""
    none = np.empty(0, np.int32)
    return none, none, none


def components(asked: Problem) -> Components:
    """Return the main components of some 4096 of the source's patches, on a grid."""
    p, (high, wide) = asked.patch, asked.source_shape
    step = max(1, int((high * wide / SAMPLE) ** 0.5))
    view = asked.source.unfold(1, p, step).unfold(2, p, step)
    some = view.permute(1, 2, 3, 4, 0).flatten(2).flatten(0, 1).double()
    around = some - some.mean(0)
    basis = torch.linalg.eigh(around.T @ around).eigenvectors.flip(1)
    filters = basis[:, :COMPONENTS].T.float().contiguous()
    seen = some @ filters.T.double()
    return Components(filters.numpy(), seen.mean(0).numpy(), seen.std(0, correction=0).numpy())


def hashes_of(asked: Problem, task: tuple, parts: Components, seed: int) -> Hashes:
    """Return the keys of the query's places, and ``starts`` and ``order`` of the source's.

    The places of key c are ``order[starts[c] : starts[c + 1]]``.
    """
    from . import _match_kernels as kernels

    high, wide = asked.source_shape
    bins = _bins(parts, int(np.log2(max(1, high * wide / PER_KEY))), random.generator(seed))
    key = _keys(task[0], asked.shape, asked, bins)
    other = key if task[1] is task[0] else _keys(task[1], asked.source_shape, asked, bins)
    starts = np.zeros(2 ** int(bins.bits.sum()) + 2, np.int32)
    order = np.empty(len(other), np.int32)
    kernels.buckets(other, task[5], starts, order)
    return key, starts, order


def _keys(
    image: NDArray[np.float32], shape: tuple[int, int], asked: Problem, bins: Bins
) -> NDArray[np.int32]:
    from . import _match_kernels as kernels
    from ._jit import spread

    out = np.empty(shape[0] * shape[1], np.int32)
    parts = (bins.filters, bins.offset, bins.scale, bins.bits)
    head = (image, shape, asked.patch, len(asked.query))
    deque(spread(lambda s: kernels.keys(s, *head, *parts, out), -(-shape[0] // kernels.BAND)), 0)
    return out


def _bins(parts: Components, bits_in_all: int, rng: torch.Generator) -> Bins:
    """Halve the bins of the widest component again and again; they span four deviations."""
    chance = torch.rand(2, len(parts.spread), generator=rng, dtype=torch.float64).numpy()
    width, bits = parts.spread * np.exp(JITTER * (2 * chance[0] - 1)), np.zeros(len(chance[0]), int)
    for _ in range(bits_in_all):
        bits[np.argmax(width / 2.0**bits)] += 1
    scale = 2.0**bits / (4 * parts.spread + 1e-12)
    offset = parts.mean - 2 * parts.spread - chance[1] / scale
    used = bits > 0
    rows = np.ascontiguousarray(parts.filters[used])
    low, many = offset[used].astype(np.float32), scale[used].astype(np.float32)
    return Bins(rows, low, many, bits[used].astype(np.int64))
