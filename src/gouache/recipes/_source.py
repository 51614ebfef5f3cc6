"""From what a user asks for to the images of a plan: the same from any folder and on any day."""

from __future__ import annotations

from pathlib import Path

from gouache import data
from gouache.data import Dataset

SMALLEST, LARGEST = 8, 64


def settle(source: str, size: int | None) -> tuple[str, int | None, Dataset]:
    """Return the source and the size that a run records, and the training images.

    A folder's path becomes absolute. Its pictures are cut to their shortest side, at most 64,
    unless a size is asked for; other sources have a size of their own.

    Raises:
        InputError: no such data; no size, and a picture with a side below 8 pixels.
    """
    source = data.resolve(source)
    if size is None and Path(source).is_absolute():
        size = min(LARGEST, data.shortest_side(source, least=SMALLEST))
    return source, size, data.load(source, "train", size=size)
