"""An image whose patches are distributed as those of another, coarse to fine.

Notation of ``_pyramid.py``: at level n the image is ``x_n``, and what is made of it is ``y_n``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gouache import check
from gouache.registry import method

from ._pyramid import Level, climbed, wanted
from ._sliced import wasserstein

PRODUCTS = 1 << 18  # of patches and directions, at least, in a step of small images
STRETCH = 1.25


@method("variation")
def gpdm(
    image: Tensor,
    size: int | tuple[int, int] | None = None,
    *,
    start: Tensor | None = None,
    noise: float | None = None,
    patch: int = 7,
    coarsest: int = 20,
    ratio: float = 4 / 3,
    directions: int = 64,
    steps: int = 300,
    rate: float = 0.01,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Make an image with the distribution of patches of another, coarse to fine.

    At every level the pixels of y descend ``mean_theta W_1({<theta, a_i>}, {<theta, b_j>})`` by
    Adam, its rate falling to 0: a_i and b_j are the patches of y and of the image, theta directions
    of length 1, drawn anew at every step, W_1 the Wasserstein distance of numbers on a line.
    Matching whole distributions shows every patch about as often as the image does. ``gpnn`` is
    faster and sharper, as it copies.

    What ``start``, ``size`` and ``noise`` are for is told at ``gpnn``.

    Args:
        image: ``(C, H, W)`` in [0, 1].
        size: rows and columns, or one number for both; None is the start's, else the image's.
        start: what to begin with, of the same channels; None is the image.
        noise: what is added at the coarsest level, its standard deviation over that of the image;
            None is 5, or 0 where there is a start.
        patch: side.
        coarsest: shorter side at the coarsest level; the larger, the more of the start is kept.
        ratio: of one level to the next.
        directions: at every step; more where the image is small, some 2^18 over its pixels.
        steps: at every level.
        rate: of Adam, in units of the pixel range.
        rng: of the noise and of the directions.
        progress: called with (levels done, levels in all).

    Raises:
        InputError: no images, no size, a patch that does not fit, numbers out of range.

    Reference:
        A. Elnekave, Y. Weiss, "Generating natural images with direct patch distributions matching",
        2022.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.linspace(0, 9, 1200).sin().view(1, 30, 40).abs()
        >>> patches.gpdm(image, steps=20).shape
        torch.Size([1, 30, 40])
    """
    given = (image, size, start, noise)
    asked = wanted(*given, patch=patch, coarsest=coarsest, ratio=ratio, stretch=STRETCH)
    check.count(directions, "directions")
    check.count(steps, "steps")
    check.between(rate, "rate", 1e-6)
    options = {"patch": patch, "directions": directions, "steps": steps, "rate": rate}
    return climbed(asked, partial(_descended, **options), rng, progress)


@torch.inference_mode(mode=False)
@torch.enable_grad()
def _descended(
    y: Tensor,
    level: Level,
    rng: torch.Generator,
    *,
    patch: int,
    directions: int,
    steps: int,
    rate: float,
) -> Tensor:
    """Return what Adam makes of a guess at one level."""
    directions = max(directions, PRODUCTS // level.image[0].numel())
    x, y = level.image.clone(), y.clamp(0, 1).requires_grad_()
    adam = torch.optim.Adam([y], lr=rate)
    for step in range(steps):
        adam.param_groups[0]["lr"] = rate * (1 - step / steps)
        theta = torch.randn(directions, len(y) * patch**2, generator=rng).to(y)
        theta = torch.nn.functional.normalize(theta).view(directions, len(y), patch, patch)
        adam.zero_grad()
        wasserstein(_projected(y, theta), _projected(x, theta)).mean().backward()
        adam.step()
    return y.detach()


def _projected(x: Tensor, theta: Tensor) -> Tensor:
    """Return the products ``(directions, n)`` of patches and directions."""
    return torch.nn.functional.conv2d(x[None], theta)[0].flatten(1)
