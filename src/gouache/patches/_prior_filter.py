"""Estimates of patches by a mixture of Gaussians, at one noise level.

Notation: as in the prior: c the coefficients of a patch, ``S_k`` the covariance of component k.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from gouache.train import threads

from ._extract import Aggregate, bands
from ._mixture import ROWS, Mixture, Whitening

BLOCK = 4096  # rows that a thread takes at a time


class Filter:
    """The estimates of a prior at one noise level.

    Args:
        mixture: of the coefficients.
        patch: side of a patch.
        sigma: noise, above 0.
    """

    def __init__(self, mixture: Mixture, patch: int, sigma: float) -> None:
        with threads(1):
            whitening = Whitening.of(mixture, sigma)
            W = whitening.matrices
            wiener = torch.eye(W.shape[1]).to(W) - sigma**2 * (W @ W.mT)
        self.patch, self.sigma = patch, sigma
        self.wiener, self.whitening = wiener.float(), whitening.to(torch.float32)

    def estimate(self, patches: Tensor) -> Tensor:
        """Return the estimates of patches ``(n, D)``."""
        return blockwise(self.estimate_block, patches)

    def choose(self, c: Tensor) -> Tensor:
        """Return the component of least cost of each row of coefficients."""
        return blockwise(self._choose, c)

    def estimate_block(self, patches: Tensor) -> Tensor:
        """Return the estimates of a block of patches ``(n, D)``."""
        c = coefficients(patches, self.patch)
        k = self._choose(c)
        order = k.argsort(stable=True)
        counts = torch.bincount(k, minlength=len(self.wiener)).tolist()
        parts = zip(c[order].split(counts), self.wiener, strict=True)
        found = torch.empty_like(c)
        found[order] = torch.cat([some @ wiener for some, wiener in parts])
        return found @ cosine(self.patch).to(c) + patches.mean(1, keepdim=True)

    def _choose(self, c: Tensor) -> Tensor:
        return torch.cat([self.whitening.all_costs(some).argmin(1) for some in c.split(ROWS)])


def blockwise(function: Callable[..., Tensor], *rows: Tensor) -> Tensor:
    """Return the function of some rows at a time, each block on a thread of its own.

    A product of matrices may differ in its last bits with the number of threads that share it, so
    that none is shared.
    """
    from ._jit import spread

    blocks = list(zip(*(some.split(BLOCK) for some in rows), strict=True))

    def task(k: int) -> Tensor:
        with threads(1):
            return function(*blocks[k])

    with threads(None):
        return torch.cat(list(spread(task, len(blocks))))


def coefficients(patches: Tensor, p: int) -> Tensor:
    """Return the coefficients ``(n, d)`` of patches ``(n, D)``."""
    return (patches - patches.mean(1, keepdim=True)) @ cosine(p).to(patches).T


def frequencies(p: int) -> list[tuple[int, int]]:
    """Return the frequencies (row, column) without the mean, low ones first."""
    pairs = [(i, j) for i in range(p) for j in range(p)]
    return sorted(pairs, key=lambda f: (f[0] ** 2 + f[1] ** 2, f))[1:]


@cache
def cosine(p: int) -> Tensor:
    """Return ``Q (p^2 - 1, p^2)``: the orthonormal cosine transform without the mean."""
    k, x = torch.arange(p).double()[:, None], torch.arange(p).double()
    lines = torch.cos(math.pi * (2 * x + 1) * k / (2 * p))
    rows = [torch.outer(lines[i], lines[j]).flatten() for i, j in frequencies(p)]
    Q = torch.stack(rows)
    return Q / Q.norm(dim=1, keepdim=True)


def smoothed(plane: Tensor, filters: list[Filter], index: Tensor) -> Tensor:
    """Return the mean of the estimates of all patches of one channel ``(H, W)``.

    Args:
        plane: at least a patch high and wide.
        filters: one a noise level; an estimate weighs ``1 / sigma^2`` of its level.
        index: the level of each patch, by its place ``(H - p + 1, W - p + 1)``.
    """
    mean = Aggregate(plane[None].shape, filters[0].patch)
    weights = torch.tensor([(filters[0].sigma / f.sigma) ** 2 for f in filters]).to(plane)
    for band in bands(plane[None], filters[0].patch):
        level = index[band.rows][:, band.cols].flatten()
        found = blockwise(partial(_by_level, filters), band.patches, level)
        mean.add(band, found, weights[level])
    return mean.mean()[0]


def _by_level(filters: list[Filter], patches: Tensor, level: Tensor) -> Tensor:
    """Return the estimates of a block of patches whose noise levels differ."""
    found = torch.empty_like(patches)
    for k in level.unique().tolist():
        rows = (level == k).nonzero()[:, 0]
        found[rows] = filters[k].estimate_block(patches[rows])
    return found


def padded(image: Tensor, side: int) -> Tensor:
    """Extend ``(C, H, W)`` at the end by reflection to a patch at least."""
    rows, cols = (_reflected(n, max(n, side)).to(image.device) for n in image.shape[1:])
    return image[:, rows][:, :, cols]


def _reflected(n: int, length: int) -> Tensor:
    place = torch.arange(length) % (2 * n)
    return torch.where(place < n, place, 2 * n - 1 - place)
