"""What every score of a texture returns: a distance by scale, beside that of the exemplar's halves.

A texture is to have the exemplar's statistics, and these differ between two parts of the exemplar
itself. So a distance is quoted beside the *floor*: the mean of those between its left and its right
half and between its upper and its lower one. A copy of the exemplar scores less than the floor;
``gouache.patches.copy_rate`` tells it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gouache import check, random
from gouache.check import InputError

Distance = Callable[[Tensor, Tensor, torch.Generator], tuple[float, ...]]


@dataclass(frozen=True)
class TextureScore:
    """How far a texture is from its exemplar.

    Attributes:
        name: of the score.
        scales: distances, of the finest scale first; one number where there is one scale.
        floor: the same between halves of the exemplar; NaN where they are too small for it.
        unit: of the distances; empty where they have none.

    Example:
        >>> print(TextureScore("patch_sliced_wasserstein", (2e-4, 1e-4), (4e-4, 3e-4)))
        patch_sliced_wasserstein 0.0002 0.0001 (halves of the exemplar 0.0004 0.0003)
    """

    name: str
    scales: tuple[float, ...]
    floor: tuple[float, ...]
    unit: str = ""

    @property
    def value(self) -> float:
        """The mean over scales."""
        return sum(self.scales) / len(self.scales)

    def __str__(self) -> str:
        """Return one line."""
        here, floor = (" ".join(f"{x:.3g}" for x in xs) for xs in (self.scales, self.floor))
        unit = f" {self.unit}" if self.unit else ""
        return f"{self.name} {here}{unit} (halves of the exemplar {floor})"


def scored(
    name: str,
    distance: Distance,
    picture: Tensor,
    exemplar: Tensor,
    least: int,
    rng: torch.Generator | None,
    unit: str = "",
) -> TextureScore:
    """Return the distance of a picture and an exemplar, and its floor.

    All distances draw the same random numbers.

    Args:
        name: of the score.
        distance: of two images, by scale.
        picture: ``(C, H, W)`` in [0, 1].
        exemplar: ``(C, h, w)``.
        least: side of the smallest image that has such a distance.
        rng: of the seed.
        unit: of the distances.

    Raises:
        InputError: no images, channels that differ, a side that is too small.
    """
    a, b = (
        check.images(x, told, batched=False).detach().float()
        for x, told in ((picture, "picture"), (exemplar, "exemplar"))
    )
    if len(a) != len(b) or a.device != b.device:
        raise InputError(
            f"picture and exemplar must have the same channels and device, got {tuple(a.shape)} "
            f"on {a.device} and {tuple(b.shape)} on {b.device}"
        )
    for x, told in ((a, "picture"), (b, "exemplar")):
        if min(x.shape[1:]) < least:
            raise InputError(
                f"{told} must have sides of at least {least} pixels, got {tuple(x.shape[1:])}; "
                "make it larger, or ask for fewer scales"
            )
    seed = random.draw_seed(rng)
    here = distance(a, b, random.generator(seed))
    floors = [
        distance(*pair, random.generator(seed)) if min(*pair[0].shape[1:]) >= least else None
        for pair in _halves(b)
    ]
    known = [floor for floor in floors if floor is not None]
    floor = [sum(xs) / len(xs) for xs in zip(*known, strict=True)] or [math.nan] * len(here)
    return TextureScore(name, here, tuple(floor), unit)


def _halves(x: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return left and right, and upper and lower; a middle line belongs to neither."""
    h, w = x.shape[1] // 2, x.shape[2] // 2
    return [(x[:, :, :w], x[:, :, -w:]), (x[:, :h], x[:, -h:])]
