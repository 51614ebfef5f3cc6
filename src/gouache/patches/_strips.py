"""Images put together from strips, worked on side by side."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float32]


def mean_of_strips(
    strip: Callable[[int], tuple[Array, Array]],
    tops: NDArray[np.int32],
    shape: tuple[int, ...],
    tick: Callable[[], None] = lambda: None,
) -> Array:
    """Return the weighted mean ``(..., H, W)`` of what strips add up.

    Strips are summed in order, so that the result does not depend on the number of threads.

    Args:
        strip: returns weighted values ``(..., R, W)`` of strip k, and weights of that shape or
            ``(R, W)``; R rows may reach beyond the image.
        tops: first row of each.
        shape: of the image.
        tick: called after each strip.
    """
    from ._jit import spread

    above, below = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for top, (acc, norm) in zip(tops, spread(strip, len(tops)), strict=True):
        reach = min(acc.shape[-2], shape[-2] - int(top))
        above[..., top : top + reach, :] += acc[..., :reach, :]
        below[..., top : top + reach, :] += norm[..., :reach, :]
        tick()
    return above / below
