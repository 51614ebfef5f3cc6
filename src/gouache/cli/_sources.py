"""Sets of images by one word: a folder, bundled data, a run, or weights that ship."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from gouache.data import Dataset

HELD_OUT = ("validation", "test")


@dataclass(frozen=True)
class Images:
    """Images ``(N, C, H, W)`` in [0, 1], and the name of each one's class where there are any."""

    name: str
    images: Tensor
    classes: tuple[str, ...] | None


def read(source: str, size: int | None, n: int, seed: int, split: str = "") -> Images:
    """Return the images that ``source`` names, resized if ``size`` is given.

    A bundled name wins over a folder of that name, which ``./digits`` reaches. A folder gives all
    its pictures; bundled data (``digits`` or ``digits:train``) a split, by default what is held
    out; a run or weights that ship draw ``n`` samples.

    Raises:
        InputError: there is no such thing, or its pictures have several sizes.
    """
    from gouache import check, data, registry, weights

    place, (name, _, part) = Path(source), source.partition(":")
    if name == "hf":
        return _joined(source, [data.load(source, split or "test", size=size)])
    if name in registry.names("data"):
        splits = (part or split,) if part or split else HELD_OUT
        return _joined(source, [data.load(name, each, size=size) for each in splits])
    if source in weights.names() or any((place / f).is_file() for f in ("run.json", "config.json")):
        return _drawn(source, size, n, seed)
    if place.is_dir():
        return _joined(source, [data.load(place.resolve(), "all", size=size)])
    if place.exists():
        raise check.InputError(f"{source} is a file; name the folder it lies in")
    known = (*registry.names("data"), *weights.names())
    check.choice(source, "folder, data or weights", known)
    raise AssertionError


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


def _joined(source: str, parts: list[Dataset]) -> Images:
    import torch

    images = torch.cat([part.all() for part in parts])
    if any(part.labels is None for part in parts):
        return Images(source, images, None)
    names = [p.classes[k] for p in parts if p.labels is not None for k in p.labels.tolist()]
    return Images(source, images, tuple(names))


def _drawn(source: str, size: int | None, n: int, seed: int) -> Images:
    from gouache import image, report

    model, names = report.open_model(source)
    drawn = report.draw(model, n, seed=seed, names=names)
    images = drawn.images if size is None else image.resize(drawn.images, size)
    if drawn.labels is None:
        return Images(source, images, None)
    return Images(source, images, tuple(names[k] for k in drawn.labels.tolist()))
