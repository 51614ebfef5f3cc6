"""Convolution and every f-th pixel, ``A = S_f K E``, on a periodic canvas.

Notation: the image is n pixels along an axis, the observation h = ceil(n / f), the kernel k taps.
E lays the image on a canvas of N >= n pixels as the boundary says, K is a circular convolution
there, which the Fourier transform makes a product, and S_f takes every f-th of the first n pixels.
``A^T = E^T K^T S_f^T`` is exact for every boundary.

The Gram operator ``A A^T`` is itself a circular convolution, with the kernel's autocorrelation at
every f-th place, where the boundary is circular; and on the mirrored canvas where the boundary
reflects and the kernel is symmetric. There ``(A A^T + rho)^-1`` is a division; elsewhere, for
f = 1, the same division with 0 beyond the border preconditions conjugate gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError

from ._planes import working

BOUNDARIES = ("reflect", "circular", "replicate", "zero", "valid")
Size: TypeAlias = tuple[int, int]


class Axis(NamedTuple):
    """How pixels are laid along one axis of a canvas: the image, then what repeats its pixels.

    Attributes:
        whole: N, the length of the canvas.
        at: places beyond the image that hold a pixel; the others hold 0.
        pixel: which one.
    """

    whole: int
    at: Tensor
    pixel: Tensor


class Canvas(NamedTuple):
    """A canvas, and what is done there.

    Attributes:
        axes: rows and columns.
        spectrum: of the convolution, ``(N, N // 2 + 1)``: K, or that of ``A A^T``, at least 0.
    """

    axes: tuple[Axis, Axis]
    spectrum: Tensor


@dataclass(frozen=True, eq=False)
class Optics:
    """Convolution with ``kernel``, then every ``factor``-th pixel.

    Output pixel i is centred at ``f i + (f - 1) / 2``, half a pixel before that where the numbers
    of taps and the factor are of unlike parity.

    Attributes:
        kernel: what a point of light becomes ``(k, l)`` float64.
        factor: f; 1 takes every pixel.
        boundary: what lies beyond the image: ``reflect`` mirrors it about the border's edge, so
            that the border pixel is repeated; ``circular``, ``replicate`` or ``zero``; or
            ``valid``: only pixels all of whose taps lie in the image are observed, f being 1.
    """

    kernel: Tensor
    factor: int = 1
    boundary: str = "reflect"

    def __post_init__(self) -> None:
        check.choice(self.boundary, "boundary", BOUNDARIES)
        shape = tuple(self.kernel.shape)
        if self.kernel.ndim != 2 or 0 in shape:
            raise InputError(f"kernel must have shape (rows, columns), not empty, got {shape}")
        check.finite(self.kernel, "kernel")

    @property
    def first(self) -> Size:
        """Return where the first tap lies from pixel ``f i``, along rows and columns."""
        if self.boundary == "valid":
            return 0, 0
        rows, columns = self.kernel.shape
        return (self.factor - rows) // 2, (self.factor - columns) // 2

    @property
    def symmetric(self) -> bool:
        """Return whether a mirrored image stays mirrored."""
        centred = all((self.factor - taps) % 2 == 0 for taps in self.kernel.shape)
        k, slack = self.kernel, 1e-12 * float(self.kernel.abs().max())
        return centred and all(bool(((k - k.flip(a)).abs() <= slack).all()) for a in (0, 1))

    def exact(self, size: Size) -> bool:
        """Return whether ``gram_inverse`` is exact for images of this size."""
        whole = all(n % self.factor == 0 for n in size)
        mirrored = self.boundary == "reflect" and self.symmetric
        return whole and (self.boundary == "circular" or mirrored)

    def ends(self, size: Size) -> Size:
        """Return where observed pixels end, every f-th from 0 on, for an image of this size."""
        if self.boundary != "valid":
            return size
        rows, columns = (n - taps + 1 for n, taps in zip(size, self.kernel.shape, strict=True))
        if rows < 1 or columns < 1:
            raise InputError(
                f"the image {size} is smaller than the kernel {tuple(self.kernel.shape)}, so that "
                'no pixel is observed with the boundary "valid"; take another boundary'
            )
        return rows, columns

    def image(self, x: Tensor) -> Tensor:
        """Return ``A x`` ``(..., ceil(H / f), ceil(W / f))``, H and W less taps - 1 if valid."""
        size, f = (x.shape[-2], x.shape[-1]), self.factor
        (rows, columns), laid = self.ends(size), working(x)
        canvas = _canvas(self, size, laid.dtype, x.device)
        y = _filtered(_laid(laid, canvas.axes), canvas.spectrum)
        return y[..., :rows:f, :columns:f].contiguous().to(x.dtype)

    def adjoint(self, y: Tensor, size: Size) -> Tensor:
        """Return ``A^T y`` ``(..., H, W)``, the image being of this size."""
        canvas = _canvas(self, size, working(y).dtype, y.device)
        spread = working(y).new_zeros(*y.shape[:-2], *(axis.whole for axis in canvas.axes))
        rows, columns = self.ends(size)
        spread[..., : rows : self.factor, : columns : self.factor] = y
        return _gathered(_filtered(spread, canvas.spectrum.conj()), canvas.axes, size).to(y.dtype)

    def gram_inverse(self, r: Tensor, rho: float, size: Size) -> Tensor:
        """Return ``(A A^T + rho)^-1 r``, or something near it that is positive definite.

        At rho = 0 it is the pseudo-inverse: singular values of A below ``8 sqrt(eps)`` of the
        largest count as zero, eps being the rounding of the dtype, since those of ``A A^T`` are
        their squares.
        """
        canvas = _gram(self, size, working(r).dtype, r.device)
        if canvas is None:
            return r / (1 + rho)
        found = _filtered(_laid(working(r), canvas.axes), _inverse(canvas.spectrum, rho))
        copies = 4 if self.exact(size) and self.boundary == "reflect" else 1
        return (_gathered(found, canvas.axes, (r.shape[-2], r.shape[-1])) / copies).to(r.dtype)


def _inverse(power: Tensor, rho: float) -> Tensor:
    """Return ``1 / (power + rho)``, 0 where that would divide by nothing."""
    least = 64 * torch.finfo(power.dtype).eps * power.max() if rho == 0 else 0
    return torch.where(power + rho > least, 1 / (power + rho), 0)


def _filtered(laid: Tensor, spectrum: Tensor) -> Tensor:
    """Return the canvas convolved."""
    return torch.fft.irfft2(torch.fft.rfft2(laid) * spectrum, s=laid.shape[-2:])


def _laid(x: Tensor, axes: tuple[Axis, Axis]) -> Tensor:
    """Return E x."""
    for dim, axis in zip((-2, -1), axes, strict=True):
        shape = list(x.shape)
        shape[dim] = axis.whole - shape[dim]
        rim = x.new_zeros(shape).index_copy(
            dim, axis.at - x.shape[dim], x.index_select(dim, axis.pixel)
        )
        x = torch.cat([x, rim], dim)
    return x


def _gathered(laid: Tensor, axes: tuple[Axis, Axis], size: Size) -> Tensor:
    """Return ``E^T`` of the canvas: each pixel is the sum over the places where it was laid."""
    for dim, axis, n in zip((-2, -1), axes, size, strict=True):
        rim = laid.index_select(dim, axis.at)
        laid = laid.narrow(dim, 0, n).index_add(dim, axis.pixel, rim)
    return laid


@lru_cache(maxsize=4)
@torch.inference_mode(False)  # what is kept may be asked for a gradient later
def _canvas(optics: Optics, size: Size, dtype: torch.dtype, device: torch.device) -> Canvas:
    k, first = optics.kernel.shape, optics.first
    rows, columns = (
        _rimmed(optics.boundary, n, -a, a + taps - 1, device)
        for n, a, taps in zip(size, first, k, strict=True)
    )
    spectrum = _spectrum(optics, (rows.whole, columns.whole))
    complex_ = torch.complex128 if dtype == torch.float64 else torch.complex64
    return Canvas((rows, columns), spectrum.to(device, complex_))


@lru_cache(maxsize=4)
@torch.inference_mode(False)
def _gram(optics: Optics, size: Size, dtype: torch.dtype, device: torch.device) -> Canvas | None:
    """Return the canvas of ``A A^T`` for an image of this size; None if there is none."""
    f, exact = optics.factor, optics.exact(size)
    if not exact and f > 1:
        return None
    rows, columns = (
        _seen(optics.boundary if exact else "zero", n // f, taps, device)
        for n, taps in zip(optics.ends(size), optics.kernel.shape, strict=True)
    )
    whole = (f * rows.whole, f * columns.whole)
    power = _spectrum(optics, whole).abs().square()
    if f > 1:
        near = torch.fft.irfft2(power, s=whole)[::f, ::f]
        power = torch.fft.rfft2(near).real.clamp(min=0)
    return Canvas((rows, columns), power.to(device, dtype))


def _spectrum(optics: Optics, whole: Size) -> Tensor:
    """Return the spectrum of the convolution on a canvas of this size."""
    kernel = optics.kernel.detach().cpu().double()
    taps = [
        (first + torch.arange(k)) % n
        for first, k, n in zip(optics.first, kernel.shape, whole, strict=True)
    ]
    spread = torch.zeros(whole, dtype=torch.float64)
    spread.index_put_((taps[0][:, None], taps[1]), kernel.flip(0, 1), accumulate=True)
    return torch.fft.rfft2(spread).conj().resolve_conj()


def _rimmed(boundary: str, n: int, before: int, after: int, device: torch.device) -> Axis:
    """Return n pixels with a rim before and after them, as the boundary says.

    The canvas is periodic: after the image come the places after it, then those before it.
    """
    if boundary == "circular":
        return _axis(n, [], [], device)
    if boundary == "valid":
        return _axis(_quick(n), [], [], device)
    places = [*range(n, n + after), *range(-before, 0)]
    whole = _quick(n + max(0, after) + max(0, before))
    if boundary == "zero":
        return _axis(whole, [], [], device)
    beyond = _mirror if boundary == "reflect" else _nearest
    return _axis(whole, [p % whole for p in places], [beyond(p, n) for p in places], device)


def _axis(whole: int, at: list[int], pixel: list[int], device: torch.device) -> Axis:
    lists = (torch.tensor(some, dtype=torch.int64, device=device) for some in (at, pixel))
    return Axis(whole, *lists)


def _seen(boundary: str, h: int, taps: int, device: torch.device) -> Axis:
    """Return h observed pixels, with their mirror image where the boundary reflects."""
    if boundary == "reflect":
        return _axis(2 * h, list(range(h, 2 * h)), list(range(h))[::-1], device)
    return _rimmed(boundary, h, 0, taps - 1, device)


def _mirror(place: int, n: int) -> int:
    place %= 2 * n
    return min(place, 2 * n - 1 - place)


def _nearest(place: int, n: int) -> int:
    return min(max(place, 0), n - 1)


def _quick(length: int) -> int:
    """Return the least length from there on that has no prime factor above 5."""
    while _without(length, 2, 3, 5) > 1:
        length += 1
    return length


def _without(n: int, *primes: int) -> int:
    for p in primes:
        while n % p == 0:
            n //= p
    return n
