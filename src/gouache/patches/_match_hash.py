"""Keys of patches, such that patches of one key look alike, and the source's patches by key.

A key is the patch's main components (of the source's patches), each cut into equal bins, their
numbers side by side. As many bins are made as leave some 16 patches to a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._match import Problem

COMPONENTS, SAMPLE, PER_KEY = 6, 4096, 16
Hashes: TypeAlias = tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]


@dataclass(frozen=True)
class Bins:
    """How components become keys.

    Attributes:
        filters: the components ``(m, D)``, a patch's values being in order of rows, columns,
            channels.
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


def hashes_of(asked: Problem, task: tuple) -> Hashes:
    """Return the keys of the query's places, and ``starts`` and ``order`` of the source's.

    The places of key c are ``order[starts[c] : starts[c + 1]]``. Call it inside a session.
    """
    from . import _match_kernels as kernels

    bins = _bins(asked)
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

    out = np.empty(shape[0] * shape[1], np.int32)
    parts = (bins.filters, bins.offset, bins.scale, bins.bits)
    kernels.keys(image, shape, asked.patch, len(asked.query), *parts, out)
    return out


def _bins(asked: Problem) -> Bins:
    """Cut each component, from two deviations below its mean to two above, where it is widest."""
    some = _sample(asked)
    mean = some.mean(0)
    basis = torch.linalg.eigh((some - mean).T @ (some - mean)).eigenvectors.flip(1)
    filters = basis[:, :COMPONENTS].T.float()
    seen = some @ filters.T.double()
    centre, spread = seen.mean(0).numpy(), seen.std(0, correction=0).numpy()
    bits = np.zeros(len(filters), np.int64)
    high, wide = asked.source_shape
    for _ in range(int(np.log2(max(1, high * wide / PER_KEY)))):
        bits[np.argmax(spread / 2.0**bits)] += 1
    scale = 2.0**bits / (4 * spread + 1e-12)
    offset = (centre - 2 * spread).astype(np.float32)
    used = bits > 0
    rows = np.ascontiguousarray(filters.numpy()[used])
    return Bins(rows, offset[used], scale[used].astype(np.float32), bits[used])


def _sample(asked: Problem) -> Tensor:
    """Return some 4096 of the source's patches ``(n, D)``, on a grid."""
    p, (high, wide) = asked.patch, asked.source_shape
    step = max(1, int((high * wide / SAMPLE) ** 0.5))
    view = asked.source.unfold(1, p, step).unfold(2, p, step)
    return view.permute(1, 2, 3, 4, 0).flatten(2).flatten(0, 1).double()
