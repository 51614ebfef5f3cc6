"""The operator that blurs: convolution with any kernel, under any of five boundaries."""

from __future__ import annotations

import math
from typing import final

import numpy as np
import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.registry import method

from ._least_squares import HasGramInverse, pseudo_inverse
from ._optics import Optics, Size
from ._planes import planes

WIDEST = 1000.0


def gaussian(sigma: float) -> Tensor:
    """Return a Gaussian kernel, cut at 4 sigma, of sum 1, float64."""
    check.between(sigma, "sigma of the blur in pixels", 1e-3, WIDEST)
    t = torch.arange(-math.ceil(4 * sigma), math.ceil(4 * sigma) + 1, dtype=torch.float64)
    line = torch.exp(-t.square() / (2 * sigma**2))
    return torch.outer(line, line) / line.sum() ** 2


def as_kernel(kernel: Tensor) -> Tensor:
    """Check a kernel given by its taps, and return it as float64."""
    if not isinstance(kernel, Tensor) or not kernel.is_floating_point():
        found = kernel.dtype if isinstance(kernel, Tensor) else type(kernel).__name__
        raise InputError(f"kernel must be a float tensor (rows, columns), got {found}")
    return kernel.detach().double().clone()


@final
@method("operator")
class Blur(HasGramInverse):
    """Convolve with a kernel: ``A x (p) = sum_q k(q) x(p - q)``.

    q runs over the taps, from the middle one, or from the one before the middle of an even number,
    as in ``numpy.convolve(..., "same")``. The kernel may be larger than the image. ``pinv`` and
    restoration are in closed form where the boundary is circular, and where it reflects and the
    kernel is symmetric in both directions, by Fourier transforms; elsewhere by conjugate gradients.

    Args:
        kernel: what a point of light becomes: its taps ``(rows, columns)``, used as they are (a
            blur that keeps the brightness sums to 1), or a number, sigma of a Gaussian in pixels.
        boundary: what lies beyond the image: ``reflect`` mirrors it about the border's edge (the
            border pixel is repeated, scipy's ``reflect``), ``circular`` repeats the image,
            ``replicate`` its border pixels, ``zero`` is black. ``valid`` assumes nothing: only
            pixels all of whose taps lie in the image are observed, so that the observation lacks
            taps - 1 rows and columns and what is restored has a rim that was not seen. It is the
            truth of a photograph, and worth its conjugate gradients where the kernel is long.

    Raises:
        InputError: no kernel, NaN, an unknown boundary; later, an image smaller than the kernel
            if ``valid``.

    Reference:
        M. K. Ng, R. H. Chan, W.-C. Tang, "A fast algorithm for deblurring models with Neumann
        boundary conditions", 1999.

    Example:
        >>> import torch
        >>> from gouache import restore
        >>> point = torch.zeros(1, 5, 5)
        >>> point[0, 2, 2] = 1
        >>> restore.Blur(torch.full((3, 3), 1 / 9))(point)[0, 1:4, 2]
        tensor([0.1111, 0.1111, 0.1111])
    """

    def __init__(self, kernel: Tensor | float, *, boundary: str = "reflect") -> None:
        given = kernel.item() if isinstance(kernel, np.generic) else kernel
        taps = gaussian(given) if isinstance(given, (int, float)) else as_kernel(given)
        self.optics = Optics(taps, 1, boundary)

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``A x``, in the shape of ``x`` ``(..., H, W)``, or smaller if ``valid``."""
        return self.optics.image(planes(x, "x"))

    def adjoint(self, y: Tensor) -> Tensor:
        """Return ``A^T y``, in the shape of ``y`` ``(..., H, W)``, or larger if ``valid``."""
        return self.optics.adjoint(planes(y, "y"), self._size(y))

    def pinv(self, y: Tensor) -> Tensor:
        """Return ``A^+ y``; by conjugate gradients, a least squares solution stopped early."""
        return pseudo_inverse(self, planes(y, "y"))

    def exact(self, y: Tensor) -> bool:
        """Return whether the Fourier transform diagonalises ``A A^T``."""
        return self.optics.exact(self._size(y))

    def gram_inverse(self, r: Tensor, rho: float) -> Tensor:
        """Return ``(A A^T + rho)^-1 r``; near the border only nearly where it is not exact."""
        return self.optics.gram_inverse(r, rho, self._size(r))

    def _size(self, y: Tensor) -> Size:
        """Return the size of the image that ``y`` was made of."""
        rows, columns = self.optics.kernel.shape
        valid = self.optics.boundary == "valid"
        return y.shape[-2] + (rows - 1) * valid, y.shape[-1] + (columns - 1) * valid
