"""Guidance without a classifier."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from gouache import check
from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._preconditioned import levels


@final
@method("guide")
class ClassifierFree(Denoiser):
    """A denoiser pushed from its unconditional towards its conditional estimate.

    D_w(y, s, c) = D(y, s) + w (D(y, s, c) - D(y, s))

    ``w = 1`` is the conditional denoiser, 0 the unconditional one, more exaggerates the condition.

    Args:
        denoiser: conditional D, which is unconditional for ``condition=None`` (or for ``null``).
        weight: w.
        null: the condition that means none, mapping of tensors ``(1, ...)``, if the denoiser has
            one; then both estimates are one call on a doubled batch, else two calls.
        interval: the lowest and highest s at which guidance acts; elsewhere w is 1.

    Reference:
        Ho, Salimans, "Classifier-free diffusion guidance", 2021; Kynkäänniemi, Aittala, Karras,
        Laine, Aila, Lehtinen, "Applying guidance in a limited interval improves sample and
        distribution quality in diffusion models", 2024.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> def towards(y, sigma, condition=None):
        ...     return torch.zeros_like(y) if condition is None else torch.ones_like(y)
        >>> guided = diffuse.ClassifierFree(towards, weight=3.0)
        >>> guided(torch.rand(1, 2), 1.0, {"label": torch.tensor([4])}).tolist()
        [[3.0, 3.0]]
    """

    def __init__(
        self,
        denoiser: Denoiser,
        weight: float,
        *,
        null: Condition = None,
        interval: tuple[float, float] | None = None,
    ) -> None:
        self.denoiser, self.weight = denoiser, check.between(weight, "guidance weight")
        self.null, self.interval = null, interval

    def __call__(self, y: Tensor, sigma: Tensor | float, condition: Condition = None) -> Tensor:
        """Return the guided estimate; without a condition, the unconditional one."""
        if condition is None:
            return self.denoiser(y, sigma, self.null and _repeat(self.null, len(y)))
        if self.weight == 1:
            return self.denoiser(y, sigma, condition)
        free, bound = self._both(y, sigma, condition)
        return free + self._weights(y, sigma) * (bound - free)

    def _both(self, y: Tensor, sigma: Tensor | float, condition: Condition) -> tuple[Tensor, ...]:
        if self.null is None or condition is None:
            return self.denoiser(y, sigma, None), self.denoiser(y, sigma, condition)
        level = levels(sigma, y).expand(len(y), *[-1] * (y.ndim - 1))
        level = level.flatten() if level[0].numel() == 1 else level
        null = _repeat(self.null, len(y))
        both = {key: torch.cat([null[key], value]) for key, value in condition.items()}
        return self.denoiser(torch.cat([y, y]), torch.cat([level, level]), both).chunk(2)

    def _weights(self, y: Tensor, sigma: Tensor | float) -> Tensor | float:
        if self.interval is None:
            return self.weight
        low, high = self.interval
        level = levels(sigma, y)
        return torch.where((level >= low) & (level <= high), self.weight, 1.0)


def _repeat(null: Condition, size: int) -> dict[str, Tensor]:
    assert null is not None
    return {key: value.expand(size, *value.shape[1:]) for key, value in null.items()}
