"""All the measures at once, on shared features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gouache import registry
from gouache.check import choice
from gouache.contracts import Features

from ._classification import classification_accuracy
from ._memorization import memorization
from ._precision_recall import prdc_scores
from ._score import Score
from ._sets import extractor

_BALLS = ("precision", "recall", "density", "coverage")
_SHARED = ("frechet", "kernel", *_BALLS)


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

    Fréchet and kernel distances, precision, recall, density and coverage share one extraction of
    ``features``, and the last four one pass over distances with the same k. Memorisation and
    classification accuracy are taken in pixels (or in the matrices, if these are given).

    Args:
        real: real held-out images ``(N, C, H, W)`` in [0, 1] or features ``(N, D)``.
        fake: generated ones.
        measures: names of the role ``measure``; by default all that the arguments allow
            (memorisation needs ``train``, classification accuracy both labels).
        features: a name for ``gouache.features.load``, or Features.
        train: the training images.
        rng: draws what the floors and errors need.
        real_labels: classes ``(N,)`` of the real images.
        fake_labels: classes of the fakes.
        train_labels: classes of the training images.
        k: neighbours for precision, recall, density and coverage.

    Raises:
        InputError: an unknown measure, or what the measures raise.

    Reference:
        A. Borji, "Pros and Cons of GAN Evaluation Measures: New Developments", 2022.

    Example:
        >>> import torch
        >>> real, fake = torch.randn(2, 300, 4, generator=torch.Generator().manual_seed(0))
        >>> [score.name for score in evaluate(real, fake, measures=["kernel", "coverage"])]
        ['kernel', 'coverage']
    """
    if measures is None:
        measures = [*_SHARED, *(["memorization"] if train is not None else [])]
        if real_labels is not None and fake_labels is not None:
            measures.append("classification_accuracy")
    for name in measures:
        choice(name, "measure", registry.names("measure"))
    if isinstance(real, Tensor) and real.ndim == 4:
        features = _Once(extractor(features, real))
    scores: dict[str, Score] = {}
    if set(_BALLS) & set(measures):
        scores = prdc_scores(real, fake, features=features, train=train, rng=rng, k=k)
    for name in set(measures) - set(_BALLS):
        match name:
            case "memorization":
                scores[name] = memorization(real, fake, train=train, rng=rng)
            case "classification_accuracy":
                scores[name] = classification_accuracy(
                    real,
                    fake,
                    train=None if train_labels is None else train,
                    rng=rng,
                    real_labels=real_labels,
                    fake_labels=fake_labels,
                    train_labels=train_labels,
                )
            case _:
                measure = registry.find("measure", name)
                scores[name] = measure(real, fake, features=features, train=train, rng=rng)
    return [scores[name] for name in measures]


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
