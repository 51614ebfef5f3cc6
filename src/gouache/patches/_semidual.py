"""Semi-discrete optimal transport: from samples of any law to weighted points.

Notation: points y_j with masses nu_j, potential psi_j, ``c(x, y) = |x - y|^2``. The cell of y_j is
where ``c(x, y_j) - psi_j`` is least. The dual ``H(psi) = E min_j (c(x, y_j) - psi_j) + sum_j nu_j
psi_j`` is concave, and its gradient is nu_j less the mass of the cell of y_j.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from gouache import check, random
from gouache.check import InputError

ROWS = 1024  # samples compared with all points at a time
SPREAD = 64  # samples whose distances to the points are the unit of the steps
Sampler = Callable[[int, torch.Generator], Tensor]


@dataclass(frozen=True)
class Potential:
    """A potential on points, and the map that it gives.

    Attributes:
        points: y ``(J, D)``.
        masses: nu ``(J,)``, of sum 1.
        psi: ``(J,)``, of mean 0 under nu.
        value: H(psi), at most the squared Wasserstein distance; over fresh samples, or all.
        mass_error: half the sum over j of the absolute differences of nu_j and the mass of its
            cell over the same samples: the share of mass that is carried to a wrong point; 0 at the
            optimum for a law without atoms, up to the samples' noise.

    Reference:
        B. Galerne, A. Leclaire, J. Rabin, "A texture synthesis model based on semi-discrete optimal
        transport in patch space", 2018.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> points = torch.tensor([[0.0], [1.0]])
        >>> found = patches.semidual(torch.linspace(0, 0.8, 400)[:, None], points)
        >>> found.transport(torch.tensor([[0.3], [0.5]])).flatten().tolist()
        [0.0, 1.0]
    """

    points: Tensor
    masses: Tensor
    psi: Tensor
    value: float
    mass_error: float

    def nearest(self, x: Tensor) -> Tensor:
        """Return for samples ``(n, D)`` the number of the point whose cell they are in ``(n,)``."""
        return _cells(x, _Centred.of(self.points), self.psi)

    def transport(self, x: Tensor) -> Tensor:
        """Return the points ``(n, D)`` that samples ``(n, D)`` are carried to."""
        return self.points[self.nearest(x)]


class _Centred(NamedTuple):
    """Points around their mean: products of what lies around 0 lose fewer digits."""

    points: Tensor
    mean: Tensor
    squares: Tensor

    @classmethod
    def of(cls, points: Tensor) -> _Centred:
        """Centre points ``(J, D)``."""
        y = points - points.mean(0)
        return cls(y, points.mean(0), y.square().sum(1))


def semidual(
    x: Tensor | Sampler,
    points: Tensor,
    masses: Tensor | None = None,
    *,
    steps: int = 1000,
    batch: int = 1024,
    rate: float = 0.03,
    start: Tensor | None = None,
    rng: torch.Generator | None = None,
) -> Potential:
    """Fit a potential by averaged stochastic gradient ascent.

    ``psi <- psi + rate s J / sqrt(k) (nu - share)`` in step k, share being that of a batch in each
    cell, and s the mean squared distance of samples to points; returned is the mean of psi
    over the second half of the steps.

    Args:
        x: samples ``(n, D)``, from which batches are drawn; or a function of a count and a
            generator that draws as many ``(count, D)``.
        points: y ``(J, D)``.
        masses: nu ``(J,)``, at least 0, divided by their sum; None makes them equal.
        steps: of ascent.
        batch: samples in a step.
        rate: of the steps, in units of s J.
        start: psi to begin with ``(J,)``; None is 0.
        rng: of the batches.

    Raises:
        InputError: points, masses or samples that do not fit each other, counts below 1.

    Reference:
        A. Genevay, M. Cuturi, G. Peyre, F. Bach, "Stochastic optimization for large-scale optimal
        transport", 2016; A. Leclaire, J. Rabin, "A stochastic multi-layer algorithm for
        semi-discrete optimal transport with applications to texture synthesis and style transfer",
        2021.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> points, far = torch.rand(20, 2), torch.tensor([3.0, 0.0])
        >>> found = patches.semidual(points + far, points, steps=2000)
        >>> abs(found.value - 9) < 0.1
        True
    """
    check.count(steps, "steps")
    check.count(batch, "batch")
    nu = _masses(points, masses)
    drawn = random.generator(random.draw_seed(rng))
    draw = x if callable(x) else _from(x, points)
    psi = torch.zeros_like(nu) if start is None else start.to(nu).clone()
    mean, last = torch.zeros_like(nu), steps // 2
    centred = _Centred.of(points)
    far = torch.cdist(draw(SPREAD, drawn), points).square().mean()
    scale = rate * len(nu) * float(far)
    for k in range(1, steps + 1):
        cell = _cells(draw(batch, drawn), centred, psi)
        share = torch.bincount(cell, minlength=len(nu)) / batch
        psi = psi + scale / math.sqrt(k) * (nu - share)
        if k > last:
            mean += (psi - mean) / (k - last)
    mean = mean - (nu * mean).sum()
    return _judged(draw(max(batch, 16 * len(nu)), drawn) if callable(x) else x, points, nu, mean)


def _masses(points: Tensor, masses: Tensor | None) -> Tensor:
    """Return nu."""
    if points.ndim != 2 or 0 in points.shape:
        raise InputError(f"points must be (J, D), not empty, got {tuple(points.shape)}")
    nu = torch.ones_like(points[:, 0]) if masses is None else masses.to(points)
    if nu.shape != points.shape[:1] or float(nu.min()) < 0 or not 0 < float(nu.sum()) < math.inf:
        raise InputError(
            f"masses must be {len(points)} numbers of at least 0, one a point, not all 0, got "
            f"{tuple(nu.shape)} from {float(nu.min()):g}"
        )
    return nu / nu.sum()


def _from(x: Tensor, points: Tensor) -> Sampler:
    """Return a sampler of rows of x."""
    if x.ndim != 2 or not len(x) or x.shape[1:] != points.shape[1:]:
        raise InputError(
            f"samples must be (n, {points.shape[1]}), as long as the points, got {tuple(x.shape)}"
        )

    def draw(count: int, rng: torch.Generator) -> Tensor:
        return x[torch.randint(len(x), (count,), generator=rng).to(x.device)]

    return draw


def _cells(x: Tensor, centred: _Centred, psi: Tensor) -> Tensor:
    """Return for each sample the point whose cell holds it ``(n,)``."""
    offset, y = centred.squares - psi, centred.points.T
    blocks = (x - centred.mean).split(ROWS)
    return torch.cat([torch.addmm(offset, some, y, alpha=-2).argmin(1) for some in blocks])


def _judged(x: Tensor, points: Tensor, nu: Tensor, psi: Tensor) -> Potential:
    """Return a potential with its value and its mass error over samples."""
    cell = _cells(x, _Centred.of(points), psi)
    share = torch.bincount(cell, minlength=len(nu)) / len(x)
    least = (x - points[cell]).square().sum(1) - psi[cell]
    value = float(least.double().mean() + (nu * psi).double().sum())
    return Potential(points, nu, psi, value, float((share - nu).abs().sum() / 2))
