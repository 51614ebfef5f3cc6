"""Crops of eight colour photographs, each photograph in one split alone."""

from __future__ import annotations

from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.image import resize, size_pair
from gouache.registry import method

from ._dataset import SPLITS, Card, Dataset, Size, split_name
from ._photographs import Photograph, crops

NASA = "NASA, public domain"
PARTS = {
    "train": (
        Photograph("astronaut", "an astronaut", "skimage", "data/astronaut.png", NASA),
        Photograph("coffee", "a cup", "skimage", "data/coffee.png", "Rachel Michetti, CC0"),
        Photograph("rocket", "a rocket", "skimage", "data/rocket.jpg", "SpaceX, public domain"),
        Photograph(
            *("motorcycle", "a motorcycle", "skimage", "data/motorcycle_left.png"),
            "D. Scharstein and others, Middlebury 2014 stereo",
        ),
        Photograph(
            *("china", "a palace", "sklearn", "datasets/images/china.jpg"),
            "danielbuechele, CC BY 2.0",
        ),
    ),
    "validation": (
        Photograph(
            *("officer", "an officer", "matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
            "James S. Davis, US Navy, public domain",
        ),
    ),
    "test": (
        Photograph("cat", "a cat", "skimage", "data/chelsea.png", "Stéfan van der Walt, CC0"),
        Photograph(
            *("flower", "a flower", "sklearn", "datasets/images/flower.jpg"),
            "vultilion, CC BY 2.0",
        ),
    ),
}
COUNTS = {"train": 2000, "validation": 400, "test": 400}


@method("data")
def photos(
    split: str = "train", *, size: Size = None, n: int | None = None, seed: int = 0
) -> Dataset:
    """Load random crops of colour photographs, at full scale and at every halving that fits.

    Args:
        split: train (five photographs), validation (one) or test (two); no photograph is in two.
        size: (height, width) or one number, at most 300; None is 64.
        n: how many crops; by default 2000 for train, 400 for the others.
        seed: of the crops; crop i depends on (seed, split, i).

    Raises:
        InputError: an unknown split, or a size that no photograph has.

    Example:
        >>> from gouache.data import photos
        >>> photos("test", size=32, n=10).shape
        (3, 32, 32)
    """
    shown = PARTS[split_name(split)]
    pair = size_pair(64 if size is None else size)
    n = check.count(COUNTS[split] if n is None else n, "n")
    if max(pair) > 300:
        raise InputError(f"size of photos must be at most 300, got {pair}; crops are not enlarged")
    pyramids = [_pyramid(photograph.pixels(), pair) for photograph in shown]
    images, labels = crops(pyramids, n, pair, seed, SPLITS.index(split))
    first = [p.name for part in PARTS.values() for p in part].index(shown[0].name)
    card = Card(
        name="photos",
        title=f"Crops of {len(shown)} photographs",
        origin="photographs bundled with scikit-image, scikit-learn and matplotlib",
        licence="; ".join(f"{p.name}: {p.licence}" for p in shown),
        shape=(3, *pair),
        size=n,
        notes="Split by photograph: train and test show different things. Crops may overlap.",
        mirror=True,
    )
    classes = tuple(p.name for part in PARTS.values() for p in part)
    captions = tuple(f"a photograph of {shown[k].caption}" for k in labels.tolist())
    return Dataset(images, card, labels + first, classes, captions)


def _pyramid(picture: Tensor, pair: tuple[int, int]) -> list[Tensor]:
    """Return the picture halved again and again, as long as a crop fits."""
    pyramid = []
    while picture.shape[1] >= pair[0] and picture.shape[2] >= pair[1]:
        pyramid.append(picture)
        picture = resize(picture, (picture.shape[1] // 2, picture.shape[2] // 2))
    return pyramid
