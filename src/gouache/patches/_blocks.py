"""Blocks that overlap and cover a texture, all nearly alike.

A block goes from its own edge to the next one's and by the overlap beyond it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gouache import check
from gouache.check import InputError


class Usual(NamedTuple):
    """Blocks where none are given.

    Attributes:
        share: sides of a block to the exemplars' smallest side.
        least: its side at least, where there is room for it.
        most: and at most.
        laps: overlaps to a side.
    """

    share: int
    least: int
    most: int
    laps: int


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


def sides(
    room: int, side: int | None, overlap: int | None, usual: Usual, name: str
) -> tuple[int, int]:
    """Return the side of a block and by how much it overlaps the next, given or usual.

    Args:
        room: the smallest side of the exemplars.
        side: or None.
        overlap: or None.
        usual: what None stands for.
        name: of the side.

    Raises:
        InputError: exemplars or a side below 2, or an overlap of more than half of the side.
    """
    if room < 2:
        raise InputError(
            f"exemplar must have sides of at least 2 pixels to be cut into blocks, got {room}; "
            "take a larger one"
        )
    if side is None:
        side = min(max(room // usual.share, min(usual.least, room)), usual.most)
    else:
        check.count(side, name, 2)
    if overlap is None:
        return side, max(1, side // usual.laps)
    return side, check.count(overlap, "overlap", 1, side // 2)


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
