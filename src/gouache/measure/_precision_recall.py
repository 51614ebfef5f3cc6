"""Precision, recall, density and coverage: who lies within whose k-nearest-neighbour ball.

Notation: ``x_1..x_n`` real, ``y_1..y_m`` generated features; ``r_k(x_i)`` the distance from x_i to
its k-th nearest among the other real ones, ``r_k(y_j)`` likewise among the generated; ``B(x_i)``
the open ball of that radius. All four come from one pass over blocks of real x generated
distances (``_balls``), and inequality is strict: a copy at exactly the radius is outside.

Standard errors come from 20 random splits of both sets into halves: the mean square difference
of the two halves' values, over 4. (A jackknife would be about twice too large here: what one
sample does depends on its neighbours.)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from gouache import check
from gouache.contracts import Features
from gouache.registry import method

from ._balls import count_balls, half_sampling
from ._score import Score
from ._sets import Sets, how_split, resplits, sets

_SPLITS = 20
_FLOOR_PAIRS = 1 << 23

BETTER: Mapping[str, Literal["higher", "floor"]] = {
    "precision": "higher",
    "recall": "higher",
    "density": "floor",
    "coverage": "higher",
}


@method("measure")
def precision(
    real: Tensor,
    fake: Tensor,
    *,
    features: str | Features = "pca",
    train: Tensor | None = None,
    rng: torch.Generator | None = None,
    k: int = 5,
) -> Score:
    """Measure the share of samples within the neighbourhood of a real image (fidelity).

    ``precision = mean_j 1[y_j in some B(x_i)]``, ``B(x_i)`` the open ball that reaches to the k-th
    nearest other real sample. An outlier among the real samples has a huge ball and raises it.

    Args:
        real: real images ``(N, C, H, W)`` in [0, 1] or features ``(N, D)``.
        fake: generated ones.
        features: a name for ``gouache.features.load``, or Features.
        train: real images that the model was trained on; the floor is taken between ``real`` and
            as many of these as there are fakes (or as there are), else between random parts of
            ``real``.
        rng: draws the halves of the error and the parts of the floor.
        k: neighbours; the paper takes 3.

    Raises:
        InputError: fewer than 2k + 4 samples, shapes that differ, NaN.

    Reference:
        T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila, "Improved Precision and Recall
        Metric for Assessing Generative Models", 2019.

    Example:
        >>> import torch
        >>> real = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> precision(real, real + 100).value
        0.0
    """
    return prdc_scores(real, fake, features=features, train=train, rng=rng, k=k)["precision"]


@method("measure")
def recall(
    real: Tensor,
    fake: Tensor,
    *,
    features: str | Features = "pca",
    train: Tensor | None = None,
    rng: torch.Generator | None = None,
    k: int = 5,
) -> Score:
    """Measure the share of real images within the neighbourhood of a sample (diversity).

    ``recall = mean_i 1[x_i in some B(y_j)]``: precision with the roles exchanged.

    Args:
        real: real images ``(N, C, H, W)`` in [0, 1] or features ``(N, D)``.
        fake: generated ones.
        features: a name for ``gouache.features.load``, or Features.
        train: real images for the floor, as in :func:`precision`.
        rng: draws the halves of the error and the parts of the floor.
        k: neighbours; the paper takes 3.

    Raises:
        InputError: fewer than 2k + 4 samples, shapes that differ, NaN.

    Reference:
        T. Kynkäänniemi, T. Karras, S. Laine, J. Lehtinen, T. Aila, "Improved Precision and Recall
        Metric for Assessing Generative Models", 2019.

    Example:
        >>> import torch
        >>> real = torch.randn(200, 2, generator=torch.Generator().manual_seed(0))
        >>> recall(real, 0.01 * real).value < 0.1
        True
    """
    return prdc_scores(real, fake, features=features, train=train, rng=rng, k=k)["recall"]


@method("measure")
def density(
    real: Tensor,
    fake: Tensor,
    *,
    features: str | Features = "pca",
    train: Tensor | None = None,
    rng: torch.Generator | None = None,
    k: int = 5,
) -> Score:
    """Measure how many real neighbourhoods a sample lies in, over what is expected (fidelity).

    ``density = 1/(k m) sum_j sum_i 1[y_j in B(x_i)]``; for real against real its expectation is 1
    whatever the distribution, which is the floor. It may exceed 1, where samples crowd at modes.

    Args:
        real: real images ``(N, C, H, W)`` in [0, 1] or features ``(N, D)``.
        fake: generated ones.
        features: a name for ``gouache.features.load``, or Features.
        train: unused; here for the common signature.
        rng: draws the halves of the error.
        k: neighbours.

    Raises:
        InputError: fewer than 2k + 4 samples, shapes that differ, NaN.

    Reference:
        M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable Fidelity and Diversity Metrics for
        Generative Models", 2020.

    Example:
        >>> import torch
        >>> real, fake = torch.randn(2, 500, 4, generator=torch.Generator().manual_seed(0))
        >>> abs(density(real, fake).value - 1) < 0.2
        True
    """
    return prdc_scores(real, fake, features=features, train=train, rng=rng, k=k)["density"]


@method("measure")
def coverage(
    real: Tensor,
    fake: Tensor,
    *,
    features: str | Features = "pca",
    train: Tensor | None = None,
    rng: torch.Generator | None = None,
    k: int = 5,
) -> Score:
    """Measure the share of real images with a sample in their neighbourhood (diversity).

    ``coverage = mean_i 1[some y_j in B(x_i)]``; for real against real its expectation is
    ``1 - prod_{i=1..k} (n - i) / (m + n - i)`` whatever the distribution, which is the floor.

    Args:
        real: real images ``(N, C, H, W)`` in [0, 1] or features ``(N, D)``.
        fake: generated ones.
        features: a name for ``gouache.features.load``, or Features.
        train: unused; here for the common signature.
        rng: draws the halves of the error.
        k: neighbours.

    Raises:
        InputError: fewer than 2k + 4 samples, shapes that differ, NaN.

    Reference:
        M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable Fidelity and Diversity Metrics for
        Generative Models", 2020.

    Example:
        >>> import torch
        >>> real, fake = torch.randn(2, 500, 4, generator=torch.Generator().manual_seed(0))
        >>> round(coverage(real, fake).floor, 4)
        0.9692
    """
    return prdc_scores(real, fake, features=features, train=train, rng=rng, k=k)["coverage"]


def prdc(real: Tensor, fake: Tensor, k: int = 5) -> dict[str, float]:
    """Return precision, recall, density and coverage of features, in one pass.

    The four formulas stand at :func:`precision`, :func:`recall`, :func:`density` and
    :func:`coverage`; all use strict inequality. Memory is O(block x N).

    Args:
        real: features ``(N, D)``.
        fake: features ``(M, D)``.
        k: neighbours.

    Raises:
        InputError: fewer than k + 1 samples, shapes that differ, NaN.

    Reference:
        M. F. Naeem, S. J. Oh, Y. Uh, Y. Choi, J. Yoo, "Reliable Fidelity and Diversity Metrics for
        Generative Models", 2020.

    Example:
        >>> import torch
        >>> real = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> prdc(real, real)["coverage"]
        1.0
    """
    check.count(k, "k")
    s = sets(real, fake, None, "pca", least=k + 1)
    return {name: float(v[0]) for name, v in count_balls(s.real, s.fake, k).items()}


def prdc_scores(
    real: Tensor,
    fake: Tensor,
    *,
    features: str | Features,
    train: Tensor | None,
    rng: torch.Generator | None,
    k: int,
) -> dict[str, Score]:
    """Return the four scores of one pass, by name."""
    check.count(k, "k")
    s = sets(real, fake, train, features, least=2 * k + 4)
    values, floors = count_balls(s.real, s.fake, k, splits=_SPLITS, rng=rng), _floors(s, k, rng)
    n, m = len(real), len(fake)

    def score(name: str, better: Literal["higher", "floor"]) -> Score:
        floor, how = floors[name]
        extra = {"floor_by": how, "error_by": "half-sampling", "k": k}
        error, value = half_sampling(values[name]), float(values[name][0])
        return Score(name, value, error, n, m, s.features, floor, better, extra)

    return {name: score(name, better) for name, better in BETTER.items()}


def _floors(s: Sets, k: int, rng: torch.Generator | None) -> Mapping[str, tuple[float, str]]:
    n, m = len(s.real), len(s.fake)
    missed = math.prod((n - i) / (m + n - i) for i in range(1, k + 1))
    closed = {"density": (1.0, "closed form"), "coverage": (1 - missed, "closed form")}
    pairs = resplits(s, max(1, min(8, _FLOOR_PAIRS // (n * m))), rng)
    if not pairs or min(len(part) for part in pairs[0]) <= k:
        unknown = (math.nan, "unknown: too few real images to split")
        return closed | {"precision": unknown, "recall": unknown}
    values = [count_balls(a, b, k) for a, b in pairs]
    how = how_split(pairs, s)
    return closed | {
        name: (float(torch.stack([v[name] for v in values]).mean()), how)
        for name in ("precision", "recall")
    }
