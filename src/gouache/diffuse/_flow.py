"""The straight path of flow matching."""

from __future__ import annotations

from typing import final

from torch import Tensor

from gouache.registry import method

from ._schedule import Schedule


@final
@method("schedule")
class FlowMatching(Schedule):
    """The straight line from data to noise: alpha = 1 - t, sigma = t.

    At t = 1 there is no signal and the ratio is infinite: a grid starts at ``ratio_max``, that is
    t = ratio_max / (1 + ratio_max), where the start ``sigma n`` differs from the line's end by one
    part in ``ratio_max``.

    Args:
        ratio_min: the smallest ratio of a grid before its end at 0.
        ratio_max: the ratio at which a grid starts.

    Reference:
        Lipman, Chen, Ben-Hamu, Nickel, Le, "Flow matching for generative modeling", 2023; Liu,
        Gong, Liu, "Flow straight and fast", 2023.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> float(diffuse.FlowMatching().ratio(torch.tensor(0.75)))
        3.0
    """

    def __init__(self, ratio_min: float = 1e-3, ratio_max: float = 1e3) -> None:
        self.ratio_min, self.ratio_max = ratio_min, ratio_max

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1 - t."""
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        """Return t."""
        return t

    def time(self, ratio: Tensor) -> Tensor:
        """Return ratio / (1 + ratio)."""
        return ratio / (1 + ratio)
