"""All the measures at once, on shared features."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gouache import registry
from gouache.check import choice
from gouache.contracts import Features

from ._precision_recall import BETTER, prdc_scores
from ._score import Score
from ._sets import MissingInput, extractor


def evaluate(
    real: Tensor,
    fake: Tensor,
    *,
    measures: Sequence[str] | None = None,
    features: str | Features = "pca",
    train: Tensor | None = None,
    rng: torch.Generator | None = None,
    real_labels: Tensor | None = None,
    fake_labels: Tensor | None = None,
    train_labels: Tensor | None = None,
    k: int = 5,
) -> list[Score]:
    """Return the scores of several measures, in the order asked for.

    A measure takes ``features`` unless it keeps to pixels by default, as memorisation and
    classification accuracy do. Features are extracted once, and precision, recall, density and
    coverage share one pass over distances.

    Args:
        real: real held-out images ``(N, C, H, W)`` in [0, 1] or features ``(N, D)``.
        fake: generated ones.
        measures: names of the role ``measure``; by default all whose needs are met (memorisation
            needs ``train``, classification accuracy both labels).
        features: a name for ``gouache.features.load``, or Features.
        train: the training images.
        rng: draws what the floors and errors need.
        real_labels: classes ``(N,)`` of the real images.
        fake_labels: classes of the fakes.
        train_labels: classes of the training images.
        k: neighbours for precision, recall, density and coverage.

    Raises:
        InputError: an unknown measure, one that lacks what it needs, or what the measures raise.

    Reference:
        A. Borji, "Pros and Cons of GAN Evaluation Measures: New Developments", 2022.

    Example:
        >>> import torch
        >>> real, fake = torch.randn(2, 300, 4, generator=torch.Generator().manual_seed(0))
        >>> [score.name for score in evaluate(real, fake, measures=["kernel", "coverage"])]
        ['kernel', 'coverage']
    """
    names = registry.names("measure")
    chosen = names if measures is None else [choice(name, "measure", names) for name in measures]
    if isinstance(real, Tensor) and real.ndim == 4:
        features = _Once(extractor(features, real))
    given: dict[str, Any] = {
        "features": features,
        "train": train,
        "rng": rng,
        "real_labels": real_labels,
        "fake_labels": fake_labels,
        "train_labels": train_labels,
        "k": k,
    }
    scores: dict[str, Score] = {}
    if set(BETTER) & set(chosen):
        scores = prdc_scores(real, fake, features=features, train=train, rng=rng, k=k)
    for name in set(chosen) - set(BETTER):
        measure = registry.find("measure", name)
        try:
            scores[name] = measure(real, fake, **_taken(measure, given))
        except MissingInput:
            if measures is not None:
                raise
    return [scores[name] for name in chosen if name in scores]


def _taken(measure: Callable[..., Score], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a measure takes of what is given; one that keeps to pixels takes no features."""
    parameters = inspect.signature(measure).parameters
    own = parameters["features"].default != "pca"
    return {k: v for k, v in given.items() if k in parameters and not (k == "features" and own)}


class _Once(Features):
    """Features computed once a tensor, while the caller holds the tensors."""

    def __init__(self, extract: Features) -> None:
        self.name = extract.name
        self.extract = extract
        self.seen: dict[int, Tensor] = {}

    def __call__(self, images: Tensor) -> Tensor:
        if id(images) not in self.seen:
            self.seen[id(images)] = self.extract(images)
        return self.seen[id(images)]
