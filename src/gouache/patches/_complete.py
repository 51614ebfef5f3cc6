"""Matches that leave no patch of the source out: nearest neighbours by a normalised score.

Notation: ``D_ij = |a_i - b_j|^2 / (P^2 C)`` the mean squared difference of the query's patch i and
the source's patch j; ``m_j = min_i D_ij`` what the query has nearest to j. The score is
``S_ij = D_ij / (alpha + m_j)``: of two sources as near to i, the one that the query lacks wins.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._match import Field
from ._patchmatch import patchmatch

DENSE = 1 << 24  # entries of D that are held at once
NEAREST, SWEEPS = 3, 2


def complete(
    query: Tensor,
    source: Tensor,
    patch: int,
    alpha: float,
    rng: torch.Generator | None = None,
) -> Field:
    """Return ``argmin_j S_ij`` of every patch i, exact where D has no more than 2^24 entries.

    Args:
        query: ``(C, H, W)``.
        source: ``(C, H', W')``.
        patch: side P.
        alpha: in units of the squared pixel range; if large, the plain nearest neighbour.
        rng: of what is not exact.
    """
    entries = [(x.shape[1] - patch + 1) * (x.shape[2] - patch + 1) for x in (query, source)]
    if entries[0] * entries[1] <= DENSE:
        return exact(query, source, patch, alpha)
    return near(query, source, patch, alpha, rng)


def exact(query: Tensor, source: Tensor, patch: int, alpha: float) -> Field:
    """Return ``argmin_j S_ij`` from all of D.

    D is by products of matrices around the source's mean: its error, some 1e-7 of the variance, is
    far below any alpha that is of use.
    """
    mean = source.mean((1, 2), keepdim=True)
    a, b = (_vectors(x - mean, patch) for x in (query, source))
    unit = a.shape[1]
    d = (b.square().sum(1) / unit).expand(len(a), -1)
    d = torch.addmm(d, a, b.T, alpha=-2 / unit).add_(a.square().sum(1, keepdim=True) / unit)
    d.clamp_(min=0)
    score = d / (alpha + d.amin(0))
    place = score.argmin(1)
    found = d.gather(1, place[:, None])[:, 0] * unit
    h, w = query.shape[1] - patch + 1, query.shape[2] - patch + 1
    return _field(place.view(1, h, w), found.view(1, h, w), patch, source)


def near(
    query: Tensor, source: Tensor, patch: int, alpha: float, rng: torch.Generator | None
) -> Field:
    """Return the least ``S_ij`` among the j that PatchMatch finds near i, or to which i is nearest.

    ``m_j`` is what PatchMatch finds for the patches of the source in the query.
    """
    there = patchmatch(query, source, patch=patch, k=NEAREST, iterations=SWEEPS, rng=rng)
    back = patchmatch(source, query, patch=patch, iterations=SWEEPS, rng=rng)
    h, w = there.distance.shape[1:]
    unit = patch**2 * len(query)
    m = back.distance.flatten()
    place = _linear(there.place, source.shape[2] - patch + 1).flatten(1)
    score, best = (there.distance.flatten(1) / (alpha * unit + m[place])).min(0, keepdim=True)
    place, far = place.gather(0, best)[0], there.distance.flatten(1).gather(0, best)[0]
    asked = _asked(_linear(back.place, w).flatten(), m, h * w)
    least = torch.where(asked < 0, torch.inf, m[asked.clamp(min=0)])
    better = least / (alpha * unit + least) < score[0]
    place, far = torch.where(better, asked, place), torch.where(better, least, far)
    return _field(place.view(1, h, w), far.view(1, h, w), patch, source)


def _asked(by: Tensor, m: Tensor, count: int) -> Tensor:
    """Return for each of ``count`` patches i the nearest j to which it is nearest, or -1.

    ``S_ij = m_j / (alpha + m_j)`` grows with m_j, so that this j has the least score of them.
    """
    order = m.argsort(stable=True)
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(m), device=m.device))
    first = torch.full((count,), len(m), device=m.device).scatter_reduce(0, by, rank, "amin")
    return torch.where(first < len(m), order[first.clamp(max=len(m) - 1)], -1)


def _linear(place: Tensor, wide: int) -> Tensor:
    return place[..., 0].long() * wide + place[..., 1]


def _field(place: Tensor, far: Tensor, patch: int, source: Tensor) -> Field:
    """Return a field of linear places."""
    wide = source.shape[2] - patch + 1
    rows = place.div(wide, rounding_mode="floor")
    return Field(torch.stack([rows, place % wide], -1).to(torch.int32), far, patch)


def _vectors(x: Tensor, patch: int) -> Tensor:
    """Return the patches as rows ``(n, P P C)``."""
    return x.unfold(1, patch, 1).unfold(2, patch, 1).permute(1, 2, 0, 3, 4).flatten(2).flatten(0, 1)
