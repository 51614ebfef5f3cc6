"""A bank of random filters at several scales: a representation that was never trained."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from gouache import random
from gouache.check import InputError, count
from gouache.check import images as check_images
from gouache.contracts import Features
from gouache.registry import method

_SIZE = 5
_CHUNK = 256


@method("features")
class RandomFilters(Features):
    """Energies of random zero-mean filters on an image pyramid.

    At scale s the image, halved s times by averaging, is convolved with ``filters`` random 5x5
    kernels ``w_k`` (each of zero mean and unit norm); the vector holds, for every scale, filter
    and cell of a ``cells`` x ``cells`` grid, the means of ``max(w * x, 0)`` and
    ``max(-w * x, 0)``, and for every scale and cell the mean colour. Grey images are taken as
    colour images with three equal channels. The same seed gives the same filters everywhere.

    Args:
        filters: kernels a scale.
        scales: at most this many; an image is halved only while it stays 4 pixels or wider.
        cells: the grid on which responses are averaged.
        seed: names the bank.

    Raises:
        InputError: images smaller than 4 pixels.

    Reference:
        I. Ustyuzhaninov, W. Brendel, L. Gatys, M. Bethge, "What does it take to generate natural
        textures?", 2017 (random multi-scale filters).

    Example:
        >>> import torch
        >>> RandomFilters(filters=8, scales=2)(torch.rand(3, 1, 8, 8)).shape
        torch.Size([3, 152])
    """

    def __init__(
        self, filters: int = 32, *, scales: int = 3, cells: int = 2, seed: int = 0
    ) -> None:
        self.filters = count(filters, "filters")
        self.scales = count(scales, "scales")
        self.cells = count(cells, "cells", high=4)
        keys = random.derive_keys(seed, torch.arange(filters))
        bank = random.keyed_normal(keys, (3, _SIZE, _SIZE))
        bank = bank - bank.mean(dim=(1, 2, 3), keepdim=True)
        self.bank = (bank / bank.flatten(1).norm(dim=1)[:, None, None, None]).float()
        self.name = "random" if seed == 0 else f"random (seed {seed})"

    def __call__(self, images: Tensor) -> Tensor:
        """Return ``(B, scales * cells^2 * (2 filters + 3))``."""
        return torch.cat([self._vector(chunk) for chunk in _colour(images).split(_CHUNK)])

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the responses of both signs at each scale, ``(B, 2 filters, h, w)``."""
        return [self._responses(x) for x in self._pyramid(_colour(images))]

    def _vector(self, x: Tensor) -> Tensor:
        levels = self._pyramid(x)
        stacked = [torch.cat([self._responses(level), level], dim=1) for level in levels]
        return torch.cat(
            [F.adaptive_avg_pool2d(maps, self.cells).flatten(1) for maps in stacked], dim=1
        )

    def _pyramid(self, x: Tensor) -> list[Tensor]:
        levels = [x]
        while len(levels) < self.scales and min(levels[-1].shape[-2:]) >= 8:
            levels.append(F.avg_pool2d(levels[-1], 2))
        return levels

    def _responses(self, x: Tensor) -> Tensor:
        padded = F.pad(x, [_SIZE // 2] * 4, mode="reflect")
        response = F.conv2d(padded, self.bank.to(x))
        return torch.cat([response.clamp(min=0), (-response).clamp(min=0)], dim=1)


def _colour(images: Tensor) -> Tensor:
    x = check_images(images)
    if min(x.shape[-2:]) < 4:
        raise InputError(f"random filters need images of 4 pixels or more, got {tuple(x.shape)}")
    return x.expand(-1, 3, -1, -1)
