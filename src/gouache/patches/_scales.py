"""Pyramids of images with holes, and fields handed from one scale to the next.

Notation: u an image, *known* its pixels outside the hole; level 0 is the finest. Pixel (y, x) of a
level covers pixels (2 y, 2 x) to (2 y + 1, 2 x + 1) of the next finer one.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from ._match import Field

BINOMIAL = (1.0, 3.0, 3.0, 1.0)


def halved(u: Tensor, known: Tensor) -> tuple[Tensor, Tensor]:
    """Halve ``u (C, H, W)`` and ``known (H, W)``; what is not known has no part in what is.

    A pixel is the binomial mean of the known ones of the 4 x 4 around it, and known if at least
    two of its four are. Odd sides are extended by their last pixels.
    """
    taps = torch.tensor(BINOMIAL, device=u.device)
    kernel = torch.outer(taps, taps)[None, None] / taps.sum() ** 2
    extended = (1, 1 + u.shape[2] % 2, 1, 1 + u.shape[1] % 2)
    k = known[None, None].float()
    both = F.pad(torch.cat([u[None] * k, k], 1), extended, mode="replicate")
    sums = F.conv2d(both.transpose(0, 1), kernel, stride=2).transpose(0, 1)[0]
    found = torch.where(sums[-1] > 0, sums[:-1] / sums[-1].clamp(min=1e-6), 0)
    inner = F.pad(k, (0, extended[1] - 1, 0, extended[3] - 1), mode="replicate")
    return found, (F.avg_pool2d(inner, 2)[0, 0] >= 0.5) & (sums[-1] > 0)


def smooth_fill(u: Tensor, known: Tensor) -> Tensor:
    """Fill the hole of ``u (C, H, W)`` smoothly from around, by halving until nothing is missing.

    Reference:
        S. Gortler, R. Grzeszczuk, R. Szeliski, M. Cohen, "The lumigraph", 1996 (pull and push).
    """
    if bool(known.all()):
        return u
    if min(u.shape[1:]) == 1 or not known.any():
        mean = u[:, known].mean(1) if known.any() else u.new_zeros(len(u))
        return torch.where(known, u, mean[:, None, None])
    k = known[None].float()
    over = (0, u.shape[2] % 2, 0, u.shape[1] % 2)
    sums, share = (F.avg_pool2d(F.pad(x[None], over), 2)[0] for x in (u * k, k))
    coarse = smooth_fill(sums / share.clamp(min=1e-6), share[0] > 0)
    up = F.interpolate(coarse[None], u.shape[1:], mode="bilinear")[0]
    return torch.where(known, u, up)


def upsampled(
    field: Field, at: tuple[int, int], to: tuple[int, int], shape: tuple[int, int], limit: Tensor
) -> Field:
    """Return a field of twice the size, ``2 q + parity``, of some of its places.

    Args:
        field: of the places of a coarser level from ``at``.
        at: row and column there.
        to: row and column of the finer level from which places are wanted.
        shape: how many rows and columns of them.
        limit: rows and columns of the finer source's patches ``(2,)``.
    """
    (_, h, w), device = field.distance.shape, field.place.device
    y = torch.arange(to[0], to[0] + shape[0], device=device)
    x = torch.arange(to[1], to[1] + shape[1], device=device)
    coarse = field.place[:, (y // 2 - at[0]).clamp(0, h - 1)][
        :, :, (x // 2 - at[1]).clamp(0, w - 1)
    ]
    parity = torch.stack(torch.meshgrid(y % 2, x % 2, indexing="ij"), -1)
    place = torch.minimum(2 * coarse + parity, limit.to(device) - 1)
    place = torch.where(coarse < 0, -1, place).to(torch.int32)
    distance = torch.where(place[..., 0] < 0, torch.inf, 0.0)
    return Field(place, distance, field.patch)
