"""The photographs that scikit-image, scikit-learn and matplotlib ship, and how crops are drawn.

Crop i of a split is a function of (seed, split, i): the first crops of a longer draw are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gouache.image import as_uint8, load
from gouache.random import derive, derive_keys, keyed_uniform

from ._bundled import bundled


@dataclass(frozen=True)
class Photograph:
    """A photograph inside an installed package.

    Attributes:
        name: its class.
        caption: what it shows.
        package: the package that ships it.
        path: where it lies in the package.
        licence: who made it, and its terms.
    """

    name: str
    caption: str
    package: str
    path: str
    licence: str

    def pixels(self) -> Tensor:
        """Return the photograph ``(C, H, W)`` as float32 in [0, 1]."""
        return load(bundled(self.package, self.path))


def crops(
    regions: list[list[Tensor]], n: int, size: tuple[int, int], seed: int, part: int
) -> tuple[Tensor, Tensor]:
    """Draw crops, uniform over regions, then over the scales of a region, then over positions.

    Args:
        regions: for each region its pictures ``(C, H, W)`` at every scale, in [0, 1].
        n: how many crops.
        size: height and width of a crop, not beyond any picture.
        seed: any integer.
        part: number of the split.

    Returns:
        The crops ``(n, C, h, w)`` uint8, and the number of each one's region ``(n,)``.
    """
    h, w = size
    uniform = keyed_uniform(derive_keys(derive(seed, part), torch.arange(n)), (4,))
    levels = [[as_uint8(picture) for picture in region] for region in regions]
    labels = (uniform[:, 0] * len(regions)).long()
    rows = []
    for k, (_, scale, top, left) in zip(labels.tolist(), uniform.tolist(), strict=True):
        picture = levels[k][int(scale * len(levels[k]))]
        y = int(top * (picture.shape[1] - h + 1))
        x = int(left * (picture.shape[2] - w + 1))
        rows.append(picture[:, y : y + h, x : x + w])
    return torch.stack(rows), labels
