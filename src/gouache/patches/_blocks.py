"""Blocks that overlap and cover a texture, all nearly alike.

A block goes from its own edge to the next one's and by the overlap beyond it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Span(NamedTuple):
    """What a block covers of an axis.

    Attributes:
        first: where it begins.
        length: pixels, which may go round the end of a tileable texture.
        before: how many of the first ones lie on the block before.
        after: how many of the last ones lie on the first block.
    """

    first: int
    length: int
    before: int
    after: int

    def pixels(self, n: int) -> NDArray[np.int64]:
        """Return the places it covers of an axis of n pixels that goes round."""
        return (self.first + np.arange(self.length)) % n


def spans_of(n: int, side: int, overlap: int, tileable: bool) -> list[Span]:
    """Cut an axis of n pixels into blocks of at most ``side``, all nearly alike."""
    if n == 1 or (n <= side and not tileable):
        return [Span(0, n, 0, 0)]
    length = n if tileable else n - overlap
    count = max(2, -(-length // (side - overlap)))
    overlap = min(overlap, length // count)
    length = n if tileable else n - overlap
    edges = [k * length // count for k in range(count + 1)]
    return [
        Span(a, b - a + overlap, overlap if a else 0, overlap if tileable and b == n else 0)
        for a, b in pairwise(edges)
    ]


def waves_of(height: int, width: int) -> list[list[tuple[int, int]]]:
    """Return the blocks in the order of ``2 i + j``, those of a wave not touching each other.

    Before a block come its left, upper left, upper and upper right neighbours, and what it meets
    round the ends.
    """
    when: dict[tuple[int, int], int] = {}
    for i, j in sorted(np.ndindex(height, width), key=lambda at: (2 * at[0] + at[1], at)):
        near = [((i + a) % height, (j + b) % width) for a in (-1, 0, 1) for b in (-1, 0, 1)]
        when[i, j] = 1 + max((when.get(at, -1) for at in near), default=-1)
    waves: list[list[tuple[int, int]]] = [[] for _ in range(1 + max(when.values()))]
    for at, wave in when.items():
        waves[wave].append(at)
    return waves
