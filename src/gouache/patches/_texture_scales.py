"""Exemplars and the texture that is made of them, at several scales, and fields between them.

Notation: P the side of a patch; a *place* is the row and column of a patch's first pixel. A scale
has every second pixel of the next finer one, after a blur, so that its place p is place 2 p there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ._copies import UNSEEN
from ._match import Field
from ._texture import Atlas, Wanted, atlas

LEAST = 3  # sides of the coarsest exemplars, in patches
BINOMIAL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)


class Guides(NamedTuple):
    """Further channels, scaled.

    Attributes:
        wish: of the texture ``(G, H, W)``.
        atlas: of the exemplars, laid out like their atlas.
    """

    wish: Tensor
    atlas: Tensor


@dataclass(frozen=True)
class Scale:
    """What is known and what is wanted at one scale.

    Attributes:
        exemplars: each ``(C, h, w)``.
        atlas: of them.
        size: rows and columns of the texture, no fewer than a patch's if it has borders.
        patch: P.
        tileable: whether the texture is a torus.
        guides: or None.
    """

    exemplars: tuple[Tensor, ...]
    atlas: Atlas
    size: tuple[int, int]
    patch: int
    tileable: bool
    guides: Guides | None

    @property
    def places(self) -> tuple[int, int]:
        """Rows and columns of the texture's places."""
        height, width = self.size
        beyond = 0 if self.tileable else self.patch - 1
        return height - beyond, width - beyond

    def query(self, image: Tensor) -> Tensor:
        """Return an image that holds the patches of all places: of a torus, what follows too."""
        return _wrapped(image, 0, self.patch - 1) if self.tileable else image

    def covering(self, values: Tensor) -> Tensor:
        """Return values of places ``(..., h, w)``, of a torus those of the places before too."""
        return _wrapped(values, self.patch - 1, 0) if self.tileable else values

    def field(self, field: Field) -> Field:
        """Return a field likewise: what is built of it holds the texture's pixels; see `cut`."""
        place = self.covering(field.place.movedim(3, 1)).movedim(1, 3)
        return Field(place.contiguous(), self.covering(field.distance), field.patch)

    def cut(self, image: Tensor) -> Tensor:
        """Cut the texture out of an image built of the places that `covering` returned."""
        first, (height, width) = self.patch - 1 if self.tileable else 0, self.size
        return image[..., first : first + height, first : first + width]

    @property
    def sides(self) -> Tensor:
        """Rows and columns of each exemplar ``(n, 2)``."""
        return torch.tensor([u.shape[1:] for u in self.exemplars])

    def clamped(self, number: Tensor, row: Tensor, col: Tensor) -> Tensor:
        """Return places ``(..., 2)`` in the atlas: the nearest whose patch is in its exemplar."""
        lefts = torch.tensor(self.atlas.lefts, device=row.device)[number]
        last = (self.sides.to(row.device)[number] - self.patch).unbind(-1)
        rows, cols = (
            torch.minimum(x.clamp(min=0), n) for x, n in zip((row, col), last, strict=True)
        )
        return torch.stack([rows, lefts + cols], -1).to(torch.int32)


def scales(asked: Wanted, patch: int, least: int, weight: float) -> list[Scale]:
    """Return the scales, coarsest first.

    Args:
        asked: see `_texture.wanted`.
        patch: P.
        least: sides of the exemplars at all scales but the finest, at least.
        weight: of guides, whose differences are multiplied by its root.
    """
    found = [_scale(asked, patch, weight)]
    while (asked.atlas.side + 1) // 2 >= least:
        asked = _half(asked)
        found.append(_scale(asked, patch, weight))
    return found[::-1]


def floor(image: Tensor, patch: int) -> float:
    """Return the squared difference of patches of an image ``(C, H, W)`` that is not seen."""
    return UNSEEN * len(image) * patch**2


def _half(asked: Wanted) -> Wanted:
    """Return the same at half the scale."""
    guides, (height, width) = asked.guides, asked.size
    if guides is not None:
        guides = (tuple(halved(g) for g in guides[0]), halved(guides[1]))
    size = (-(-height // 2), -(-width // 2))
    return Wanted(tuple(halved(u) for u in asked.exemplars), size, asked.tileable, guides)


def _scale(asked: Wanted, patch: int, weight: float) -> Scale:
    """Return the scale of what is asked."""
    height, width = (n if asked.tileable else max(n, patch) for n in asked.size)
    guides = None
    if asked.guides is not None:
        wish, theirs = asked.guides[1], atlas(asked.guides[0]).image
        rows, cols = (torch.arange(n, device=wish.device) for n in (height, width))
        rows, cols = rows.clamp(max=wish.shape[1] - 1), cols.clamp(max=wish.shape[2] - 1)
        guides = Guides(weight**0.5 * wish[:, rows][:, :, cols], weight**0.5 * theirs)
    return Scale(asked.exemplars, asked.atlas, (height, width), patch, asked.tileable, guides)


def blurred(image: Tensor, step: int = 1) -> Tensor:
    """Blur ``(C, H, W)`` by the binomial of five, whose deviation is one pixel.

    Args:
        image: continued by its border.
        step: between the rows and the columns that are kept.
    """
    for axis in (1, 2):
        n = image.shape[axis]
        starts = range(-2, 3)
        at = [torch.arange(k, n + k, step, device=image.device).clamp(0, n - 1) for k in starts]
        taken = [w * image.index_select(axis, k) for w, k in zip(BINOMIAL, at, strict=True)]
        image = torch.stack(taken).sum(0)
    return image


def halved(image: Tensor) -> Tensor:
    """Blur ``(C, H, W)`` by the binomial of five, mirrored at the border, and halve it."""
    kernel = torch.tensor(BINOMIAL).to(image)
    for axis in (1, 2):
        n = image.shape[axis]
        at = torch.arange(-2, n + 2, device=image.device).abs()
        at = (n - 1 - (n - 1 - at).abs()).clamp(min=0)
        image = image.index_select(axis, at).unfold(axis, 5, 2) @ kernel
    return image


def doubled(field: Field, coarse: Scale, fine: Scale) -> Tensor:
    """Return the places ``(k, h, w, 2)`` of a field of the next coarser scale at a finer one."""
    axes = zip(fine.places, coarse.places, strict=True)
    rows, cols = (_halves(n, m, field.place.device) for n, m in axes)
    picked = field.place[:, rows[0]][:, :, cols[0]]
    number, row, col = coarse.atlas.origin(*picked.unbind(-1)).long()
    return fine.clamped(number, 2 * row + rows[1][:, None], 2 * col + cols[1])


def _halves(fine: int, coarse: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return for each place along an axis the one at half the scale, and the pixels beyond it."""
    place = torch.arange(fine, device=device)
    half = (place // 2).clamp(max=coarse - 1)
    return half, place - 2 * half


def _wrapped(values: Tensor, before: int, after: int) -> Tensor:
    """Continue the last two axes around the torus."""
    for axis in (-2, -1):
        n = values.shape[axis]
        at = torch.arange(-before, n + after, device=values.device) % n
        values = values.index_select(axis, at)
    return values
