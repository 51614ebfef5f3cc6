"""Sets of images by one word: a folder, bundled data, a run, or weights that ship."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SPLITS = ("train", "validation", "test", "held-out", "all")


@dataclass(frozen=True)
class Images:
    """Images ``(N, C, H, W)`` in [0, 1], and the name of each one's class where there are any."""

    name: str
    images: Tensor
    classes: tuple[str, ...] | None


def read(source: str, size: int | None, n: int, seed: int, default: str = "") -> Images:
    """Return the images that ``source`` names, resized if ``size`` is given.

    A run or weights that ship draw ``n`` samples; all else is what ``gouache.data.load`` takes,
    perhaps with the split, ``digits:train`` or ``my_folder:train``. Without one it is ``default``:
    a split, ``held-out`` (validation and test), or if empty, all pictures of a folder and what is
    held out of other data. A bundled name wins over a folder of that name, which ``./digits``
    reaches.

    Raises:
        InputError: there is no such thing, or its pictures have several sizes.
    """
    from gouache import data

    if _is_model(source):
        return _drawn(source, size, n, seed)
    word, split = split_of(source)
    split = split or default or ("all" if data.is_folder(word) else "held-out")
    _check_known(word)
    dataset = data.load(word, split, size=size)
    labels = None if dataset.labels is None else dataset.labels.tolist()
    classes = None if labels is None else tuple(dataset.classes[k] for k in labels)
    return Images(source, dataset.all(), classes)


def same(a: str, b: str) -> bool:
    """Tell whether two words name the same source, whatever their splits."""
    from gouache import data

    return data.resolve(split_of(a)[0]) == data.resolve(split_of(b)[0])


def split_of(source: str) -> tuple[str, str]:
    """Return ``("digits", "train")`` for ``digits:train``; without a split it is empty."""
    word, _, split = source.rpartition(":")
    return (word, split) if word and split in SPLITS else (source, "")


def common(sets: list[Images]) -> list[Images]:
    """Return the sets with one number of channels; sizes must agree already.

    Raises:
        InputError: the sizes differ.
    """
    from gouache import check, image

    first = sets[0]
    for other in sets[1:]:
        a, b = first.images.shape[-2:], other.images.shape[-2:]
        if a != b:
            raise check.InputError(
                f"{first.name} has images of {a[0]}x{a[1]} pixels and {other.name} of "
                f"{b[0]}x{b[1]}; pass --size {min(*a, *b)} to resize all of them"
            )
    channels = max(one.images.shape[1] for one in sets)
    return [Images(one.name, image.as_channels(one.images, channels), one.classes) for one in sets]


def numbered(sets: list[Images]) -> list[Tensor | None]:
    """Return the classes of each set as numbers that mean the same in all; None where unknown."""
    import torch

    names = sorted({name for one in sets for name in one.classes or ()})
    place = {name: k for k, name in enumerate(names)}
    return [
        None if one.classes is None else torch.tensor([place[name] for name in one.classes])
        for one in sets
    ]


def _is_model(source: str) -> bool:
    from gouache import registry, weights

    if source in registry.names("data"):
        return False
    return source in weights.names() or any(
        (Path(source) / name).is_file() for name in ("run.json", "config.json")
    )


def _check_known(word: str) -> None:
    """Name a near miss among weights too, if a word means nothing."""
    from gouache import check, data, registry, weights

    if not word.startswith("hf:") and not data.is_folder(word):
        known = (*registry.names("data"), *weights.names())
        check.choice(word, "folder, data or weights", known)


def _drawn(source: str, size: int | None, n: int, seed: int) -> Images:
    from gouache import image, samples

    model, names = samples.open_model(source)
    drawn = samples.draw(model, n, seed=seed, names=names)
    images = drawn.images if size is None else image.resize(drawn.images, size)
    if drawn.labels is None:
        return Images(source, images, None)
    return Images(source, images, tuple(names[k] for k in drawn.labels.tolist()))
