"""The Fréchet distance between Gaussians fitted to two sets of features.

Notation: features ``X`` ``(n, D)`` and ``Y`` ``(m, D)`` with means ``m1, m2`` and covariances
``S1, S2`` (divisors n - 1 and m - 1). A *root* of S is any ``R`` with ``R^T R = S``: the Cholesky
factor, or the centred features over sqrt(n - 1) when there are no more samples than dimensions.
Then ``tr (S1 S2)^(1/2)`` is the sum of the roots of the eigenvalues of ``R1 S2 R1^T``, which is
``K K^T`` for ``K = R1 R2^T``; no matrix square root is taken and nothing can turn complex.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.contracts import Features
from gouache.registry import method

from ._score import Score
from ._sets import Sets, how_split, order, resplits, sets, stand_in

_BLOCK = 4096


@dataclass(frozen=True)
class Gaussian:
    """A Gaussian fitted to n samples: mean ``(D,)``, and its covariance or a root of that.

    Attributes:
        cov: S ``(D, D)``; None where there are fewer samples than dimensions.
        rows: a root of S ``(n, D)`` in its place.
    """

    mean: Tensor
    n: int
    cov: Tensor | None = None
    rows: Tensor | None = None

    @cached_property
    def root(self) -> Tensor:
        """A root: the rows, or the upper triangular one of the covariance."""
        if self.cov is None:
            assert self.rows is not None
            return self.rows
        return triangular_root(self.cov)

    @property
    def rank(self) -> int:
        """How many rows the root has."""
        return len(self.root if self.cov is None else self.cov)

    def trace(self) -> Tensor:
        """Return tr S."""
        return self.root.square().sum() if self.cov is None else self.cov.trace()

    def trace_of_square(self) -> Tensor:
        """Return tr S^2."""
        return (self.root @ self.root.T if self.cov is None else self.cov).square().sum()

    def times(self, A: Tensor) -> Tensor:
        """Return S A."""
        return self.root.T @ (self.root @ A) if self.cov is None else self.cov @ A


@method("measure")
def frechet(
    real: Tensor,
    fake: Tensor,
    *,
    features: str | Features = "pca",
    train: Tensor | None = None,
    rng: torch.Generator | None = None,
) -> Score:
    """Measure the Fréchet distance between Gaussians fitted to the features of two sets.

    ``F = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)``, in float64. It is called ``FID`` only
    in 2048 published Inception features. It is biased upwards by about ``(2D + D(D+1)/2) / N`` at
    N samples a side (white features), so compare it at equal sizes only, and with its floor.

    The error is the infinitesimal jackknife: with the exact derivative ``psi`` of F in each
    sample's weight, ``var = var(psi_X)/n + var(psi_Y)/m - v``, where v, the variance of the second
    order in the Gaussian case, corrects what the first two terms count twice.

    The floor is the mean of F between the real images and random m of the training images, which
    are, as the fakes are, new to features fitted to ``real``. Where these are t < m, the law of
    small samples, ``L(c) = a c + b c^2, c = 1/n + 1/m``, is fitted to parts of them, and the floor
    is ``F + L(1/n + 1/m) - L(1/n + 1/t)``. Without training images (or with hardly any) it is
    ``L``, fitted to random parts of the real images and halves of these; in features fitted to
    few real images that is too low. ``extra["floor_by"]`` says which.

    ``extra["train"]``, with ``train``, is F between ``real`` and one draw of (at most m of) the
    training images: what a model that only copies would score.

    Args:
        real: real images ``(N, C, H, W)`` in [0, 1], held out of training, or features ``(N, D)``.
        fake: generated ones.
        features: a name for ``gouache.features.load``, or Features; ``pca`` is fitted to ``real``.
        train: real images that the model was trained on.
        rng: draws the parts for the floor.

    Raises:
        InputError: fewer than 4 samples, shapes that differ, NaN, images outside [0, 1].

    Reference:
        D. Dowson, B. Landau, "The Fréchet distance between multivariate normal distributions",
        1982; M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, "GANs Trained by a
        Two Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017.

    Example:
        >>> import torch
        >>> rng = torch.Generator().manual_seed(0)
        >>> real, fake = torch.randn(2, 2000, 8, generator=rng)
        >>> frechet(real, fake + 1, rng=rng).value > 7
        True
    """
    s = sets(real, fake, train, features, least=4)
    p, q = fit(s.real), fit(s.fake)
    value, error = _value_and_error(s.real, s.fake, p, q)
    floor, how = _floor(s, rng)
    name = "FID" if s.features == "inception-2048" else "frechet"
    extra: dict[str, Any] = {"floor_by": how, "error_by": "infinitesimal jackknife"}
    if s.train is not None:
        copied = order(len(s.train), rng)[: len(s.fake)].to(s.train.device)
        extra["train"] = _between(s.real, s.train[copied])
    return Score(name, value, error, len(real), len(fake), s.features, floor, "lower", extra)


def moments(features: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean ``(D,)`` and the covariance ``(D, D)`` of features ``(N, D)``, float64.

    Two passes over blocks of rows: the mean, then products of centred rows, so that a common
    offset costs no precision and no float64 copy of the whole matrix is made.

    Raises:
        InputError: not a matrix of finite numbers with two rows or more.

    Reference:
        T. Chan, G. Golub, R. LeVeque, "Algorithms for Computing the Sample Variance", 1983.

    Example:
        >>> import torch
        >>> moments(torch.tensor([[1.0], [3.0]]))[1].item()
        2.0
    """
    if features.ndim != 2 or len(features) < 2:
        raise InputError(
            f"features must be a matrix (N, D) with N of 2 or more, got {tuple(features.shape)}"
        )
    check.finite(features, "features")
    mean = _mean(features)
    cov = torch.zeros(len(mean), len(mean), dtype=torch.float64, device=features.device)
    for block in features.split(_BLOCK):
        centred = block.double() - mean
        cov += lower_gram(centred.T)
    cov /= len(features) - 1
    return mean, cov.tril() + cov.tril(-1).T


def frechet_from_moments(m1: Tensor, S1: Tensor, m2: Tensor, S2: Tensor) -> float:
    """Return the Fréchet distance of two Gaussians given by their moments.

    ``F = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)``, in float64; covariances may be
    singular.

    Args:
        m1: mean ``(D,)``.
        S1: covariance ``(D, D)``, symmetric and positive semi-definite.
        m2: mean of the other.
        S2: covariance of the other.

    Raises:
        InputError: shapes that do not match.

    Reference:
        D. Dowson, B. Landau, "The Fréchet distance between multivariate normal distributions",
        1982.

    Example:
        >>> import torch
        >>> eye = torch.eye(64).double()
        >>> round(frechet_from_moments(torch.zeros(64), eye, eye[0] * 0.8, 1.44 * eye), 6)
        3.2
    """
    check.same_shape(m1, m2, "m1", "m2")
    check.same_shape(S1, S2, "S1", "S2")
    if m1.ndim != 1 or S1.shape != (len(m1), len(m1)):
        raise InputError(
            "moments must be a mean (D,) and a covariance (D, D), got "
            f"{tuple(m1.shape)} and {tuple(S1.shape)}"
        )
    p, q = Gaussian(m1.double(), 0, S1.double()), Gaussian(m2.double(), 0, S2.double())
    return frechet_value(p, q)


def _congruent(L: Tensor, S: Tensor) -> Tensor:
    """Return the lower triangle of ``L^T S L`` for lower triangular L, skipping its zeros.

    Its eigenvalues are those of ``S L L^T``. In 16 strips it costs 4/3 n^3 operations, where two
    plain products cost 4 n^3.
    """
    n, SL, out = len(L), torch.empty_like(S), torch.zeros_like(S)
    strips = [
        slice(i, min(i + size, n)) for size in [max(64, -(-n // 16))] for i in range(0, n, size)
    ]
    for strip in strips:
        SL[:, strip] = S[:, strip.start :] @ L[strip.start :, strip]
    for strip in strips:
        out[strip, : strip.stop] = L[strip.start :, strip].T @ SL[strip.start :, : strip.stop]
    return out


def fit(X: Tensor) -> Gaussian:
    """Fit a Gaussian to features ``(n, D)``."""
    if len(X) <= X.shape[1]:
        mean = _mean(X)
        return Gaussian(mean, len(X), rows=(X.double() - mean) / (len(X) - 1) ** 0.5)
    mean, cov = moments(X)
    return Gaussian(mean, len(X), cov)


def frechet_value(p: Gaussian, q: Gaussian) -> float:
    """Return the Fréchet distance of two Gaussians."""
    p, q = sorted((p, q), key=lambda g: g.rank)
    return _combine(p, q, torch.linalg.eigvalsh(_gram(p, q)))


def triangular_root(S: Tensor) -> Tensor:
    """Return upper triangular ``R``, ``R^T R = S``: Cholesky's, or by eigenvectors if singular."""
    lower, failed = torch.linalg.cholesky_ex(S)
    if not bool(failed):
        return lower.T
    values, vectors = torch.linalg.eigh(S)
    return torch.linalg.qr(values.clamp(min=0).sqrt()[:, None] * vectors.T, mode="r").R


def lower_gram(A: Tensor) -> Tensor:
    """Return the lower triangle of ``A A^T`` (what symmetric solvers read), at half the cost."""
    out = torch.zeros(len(A), len(A), dtype=A.dtype, device=A.device)
    size = max(64, -(-len(A) // 8))
    for start in range(0, len(A), size):
        stop = min(start + size, len(A))
        out[start:stop, :stop] = A[start:stop] @ A[:stop].T
    return out


def _mean(X: Tensor) -> Tensor:
    return torch.stack([block.double().sum(0) for block in X.split(_BLOCK)]).sum(0) / len(X)


def _gram(p: Gaussian, q: Gaussian) -> Tensor:
    """Return the lower triangle of ``R1 S2 R1^T``, where p has no more rows than q."""
    if p.cov is not None and q.cov is not None:
        return _congruent(p.root.T, q.cov)
    return lower_gram(p.root @ q.root.T) if q.cov is None else p.root @ q.cov @ p.root.T


def _combine(p: Gaussian, q: Gaussian, squares: Tensor) -> float:
    """Return F from the eigenvalues ``squares`` of ``R1 S2 R1^T``."""
    value = (p.mean - q.mean).square().sum() + p.trace() + q.trace()
    return max(0.0, float(value - 2 * squares.clamp(min=0).sqrt().sum()))


def _value_and_error(X: Tensor, Y: Tensor, p: Gaussian, q: Gaussian) -> tuple[float, float]:
    if p.rank > q.rank:
        X, Y, p, q = Y, X, q, p
    squares, U = torch.linalg.eigh(_gram(p, q))
    s = squares.clamp(min=0).sqrt()
    P1 = p.root.T @ U
    P2 = q.times(P1)
    first = _influence(X, p, q, P2, s) / p.n + _influence(Y, q, p, P1, s) / q.n
    second = _second_order(p, q, s)
    return _combine(p, q, squares), max(first - second, second) ** 0.5


def _influence(X: Tensor, p: Gaussian, q: Gaussian, P: Tensor, s: Tensor) -> float:
    """Return the variance over X of ``psi(x) = 2 (m1 - m2).x + x.x - x.T x``, x centred.

    T is the optimal map between the Gaussians; ``x.T x`` is the sum over k of ``s_k`` times the
    squared k-th coordinate ``x P_k``, scaled to mean square 1 over X.
    """
    half = (X.double() - p.mean).float()
    coordinates = (half @ (P / P.norm(dim=0).clamp(min=1e-300)).float()).square_()
    scale = s / coordinates.double().mean(0).clamp(min=1e-300)
    moved = coordinates @ scale.float()
    psi = 2 * half @ (p.mean - q.mean).float() + half.square().sum(1) - moved
    return float(psi.double().var())


def _second_order(p: Gaussian, q: Gaussian, s: Tensor) -> float:
    """Return the variance of F's second-order part; the ``s_k^2`` sum to tr S1 S2."""
    c = 1 / p.n + 1 / q.n
    own = [g.trace_of_square() / g.n**2 for g in (p, q)]
    means = 2 * (own[0] + own[1] + 2 * s.square().sum() / (p.n * q.n))
    product = s[:, None] * s
    pairs = (product / (s[:, None] + s).clamp(min=1e-300)).square_()
    return float(means + c**2 * (pairs.sum() + pairs.diagonal().sum()))


def _between(X: Tensor, Y: Tensor) -> float:
    return frechet_value(fit(X), fit(Y))


def _floor(s: Sets, rng: torch.Generator | None) -> tuple[float, str]:
    """Return F between real images and real images, extrapolated to the sizes of the score."""
    pairs = resplits(s, max(1, min(16, 1024 // s.real.shape[1])), rng)
    how = how_split(pairs, s)
    if not pairs:
        return float("nan"), how
    c, at = _inverse_sizes(s.real, s.fake), _inverse_sizes(*pairs[0])
    if c == at:
        values = [_between(*pair) for pair in pairs]
    elif stand_in(s) is None:
        values = [a * c + b * c**2 for a, b in (_law(*pair) for pair in pairs)]
        how += ", and half as many, extrapolated"
    else:
        values = [_between(*pair) + _grown(pair[1], at, c) for pair in pairs]
        how += ", extrapolated by parts of the training images"
    return max(0.0, sum(values) / len(values)), how


def _grown(train: Tensor, at: float, c: float) -> float:
    """Return ``L(c) - L(at)``, L fitted to the two halves of the training images."""
    half = len(train) // 2
    a, b = _law(train[:half], train[half:])
    return a * (c - at) + b * (c**2 - at**2)


def _law(X: Tensor, Y: Tensor) -> tuple[float, float]:
    """Fit ``L(c) = a c + b c^2`` to F between two sets of one kind and between their halves."""
    i, j, c = len(X) // 2, len(Y) // 2, _inverse_sizes(X, Y)
    whole = _between(X, Y)
    half = (_between(X[:i], Y[:j]) + _between(X[i:], Y[j:])) / 2
    return (2 * whole - half / 2) / c, (half / 2 - whole) / c**2


def _inverse_sizes(X: Tensor, Y: Tensor) -> float:
    return 1 / len(X) + 1 / len(Y)
