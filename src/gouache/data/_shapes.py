"""Coloured shapes on a plain ground, without end: image i is a function of (seed, split, i).

Notation: ``p = (x, y)`` a pixel's centre relative to the shape's centre, y downwards; ``r`` the
shape's radius, in pixels; ``d(p)`` the signed distance to the outline, negative inside. A pixel
is covered by ``clip(1/2 - d, 0, 1)``, exact for a straight edge along an axis.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor

from gouache import check
from gouache.image import as_uint8, size_pair
from gouache.random import derive, derive_keys, keyed_uniform
from gouache.registry import method

from ._dataset import SPLITS, Card, Dataset, Size, split_name

COLOURS = {
    "red": (0.89, 0.10, 0.11),
    "orange": (1.00, 0.55, 0.00),
    "yellow": (0.98, 0.85, 0.10),
    "green": (0.20, 0.63, 0.17),
    "blue": (0.12, 0.47, 0.71),
    "purple": (0.50, 0.20, 0.60),
}
GROUNDS = {"white": 1.0, "grey": 0.5, "black": 0.0}
COUNTS = {"train": 2000, "validation": 500, "test": 500}


def _circle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.hypot(x, y) - r


def _square(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.maximum(x.abs(), y.abs()) - 0.85 * r


def _triangle(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return torch.maximum(y, math.sqrt(3) / 2 * x.abs() - y / 2) - r / 2


def _diamond(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return (x.abs() + y.abs() - r) / math.sqrt(2)


def _ring(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    return (torch.hypot(x, y) - 0.75 * r).abs() - 0.25 * r


def _cross(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    bar = torch.maximum(x.abs() - r, y.abs() - 0.3 * r)
    return torch.minimum(bar, torch.maximum(y.abs() - r, x.abs() - 0.3 * r))


SHAPES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "diamond": _diamond,
    "ring": _ring,
    "cross": _cross,
}


@method("data")
def shapes(
    split: str = "train", *, size: Size = None, n: int | None = None, seed: int = 0
) -> Dataset:
    """Draw coloured shapes, antialiased, with a label and a caption.

    A caption reads "a small red circle on black": two sizes, six colours, six shapes, three
    grounds, each uniform and independent of the others. The label is the shape.

    Args:
        split: train, validation or test, three streams that have nothing in common.
        size: (height, width) or one number; None is 32.
        n: how many images; by default 2000 for train, 500 for the others.
        seed: image i depends on (seed, split, i), whatever n is.

    Raises:
        InputError: an unknown split, an impossible size.

    Example:
        >>> from gouache.data import shapes
        >>> shapes("train", n=1).captions
        ('a large red circle on black',)
    """
    split_name(split)
    pair = size_pair(32 if size is None else size)
    n = check.count(COUNTS[split] if n is None else n, "n")
    keys = derive_keys(derive(seed, SPLITS.index(split)), torch.arange(n))
    chunks = keyed_uniform(keys, (7,)).float().split(512)
    images, labels, captions = zip(*(_draw(chunk, pair) for chunk in chunks), strict=True)
    card = Card(
        name="shapes",
        title="Coloured shapes on a plain ground",
        origin="drawn by gouache",
        licence="CC0",
        shape=(3, *pair),
        size=n,
        notes="Image i depends on (seed, split, i) alone; the splits are independent draws.",
    )
    sentences = tuple(chain.from_iterable(captions))
    return Dataset(torch.cat(images), card, torch.cat(labels), tuple(SHAPES), sentences)


def _draw(uniform: Tensor, pair: tuple[int, int]) -> tuple[Tensor, Tensor, list[str]]:
    """Return images, labels and captions for rows of seven uniforms in (0, 1)."""
    shape, colour, ground, large = (
        (uniform[:, k] * count).long().clamp(max=count - 1)
        for k, count in enumerate((len(SHAPES), len(COLOURS), len(GROUNDS), 2))
    )
    r = (0.16 + 0.06 * uniform[:, 4] + 0.14 * large) * min(pair)
    cy = r + uniform[:, 5] * (pair[0] - 2 * r)
    cx = r + uniform[:, 6] * (pair[1] - 2 * r)
    y = torch.arange(pair[0])[None, :, None] + 0.5 - cy[:, None, None]
    x = torch.arange(pair[1])[None, None, :] + 0.5 - cx[:, None, None]
    cover = torch.empty(len(r), *pair)
    for k, distance in enumerate(SHAPES.values()):
        rows = shape == k
        cover[rows] = (0.5 - distance(x[rows], y[rows], r[rows, None, None])).clamp(0, 1)
    paint = torch.tensor(list(COLOURS.values()))[colour][..., None, None]
    plain = torch.tensor(list(GROUNDS.values()))[ground][:, None, None, None]
    images = as_uint8(plain + cover[:, None] * (paint - plain))
    names = (("small", "large"), tuple(COLOURS), tuple(SHAPES), tuple(GROUNDS))
    words = zip(large.tolist(), colour.tolist(), shape.tolist(), ground.tolist(), strict=True)
    captions = [
        "a {} {} {} on {}".format(*(name[k] for name, k in zip(names, row, strict=True)))
        for row in words
    ]
    return images, shape, captions
