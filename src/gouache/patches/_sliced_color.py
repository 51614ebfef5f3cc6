"""Transport of colours by one-dimensional transports along random axes.

Notation of ``_palette.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gouache import check, random
from gouache.registry import method

from ._color_transport import DEPTH, options
from ._palette import clusters, extended, pair


@method("recolor")
def sliced_color_transfer(
    image: Tensor,
    palette: Tensor,
    *,
    strength: float = 1.0,
    steps: int = 30,
    smooth: float = 0.06,
    grain: float = 0.02,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Give an image the colours of another by matching them along random axes, in turn.

    Of 1024 clusters of equal mass of either image, with means c and d, the former are moved: in a
    step, for each axis r of a random rotation, the sorted ``<r, c>`` become the sorted ``<r, d>``,
    so that c tends to d. It moves colours farther than `color_transport` does, and needs no plan;
    where an image has colours along one line alone, chance may turn their order round. To all other
    colours it is extended as there. Values beyond [0, 1] are clipped.

    Args:
        image: ``(C, H, W)`` in [0, 1]; grey counts as three equal channels.
        palette: likewise, of any size.
        strength: share of the way that each colour goes; 0 leaves the image as it is.
        steps: rotations.
        smooth: how far around a colour the moves are averaged, a standard deviation in units of
            the pixel range.
        grain: standard deviation of what counts as grain, which is left as strong as it was;
            0 moves it with the colours.
        rng: of the rotations.
        progress: hears of (steps done, steps in all).

    Returns:
        ``(3, H, W)`` in [0, 1].

    Raises:
        InputError: no images, or an option out of its range.

    Reference:
        F. Pitie, A. Kokaram, R. Dahyot, "Automated colour grading using colour distribution
        transfer", 2007; J. Rabin, G. Peyre, J. Delon, M. Bernot, "Wasserstein barycenter and its
        application to texture mixing", 2011.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(3, 40, 40)
        >>> warm = torch.tensor([0.9, 0.6, 0.4])[:, None, None] * image
        >>> found = patches.sliced_color_transfer(image, warm, grain=0)
        >>> bool((found.mean((1, 2)) - warm.mean((1, 2))).abs().max() < 0.01)
        True
    """
    options(smooth, grain)
    check.count(steps, "steps")
    a, b = pair(image, palette, strength)
    points, targets = clusters(a, DEPTH), clusters(b, DEPTH)
    dice, there = random.generator(random.draw_seed(rng)), points.clone()
    for step in range(1, steps + 1):
        there = turned(there, targets, dice)
        if progress is not None:
            progress(step, steps + 1)
    moves = there - points
    found = extended(a, points, moves, strength=strength, smooth=smooth, grain=grain)
    if progress is not None:
        progress(steps + 1, steps + 1)
    return found


def turned(points: Tensor, targets: Tensor, dice: torch.Generator) -> Tensor:
    """Return points matched with targets along the three axes of a random rotation."""
    axes = torch.linalg.qr(torch.randn(3, 3, generator=dice, dtype=points.dtype))[0]
    ours, theirs = points @ axes, (targets @ axes).sort(0)[0]
    order = ours.argsort(dim=0, stable=True)
    return torch.empty_like(ours).scatter_(0, order, theirs) @ axes.T
