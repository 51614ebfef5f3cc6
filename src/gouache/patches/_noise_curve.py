"""Noise whose variance grows with the light: its curve, from one image.

Notation: ``u`` the clean image, ``sigma^2(u) = a + b u`` the variance of the noise at brightness u:
``b`` that of photons (one count is b in units of the pixel range), ``a`` that of the electronics.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ._gaussian import smoothed
from ._image import batched
from ._noise import Array, Blocks, Level, blocks_of, level_of

BINS, BIN, WIDTH, TURNS, QUANTILE, FAR = 16, 1000, 1.5, 30, 0.25, 5.0


@dataclass(frozen=True)
class NoiseCurve:
    """The noise of each image of a batch, ``sigma^2(u) = a + b u``.

    Attributes:
        a: variance in the dark ``(B,)``, pixel range 1.
        b: its growth with brightness ``(B,)``; of pure Poisson noise 1 / peak.

    Reference:
        A. Foi, M. Trimeche, V. Katkovnik, K. Egiazarian, "Practical Poissonian-Gaussian noise
        modeling and fitting for single-image raw-data", 2008.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> curve = patches.NoiseCurve(torch.tensor([0.0]), torch.tensor([0.01]))
        >>> curve.sigma(torch.full((3, 8, 8), 0.25))[0, 0, 0, 0]
        tensor(0.0500)
    """

    a: Tensor
    b: Tensor

    def variance(self, u: Tensor) -> Tensor:
        """Return ``a + b u`` of brightness ``(B, C, H, W)``, at least 0."""
        a, b = (x.to(u.device).view(-1, 1, 1, 1) for x in (self.a, self.b))
        return (a + b * u).clamp(min=0)

    def sigma(self, image: Tensor) -> Tensor:
        """Return the standard deviation at every pixel of a noisy image ``(B, 1, H, W)``.

        Brightness is the mean over channels under a Gaussian of 1.5 pixels, so that the map does
        not follow the noise; it is the root of the channels' mean variance.
        """
        u = batched(image).detach().mean(1, keepdim=True)
        return self.variance(torch.stack([smoothed(x, WIDTH) for x in u])).sqrt()


def noise_curve(image: Tensor) -> NoiseCurve:
    """Estimate how the variance of the noise grows with brightness, ``sigma^2(u) = a + b u``.

    Blocks of 8 x 8 pixels are parted by their mean into bins of equal size; in each the level of
    the noise is read from the high frequencies of its smoothest blocks, as `estimate_sigma` does.
    The line is fitted through them with weights 1 / error^2, both a and b at least 0. As texture
    only adds, it is sought along the lowest quarter of the bins, and those far off it do not count.
    Channels are blocks of one curve.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1, linear in light, not clipped
            (blocks with pixels at 0 or 1 are left out if the image never leaves [0, 1]).

    Raises:
        InputError: an image that is no image.

    Reference:
        M. Colom, A. Buades, "Analysis and extension of the Ponomarenko et al. method, estimating a
        noise curve from a single image", 2013; A. Foi, M. Trimeche, V. Katkovnik, K. Egiazarian,
        "Practical Poissonian-Gaussian noise modeling and fitting for single-image raw-data", 2008.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0.1, 0.9, 128).expand(1, 128, 128)
        >>> counts = torch.poisson(50 * clean, generator=torch.Generator().manual_seed(0))
        >>> bool((patches.noise_curve(counts / 50).b - 1 / 50).abs() < 0.2 / 50)
        True
    """
    found = [_one(blocks_of(picture)) for picture in batched(image).detach().cpu()]
    a, b = torch.tensor(found, device=image.device).T
    return NoiseCurve(a, b)


def estimate_sigma_map(image: Tensor) -> Tensor:
    """Estimate the standard deviation of the noise at every pixel ``(B, 1, H, W)``.

    ``sqrt(a + b u)`` with the curve of `noise_curve`; any filter takes it as ``sigma``.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1.

    Raises:
        InputError: an image that is no image.

    Reference:
        A. Foi, M. Trimeche, V. Katkovnik, K. Egiazarian, "Practical Poissonian-Gaussian noise
        modeling and fitting for single-image raw-data", 2008.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0.1, 0.9, 128).expand(1, 128, 128)
        >>> counts = torch.poisson(50 * clean, generator=torch.Generator().manual_seed(0))
        >>> sigma = patches.estimate_sigma_map(counts / 50)
        >>> bool(patches.nlmeans(counts / 50, sigma).var() < (counts / 50).var())
        True
    """
    return noise_curve(image).sigma(image)


def _one(blocks: Blocks | None) -> tuple[float, float]:
    if blocks is None:
        return 0.0, 0.0
    count = max(1, min(BINS, len(blocks.mean) // BIN))
    parts = np.array_split(np.argsort(blocks.mean, kind="stable"), count)
    return _fit([level_of(blocks.part(part)) for part in parts])


def _fit(levels: list[Level]) -> tuple[float, float]:
    """Fit ``value = a + b mean`` with a, b >= 0, the errors growing with the fitted value.

    First the line below which a quarter of the bins lie, whatever the others are; then least
    squares over those near it (Tukey's biweight).
    """
    value, relative, mean = np.array([(x.value, x.error, x.mean) for x in levels]).T
    if not value.any():
        return 0.0, 0.0
    found = (0.0, 0.0)
    fitted = np.full_like(value, np.quantile(value, QUANTILE))
    for turn in range(2 * TURNS):
        spread = relative * fitted.clip(1e-3 * value.max())
        off = (value - fitted) / spread
        side = np.where(off > 0, QUANTILE, 1 - QUANTILE)
        early = side / np.abs(off).clip(0.1)
        late = (1 - (off / FAR) ** 2).clip(0) ** 2
        found = _line(mean, value, (early if turn < TURNS or not late.any() else late) / spread**2)
        fitted = found[0] + found[1] * mean
    return found


def _line(x: Array, y: Array, weight: Array) -> tuple[float, float]:
    """Return the a, b >= 0 with the least ``sum weight (a + b x - y)^2``."""
    w = weight / weight.sum()
    mx, my = float(w @ x), float(w @ y)
    spread = float(w @ (x - mx) ** 2)
    b = float(w @ ((x - mx) * (y - my))) / spread if spread > 0 else 0.0
    a = my - b * mx
    if b < 0:
        return my, 0.0
    return (a, b) if a >= 0 else (0.0, max(0.0, float(w @ (x * y)) / float(w @ x**2)))
