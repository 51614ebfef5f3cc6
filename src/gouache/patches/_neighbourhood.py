"""What the methods share that copy a texture pixel by pixel.

Notation of ``_neighbourhood_kernels.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ._copies import UNSEEN, Array
from ._match import whole


class Task(NamedTuple):
    """What the kernels take.

    Attributes:
        u: the atlas, its own channels first, then those compared with ``wish``; flat.
        channels: how many are its own.
        allowed: which pixels may be copied ``(H, W)``.
        margin: how far at least they lie from the atlas's border.
        near: offsets of the texture's own pixels that are compared ``(N, 2)``, the nearest first.
        near_weight: of them; as much as is known has the sum 1.
        wish: what else is known of the texture ``(G, h, w)``.
        far: offsets of it ``(M, 2)``.
        far_weight: of them, the sum being 1.
        share: how much each of its channels counts ``(G,)``.
        tolerance: how much worse than the best a place may be, relatively.
        unseen: and absolutely.
        wraps: whether the texture goes round its ends.
        seed: of the hash that chooses.
    """

    u: Array
    channels: int
    allowed: NDArray[np.bool_]
    margin: int
    near: NDArray[np.int32]
    near_weight: Array
    wish: Array
    far: NDArray[np.int32]
    far_weight: Array
    share: Array
    tolerance: np.float32
    unseen: np.float32
    wraps: bool
    seed: int


def offsets(radius: int) -> NDArray[np.int32]:
    """Return all offsets of a square window ``(n, 2)``, the nearest first."""
    every = np.argwhere(np.ones((2 * radius + 1,) * 2)) - radius
    return every[np.square(every).sum(1).argsort(kind="stable")].astype(np.int32)


def inner(free: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Return the pixels whose square window touches nothing that is not free."""
    return np.pad(whole(torch.from_numpy(free), 2 * radius + 1).numpy(), radius)


def unseen(channels: int, share: Array) -> np.float32:
    """Return the d of a difference too small to be seen."""
    return np.float32(UNSEEN * (channels + float(share.sum())))
