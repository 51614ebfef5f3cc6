"""What methods that make an image from one image share: what is asked of them, and its pyramid.

Notation: at level n the image is ``x_n``, and what is made of it is ``y_n``; level 0 is the
coarsest. Both are smaller there than in the end, by the same factor.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gouache import check, random
from gouache.check import InputError
from gouache.image import resize, size_pair

from ._match import fitting

NOISE = 5.0
STRETCH = 1.03


@dataclass(frozen=True)
class Level:
    """One level of the pyramid.

    Attributes:
        image: ``x_n (C, h, w)``.
        blurred: ``x_{n-1}`` in the size of ``x_n``, as blurred as an enlarged ``y_{n-1}`` is; at
            level 0 ``x_0`` itself.
        size: rows and columns of ``y_n``.
        noise: standard deviation of what is to be added to ``y_n`` at first.
    """

    image: Tensor
    blurred: Tensor
    size: tuple[int, int]
    noise: float = 0.0

    def guess(self, y: Tensor, rng: torch.Generator) -> Tensor:
        """Return ``y_{n-1}`` in the size of ``y_n``, with noise, which may lead out of [0, 1]."""
        y = resize(y, self.size)
        if not self.noise:
            return y
        return y + self.noise * torch.randn(y.shape, generator=rng, device=rng.device).to(y)


@dataclass(frozen=True)
class Wanted:
    """What a user asks of a method, checked.

    Attributes:
        start: what to begin with ``(C, H, W)`` float32, of any size.
        levels: from coarse to fine; the first several have one image, where it is given another
            format step by step.
    """

    start: Tensor
    levels: tuple[Level, ...]


def wanted(
    image: Tensor,
    size: int | tuple[int, int] | None,
    start: Tensor | None,
    noise: float | None,
    *,
    patch: int,
    coarsest: int,
    ratio: float,
    stretch: float = STRETCH,
) -> Wanted:
    """Check what is asked of a method.

    Args:
        image: ``(C, H, W)`` in [0, 1].
        size: rows and columns, or one number for both; None is the start's, else the image's.
        start: what to begin with, of the same channels; None is the image.
        noise: at level 0, over the standard deviation of the image; None is 5, or 0 where there is
            a start.
        patch: side.
        coarsest: shorter side of the image and of what is made at level 0.
        ratio: of one level to the next, about.
        stretch: most that a side at level 0 grows or shrinks at a time.

    Raises:
        InputError: no images, no size, channels that differ, a patch that does not fit.
    """
    x = check.images(image, "image", batched=False).detach().float()
    first = x if start is None else check.images(start, "start", batched=False).detach().float()
    if len(first) != len(x) or first.device != x.device:
        raise InputError(
            f"start must have the channels and the device of the image, got {tuple(first.shape)} "
            f"on {first.device} and {tuple(x.shape)} on {x.device}"
        )
    rows, cols = size_pair((first.shape[1], first.shape[2]) if size is None else size)
    sides = (rows, cols, *x.shape[1:])
    fitting(patch, sides, "the image and of what is made")
    bottom = max(check.count(coarsest, "coarsest"), patch)
    factors = scales(bottom, min(sides), check.between(ratio, "ratio", 1.01))
    added = NOISE if noise is None and start is None else noise or 0.0
    level = check.between(added, "noise", 0) * float(x.std(correction=0))
    levels = _levels(x, (rows, cols), factors, patch, level)
    if start is not None:
        return Wanted(first, levels)
    return Wanted(levels[0].image, (*_stretched(levels[0], stretch), *levels))


def climbed(
    asked: Wanted,
    improved: Callable[[Tensor, Level, torch.Generator], Tensor],
    rng: torch.Generator | None,
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """Return what is made of the start from level to level, clipped to [0, 1].

    Args:
        asked: see `wanted`.
        improved: makes ``y_n`` of a guess of it.
        rng: of the noise, and of what ``improved`` draws.
        progress: called with (levels done, levels in all).
    """
    drawn, y = random.generator(random.draw_seed(rng)), asked.start
    for done, level in enumerate(asked.levels, 1):
        y = improved(level.guess(y, drawn), level, drawn)
        if progress is not None:
            progress(done, len(asked.levels))
    return y.clamp(0, 1)


def scales(coarsest: int, least: int, ratio: float) -> list[float]:
    """Return the factors of the levels, geometric, the first ``coarsest / least`` and the last 1.

    Example:
        >>> scales(16, 64, 2)
        [0.25, 0.5, 1.0]
    """
    steps = max(0, round(math.log(least / coarsest) / math.log(ratio)))
    return [(coarsest / least) ** (1 - n / steps) for n in range(steps)] + [1.0]


def _levels(
    x: Tensor, size: tuple[int, int], factors: list[float], patch: int, noise: float
) -> tuple[Level, ...]:
    found = list[Level]()
    for factor in factors:
        here = resize(x, _scaled((x.shape[1], x.shape[2]), factor, patch))
        blurred = resize(found[-1].image, (here.shape[1], here.shape[2])) if found else here
        found.append(Level(here, blurred, _scaled(size, factor, patch), 0 if found else noise))
    return tuple(found)


def _scaled(size: tuple[int, int], factor: float, least: int) -> tuple[int, int]:
    return max(least, round(size[0] * factor)), max(least, round(size[1] * factor))


def _stretched(bottom: Level, most: float) -> list[Level]:
    """Return levels with the image of level 0, in sizes that lead from its own to that made."""
    size, to = bottom.image.shape[1:], bottom.size
    ratios = [b / a for a, b in zip(size, to, strict=True)]
    steps = math.ceil(max(abs(math.log(r)) for r in ratios) / math.log(most))
    sides = [
        [round(a * r ** (n / steps)) for n in range(1, steps)]
        for a, r in zip(size, ratios, strict=True)
    ]
    return [Level(bottom.image, bottom.image, pair) for pair in zip(*sides, strict=True)]
