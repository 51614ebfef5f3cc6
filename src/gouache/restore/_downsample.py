"""The operator that makes an image smaller: an antialiasing blur, and every f-th pixel."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.image import size_pair
from gouache.registry import method

from ._blur import as_kernel
from ._least_squares import HasGramInverse, pseudo_inverse
from ._optics import BOUNDARIES, Optics, Size
from ._planes import planes

LARGEST = 64


def _cubic(t: float) -> float:
    t = abs(t)
    if t < 1:
        return (1.5 * t - 2.5) * t * t + 1
    return ((-0.5 * t + 2.5) * t - 4) * t + 2 if t < 2 else 0.0


def _box(t: float) -> float:
    return 1.0 if abs(t) < 0.5 else 0.0


def _lanczos(t: float) -> float:
    if t == 0:
        return 1.0
    u = math.pi * t
    return 3 * math.sin(u) * math.sin(u / 3) / u**2 if abs(t) < 3 else 0.0


# The profile of a kernel, and the distance from which on it is 0, in pixels of the result.
PROFILES: dict[str, tuple[Callable[[float], float], float]] = {
    "bicubic": (_cubic, 2),
    "box": (_box, 0.5),
    "lanczos": (_lanczos, 3),
}


def profile(name: str, factor: int) -> Tensor:
    """Return a kernel widened by ``factor``, of sum 1, float64, centred between taps if need be."""
    rule, reach = PROFILES[check.choice(name, "kernel", PROFILES)]
    half = math.ceil(reach * factor - (factor - 1) / 2) - 1 + (factor - 1) / 2
    places = [k - half for k in range(round(2 * half) + 1)]
    line = torch.tensor([rule(t / factor) for t in places], dtype=torch.float64)
    return torch.outer(line, line) / line.sum() ** 2


@final
@method("operator")
class Downsample(HasGramInverse):
    """Blur against aliasing and take every f-th pixel: ``A x = S_f (k * x)``.

    Pixel i of the result is centred at ``f i + (f - 1) / 2``, as the areas of pixels are, so that
    ``bicubic`` is what ``gouache.image.resize``, Pillow and MATLAB make, Pillow but for the border,
    where it leaves out the taps beyond the image; a kernel whose number of
    taps is odd where f is even, or even where f is odd, lies half a pixel before that (with an odd
    kernel, f = 2 takes pixels 0, 2, 4 ...). ``pinv`` and restoration are in closed form where f
    divides the sides of the image and the boundary is circular, or reflects while the kernel is
    symmetric and centred; elsewhere by conjugate gradients.

    Args:
        factor: f >= 1.
        kernel: ``bicubic``, ``box`` (the mean of f x f pixels), ``lanczos``, or taps
            ``(rows, columns)`` in pixels of the image, used as they are.
        size: height and width of the image; the result has ``ceil(H / f)`` and ``ceil(W / f)``
            pixels. By default the sides of the image must be multiples of f, since the size of the
            result would otherwise not tell that of the image.
        boundary: beyond the image: ``reflect``, ``circular``, ``replicate`` or ``zero``, as for
            :class:`Blur`.

    Raises:
        InputError: no factor, an unknown kernel or boundary; later, an image of another size.

    Reference:
        N. Zhao, Q. Wei, A. Basarab, N. Dobigeon, D. Kouamé, J.-Y. Tourneret, "Fast single image
        super-resolution using a new analytical solution for l2-l2 problems", 2016; R. Keys, "Cubic
        convolution interpolation for digital image processing", 1981 (``bicubic``).

    Example:
        >>> import torch
        >>> from gouache import restore
        >>> restore.Downsample(2, "box")(torch.tensor([[[0.0, 1.0], [2.0, 3.0]]]))
        tensor([[[1.5000]]])
    """

    def __init__(
        self,
        factor: int,
        kernel: str | Tensor = "bicubic",
        *,
        size: Size | None = None,
        boundary: str = "reflect",
    ) -> None:
        f = check.count(factor, "factor", 1, LARGEST)
        check.choice(boundary, "boundary", BOUNDARIES[:-1])
        taps = profile(kernel, f) if isinstance(kernel, str) else as_kernel(kernel)
        self.optics = Optics(taps, f, boundary)
        self.size = None if size is None else size_pair(size)

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``A x`` ``(..., ceil(H / f), ceil(W / f))``."""
        height, width = planes(x, "x").shape[-2:]
        f = self.optics.factor
        if self.size is None and (height % f or width % f):
            raise InputError(
                f"the sides of x must be multiples of the factor {f}, got {height}x{width}; "
                f"crop it, or pass size=({height}, {width}) to Downsample"
            )
        if self.size is not None and (height, width) != self.size:
            raise InputError(f"x must have the size {self.size}, got ({height}, {width})")
        return self.optics.image(x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return ``A^T y`` ``(..., H, W)``."""
        return self.optics.adjoint(planes(y, "y"), self._size(y))

    def pinv(self, y: Tensor) -> Tensor:
        """Return ``A^+ y``; by conjugate gradients, a least squares solution stopped early."""
        return pseudo_inverse(self, planes(y, "y"))

    def exact(self, y: Tensor) -> bool:
        """Return whether the Fourier transform diagonalises ``A A^T``."""
        return self.optics.exact(self._size(y))

    def gram_inverse(self, r: Tensor, rho: float) -> Tensor:
        """Return ``(A A^T + rho)^-1 r``; nearly or not at all where it is not exact."""
        return self.optics.gram_inverse(r, rho, self._size(r))

    def _size(self, y: Tensor) -> Size:
        """Return the size of the image that ``y`` was made of."""
        h, w, f = *y.shape[-2:], self.optics.factor
        if self.size is None:
            return h * f, w * f
        expected = tuple(-(-n // f) for n in self.size)
        if (h, w) != expected:
            raise InputError(
                f"y must have the size {expected}, an image of {self.size} downsampled by {f}, "
                f"got ({h}, {w})"
            )
        return self.size
