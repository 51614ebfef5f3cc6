"""The pyramids of exemplars, of their guides and of a texture.

Level 0 of a pyramid is the image itself; a level has half the rows and columns of the one before,
rounded up. A pixel's parent, in the level above, is in half its row and half its column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ._copies import Places
from ._texture import Atlas, Wanted, atlas
from ._texture_scales import blurred


class Level(NamedTuple):
    """One level of the pyramids.

    Attributes:
        atlas: of the exemplars.
        coarse: the next level of them, every pixel doubled, laid out likewise; no channels in the
            coarsest level.
        guide: their guides, or no channels.
        wish: the texture's guides ``(G, h, w)``.
        size: of the texture.
    """

    atlas: Atlas
    coarse: Tensor
    guide: Tensor
    wish: Tensor
    size: tuple[int, int]


def stack_of(asked: Wanted, count: int) -> list[Level]:
    """Return the levels, coarsest first."""
    images, size = [u.cpu() for u in asked.exemplars], asked.size
    guides, wish = [u[:0] for u in images], torch.empty(0, *size)
    if asked.guides is not None:
        guides, wish = [g.cpu() for g in asked.guides[0]], asked.guides[1].cpu()
    levels = list[Level]()
    for number in range(count):
        coarser = [blurred(u, 2) for u in images]
        twice = [doubled(v, u.shape) for v, u in zip(coarser, images, strict=True)]
        coarse = atlas([v[:0] if number == count - 1 else v for v in twice]).image
        levels.append(Level(atlas(images), coarse, atlas(guides).image, wish, size))
        images, guides, wish = coarser, [blurred(g, 2) for g in guides], blurred(wish, 2)
        size = (-(-size[0] // 2), -(-size[1] // 2))
    return levels[::-1]


def doubled(u: Tensor, shape: Sequence[int]) -> Tensor:
    """Return every pixel twice in both directions, cut to a shape ``(C, h, w)``."""
    return u.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, : shape[1], : shape[2]]


def children(above: Level, level: Level, place: Places) -> Places:
    """Return for each pixel the place that lies under its parent's ``(h, w)``."""
    at, wide = torch.from_numpy(place).long(), above.atlas.free.shape[1]
    found = above.atlas.origin(at.div(wide, rounding_mode="floor"), at % wide)
    number, row, col = doubled(found, (0, *level.size)).long()
    y, x = (torch.arange(n) % 2 for n in level.size)
    lefts = torch.tensor(level.atlas.lefts)[number]
    places = (2 * row + y[:, None]) * level.atlas.free.shape[1] + lefts + 2 * col + x
    return places.to(torch.int32).numpy()
