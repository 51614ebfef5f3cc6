"""The operator that knows some pixels and not the others."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from gouache.check import InputError
from gouache.registry import method

from ._least_squares import HasGramInverse
from ._planes import planes


@final
@method("operator")
class Mask(HasGramInverse):
    """Keep the pixels that are KNOWN, and make the others 0: ``A x = m x``.

    The mask is TRUE WHERE A PIXEL IS KNOWN. Of ``gouache.patches.inpaint`` and its like it is the
    opposite: there it is true where to fill, so pass ``~hole`` here. What an observation holds at
    unknown pixels is never read, be it NaN, by solvers provided that no operator but masks comes
    after. One mask a channel describes a colour filter array.

    Args:
        mask: bool ``(H, W)``, or ``(C, H, W)`` for one a channel, C = 1 for all of them.

    Raises:
        InputError: no bool, another rank, no pixel known; later, an image of another size.

    Example:
        >>> import torch
        >>> from gouache import restore
        >>> hole = torch.tensor([[False, True]])
        >>> restore.Mask(~hole)(torch.tensor([[[3.0, 5.0]]]))
        tensor([[[3., 0.]]])
    """

    def __init__(self, mask: Tensor) -> None:
        if not isinstance(mask, Tensor) or mask.dtype != torch.bool:
            found = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
            raise InputError(
                f"mask must be a bool tensor, true where a pixel is known, got {found}; "
                "pass mask > 0.5"
            )
        if mask.ndim not in (2, 3) or not mask.any():
            what = f"shape {tuple(mask.shape)}" if mask.ndim not in (2, 3) else "no pixel known"
            raise InputError(f"mask must be (H, W) or (C, H, W) with true where known, got {what}")
        self.mask = mask[0] if len(mask) == 1 and mask.ndim == 3 else mask

    def __call__(self, x: Tensor) -> Tensor:
        """Return ``m x``."""
        return self._kept(x, "x")

    def adjoint(self, y: Tensor) -> Tensor:
        """Return ``m y``."""
        return self._kept(y, "y")

    def pinv(self, y: Tensor) -> Tensor:
        """Return ``m y``."""
        return self._kept(y, "y")

    def exact(self, y: Tensor) -> bool:
        """Return True: it always is."""
        return True

    def gram_inverse(self, r: Tensor, rho: float) -> Tensor:
        """Return ``r / (1 + rho)`` at known pixels and 0, which is as good as any, elsewhere."""
        return self._kept(r, "r") / (1 + rho)

    def _kept(self, x: Tensor, name: str) -> Tensor:
        if planes(x, name).shape[-self.mask.ndim :] != self.mask.shape:
            raise InputError(
                f"the mask is {tuple(self.mask.shape)}, and {name} is {tuple(x.shape)}; "
                "they must agree in height, width and, if the mask has them, channels"
            )
        return x.where(self.mask.to(x.device), 0)
