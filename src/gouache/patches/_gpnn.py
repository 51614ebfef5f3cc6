"""An image made of the patches of another, coarse to fine, by nearest neighbours.

Notation of ``_pyramid.py``: level 0 is the coarsest; at level n the image is ``x_n``, and what is
made is ``y_n``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gouache import check
from gouache.registry import method

from ._complete import complete
from ._pyramid import Level, climbed, wanted
from ._vote import vote

SETTLED = 5e-4  # mean change of a pixel at which a level is left


@method("variation")
def gpnn(
    image: Tensor,
    size: int | tuple[int, int] | None = None,
    *,
    start: Tensor | None = None,
    noise: float | None = None,
    patch: int = 7,
    coarsest: int = 20,
    ratio: float = 4 / 3,
    alpha: float = 0.05,
    iterations: int = 10,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Make an image of the patches of another, all of which it is to show, coarse to fine.

    A guess starts as the image at the coarsest level, with noise. Time after time, every patch
    a_i of it becomes the patch b_j of the image at that level with the least
    ``D_ij / (alpha + min_l D_lj)``, D being the mean squared difference: a patch that no other is
    near to costs less. Pixels are means of the patches that hold them. The result is enlarged for
    the next level, and compared there with the image enlarged likewise, at first.

    Without a start this makes a variation of the image. With ``size`` and no noise, it is fitted
    into another frame (retargeting), objects kept in shape if a patch at the coarsest level holds
    them; larger ones are drawn out. With a start, it takes the start's layout (structural analogy),
    or mends what was pasted into it (harmonisation; then with a larger ``coarsest``).

    Args:
        image: ``(C, H, W)`` in [0, 1].
        size: rows and columns, or one number for both; None is the start's, else the image's.
        start: what to begin with, of the same channels; None is the image.
        noise: what is added at the coarsest level, its standard deviation over that of the image;
            None is 5, or 0 where there is a start.
        patch: side.
        coarsest: shorter side at the coarsest level; the larger, the more of the start is kept.
        ratio: of one level to the next.
        alpha: in units of the squared pixel range; the smaller, the more all patches are shown.
        iterations: at most, at every level; it is left where little changes.
        rng: of the noise and of what is searched approximately.
        progress: called with (levels done, levels in all).

    Raises:
        InputError: no images, no size, a patch that does not fit, numbers out of range.

    Reference:
        N. Granot, B. Feinstein, A. Shocher, S. Bagon, M. Irani, "Drop the GAN: in defense of
        patches nearest neighbors as single image generative models", 2022.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.linspace(0, 9, 1200).sin().view(1, 30, 40).abs()
        >>> patches.gpnn(image, (30, 60), noise=0).shape
        torch.Size([1, 30, 60])
    """
    asked = wanted(image, size, start, noise, patch=patch, coarsest=coarsest, ratio=ratio)
    check.between(alpha, "alpha", 1e-9)
    check.count(iterations, "iterations")
    settled = partial(_settled, patch=patch, alpha=alpha, iterations=iterations)
    return climbed(asked, settled, rng, progress)


def _settled(
    y: Tensor, level: Level, rng: torch.Generator, *, patch: int, alpha: float, iterations: int
) -> Tensor:
    """Return what iterations make of a guess at one level."""
    keys = level.blurred
    for _ in range(iterations):
        last, y = y, vote(complete(y, keys, patch, alpha, rng), level.image)
        if float((y - last).abs().mean()) < SETTLED:
            break
        keys = level.image
    return y
