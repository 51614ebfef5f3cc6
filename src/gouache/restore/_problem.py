"""What every solver asks of its input: one observation at a time, ``y = A x + sigma n``."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

from torch import Tensor

from gouache.check import InputError
from gouache.contracts import Operator
from gouache.patches import estimate_sigma
from gouache.patches._image import batched, sigma_of

from ._compose import Compose
from ._identity import Identity
from ._mask import Mask

Progress: TypeAlias = Callable[[int, int], None]
# The least noise that an observation is taken to have; rounding to 8 bits makes .29/255.
FLOOR = 0.5 / 255


class Problem(NamedTuple):
    """One image to restore.

    Attributes:
        y: the observation ``(C, h, w)`` float32.
        sigma: its noise, at least ``FLOOR``.
    """

    y: Tensor
    sigma: float


def problems(observed: Tensor, operator: Operator, sigma: float | Tensor | None) -> list[Problem]:
    """Check what a solver is given, and return it image by image.

    What a mask hides that comes last in the operator is never read.

    Raises:
        InputError: an image that is no image, sigma on another scale or to be estimated where
            pixels are unknown, something else than an operator, or one for images of another size.
    """
    if not isinstance(operator, Operator):
        raise InputError(
            f"operator must be a gouache.contracts.Operator such as restore.Blur(1.6), "
            f"got {type(operator).__name__}"
        )
    y = batched(_known(observed, operator), "observed")
    _check_shapes(operator, y[0])
    level = sigma_of(estimate_noise(y, operator) if sigma is None else sigma, y).detach()
    if level[0].numel() != 1:
        raise InputError("sigma must be a number, or one an image, not a map")
    return [Problem(a, max(FLOOR, float(s))) for a, s in zip(y, level, strict=True)]


def estimate_noise(observed: Tensor, operator: Operator) -> Tensor:
    """Estimate the noise of observations, one number an image ``(B,)``.

    Args:
        observed: y ``(C, h, w)`` or ``(B, C, h, w)``, pixel range 1.
        operator: what it was made by; noise came after it.

    Raises:
        InputError: pixels are unknown, so that what lies there is no noise.

    Reference:
        As :func:`gouache.patches.estimate_sigma`, 2013.

    Example:
        >>> import torch
        >>> from gouache import restore
        >>> y = 0.1 * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> bool((restore.estimate_noise(y, restore.Blur(1.6)) - 0.1).abs() < 0.01)
        True
    """
    if _has_holes(operator):
        raise InputError(
            "sigma cannot be estimated where pixels are unknown; pass it, 0 if there is no noise"
        )
    return estimate_sigma(observed)


def _check_shapes(operator: Operator, y: Tensor) -> None:
    made = operator(operator.adjoint(y)).shape
    if made != y.shape:
        raise InputError(
            f"the operator makes {tuple(made)} of an image whose observation is {tuple(y.shape)}"
        )


def _has_holes(operator: Operator) -> bool:
    parts = operator.operators if isinstance(operator, Compose) else ()
    holes = isinstance(operator, Mask) and not bool(operator.mask.all())
    return holes or any(map(_has_holes, parts))


def _known(observed: Tensor, operator: Operator) -> Tensor:
    """Return an observation with 0 in place of what it holds at pixels that a last mask hides."""
    if not isinstance(observed, Tensor) or observed.ndim not in (3, 4) or 0 in observed.shape:
        return observed
    for mask in _last_masks(operator) if observed.is_floating_point() else ():
        observed = mask.adjoint(observed)
    return observed.detach()


def _last_masks(operator: Operator) -> list[Mask]:
    """Return the masks that nothing but masks and identities comes after."""
    found: list[Mask] = []
    parts = operator.operators if isinstance(operator, Compose) else (operator,)
    for part in reversed(parts):
        if not isinstance(part, (Mask, Identity, Compose)):
            break
        if isinstance(part, Compose):
            return found + _last_masks(part)
        found += [part] if isinstance(part, Mask) else []
    return found


class Counter:
    """Counts finished steps over all images of a batch, and tells the caller."""

    def __init__(self, steps: int, progress: Progress | None) -> None:
        self.steps, self.progress, self.count = steps, progress, 0

    def __call__(self) -> None:
        """Count one step."""
        self.count += 1
        if self.progress is not None:
            self.progress(self.count, self.steps)
