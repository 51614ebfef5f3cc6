"""Overlapping patches, out of an image and back, in bands of bounded memory.

Notation: patches of p x p pixels and C channels; a *place* is the row and column of a patch's first
pixel; a patch as a vector lists channels, then rows, then columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gouache import check


@dataclass(frozen=True)
class Band:
    """Patches at the crossings of some rows and all columns of a grid.

    Attributes:
        rows: places ``(n,)``.
        cols: places ``(m,)``.
        patches: ``(n m, C p p)``, columns fastest.
    """

    rows: Tensor
    cols: Tensor
    patches: Tensor


def bands(image: Tensor, patch: int, *, stride: int = 1, most: int = 65536) -> Iterator[Band]:
    """Yield all patches on a grid, top to bottom, some rows at a time.

    The grid has every ``stride``-th place, and the last one along each axis, so that every pixel
    is in a patch if ``stride <= patch``.

    Args:
        image: ``(C, H, W)``.
        patch: side p of a patch, at most H and W.
        stride: pixels between places.
        most: patches in a band, where one row of the grid has no more.

    Raises:
        InputError: a patch larger than the image, or counts below 1.

    Reference:
        A. Efros, T. Leung, "Texture synthesis by non-parametric sampling", 1999 (the image as the
        set of its patches).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(3, 20, 30)
        >>> mean = patches.Aggregate(image.shape, 8)
        >>> for band in patches.bands(image, 8, stride=3):
        ...     mean.add(band, band.patches)
        >>> torch.allclose(mean.mean(), image)
        True
    """
    check.count(patch, "patch", 1, min(image.shape[1:]))
    rows, cols = (places(n, patch, check.count(stride, "stride")) for n in image.shape[1:])
    view = image.unfold(1, patch, 1).unfold(2, patch, 1)
    for some in rows.split(max(1, most // len(cols))):
        lines = torch.stack([view[:, r].index_select(1, cols.to(image.device)) for r in some])
        flat = lines.transpose(1, 2).reshape(len(some) * len(cols), -1)
        yield Band(some, cols, flat)


def places(length: int, patch: int, stride: int) -> Tensor:
    """Return the places along an axis: every ``stride``-th, and the last."""
    last = length - patch
    regular = torch.arange(0, last + 1, stride)
    return regular if int(regular[-1]) == last else torch.cat([regular, torch.tensor([last])])


class Aggregate:
    """The weighted mean of overlapping patches.

    ``x(r) = sum_i w_i P_i(r) / sum_i w_i`` over the patches i that hold pixel r; what no patch
    holds is 0. Sums are kept in the patches' own type, and in the order of the calls.

    Args:
        shape: of the image ``(C, H, W)``.
        patch: side p of a patch.

    Reference:
        O. Guleryuz, "Weighted averaging for denoising with overcomplete dictionaries", 2007.

    Example:
        >>> import torch
        >>> Aggregate((1, 4, 4), 2).mean().sum()
        tensor(0.)
    """

    def __init__(self, shape: tuple[int, ...] | torch.Size, patch: int) -> None:
        self.shape, self.patch = tuple(shape), check.count(patch, "patch")
        self._sum: Tensor | None = None
        self._weight: Tensor | None = None

    def add(self, band: Band, patches: Tensor, weight: Tensor | None = None) -> None:
        """Add the patches ``(n m, C p p)`` of a band, each with a weight ``(n m,)`` or 1."""
        p, (channels, height, width) = self.patch, self.shape
        n, m = len(band.rows), len(band.cols)
        if self._sum is None or self._weight is None:
            self._sum = patches.new_zeros(channels, height, width)
            self._weight = patches.new_zeros(height, width)
        weight = patches.new_ones(n * m) if weight is None else weight.to(patches)
        stack = (patches * weight[:, None]).reshape(n, m, channels, p, p).permute(2, 0, 1, 3, 4)
        weights = weight.reshape(n, m)
        for i in range(p):
            for j in range(p):
                at = (
                    (band.rows + i).to(patches.device)[:, None],
                    (band.cols + j).to(patches.device),
                )
                self._sum[(slice(None), *at)] += stack[..., i, j]
                self._weight[at] += weights

    def mean(self) -> Tensor:
        """Return the image ``(C, H, W)``."""
        if self._sum is None or self._weight is None:
            return torch.zeros(self.shape)
        return torch.where(self._weight > 0, self._sum / self._weight, 0)
