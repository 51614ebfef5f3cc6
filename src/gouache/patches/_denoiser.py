"""A filter, wherever a denoiser is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, final

import torch
from torch import Tensor

from gouache import check, registry
from gouache.check import InputError
from gouache.contracts import Condition, Denoiser

from ._image import MOST

Filter: TypeAlias = Callable[[Tensor, Tensor], Tensor]


@final
class FilterDenoiser(Denoiser):
    """A filter of this package as ``D(y, sigma)``, for any noise and any range of values.

    ``D(y, sigma) = c F(y / c, sigma / c)``, c being 1 where the filter F takes y and sigma as they
    are, else the least number that brings sigma to 1 and the values of y to 4 at most; each image
    has a c of its own. A filter has no condition: one that is given is refused, not ignored, since
    guidance by it would do nothing. The result has a gradient for y where the filter has one.

    Args:
        method: a name of the role ``denoise``, or a function ``(image, sigma) -> image`` of a batch
            ``(B, C, H, W)`` with sigma ``(B,)`` or ``(B, 1, H, W)``.

    Raises:
        InputError: an unknown name, or no function.

    Reference:
        S. Venkatakrishnan, C. Bouman, B. Wohlberg, "Plug-and-play priors for model based
        reconstruction", 2013.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> denoiser = patches.FilterDenoiser("nlmeans")
        >>> y = 3 * torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        >>> bool(denoiser(y, 3.0).square().mean() < 0.1 * y.square().mean())
        True
    """

    def __init__(self, method: str | Filter) -> None:
        self.filter: Filter = (
            registry.find("denoise", method) if isinstance(method, str) else method
        )
        if not callable(self.filter):
            raise InputError(
                "method must be a name of the role denoise or a function (image, sigma) -> image, "
                f"got {type(method).__name__}"
            )

    def __call__(self, y: Tensor, sigma: Tensor | float, condition: Condition = None) -> Tensor:
        """Return the filtered ``y`` ``(B, C, H, W)``, of its type and on its device.

        Args:
            y: noisy images, any finite floats.
            sigma: a number, ``(B,)``, or a map that broadcasts against ``y``; of several channels
                the mean variance counts.
            condition: must be None.

        Raises:
            InputError: no batch of images, sigma negative or of a shape that does not fit, or a
                condition.
        """
        if condition is not None:
            raise InputError("a filter takes no condition, got one; pass condition=None")
        if not isinstance(y, Tensor) or y.ndim != 4 or not y.is_floating_point():
            what = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise InputError(f"y must be a float batch (B, C, H, W), got {what}")
        level = _level(sigma, check.finite(y, "y"))
        c = _factor(y, level)
        shape = (-1, *[1] * (level.ndim - 1))
        return (self.filter(y / c, level / c.view(shape)) * c).to(y.dtype)


def _factor(y: Tensor, level: Tensor) -> Tensor:
    """Return the c of each image ``(B, 1, 1, 1)``."""
    most = y.detach().flatten(1).abs().amax(1) / MOST
    c = torch.maximum(most * (1 + 1e-6), level.flatten(1).amax(1) if level.ndim > 1 else level)
    return c.clamp(min=1).view(-1, 1, 1, 1)


def _level(sigma: Tensor | float, y: Tensor) -> Tensor:
    """Return sigma as ``(B,)`` or ``(B, 1, H, W)``, without a gradient."""
    level = check.finite(torch.as_tensor(sigma).detach().to(y), "sigma")
    if float(level.min()) < 0:
        raise InputError(f"sigma must not be negative, got {float(level.min()):g}")
    if level.numel() == 1:
        return level.reshape(()).expand(len(y))
    if tuple(level.shape) in ((len(y),), (len(y), 1, 1, 1)):
        return level.reshape(-1)
    try:
        wide = level.expand(y.shape)
    except RuntimeError:
        raise InputError(
            f"sigma must be a number, ({len(y)},) or a map that broadcasts against "
            f"{tuple(y.shape)}, got {tuple(level.shape)}"
        ) from None
    return wide.square().mean(1, keepdim=True).sqrt()
