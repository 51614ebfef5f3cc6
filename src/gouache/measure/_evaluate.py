"""All the measures at once, on shared features."""

from __future__ import annotations

import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from gouache import registry
from gouache.check import choice
from gouache.contracts import Features
from gouache.random import derive, draw_seed, generator

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
    classification accuracy do. Features are extracted once, where a measure takes them, and
    precision, recall, density and coverage share one pass over distances. Each measure draws from
    a stream of its own, named by one draw of ``rng``: its score is the same whatever else is asked.

    Args:
        real: real held-out images ``(N, C, H, W)`` in [0, 1] or features ``(N, D)``.
        fake: generated ones.
        measures: names of the role ``measure``; by default all that can be had (memorisation
            needs ``train``, classification accuracy both labels and two classes to learn from;
            2k + 4 samples are needed for precision, recall, density and coverage, and 4 for the
            distances).
        features: a name for ``gouache.features.load``, or Features.
        train: the training images.
        rng: draws what the floors and errors need.
        real_labels: classes ``(N,)`` of the real images.
        fake_labels: classes of the fakes.
        train_labels: classes of the training images.
        k: neighbours for precision, recall, density and coverage.

    Raises:
        InputError: an unknown measure, one asked for that lacks what it needs, sets from which no
            measure can be had, or what the measures raise.

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
        features = _Once(features, real)
    given: dict[str, Any] = {
        "features": features,
        "train": train,
        "real_labels": real_labels,
        "fake_labels": fake_labels,
        "train_labels": train_labels,
        "k": k,
    }
    seed, scores, refused = draw_seed(rng), dict[str, Score](), list[MissingInput]()
    for name in chosen:
        try:
            scores |= {} if name in scores else _scores(name, real, fake, given, seed)
        except MissingInput as error:
            refused.append(error)
    if refused and (measures is not None or not scores):
        raise refused[0]
    return [scores[name] for name in chosen if name in scores]


def _scores(
    name: str, real: Tensor, fake: Tensor, given: Mapping[str, Any], seed: int
) -> dict[str, Score]:
    """Return a measure's score, or all four of precision, recall, density and coverage."""
    shared = name in BETTER
    stream = zlib.crc32(("balls" if shared else name).encode())
    given = {**given, "rng": generator(derive(seed, stream))}
    if shared:
        return prdc_scores(real, fake, **{x: given[x] for x in ("features", "train", "rng", "k")})
    measure = registry.find("measure", name)
    return {name: measure(real, fake, **_taken(measure, given))}


def _taken(measure: Callable[..., Score], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a measure takes of what is given; one that keeps to pixels takes no features."""
    parameters = inspect.signature(measure).parameters
    own = parameters["features"].default != "pca"
    return {k: v for k, v in given.items() if k in parameters and not (k == "features" and own)}


class _Once(Features):
    """Features fitted at first use and computed once a tensor, while the caller holds these."""

    def __init__(self, features: str | Features, reference: Tensor) -> None:
        self.name = features if isinstance(features, str) else features.name
        self.features, self.reference = features, reference
        self.seen: dict[int, Tensor] = {}

    @cached_property
    def extract(self) -> Features:
        return extractor(self.features, self.reference)

    def __call__(self, images: Tensor) -> Tensor:
        self.name = self.extract.name
        if id(images) not in self.seen:
            self.seen[id(images)] = self.extract(images)
        return self.seen[id(images)]
