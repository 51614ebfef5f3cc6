"""Counts over k-nearest-neighbour balls, in the whole sets and in random halves of them.

Notation: centres ``c_i``, points ``p_j``; a *case* keeps some centres and some points, and its
squared radius ``r2[case, i]`` is the k-th smallest squared distance from ``c_i`` to another kept
centre. Case 0 keeps all; the others come in pairs, the two halves of a random split.

Only pairs inside the widest radius matter to any case, a few k a point, so they are collected
from blocks of distances and counted sparsely: the repetitions cost no distances.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._neighbours import blocks, exact, winners
from ._sets import order

_ROUNDING = 1e-12
_PAIRS = 1 << 15


def count_balls(
    real: Tensor, fake: Tensor, k: int, *, splits: int = 0, rng: torch.Generator | None = None
) -> dict[str, Tensor]:
    """Return precision, recall, density and coverage, each ``(1 + 2 splits,)``."""
    x, y = real.double(), fake.double()
    keep_x, keep_y = _keep(len(x), splits, rng, x.device), _keep(len(y), splits, rng, y.device)
    of_real, of_fake = _Balls(x, y, k, keep_x, keep_y), _Balls(y, x, k, keep_y, keep_x)
    for rows, d2 in blocks(x, y):
        of_real.add(d2, rows.start, 0)
        of_fake.add(d2.T, 0, rows.start)
    precision, coverage, density = of_real.shares()
    recall, _, _ = of_fake.shares()
    return {"precision": precision, "recall": recall, "density": density / k, "coverage": coverage}


def half_sampling(values: Tensor) -> float:
    """Return the standard error of ``values[0]`` from the pairs of halves that follow.

    Halves are independent, so ``E (a - b)^2 = 2 V(N/2)``, and the variance falls as 1/N.
    """
    a, b = values[1:].view(-1, 2).unbind(1)
    return float((a - b).square().mean() / 4) ** 0.5


class _Balls:
    """Counts of points in balls, fed with blocks of squared distances."""

    def __init__(
        self, centres: Tensor, points: Tensor, k: int, keep_centre: Tensor, keep_point: Tensor
    ) -> None:
        self.centres, self.points = centres, points
        self.keep_centre, self.keep_point = keep_centre, keep_point
        self.radii = _radii(centres, k, keep_centre)
        origin = points.mean(0)
        scale = max(float((s - origin).square().sum(1).max()) for s in (centres, points))
        self.rounding = _ROUNDING * scale
        self.reached, self.used = torch.zeros_like(keep_point), torch.zeros_like(keep_centre)
        self.hits = torch.zeros(len(keep_point), dtype=torch.int64, device=centres.device)

    def add(self, d2: Tensor, first_centre: int, first_point: int) -> None:
        """Count a block of squared distances, centres by points, that begins at these indices."""
        limit = self.radii[:, first_centre : first_centre + len(d2)].amax(0) + self.rounding
        i, j = torch.nonzero(d2 < limit[:, None], as_tuple=True)
        values = d2[i, j]
        pieces = (part.split(_PAIRS) for part in (i + first_centre, j + first_point, values))
        for some_i, some_j, some in zip(*pieces, strict=True):
            self._count(some_i, some_j, some)

    def shares(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return by case the shares of points reached and of balls in use, and balls a point."""
        n_centre, n_point = self.keep_centre.sum(1), self.keep_point.sum(1)
        reached, used = self.reached.sum(1).double(), self.used.sum(1).double()
        return reached / n_point, used / n_centre, self.hits.double() / n_point

    def _count(self, i: Tensor, j: Tensor, d2: Tensor) -> None:
        radii = self.radii[:, i]
        close = ((d2 - radii).abs() <= self.rounding).any(0)
        if bool(close.any()):
            d2[close] = exact(self.centres, self.points, i[close], j[close])
        inside = (d2 < radii) & self.keep_centre[:, i] & self.keep_point[:, j]
        case, pair = torch.nonzero(inside, as_tuple=True)
        self.reached[case, j[pair]] = True
        self.used[case, i[pair]] = True
        self.hits += inside.sum(1)


def _keep(n: int, splits: int, rng: torch.Generator | None, device: torch.device) -> Tensor:
    """Return ``(1 + 2 splits, n)``: everything, then both halves of random splits."""
    keep = torch.zeros(1 + 2 * splits, n, dtype=torch.bool)
    keep[0] = True
    for case in range(1, 1 + 2 * splits, 2):
        drawn = order(n, rng)
        keep[case, drawn[: n // 2]] = True
        keep[case + 1, drawn[n - n // 2 :]] = True
    return keep.to(device)


def _radii(centres: Tensor, k: int, keep: Tensor) -> Tensor:
    """Return ``r2`` ``(cases, n)``, from lists of neighbours long enough for a half."""
    wide = k if len(keep) == 1 else 4 * k + 16
    d2, j = winners(centres, centres, min(wide, len(centres) - 1), exclude_self=True)
    rank = keep[:, j].cumsum(2, dtype=torch.int16).clamp_(max=k)
    return d2.expand(len(keep), -1, -1).gather(2, rank.argmax(2, keepdim=True))[:, :, 0]
