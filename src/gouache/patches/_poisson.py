"""Poisson noise: its variance is made constant, a filter for Gaussian noise is used, and back.

Notation: ``z`` counts of photons with mean ``lambda``; the image is ``z / peak``, so that ``peak``
counts are white; ``s`` the standard deviation, in counts, of Gaussian noise on top; ``D`` the
filtered value of the transformed counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError

from ._denoiser import FilterDenoiser
from ._image import MOST, batched, like
from ._noise_curve import NoiseCurve, noise_curve

ROOT = math.sqrt(3 / 2)


def anscombe(image: Tensor, peak: float, *, read: float = 0.0) -> Tensor:
    """Transform counts so that their noise has a standard deviation of 1, whatever the light.

    ``f(z) = 2 sqrt(z + 3/8 + s^2)`` with ``z = peak image``, ``s = peak read``.

    Args:
        image: counts / peak, any shape.
        peak: counts at 1.
        read: standard deviation of Gaussian noise on top, pixel range 1.

    Raises:
        InputError: no tensor of finite floats, a peak that is not above 0, a negative read noise.

    Reference:
        F. J. Anscombe, "The transformation of Poisson, binomial and negative-binomial data", 1948;
        J.-L. Starck, F. Murtagh, A. Bijaoui, "Image processing and data analysis", 1998 (with read
        noise).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> counts = torch.poisson(torch.full((99, 99), 40.0))
        >>> bool((patches.anscombe(counts / 255, 255).std() - 1).abs() < 0.05)
        True
    """
    z, s = _floats(image, "image") * _positive(peak), peak * check.between(read, "read", 0)
    return 2 * (z + 3 / 8 + s**2).clamp(min=0).sqrt()


def anscombe_inverse(stabilised: Tensor, peak: float, *, read: float = 0.0) -> Tensor:
    """Return the image whose transformed counts have this mean: the exact unbiased inverse.

    ``lambda = D^2/4 + sqrt(3/2)/4 D^-1 - 11/8 D^-2 + 5/8 sqrt(3/2) D^-3 - 1/8 - s^2``

    is a closed form of the inverse of ``lambda -> E[f(z)]``, at least 0. The algebraic inverse
    ``D^2/4 - 3/8`` would be too low, since the mean of a root is less than the root of the mean.

    Args:
        stabilised: D, any shape.
        peak: counts at 1.
        read: standard deviation of Gaussian noise on top, pixel range 1.

    Raises:
        InputError: no tensor of finite floats, a peak that is not above 0, a negative read noise.

    Reference:
        M. Mäkitalo, A. Foi, "A closed-form approximation of the exact unbiased inverse of the
        Anscombe variance-stabilizing transformation", 2011; "Optimal inversion of the generalized
        Anscombe transformation for Poisson-Gaussian noise", 2013 (with read noise).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> stabilised = patches.anscombe(torch.poisson(torch.full((99, 99), 40.0)) / 80, 80)
        >>> bool((patches.anscombe_inverse(stabilised.mean(), 80) - 0.5).abs() < 0.005)
        True
    """
    D = _floats(stabilised, "stabilised").clamp(min=2 * math.sqrt(3 / 8))
    s = _positive(peak) * check.between(read, "read", 0)
    counts = D**2 / 4 + ROOT / 4 / D - 11 / 8 / D**2 + 5 / 8 * ROOT / D**3 - 1 / 8
    return (counts - s**2).clamp(min=0) / peak


def poisson(
    image: Tensor,
    peak: float | None = None,
    *,
    read: float | None = None,
    method: str | Callable[[Tensor, Tensor], Tensor] = "bm3d",
) -> Tensor:
    """Denoise counts of photons: stabilise the variance, filter, and invert without bias.

    ``anscombe_inverse(D)``, D being ``anscombe(image)`` under a filter for Gaussian noise of
    standard deviation 1. Below some 3 counts a pixel the transform no longer stabilises well.

    Args:
        image: counts / peak, ``(C, H, W)`` or ``(B, C, H, W)``.
        peak: counts at 1; None estimates it, and the read noise, by `noise_curve`.
        read: standard deviation of Gaussian noise on top, pixel range 1; None is 0 with a peak.
        method: a name of the role ``denoise``, or ``(image, sigma) -> image``.

    Raises:
        InputError: an image that is no image, a peak that is not above 0, no peak and no noise that
            grows with the light, an unknown method.

    Reference:
        M. Mäkitalo, A. Foi, "Optimal inversion of the Anscombe transformation in low-count Poisson
        image denoising", 2011.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0.1, 0.9, 32).expand(1, 32, 32)
        >>> noisy = torch.poisson(20 * clean, generator=torch.Generator().manual_seed(0)) / 20
        >>> error = (patches.poisson(noisy, 20) - clean).square().mean()
        >>> bool(error < 0.1 * (noisy - clean).square().mean())
        True
    """
    denoiser = FilterDenoiser(method)
    x = _counts(image)
    given = _given(x, peak, read)
    out = [_one(u, p, s, denoiser) for u, (p, s) in zip(x, given, strict=True)]
    return like(torch.stack(out), image)


def _one(u: Tensor, peak: float, read: float, denoiser: FilterDenoiser) -> Tensor:
    """Filter one image ``(C, H, W)``, its transform moved to the range of the filters."""
    D = anscombe(u, peak, read=read)
    low = float(D.min())
    scale = max(float(D.max()) - low, 1e-3)
    clean = denoiser(((D - low) / scale)[None], 1 / scale)[0]
    return anscombe_inverse(clean * scale + low, peak, read=read)


def _given(x: Tensor, peak: float | None, read: float | None) -> list[tuple[float, float]]:
    """Return peak and read noise of each image."""
    if peak is not None:
        return [(_positive(peak), 0.0 if read is None else read)] * len(x)
    curve = _curve(x)
    if not bool((curve.b > 0).all()):
        raise InputError(
            "no noise that grows with the light was found, so that the peak is not known; "
            "pass the peak, the counts at 1, or use a filter for Gaussian noise"
        )
    roots = curve.a.sqrt().tolist() if read is None else [read] * len(x)
    return [(1 / b, s) for b, s in zip(curve.b.tolist(), roots, strict=True)]


def _curve(x: Tensor) -> NoiseCurve:
    """Return the noise of images ``(B, C, H, W)`` of any range."""
    most = x.detach().flatten(1).abs().amax(1) / MOST
    c = (most * (1 + 1e-6)).clamp(min=1)
    curve = noise_curve(x / c.view(-1, 1, 1, 1))
    return NoiseCurve(c**2 * curve.a, c * curve.b)


def _counts(image: Tensor) -> Tensor:
    """Return ``(B, C, H, W)``; few counts a pixel may be many times the peak."""
    ok = isinstance(image, Tensor) and image.is_floating_point() and bool(image.isfinite().all())
    batched(image.clamp(-MOST, MOST) if ok else image)
    return (image if image.ndim == 4 else image[None]).float()


def _positive(peak: float) -> float:
    if check.between(peak, "peak") <= 0:
        raise InputError(f"peak must be above 0 (counts at 1), got {peak}")
    return float(peak)


def _floats(value: Tensor, name: str) -> Tensor:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        what = value.dtype if isinstance(value, Tensor) else type(value).__name__
        raise InputError(f"{name} must be a float tensor, got {what}")
    return check.finite(value, name)
