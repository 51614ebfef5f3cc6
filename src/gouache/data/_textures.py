"""Crops of three grey textures; the splits are strips of each photograph that do not touch."""

from __future__ import annotations

from gouache import check
from gouache.check import InputError
from gouache.image import size_pair
from gouache.registry import method

from ._dataset import SPLITS, Card, Dataset, Size, split_name
from ._photographs import Photograph, crops

SHOWN = (
    Photograph("brick", "bricks", "skimage", "data/brick.png", "CC0Textures Bricks25, CC0"),
    Photograph("grass", "grass", "skimage", "data/grass.png", "linolafett, CC0"),
    Photograph("gravel", "gravel", "skimage", "data/gravel.png", "CC0Textures Gravel04, CC0"),
)
STRIPS = {"train": (0, 304), "validation": (304, 408), "test": (408, 512)}
COUNTS = {"train": 1800, "validation": 360, "test": 360}


@method("data")
def textures(
    split: str = "train", *, size: Size = None, n: int | None = None, seed: int = 0
) -> Dataset:
    """Load random crops of brick, grass and gravel, grey, at full scale, with labels.

    Args:
        split: train (the left 304 of 512 columns), validation (the next 104) or test (the last
            104); each texture is in all of them.
        size: (height, width) or one number, at most 104 wide; None is 64.
        n: how many crops; by default 1800 for train, 360 for the others.
        seed: of the crops; crop i depends on (seed, split, i).

    Raises:
        InputError: an unknown split, or a size beyond a strip.

    Example:
        >>> from gouache.data import textures
        >>> textures("test", size=32, n=10).classes
        ('brick', 'grass', 'gravel')
    """
    left, right = STRIPS[split_name(split)]
    pair = size_pair(64 if size is None else size)
    n = check.count(COUNTS[split] if n is None else n, "n")
    if pair[0] > 512 or pair[1] > 104:
        raise InputError(f"size of textures must be at most 512 high and 104 wide, got {pair}")
    strips = [[photograph.pixels()[:, :, left:right]] for photograph in SHOWN]
    images, labels = crops(strips, n, pair, seed, SPLITS.index(split))
    card = Card(
        name="textures",
        title="Crops of brick, grass and gravel",
        origin="photographs bundled with scikit-image",
        licence="; ".join(f"{p.name}: {p.licence}" for p in SHOWN),
        shape=(1, *pair),
        size=n,
        notes="Split by strips of columns; crops of one split may overlap, of two never.",
        mirror=True,
    )
    captions = tuple(f"a photograph of {SHOWN[k].caption}" for k in labels.tolist())
    return Dataset(images, card, labels, tuple(p.name for p in SHOWN), captions)
