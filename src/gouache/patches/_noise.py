"""The level of white Gaussian noise, from one noisy image.

Notation: blocks of n x n pixels, n = 8, and their orthonormal cosine coefficients at frequencies
(i, j); *low* are 0 < i + j < n, *high* are i + j > n, and narrower sets with i + j > n + 1 and
n + 2. The *level* is a variance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ._image import batched
from ._noise_spectrum import cosines, fractal_level

Array: TypeAlias = NDArray[np.float64]
SIDE, LEAST, MOST, SETS = 8, 64, 250_000, 3
SHARES = tuple(2.0**-k for k in range(8, -1, -1))
# Overlapping blocks are not independent: of pure noise, the smoothest s of all blocks are worth as
# many as GAIN s^SPREAD times those that fit side by side (measured).
GAIN, SPREAD = 1.4, 0.6
# Bounds, in standard errors: chance in one level of many evens out, in one alone it does not.
BOUND, BOUND_ALONE = 4.0, 4.8


def estimate_sigma(image: Tensor) -> Tensor:
    """Estimate the standard deviation of white Gaussian noise, one number an image ``(B,)``.

    Blocks are sorted by their energy at low frequencies; the smoothest have the least texture, and
    as the high frequencies had no part in the choice, their mean square there is sigma^2. How many
    blocks to take, from 1/256 of them to all, and how high the frequencies, is a choice between
    noise and texture. Texture only adds, so that each choice bounds sigma^2 from above, by its mean
    square and nearly five standard errors: the one with the least bound is taken.

    A fractal is nowhere smooth. An image that looks like one, a Gaussian field of power A f^-beta
    at frequency f, has sigma^2 from the fit of sigma^2 + A f^-beta to its spectrum instead, if that
    tells it within a half; noise weaker than that is read by the blocks, and too high.

    Blocks with pixels at 0 or 1 are left out if the image never leaves [0, 1], and the spectrum is
    not looked at: there the noise may have been cut off. All channels are taken to carry the same
    noise. An image of fewer than 3 pixels a side gives 0.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1.

    Raises:
        InputError: an image that is no image.

    Reference:
        M. Colom, A. Buades, "Analysis and extension of the Ponomarenko et al. method, estimating a
        noise curve from a single image", 2013 (blocks and frequencies; the choice is ours);
        P. Whittle, "Estimation and information in stationary time series", 1953 (the fit).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0, 1, 64).expand(1, 64, 64)
        >>> noise = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> bool((patches.estimate_sigma(clean + 0.1 * noise) - 0.1).abs() < 0.01)
        True
    """
    levels = [_one(picture) for picture in batched(image).detach().cpu()]
    return torch.tensor(levels, device=image.device).sqrt()


@dataclass(frozen=True)
class Blocks:
    """What is known of each of N blocks.

    Attributes:
        mean: of its pixels ``(N,)``.
        low: energy at low frequencies ``(N,)``.
        high: mean square at each set of high frequencies ``(N, S)``.
        cell: on a grid of n x n pixels, where it begins ``(N,)``.
        sizes: how many frequencies each set has ``(S,)``.
        apart: how many such blocks would fit into the image side by side.
    """

    mean: Array
    low: Array
    high: Array
    cell: NDArray[np.int64]
    sizes: NDArray[np.int64]
    apart: float

    def part(self, chosen: NDArray[np.int64]) -> Blocks:
        """Return some of the blocks."""
        apart = self.apart * len(chosen) / len(self.mean)
        mean, low, high = self.mean[chosen], self.low[chosen], self.high[chosen]
        return Blocks(mean, low, high, self.cell[chosen], self.sizes, apart)


@dataclass(frozen=True)
class Level:
    """A variance of noise, its relative standard error, and the mean of the pixels it is from."""

    value: float
    error: float
    mean: float


def blocks_of(picture: Tensor) -> Blocks | None:
    """Return all blocks of ``(C, H, W)``, or an even choice of them; None if it is too small."""
    n = min(SIDE, *picture.shape[-2:])
    if n < 3:
        return None
    step = math.ceil(math.sqrt(picture.numel() / MOST))
    view = picture.unfold(1, n, step).unfold(2, n, step)
    blocks, D = view.reshape(-1, n, n), torch.from_numpy(cosines(n)).float()
    squares = (D @ (blocks - blocks[:, :1, :1]) @ D.T).square().numpy()
    order = np.add.outer(np.arange(n), np.arange(n))
    sets = [order > k for k in range(n, min(n + SETS, 2 * n - 2))]
    high = np.stack([squares[:, kept].mean(1, dtype=np.float64) for kept in sets], 1)
    low = squares[:, (order > 0) & (order < n)].sum(1, dtype=np.float64)
    mean = blocks.numpy().mean((1, 2), dtype=np.float64)
    sizes = np.array([kept.sum() for kept in sets])
    found = Blocks(mean, low, high, _cells(view, step), sizes, picture.numel() / n**2)
    return found.part(np.flatnonzero(_whole(blocks, picture).numpy()))


def level_of(blocks: Blocks, bound: float = BOUND) -> Level:
    """Return the level of the noise: of all choices of blocks and frequencies, the least bound.

    It is so many standard errors above the logarithm of the mean square.
    """
    order, most = np.argsort(blocks.low, kind="stable"), len(blocks.low)
    counts = np.array([min(most, max(LEAST, round(share * most))) for share in SHARES])
    first = np.sort(np.unique(blocks.cell[order], return_index=True)[1])
    worth = np.searchsorted(first, counts).clip(1)
    worth = np.minimum(worth, GAIN * blocks.apart * (counts / most) ** SPREAD)
    value = np.cumsum(blocks.high[order], 0)[counts - 1] / counts[:, None]
    error = np.sqrt(2 / (worth[:, None] * blocks.sizes))
    best = np.unravel_index(np.argmin(value * np.exp(bound * error)), value.shape)
    mean = float(blocks.mean[order[: counts[best[0]]]].mean())
    return Level(float(value[best]), float(error[best]), mean)


def _one(picture: Tensor) -> float:
    """Return the level of the noise of ``(C, H, W)``, by its spectrum or by its blocks."""
    level = None if _cut(picture) else fractal_level(picture.double().numpy())
    if level is not None:
        return level
    blocks = blocks_of(picture)
    return 0.0 if blocks is None else level_of(blocks, BOUND_ALONE).value


def _cells(view: Tensor, step: int) -> NDArray[np.int64]:
    """Number, by n x n pixels, the cell that each block ``(C, h, w, n, n)`` begins in."""
    channels, height, width, n, _ = view.shape
    rows, cols = (np.arange(count) * step // n for count in (height, width))
    wide = int(cols[-1]) + 1
    plane = np.add.outer(rows * wide, cols).ravel()
    return np.add.outer(np.arange(channels) * wide * (int(rows[-1]) + 1), plane).ravel()


def _cut(picture: Tensor) -> bool:
    """Tell whether pixels may have been cut off: some are at 0 or 1, and none is beyond."""
    low, high = float(picture.min()), float(picture.max())
    return (low == 0 and high <= 1) or (low >= 0 and high == 1)


def _whole(blocks: Tensor, picture: Tensor) -> Tensor:
    """Tell which blocks ``(N, n, n)`` hold no pixel that may have been cut off; all if few do."""
    cut = torch.zeros(len(blocks), dtype=torch.bool)
    if _cut(picture):
        cut = ((blocks == 0) | (blocks == 1)).any(2).any(1)
    return ~cut if int((~cut).sum()) >= LEAST else torch.ones_like(cut)
