"""The complex steerable pyramid, and back: an image by scales and orientations.

Notation: r and a are the modulus, in radians per pixel, and the angle of a frequency; S the number
of scales, K of orientations, 2 or more. Filters are products of a radial and an angular part:

- ``L_s(r)`` keeps what is below half of the scale's highest frequency ``pi / 2^s``, nothing above
  it, and falls as a cosine of log2 r in between; ``H = sqrt(1 - L_0^2)`` is the high-pass residual;
- a band has the radial part ``R_s = sqrt(L_s^2 - L_(s + 1)^2)`` and the angular part
  ``G_k(a) = (-i)^(K - 1) c cos(a - pi k / K)^(K - 1)``, c such that ``sum_k |G_k|^2 = 1``.

So ``H^2 + sum_(s, k) |R_s G_k|^2 + L_S^2 = 1``: the frame is tight, and its adjoint inverts it.
A complex band z has twice that filter, on the half-plane around its orientation alone: its real
part is the real band, which can be steered (orientation ``b`` is the sum over k of the real bands
times ``sin(K u) / (K sin u)``, ``u = b - pi k / K``), and the imaginary one its Hilbert transform.

Level s has ``ceil(n / 2^s)`` samples along a side of n pixels, odd or even, which are exactly the
values of the filtered image at points spread evenly, from the first pixel on. Images are periodic.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

Sides = tuple[int, int]


@dataclass(frozen=True)
class Pyramid:
    """The parts of images ``(..., H, W)``; means of squares add up, of complex bands one half.

    Attributes:
        high: the high-pass residual ``(..., H, W)``.
        bands: complex ``(..., K, h, w)``, the finest scale first.
        low: the low-pass residual.
    """

    high: Tensor
    bands: list[Tensor]
    low: Tensor


def steerable_pyramid(images: Tensor, scales: int = 4, orientations: int = 4) -> Pyramid:
    """Return the pyramid of ``(..., H, W)``, float32 or float64, in the same precision.

    Reference:
        E. P. Simoncelli, W. T. Freeman, "The steerable pyramid: a flexible architecture for
        multi-scale derivative computation", 1995; J. Portilla, E. P. Simoncelli, "A parametric
        texture model based on joint statistics of complex wavelet coefficients", 2000 (complex).
    """
    sides = (images.shape[-2], images.shape[-1])
    spectrum = torch.fft.fft2(images)
    bands = list[Tensor]()
    for s in range(scales):
        part = resized(spectrum, _level(sides, s)).unsqueeze(-3)
        bands.append(torch.fft.ifft2(part * _oriented(sides, s, orientations, images)))
    low = resized(spectrum, _level(sides, scales)) * _lowpass(sides, scales, scales, images)
    return Pyramid(
        torch.fft.ifft2(spectrum * _highpass(sides, images)).real, bands, torch.fft.ifft2(low).real
    )


def inverse(pyramid: Pyramid) -> Tensor:
    """Return the images of a pyramid; of one that is no image's, those nearest to it."""
    high = pyramid.high
    kept = _highpass((high.shape[-2], high.shape[-1]), high)
    return lowpasses(pyramid)[0] + torch.fft.ifft2(torch.fft.fft2(high) * kept).real


def lowpasses(pyramid: Pyramid) -> list[Tensor]:
    """Return images put together again from a scale on, that scale first: S + 1 of them.

    Every one is sampled as its level is: it is the image filtered by ``L_s^2``.
    """
    sides = (pyramid.high.shape[-2], pyramid.high.shape[-1])
    scales = len(pyramid.bands)
    found = torch.fft.fft2(pyramid.low) * _lowpass(sides, scales, scales, pyramid.low)
    levels = [torch.fft.ifft2(found).real]
    for s, band in reversed(list(enumerate(pyramid.bands))):
        kept = _oriented(sides, s, band.shape[-3], pyramid.high).conj() / 2
        bands = (torch.fft.fft2(band) * kept).sum(-3)
        levels.append(torch.fft.ifft2(bands + resized(found, _level(sides, s))).real)
        found = torch.fft.fft2(levels[-1])
    return levels[::-1]


def resampled(x: Tensor, sides: Sides) -> Tensor:
    """Return complex ``(..., h, w)`` at more points, by its Fourier series."""
    return torch.fft.ifft2(resized(torch.fft.fft2(x), sides))


def resized(spectrum: Tensor, sides: Sides) -> Tensor:
    """Return the lowest frequencies of ``(..., h, w)``, or more with zeros, for the same values.

    A part at the highest frequency of an even side has no partner, and must be zero.
    """
    for axis, side in zip((-2, -1), sides, strict=True):
        here = spectrum.shape[axis]
        if side != here:
            n = min(side, here)
            first = spectrum.narrow(axis, 0, (n + 1) // 2)
            last = spectrum.narrow(axis, here - n // 2, n // 2)
            shape = list(spectrum.shape)
            shape[axis] = side - n
            between = [spectrum.new_zeros(shape)] if side > n else []
            spectrum = torch.cat([first, *between, last], axis) * (side / here)
    return spectrum


def _level(sides: Sides, s: int) -> Sides:
    """Return how many samples a level has."""
    return (-(-sides[0] // 2**s), -(-sides[1] // 2**s))


@lru_cache(16)
def _frequencies(sides: Sides, level: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return log2(r / pi) and the angle of the frequencies of a level, ``(h, w)`` float64."""
    down, across = (
        torch.fft.fftfreq(m, 1 / m, dtype=torch.float64, device=device) * (2 / n)
        for n, m in zip(sides, _level(sides, level), strict=True)
    )
    r = torch.hypot(down[:, None], across)
    return r.clamp(min=1e-9).log2(), torch.atan2(down[:, None], across.expand_as(r))


def _fall(sides: Sides, s: int, level: int, like: Tensor) -> Tensor:
    """Return the angle of which ``L_s`` is the cosine: 0 where all is kept."""
    octaves = _frequencies(sides, level, like.device)[0]
    return (octaves + s + 1).clamp(0, 1) * (math.pi / 2)


def _lowpass(sides: Sides, s: int, level: int, like: Tensor) -> Tensor:
    """Return ``L_s`` at the frequencies of a level."""
    return _fall(sides, s, level, like).cos().to(like)


def _highpass(sides: Sides, like: Tensor) -> Tensor:
    """Return ``H``."""
    return _fall(sides, 0, 0, like).sin().to(like)


def _oriented(sides: Sides, s: int, orientations: int, like: Tensor) -> Tensor:
    """Return the filters of a scale's complex bands ``(K, h, w)``."""
    angle = _frequencies(sides, s, like.device)[1]
    order = orientations - 1
    c = 2**order * math.factorial(order) / math.sqrt(orientations * math.factorial(2 * order))
    turns = torch.arange(orientations, dtype=torch.float64, device=like.device)
    along = torch.cos(angle - turns[:, None, None] * (math.pi / orientations))
    radial = _fall(sides, s, s, like).cos() * _fall(sides, s + 1, s, like).sin()
    return (-1j) ** order * (2 * c * radial * along.clamp(min=0) ** order).to(like)
