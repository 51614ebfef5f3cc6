"""Joint statistics of the wavelet coefficients of textures.

Notation: z is a band of the complex steerable pyramid, ``|z|`` its magnitude, u a low-pass image;
C and K are the numbers of channels and of orientations, and L that of the shifts of a neighbourhood
M x M, one of every two that are opposite, ``(M^2 - 1) / 2``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError

from ._steerable import lowpasses, resampled, steerable_pyramid

Statistics = list[dict[str, Tensor]]

TINY = 1e-9  # of the image's variance, added to variances, lest something flat be divided by 0
ROUNDING = 10  # machine epsilons of the image's values, below which nothing is known
ZERO = 1e-30  # for an image of zeros


def texture_statistics(
    images: Tensor, *, scales: int = 4, orientations: int = 4, neighbourhood: int = 7
) -> Statistics:
    """Return the statistics of Portilla and Simoncelli by scale, the finest first.

    Kinds, each ``(B, number)``, of the low-pass image u of a scale and of its bands z:

    - ``lowpass``: deviation, skewness, kurtosis of u; ``lowpass_shifts``: its autocorrelation;
      ``lowpass_channels``: correlations of channels, where there are several;
    - ``magnitude``: deviation of ``|z|``; ``magnitude_shifts``: its autocorrelation;
      ``magnitude_bands``: its correlations, of orientations and channels; ``magnitude_scales``:
      those with the next coarser scale;
    - ``phase_scales``: correlations of Re z with real and imaginary part of ``w^2 / |w|``, w the
      bands of the next coarser scale, whose phase turns as fast as that of z once doubled;
    - at the finest scale ``pixels``: mean, deviation, skewness, kurtosis, largest and smallest
      value, and ``highpass``: deviation of the high-pass residual;
    - at the coarsest ``residual``, ``residual_shifts``, ``residual_channels``: as for u.

    Grey images have 710 at 4 scales, 4 orientations and a neighbourhood of 7. All can be
    differentiated.

    Args:
        images: ``(B, C, H, W)`` of any range, periodic, float32, or float64 for exactness. What is
            a ratio, all but deviations, means and extremes, is the same of an image times a number.
        scales: of the pyramid.
        orientations: 2 or more.
        neighbourhood: side M of the autocorrelations, odd, in pixels of every scale.

    Raises:
        InputError: no batch of finite float32 or float64, empty, a side below
            ``2^scales neighbourhood``.

    Reference:
        J. Portilla, E. P. Simoncelli, "A parametric texture model based on joint statistics of
        complex wavelet coefficients", 2000.

    Example:
        >>> import torch
        >>> from gouache import measure
        >>> found = measure.texture_statistics(torch.rand(1, 1, 128, 128))
        >>> sum(x.shape[1] for level in found for x in level.values())
        710
    """
    checked(orientations, neighbourhood)
    _batch(images, neighbourhood * 2 ** check.count(scales, "scales", high=20))
    floor = _floor(images)
    pyramid = steerable_pyramid(images, scales, orientations)
    bands = [z.flatten(1, 2) for z in pyramid.bands]
    *lows, residual = lowpasses(pyramid)
    found = [
        _lowpass(low, neighbourhood, "lowpass", floor) | _magnitudes(z.abs(), neighbourhood, floor)
        for low, z in zip(lows, bands, strict=True)
    ]
    for level, fine, coarse in zip(found, bands, bands[1:], strict=False):
        level |= _across(fine, coarse, floor)
    found[0] |= {
        "pixels": torch.cat([_mean(images), _moments(images, floor), _extremes(images)], 1),
        "highpass": _deviation(pyramid.high, floor),
    }
    found[-1] |= _lowpass(residual, neighbourhood, "residual", floor)
    return found


def checked(orientations: int, neighbourhood: int) -> None:
    """Check what both functions share."""
    check.count(orientations, "orientations", 2)
    if check.count(neighbourhood, "neighbourhood", 3) % 2 == 0:
        raise InputError(f"neighbourhood must be odd, got {neighbourhood}")


def _batch(images: Tensor, least: int) -> None:
    """Check a batch of images of at least some side."""
    if not isinstance(images, Tensor):
        raise InputError(
            f"images must be a torch tensor (B, C, H, W), got {type(images).__name__}; "
            "gouache.image.as_tensor converts NumPy and PIL images"
        )
    here = f"got {images.dtype} {tuple(images.shape)}"
    if images.ndim != 4:
        raise InputError(f"images must have shape (B, C, H, W), {here}; one image is image[None]")
    if images.dtype not in (torch.float32, torch.float64):
        raise InputError(f"images must be float32 or float64, {here}; call .float()")
    if 0 in images.shape:
        raise InputError(f"images must not be empty, {here}")
    if min(images.shape[2:]) < least:
        raise InputError(
            f"images must have sides of at least {least} pixels, {here}; "
            "make them larger, or ask for fewer scales"
        )
    check.finite(images, "images")


def _floor(images: Tensor) -> Tensor:
    """Return what is added to the variances of every image ``(B, 1)``, in proportion to it."""
    rounding = (ROUNDING * torch.finfo(images.dtype).eps) ** 2
    power = images.square().mean((1, 2, 3))
    variance = images.var((-2, -1), correction=0).mean(1)
    return (TINY * variance + rounding * power + ZERO)[:, None]


def _lowpass(x: Tensor, m: int, name: str, floor: Tensor) -> dict[str, Tensor]:
    """Return the kinds of a low-pass image ``(B, C, h, w)``."""
    centred = x - x.mean((-2, -1), keepdim=True)
    found = {name: _moments(x, floor), f"{name}_shifts": _shifts(centred, m, floor)}
    return found | ({f"{name}_channels": _pairs(centred, floor)} if x.shape[1] > 1 else {})


def _magnitudes(x: Tensor, m: int, floor: Tensor) -> dict[str, Tensor]:
    """Return the kinds of the magnitudes of one scale ``(B, C K, h, w)``."""
    x = x - x.mean((-2, -1), keepdim=True)
    return {
        "magnitude": _deviation(x, floor),
        "magnitude_shifts": _shifts(x, m, floor),
        "magnitude_bands": _pairs(x, floor),
    }


def _across(fine: Tensor, coarse: Tensor, floor: Tensor) -> dict[str, Tensor]:
    """Return the kinds of a scale and the next ``(B, C K, h, w)``."""
    w = resampled(coarse, (fine.shape[-2], fine.shape[-1]))
    here, there = (x.abs() - x.abs().mean((-2, -1), keepdim=True) for x in (fine, w))
    doubled = w * w.sgn()
    phases = [_correlations(fine.real, part, floor) for part in (doubled.real, doubled.imag)]
    return {
        "magnitude_scales": _correlations(here, there, floor).flatten(1),
        "phase_scales": torch.cat(phases, 2).flatten(1),
    }


def _mean(x: Tensor) -> Tensor:
    """Return the mean ``(B, C)``."""
    return x.mean((-2, -1))


def _deviation(x: Tensor, floor: Tensor) -> Tensor:
    """Return the root of the mean square ``(B, C)``."""
    return (_mean(x.square()) + floor).sqrt()


def _moments(x: Tensor, floor: Tensor) -> Tensor:
    """Return deviation, skewness and kurtosis ``(B, 3 C)``."""
    x = x - x.mean((-2, -1), keepdim=True)
    deviation = _deviation(x, floor)
    x = x / deviation[..., None, None]
    return torch.cat([deviation, _mean(x**3), _mean(x**4)], 1)


def _extremes(x: Tensor) -> Tensor:
    """Return the largest and the smallest value ``(B, 2 C)``."""
    return torch.cat([x.amax((-2, -1)), x.amin((-2, -1))], 1)


def _shifts(x: Tensor, m: int, floor: Tensor) -> Tensor:
    """Return the correlations of ``(B, C, h, w)`` with itself shifted ``(B, C L)``."""
    products = torch.fft.ifft2(torch.fft.fft2(x).abs().square()).real / x[0, 0].numel()
    side = range(-(m // 2), m // 2 + 1)
    down, across = zip(*((i, j) for i in side for j in side if (i, j) > (0, 0)), strict=True)
    return (products[..., down, across] / (products[..., :1, 0] + floor[..., None])).flatten(1)


def _pairs(x: Tensor, floor: Tensor) -> Tensor:
    """Return the correlations of every two of ``(B, N, h, w)``, ``(B, N (N - 1) / 2)``."""
    rows, cols = torch.triu_indices(x.shape[1], x.shape[1], 1)
    return _correlations(x, x, floor)[:, rows, cols]


def _correlations(x: Tensor, y: Tensor, floor: Tensor) -> Tensor:
    """Return the correlations of ``(B, N, h, w)`` and ``(B, M, h, w)``, ``(B, N, M)``."""
    products = torch.einsum("bnhw, bmhw -> bnm", x, y) / x[0, 0].numel()
    return products / (_deviation(x, floor)[:, :, None] * _deviation(y, floor)[:, None])
