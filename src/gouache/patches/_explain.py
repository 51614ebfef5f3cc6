"""Where a filtered pixel comes from: the weights of all pixels in it, and the patches behind them.

Notation: ``y`` the noisy image, p the pixel, ``x(p)`` its filtered value. Once a filter has chosen
what is similar and how much of it to keep, ``x(p) = sum_q a(q) y(q)`` with ``sum_q a(q) = 1``: the
map ``a`` is what is explained. It is taken from the filters' own kernels.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.registry import method

from . import _nlmeans
from ._graph import windows
from ._image import batched, reflected, sigma_of

SHOWN = 16


@dataclass(frozen=True)
class Block:
    """A patch that a pixel's value was taken from.

    Attributes:
        x: column of its left side; outside the image where the patch reaches over the border.
        y: row of its top.
        distance: mean square difference from the patch that is explained, in what the filter
            compares: the noisy image, or in the second step of ``bm3d`` the basic estimate.
        kept: whether the filter took it: a stack of ``bm3d`` has a power of two of blocks, and
            blocks that are near enough but too many are left out.
        before: its pixels in the noisy image ``(C, side, side)``.
        after: likewise after filtering; None where the filter gives single pixels.
    """

    x: int
    y: int
    distance: float
    kept: bool
    before: Tensor
    after: Tensor | None


@dataclass(frozen=True)
class Explanation:
    """Where the value of one pixel comes from.

    Attributes:
        method: name of the filter.
        at: the pixel, (x, y), from 0 at the top left.
        sigma: noise level there.
        weights: a(q), summing to 1 ``(H, W)``; of a colour image, in the mean of its channels.
        before: noisy value of the pixel ``(C,)``.
        after: its filtered value ``(C,)``; the mean over channels is that of ``weights`` and image.
        window: where patches were looked for: left, top, right and bottom, the last two outside.
        side: of a patch.
        blocks: the patch that is explained, then those most like it.
        kept: of the stack's coefficients, the part that the threshold left, or the mean of Wiener's
            factors; 1 where there are none.
    """

    method: str
    at: tuple[int, int]
    sigma: float
    weights: Tensor
    before: Tensor
    after: Tensor
    window: tuple[int, int, int, int]
    side: int
    blocks: tuple[Block, ...]
    kept: float


@method("explain")
def explain_nlmeans(
    image: Tensor,
    sigma: float | Tensor | None = None,
    *,
    at: tuple[int, int],
    patch: int | None = None,
    window: int | None = None,
    h: float | None = None,
    slack: float = 1.0,
    aggregate: str = "patch",
) -> Explanation:
    """Explain one pixel r of ``nlmeans``.

    By pixel, ``a(r + t) = w(r, r + t) / sum_s w(r, r + s)``; by patch, the mean of
    ``w(p, p + t) / sum_s w(p, p + s)`` over the patches p that hold r.

    Args:
        image: noisy ``(C, H, W)``, C = 1 or 3, pixel range 1.
        sigma: noise in units of the pixel range: a number, or a map ``(H, W)``; None estimates it.
        at: the pixel, (x, y), from 0 at the top left.
        patch: as in ``nlmeans``, and so the next four.
        window: likewise.
        h: likewise.
        slack: likewise.
        aggregate: likewise.

    Raises:
        InputError: not one image, a pixel outside, sigma 0 or on another scale.

    Reference:
        A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", 2005.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 12, 10, generator=torch.Generator().manual_seed(0))
        >>> found = patches.explain_nlmeans(image, 0.2, at=(3, 4))
        >>> filtered = patches.nlmeans(image, 0.2)[0, 4, 3]
        >>> torch.allclose((found.weights * image[0]).sum(), filtered, atol=1e-5)
        True
    """
    u, level = one_image(image, sigma, at)
    given = (_nlmeans.odd(patch, "patch"), _nlmeans.odd(window, "window"), h)
    check.between(1.0 if h is None else h, "h", 1e-6)
    check.choice(aggregate, "aggregate", ("pixel", "patch"))
    job, (x, y) = _nlmeans.job_of(u, level, given, aggregate == "patch", slack), at
    height, width = u.shape[-2:]
    left, top = max(0, x - job.half), max(0, y - job.half)
    right, bottom = min(width, x + job.half + 1), min(height, y + job.half + 1)
    weights = _shares(job, at)
    return Explanation(
        method="nlmeans",
        at=at,
        sigma=float(job.noise2[y, x].sqrt()),
        weights=weights,
        before=u[:, y, x],
        after=(weights * u).sum((1, 2)),
        window=(left, top, right, bottom),
        side=2 * job.f + 1,
        blocks=_likest(job, weights, at),
        kept=1.0,
    )


def _shares(job: _nlmeans.Job, at: tuple[int, int]) -> Tensor:
    """Return what every pixel contributes to the one at (x, y), ``(H, W)`` of sum 1."""
    (x, y), (height, width) = at, job.noise2.shape
    f = job.f if job.whole else 0
    found = windows(job, max(0, y - f), min(height, y + f + 1))
    found = found[:, max(0, x - f) : x + f + 1]
    side = 2 * job.half + 1
    shares = (found / found.sum(-1, keepdim=True)).mean((0, 1)).view(side, side)
    reach = torch.arange(-job.half, job.half + 1)
    rows, cols = reflected(y + reach, height), reflected(x + reach, width)
    weights = shares.new_zeros(height, width)
    return weights.index_put_((rows[:, None], cols), shares, accumulate=True)


def _likest(job: _nlmeans.Job, weights: Tensor, at: tuple[int, int]) -> tuple[Block, ...]:
    """Return the patch around a pixel, then those of the largest weights, of equal ones nearest."""
    side, width, own = 2 * job.f + 1, weights.shape[1], at[1] * weights.shape[1] + at[0]
    flat = weights.reshape(-1)
    least = flat.topk(min(SHOWN, int((flat > 0).sum()))).values[-1]
    cuts = {
        place: job.padded[:, place // width :, place % width :][:, :side, :side]
        for place in {own, *(flat >= least).nonzero().flatten().tolist()}
    }
    far = {place: float((cut - cuts[own]).square().mean()) for place, cut in cuts.items()}
    chosen = sorted(cuts, key=lambda place: (place != own, -float(flat[place]), far[place]))
    return tuple(
        Block(place % width - job.f, place // width - job.f, far[place], True, cuts[place], None)
        for place in chosen[:SHOWN]
    )


def one_image(
    image: Tensor, sigma: float | Tensor | None, at: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Check what is explained; return the image ``(C, H, W)`` and its noise, a number or a map.

    Raises:
        InputError: as the functions that explain say.
    """
    u = batched(image).detach().cpu()
    if len(u) > 1 or u.shape[1] not in (1, 3):
        raise InputError(
            f"one image of 1 or 3 channels can be explained, got shape {tuple(image.shape)}"
        )
    (x, y), (height, width) = at, u.shape[-2:]
    if not (0 <= check.count(x, "x", 0) < width and 0 <= check.count(y, "y", 0) < height):
        raise InputError(
            f"the pixel ({x}, {y}) is outside the image: x is in 0..{width - 1} and y in "
            f"0..{height - 1}"
        )
    level = sigma_of(sigma, u)[0]
    if not level.any():
        raise InputError("sigma is 0, so that nothing is filtered and nothing can be explained")
    return u[0], level
