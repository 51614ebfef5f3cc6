"""The kernel distance (squared maximum mean discrepancy) as a full U-statistic.

Notation: ``x_1..x_n`` real and ``y_1..y_m`` generated features of length D, kernel ``k``;
``mu_P(z) = E k(z, x)``, and ``k~`` is the kernel with its row and column means taken out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from gouache import check
from gouache.contracts import Features
from gouache.registry import method

from ._score import Score
from ._sets import sets

Kernel: TypeAlias = Callable[[Tensor, Tensor], Tensor]
_ENTRIES = 1 << 20


@dataclass(frozen=True)
class _Sums:
    """Means of one block matrix ``k(a_i, b_j)``: by row, by column, and of the square of k~."""

    rows: Tensor
    columns: Tensor
    centred_square: float

    @property
    def mean(self) -> float:
        return float(self.rows.mean())


@method("measure")
def kernel(
    real: Tensor,
    fake: Tensor,
    *,
    features: str | Features = "pca",
    train: Tensor | None = None,
    rng: torch.Generator | None = None,
    form: str = "polynomial",
    sigma: float | None = None,
) -> Score:
    """Measure the squared distance of the mean features under a cubic kernel, without bias.

    The squared maximum mean discrepancy,
    ``M = mean_{i != j} k(x_i, x_j) + mean_{i != j} k(y_i, y_j) - 2 mean_{i, j} k(x_i, y_j)``, with
    ``k(a, b) = (a.b / D + 1)^3`` (the KID) or ``exp(-|a - b|^2 / (2 sigma^2))``. Every pair is used
    once, so there are no subsets to draw, and the result has a lower variance than an average over
    subsets of the same cost. It can be negative; its expectation for real against real is 0, which
    is the floor, and ``extra["null_error"]`` is its spread there.

    The error is the variance of the U-statistic, the first-order terms from row means, less the
    noise in these means: ``var = var(r_x)/n + var(r_y)/m - 2 (k~_xx/n^2 + k~_yy/m^2 +
    2 k~_xy/(n m))``, where r are twice the differences of a sample's two row means and ``k~`` here
    is the mean of its square.

    Args:
        real: real images ``(N, C, H, W)`` in [0, 1] or features ``(N, D)``.
        fake: generated ones.
        features: a name for ``gouache.features.load``, or Features.
        train: unused; here for the common signature.
        rng: unused; here for the common signature.
        form: ``polynomial`` or ``rbf``.
        sigma: width of ``rbf`` in units of the features; by default the median distance among the
            first 500 real samples.

    Raises:
        InputError: fewer than 4 samples, shapes that differ, NaN, an unknown form.

    Reference:
        M. Binkowski, D. Sutherland, M. Arbel, A. Gretton, "Demystifying MMD GANs", 2018;
        D. Sutherland, N. Deka, "Unbiased estimators for the variance of MMD estimators", 2019.

    Example:
        >>> import torch
        >>> real, fake = torch.randn(2, 500, 8, generator=torch.Generator().manual_seed(0))
        >>> score = kernel(real, fake)
        >>> abs(score.value) < 4 * score.error
        True
    """
    check.choice(form, "form", ("polynomial", "rbf"))
    s = sets(real, fake, train, features, least=4)
    x, y = s.real.double(), s.fake.double()
    k = _polynomial if form == "polynomial" else _rbf(sigma or _median_distance(x))
    xx, yy, xy = _sums(k, x, x, same=True), _sums(k, y, y, same=True), _sums(k, x, y, same=False)
    n, m = len(x), len(y)
    noise = xx.centred_square / n**2 + yy.centred_square / m**2
    noise = 2 * (noise + 2 * xy.centred_square / (n * m))
    rows = (2 * (xx.rows - xy.rows)).var() / n + (2 * (yy.rows - xy.columns)).var() / m
    extra = {
        "floor_by": "unbiased",
        "error_by": "variance of the U-statistic",
        "null_error": (2 * xx.centred_square) ** 0.5 * (1 / n + 1 / m),
        "form": form,
    }
    value = xx.mean + yy.mean - 2 * xy.mean
    error = max(float(rows) - noise, noise) ** 0.5
    return Score("kernel", value, error, n, m, s.features, 0.0, "lower", extra)


def _polynomial(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T).div_(a.shape[1]).add_(1).pow_(3)


def _rbf(sigma: float) -> Kernel:
    check.between(sigma, "sigma", 1e-300)

    def k(a: Tensor, b: Tensor) -> Tensor:
        return torch.cdist(a, b).square_().mul_(-0.5 / sigma**2).exp_()

    return k


def _median_distance(x: Tensor) -> float:
    return float(torch.pdist(x[:500]).median().clamp(min=1e-12))


def _sums(k: Kernel, a: Tensor, b: Tensor, *, same: bool) -> _Sums:
    """Sum the kernel's rows, columns and squares block by block; ``same`` leaves out i = j."""
    size = max(1, _ENTRIES // len(b))
    columns, squares, rows = torch.zeros_like(b[:, 0]), 0.0, []
    for start in range(0, len(a), size):
        block = k(a[start : start + size], b)
        if same:
            block.diagonal(start).zero_()
        rows.append(block.sum(1))
        columns += block.sum(0)
        squares += float(block.square().sum())
    row = torch.cat(rows) / (len(b) - same)
    column = columns / (len(a) - same)
    mean_square = squares / (len(a) * (len(b) - same))
    centred = mean_square - float(row.square().mean() + column.square().mean() - row.mean() ** 2)
    return _Sums(row, column, max(0.0, centred))
