"""Luminance of two pictures made comparable, and put back under other colours."""

from __future__ import annotations

import torch
from torch import Tensor

from gouache import check, image

FLAT = 1e-6  # a deviation below which a picture has no contrast


def as_alike(*named: tuple[str, Tensor]) -> list[Tensor]:
    """Check images ``(C, H, W)`` in [0, 1], and return them in colour if one of them is.

    Raises:
        InputError: no such images.
    """
    found = [check.images(x, name, batched=False).detach().float() for name, x in named]
    return [image.as_channels(x, max(map(len, found))).to(found[0].device) for x in found]


def equalised(values: Tensor, like: Tensor) -> Tensor:
    """Return values ``(1, H, W)`` with the distribution of others; equal ones stay equal.

    ``f(v) = Q(F(v))``, F the share of values below v and half of those equal to it, Q the
    quantile function of the others.
    """
    _, which, count = values.unique(return_inverse=True, return_counts=True)
    share = (count.cumsum(0) - count / 2) / values.numel()
    wish = like.flatten().sort().values
    at = (share.double() * len(wish)).long().clamp(max=len(wish) - 1)
    return wish[at][which].view_as(values)


def rescaled(values: Tensor, own: Tensor, like: Tensor) -> Tensor:
    """Return values under the affine map that gives ``own`` the mean and deviation of ``like``.

    Where ``own`` is flat, all becomes that mean.
    """
    sigma, wish = own.std(correction=0), like.std(correction=0)
    gain = torch.where(sigma > FLAT, wish / sigma.clamp(min=FLAT), 0)
    return (values - own.mean()) * gain + like.mean()


def with_luminance(picture: Tensor, luminance: Tensor, own: Tensor) -> Tensor:
    """Return a picture ``(C, H, W)`` with another luminance than its own, its chroma kept.

    A number added to all three channels changes luma alone, as its weights' sum is 1.
    """
    return (picture + (luminance - own)).clamp(0, 1)
