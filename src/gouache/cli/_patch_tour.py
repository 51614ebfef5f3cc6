"""The demo's chapter on patches: what is made of one image, with no training."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from gouache.report import Chapter

SIDE, CROPS, PHOTOGRAPHS = 104, (0, 1, 6), (3, 11)  # brick, grass, gravel; a palace, a cup


def patch_tour(seed: int) -> Chapter:
    """Fill holes, make a texture and variations, and move colours, on bundled photographs."""
    from gouache import data, patches, random, report

    textures = [data.textures(size=SIDE, n=12, seed=0).all()[k].expand(3, -1, -1) for k in CROPS]
    palace, cup = (data.photos(size=128, n=12, seed=1).all()[k] for k in PHOTOGRAPHS)
    hole = _hole(SIDE)
    spoilt = [u.masked_fill(hole, 1.0) for u in textures]
    filled = [patches.inpaint(u, hole, rng=random.generator(seed)) for u in spoilt]
    made = patches.texture_optimization(textures[2], (160, 400), rng=random.generator(seed))
    rate = f"{100 * made.copy_rate:.0f} % of its patches stand in the exemplar"
    others = [patches.gpnn(cup, rng=random.generator(seed + k)) for k in range(3)]
    moved = patches.color_transport(palace, cup, rng=random.generator(seed))
    figures = (
        ("Holes, and what patches of the rest fill them with.", _row([*spoilt, *filled])),
        (f"A texture from {SIDE} x {SIDE} pixels of gravel; {rate}.", made.image),
        ("A photograph, and three others of its patches.", _row([cup, *others])),
        ("A photograph, a palette, and both in one.", _row([palace, cup, moved])),
    )
    words = "All of this is made of the patches of one image or two: nothing was trained."
    return report.Chapter("Patches", words, figures, "gouache inpaint in.png mask.png out.png")


def _hole(side: int) -> Tensor:
    """Return a disc in the middle ``(side, side)``."""
    import torch

    away = torch.arange(side) - side / 2
    return away[:, None] ** 2 + away**2 < (side / 5) ** 2


def _row(pictures: list[Tensor]) -> Tensor:
    import torch

    from gouache import image

    return image.grid(torch.stack(pictures), len(pictures), pad=4)
