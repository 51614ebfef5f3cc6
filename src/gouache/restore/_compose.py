"""The operator made of several, one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import final

import torch
from torch import Tensor

from gouache.check import InputError
from gouache.contracts import Operator
from gouache.registry import method

from ._blur import Blur
from ._downsample import Downsample
from ._identity import Identity
from ._least_squares import HasGramInverse, pseudo_inverse
from ._planes import planes


@final
@method("operator")
class Compose(HasGramInverse):
    """Apply several operators, the first one first: ``A = A_n ... A_2 A_1``.

    A blur and then a downsampling (or another blur) of one boundary are one operator where that
    boundary is circular, or reflects and both kernels are symmetric and centred: then ``pinv`` and
    restoration are in closed form as theirs are. All else is by conjugate gradients.

    Args:
        operators: one or more, in the order in which they act.

    Raises:
        InputError: none, or something else than an operator.

    Example:
        >>> import torch
        >>> from gouache import restore
        >>> camera = restore.Compose(restore.Blur(1.6), restore.Downsample(2))
        >>> camera(torch.ones(1, 8, 6)).shape
        torch.Size([1, 4, 3])
    """

    def __init__(self, *operators: Operator) -> None:
        if not operators or not all(isinstance(part, Operator) for part in operators):
            found = ", ".join(type(part).__name__ for part in operators) or "none"
            raise InputError(f"Compose takes one or more operators, got {found}")
        self.operators = operators
        self._one: HasGramInverse | None = _merged(operators)

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``A_n ... A_1 x``."""
        return reduce(lambda image, part: part(image), self.operators, x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return ``A_1^T ... A_n^T y``."""
        return reduce(lambda image, part: part.adjoint(image), reversed(self.operators), y)

    def pinv(self, y: Tensor) -> Tensor:
        """Return ``A^+ y``, in general not the product of the parts' own; as :class:`Blur` does."""
        return pseudo_inverse(self, planes(y, "y"))

    def exact(self, y: Tensor) -> bool:
        """Return whether the parts are one operator whose own is exact."""
        return self._one is not None and self._one.exact(y)

    def gram_inverse(self, r: Tensor, rho: float) -> Tensor:
        """Return ``(A A^T + rho)^-1 r`` where that is known, else ``r / (1 + rho)``."""
        return r / (1 + rho) if self._one is None else self._one.gram_inverse(r, rho)


def _merged(operators: Sequence[Operator]) -> HasGramInverse | None:
    """Return the one operator that several are; None if there is none."""
    acting = [part for part in operators if not isinstance(part, Identity)] or [operators[0]]
    one = acting[0] if isinstance(acting[0], HasGramInverse) else None
    for part in acting[1:]:
        if isinstance(one, Blur) and isinstance(part, (Blur, Downsample)):
            one = _merged_optics(one, part)
        else:
            one = None
    return one


def _merged_optics(first: Blur, second: Blur | Downsample) -> Blur | Downsample | None:
    a, b = first.optics, second.optics
    one_canvas = a.boundary == "circular" or (a.boundary == "reflect" and a.symmetric)
    if a.boundary != b.boundary or not one_canvas or not (b.boundary == "circular" or b.symmetric):
        return None
    kernel = _convolved(a.kernel, b.kernel)
    made = (
        Blur(kernel, boundary=b.boundary)
        if isinstance(second, Blur)
        else Downsample(b.factor, kernel, size=second.size, boundary=b.boundary)
    )
    together = tuple(p + q for p, q in zip(a.first, b.first, strict=True))
    return made if made.optics.first == together else None


def _convolved(a: Tensor, b: Tensor) -> Tensor:
    """Return the full convolution of two kernels."""
    rows, columns = (p + q - 1 for p, q in zip(a.shape, b.shape, strict=True))
    size = (rows, columns)
    return torch.fft.irfft2(torch.fft.rfft2(a, s=size) * torch.fft.rfft2(b, s=size), s=size)
