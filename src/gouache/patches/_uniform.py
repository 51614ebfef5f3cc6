"""Matches that use all of the source about equally often.

Notation: z(p) the patch of the source matched with place p of the query, d_p its distance, u(r) how
many matches hold pixel r of the source, U the mean of u, P the side of a patch, D the mean of d. A
match is made to lower ``E(z) = sum_p d_p + lambda D / (2 U P^2) sum_r u(r)^2``: where all of the
source is used equally often, lambda is the price of a match in units of the mean distance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ._match import Field
from ._matcher import Matcher
from ._patchmatch import pixels

NEAREST, ANYWHERE, SWEEPS = 4, 4, 2


class Given(NamedTuple):
    """What a sweep tries.

    Attributes:
        query: ``(C, H, W)``.
        source: ``(C, H', W')``.
        offered: places ``(k, h, w, 2)`` for each place, or -1.
        price: ``lambda D / (U P^2)``.
    """

    query: Tensor
    source: Tensor
    offered: Tensor
    price: float


def uniform(
    matcher: Matcher,
    query: Tensor,
    start: Field,
    uniformity: float,
    rng: torch.Generator,
) -> Field:
    """Match every patch of ``query (C, H, W)``, beginning with a field.

    Every place is offered what PatchMatch finds near it, a few random patches, and what goes on
    with its neighbours' matches; ``sweep`` chooses.

    Args:
        matcher: of the source.
        query: with its channels.
        start: one match a place.
        uniformity: lambda.
        rng: of the random patches.

    Reference:
        A. Kaspar, B. Neubert, D. Lischinski, M. Pauly, J. Kopf, "Self tuning texture optimization",
        2015; J. Fiser et al., "StyLit: illumination-guided example-based stylization of 3D
        renderings", 2016.
    """
    near = matcher(query, k=NEAREST if uniformity else 1, iterations=1, start=start)
    best = Field(near.place[:1], near.distance[:1], near.patch)
    if not uniformity:
        return best
    source, p = matcher.asked.source, near.patch
    limit = torch.tensor(source.shape[1:]) - p + 1
    shape = (ANYWHERE, *near.place.shape[1:])
    anywhere = (torch.rand(shape, generator=rng) * limit).to(torch.int32)
    ideal = near.distance[0].numel() * p**2 / (source.shape[1] * source.shape[2])
    # NumPy's sum: torch's depends on the number of threads.
    mean = float(near.distance[0].cpu().numpy().mean(dtype=np.float64))
    price = uniformity * mean / (ideal * p**2)
    found = start
    for k in range(SWEEPS):
        offered = torch.cat([near.place.cpu(), anywhere])
        found = swept(Given(query, source, offered, price), found, back=bool(k % 2))
    return found


def swept(given: Given, start: Field, *, back: bool = False) -> Field:
    """Let every place take, one after the other, the patch that lowers E most."""
    from ._uniform_kernels import sweep

    offered = _packed(given.offered).permute(1, 2, 0).contiguous()
    place, used = _packed(start.place)[0], use(start, given.source)
    far = torch.empty(place.shape)
    arrays = (x.numpy() for x in (offered, place, far, used))
    images = (pixels(x.cpu()) for x in (given.query, given.source))
    sweep(*images, len(given.query), start.patch, given.price, back, *arrays)
    found = torch.stack([place >> 16, place & 0xFFFF], -1)[None]
    device = start.place.device
    return Field(found.to(device), far[None].to(device), start.patch)


def use(field: Field, source: Tensor) -> Tensor:
    """Return u ``(H', W')`` int32 on the CPU."""
    high, wide = source.shape[1:]
    place, p = field.place.cpu().long(), field.patch
    at = (place[..., 0] * wide + place[..., 1]).flatten()
    count = torch.bincount(at, minlength=high * wide).view(1, high, wide).double()
    sums = F.avg_pool2d(F.pad(count, (p - 1, 0, p - 1, 0)), p, 1, divisor_override=1)
    return sums[0].round().to(torch.int32)


def _packed(place: Tensor) -> Tensor:
    """Return ``row << 16 | column`` of places ``(..., 2)``, -1 where there is none."""
    rows, cols = place.cpu().unbind(-1)
    return torch.where(rows < 0, -1, rows << 16 | cols)
