"""Mixtures of centred Gaussians, fitted by expectation and maximisation.

Notation: rows ``y`` of d numbers, ``p(y) = sum_k pi_k N(y; 0, S_k)``; ``r_k(y)`` the posterior of
component k, ``n_k`` the mean of ``r_k`` over rows, ``M_k`` that of ``r_k y y^T``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gouache.random import draw_seed, generator

ROWS, WIDTH = 1024, 8  # rows of a block, components whitened by one product: what a cache holds
LEAST = 1e-4  # posteriors below that count as none in the moments
NEAR = 0.2


@dataclass(frozen=True)
class Mixture:
    """Weights ``(K,)`` and covariances ``(K, d, d)``, float64."""

    weight: Tensor
    covariance: Tensor


@dataclass(frozen=True)
class Whitening:
    """What the density of rows with noise needs, at one noise level.

    Attributes:
        matrices: upper triangular ``W_k (K, d, d)``: ``|y W_k|^2 = y^T (S_k + sigma^2 I)^-1 y``.
        costs: ``-2 log pi_k + log det (S_k + sigma^2 I)`` ``(K,)``.
    """

    matrices: Tensor
    costs: Tensor

    @classmethod
    def of(cls, mixture: Mixture, sigma: float = 0.0) -> Whitening:
        """Whiten by the inverse of the Cholesky factors."""
        eye = torch.eye(mixture.covariance.shape[1]).to(mixture.covariance)
        lower = torch.linalg.cholesky(mixture.covariance + sigma**2 * eye)
        inverse = torch.linalg.solve_triangular(lower, eye.expand_as(lower), upper=False)
        logdet = 2 * lower.diagonal(dim1=1, dim2=2).log().sum(1)
        return cls(inverse.mT.contiguous(), logdet - 2 * mixture.weight.log())

    def to(self, dtype: torch.dtype) -> Whitening:
        """Return the same in another type."""
        return Whitening(self.matrices.to(dtype), self.costs.to(dtype))

    def all_costs(self, y: Tensor) -> Tensor:
        """Return ``-2 log (pi_k N(y; 0, S_k + sigma^2 I))``, less a constant, ``(n, K)``."""
        d, found = y.shape[1], []
        for some in self.matrices.split(WIDTH):
            flat = some.transpose(0, 1).reshape(d, -1)
            found.append((y @ flat).view(len(y), len(some), d).square_().sum(2))
        return torch.cat(found, 1) + self.costs

    def log_prob(self, y: Tensor) -> Tensor:
        """Return ``log p(y)`` of rows ``(n, d)``."""
        constant = y.shape[1] * math.log(2 * math.pi)
        return -0.5 * constant + torch.logsumexp(-0.5 * self.all_costs(y), 1)


def fit(
    y: Tensor,
    start: Mixture,
    *,
    passes: int,
    batch: int | None,
    floor: float,
    shrink: float,
    rng: torch.Generator | None,
    progress: Callable[[int, int], None] | None,
) -> Mixture:
    """Improve a mixture by passes over rows ``(n, d)`` float32.

    With ``batch`` the moments move by steps ``(t + 2)^-0.6`` towards those of each batch; without
    it a pass takes all rows at once, which is EM itself.
    """
    steps = list(_batches(len(y), passes, batch, rng))
    mixture, moments = start, (start.weight, start.weight[:, None, None] * start.covariance)
    for t, rows in enumerate(steps):
        found = _moments(y if rows is None else y[rows], mixture)
        step = 1.0 if rows is None else (t + 2.0) ** -0.6
        moments = tuple(a + step * (b - a) for a, b in zip(moments, found, strict=True))
        mixture = _maximised(*moments, len(y), floor, shrink)
        if progress is not None:
            progress(t + 1, len(steps))
    return mixture


def _batches(
    n: int, passes: int, batch: int | None, rng: torch.Generator | None
) -> Iterator[Tensor | None]:
    draws = generator(draw_seed(rng))
    for _ in range(passes):
        if batch is None or batch >= n:
            yield None
        else:
            order = torch.randperm(n, generator=draws)
            yield from order[: n // batch * batch].split(batch)


def _moments(y: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
    """Return ``n_k (K,)`` and ``M_k (K, d, d)`` of rows."""
    whitening = Whitening.of(mixture).to(y.dtype)
    share, second = torch.zeros_like(mixture.weight), torch.zeros_like(mixture.covariance)
    for rows in y.split(ROWS):
        posterior = torch.softmax(-0.5 * whitening.all_costs(rows), 1).T.contiguous()
        share += posterior.sum(1, dtype=torch.float64)
        for k, r in enumerate(posterior):
            some = (r > LEAST).nonzero()[:, 0]
            x = rows[some]
            second[k] += ((x * r[some, None]).T @ x).double()
    return share / len(y), second / len(y)


def _maximised(share: Tensor, second: Tensor, n: int, floor: float, shrink: float) -> Mixture:
    """Return the mixture of these moments.

    A covariance is drawn to its own diagonal as by ``shrink`` more rows, and ``floor`` is added to
    its variances.
    """
    kept = share.clamp(min=1 / n)
    S = second / kept[:, None, None]
    a = (shrink / (shrink + n * kept))[:, None, None]
    diagonal = torch.diag_embed(S.diagonal(dim1=1, dim2=2) + floor)
    S = (1 - a) * S + a * diagonal + floor * (1 - a) * torch.eye(S.shape[1]).to(S)
    return Mixture(kept / kept.sum(), S)


def seeded(
    y: Tensor, components: int, floor: float, shrink: float, rng: torch.Generator | None
) -> Mixture:
    """Return a first mixture: rows go to the seed row that is most like them.

    Seeds are rows drawn at random; likeness is the squared cosine, less the squared difference of
    the logarithms of the norms. A few rounds of k-means on these two follow, a seed being the first
    principal direction and the mean log norm of its rows.
    """
    draws = generator(draw_seed(rng))
    norms = y.norm(dim=1).clamp(min=1e-6)
    unit, size = y / norms[:, None], norms.log()
    seeds = torch.randperm(len(y), generator=draws)[:components]
    direction, level = unit[seeds], size[seeds]
    for _ in range(3):
        nearest = _nearest(unit, size, direction, level)
        direction, level = _centres(unit, size, nearest, direction, level)
    nearest = _nearest(unit, size, direction, level)
    share = torch.bincount(nearest, minlength=components).double() / len(y)
    second = torch.zeros(components, y.shape[1], y.shape[1], dtype=torch.float64)
    for k in range(components):
        x = y[nearest == k].double()
        second[k] = x.T @ x / len(y)
    return _maximised(share, second, len(y), floor, shrink)


def _nearest(unit: Tensor, size: Tensor, direction: Tensor, level: Tensor) -> Tensor:
    found = []
    for u, s in zip(unit.split(ROWS), size.split(ROWS), strict=True):
        likeness = (u @ direction.T).square() - NEAR * (s[:, None] - level).square()
        found.append(likeness.argmax(1))
    return torch.cat(found)


def _centres(
    unit: Tensor, size: Tensor, nearest: Tensor, direction: Tensor, level: Tensor
) -> tuple[Tensor, Tensor]:
    direction, level = direction.clone(), level.clone()
    for k in nearest.unique().tolist():
        some = nearest == k
        u = unit[some].double()
        direction[k] = torch.linalg.eigh(u.T @ u).eigenvectors[:, -1].to(direction)
        level[k] = size[some].mean()
    return direction, level
