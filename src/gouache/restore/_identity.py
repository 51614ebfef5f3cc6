"""The operator that does nothing: restoration is denoising then."""

from __future__ import annotations

from typing import final

from torch import Tensor

from gouache.registry import method

from ._least_squares import HasGramInverse
from ._planes import planes


@final
@method("operator")
class Identity(HasGramInverse):
    """Leave the image as it is: y = x + n, denoising.

    Example:
        >>> import torch
        >>> from gouache import restore
        >>> restore.Identity()(torch.ones(1, 2, 2)).sum()
        tensor(4.)
    """

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``x``."""
        return planes(x, "x")

    def adjoint(self, y: Tensor) -> Tensor:
        """Return ``y``."""
        return planes(y, "y")

    def pinv(self, y: Tensor) -> Tensor:
        """Return ``y``."""
        return planes(y, "y")

    def exact(self, y: Tensor) -> bool:
        """Return True: it always is."""
        return True

    def gram_inverse(self, r: Tensor, rho: float) -> Tensor:
        """Return ``r / (1 + rho)``."""
        return r / (1 + rho)
