"""Classification accuracy score: what a classifier learns about real images from fakes alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.contracts import Features
from gouache.registry import method

from ._score import Score
from ._sets import MissingInput, order, sets


@method("measure")
def classification_accuracy(
    real: Tensor,
    fake: Tensor,
    *,
    features: str | Features = "pixels",
    train: Tensor | None = None,
    rng: torch.Generator | None = None,
    real_labels: Tensor | None = None,
    fake_labels: Tensor | None = None,
    train_labels: Tensor | None = None,
    gamma: float | None = None,
) -> Score:
    """Measure the accuracy on real images of a classifier trained on samples alone.

    A support vector machine with kernel ``exp(-gamma |a - b|^2)`` and C = 1 is fitted to
    ``(fake, fake_labels)`` and tested on ``(real, real_labels)``. It falls with poor images, with
    missing diversity and with images that ignore their condition. The error is binomial,
    ``sqrt(p (1 - p) / n)`` (with one success and one failure added, so that it is not 0 at p = 1):
    it covers the draw of the real images; the fakes are taken as given.

    The floor is the accuracy of the same machine trained on ``(train, train_labels)``, at most as
    many as there are fakes: real against real.

    Args:
        real: real test images ``(N, C, H, W)`` in [0, 1] or features ``(N, D)``.
        fake: generated ones.
        features: a name for ``gouache.features.load``, or Features.
        train: real training images, for the floor (with ``train_labels``).
        rng: draws as many training images as there are fakes.
        real_labels: classes ``(N,)`` of the real ones; required.
        fake_labels: classes of the fakes (the conditions they were drawn under); required.
        train_labels: classes of the training images.
        gamma: of the kernel, in units of the features; by default 16.384 / D, which for
            8 x 8 pixels in [0, 1] is scikit-learn's .001 on levels 0..16.

    Raises:
        InputError: labels absent or of another length, one class only, shapes that differ, NaN.

    Reference:
        S. Ravuri, O. Vinyals, "Classification Accuracy Score for Conditional Generative Models",
        2019.

    Example:
        >>> import torch
        >>> images = torch.randn(40, 2, generator=torch.Generator().manual_seed(0))
        >>> labels = (images[:, 0] > 0).long()
        >>> score = classification_accuracy(
        ...     images, images, real_labels=labels, fake_labels=labels, gamma=1.0
        ... )
        >>> score.value > 0.9
        True
    """
    s = sets(real, fake, train, features, default="pixels")
    tested = _labels(real_labels, s.real, "real_labels")
    learned = _labels(fake_labels, s.fake, "fake_labels")
    gamma = 16.384 / s.real.shape[1] if gamma is None else check.between(gamma, "gamma", 1e-300)
    value = _accuracy(s.fake, learned, s.real, tested, gamma)
    floor, how = math.nan, "unknown: pass train and train_labels"
    if s.train is not None and train_labels is not None:
        labels = _labels(train_labels, s.train, "train_labels")
        some = order(len(labels), rng)[: len(learned)]
        floor = _accuracy(s.train.cpu()[some], labels[some], s.real, tested, gamma)
        how = f"trained on {len(some)} real images"
    n = len(tested)
    p = (value * n + 1) / (n + 2)
    extra = {"floor_by": how, "error_by": "binomial", "gamma": gamma}
    error = math.sqrt(p * (1 - p) / n)
    name = "classification_accuracy"
    return Score(name, value, error, n, len(learned), s.features, floor, "higher", extra)


def _labels(labels: Tensor | None, samples: Tensor, name: str) -> Tensor:
    if labels is None:
        raise MissingInput(f"classification_accuracy needs {name}; pass {name}=labels (N,)")
    if tuple(labels.shape) != (len(samples),):
        raise InputError(
            f"{name} must be one class a sample, shape ({len(samples)},), got {tuple(labels.shape)}"
        )
    if name != "real_labels" and len(labels.unique()) < 2:
        raise MissingInput(f"{name} must hold two classes or more to learn from, got one")
    return labels.cpu()


def _accuracy(X: Tensor, labels: Tensor, test: Tensor, truth: Tensor, gamma: float) -> float:
    from sklearn.svm import SVC

    machine = SVC(gamma=gamma)  # pyright: ignore[reportArgumentType]
    machine.fit(X.double().cpu().numpy(), labels.numpy())
    return float((machine.predict(test.double().cpu().numpy()) == truth.numpy()).mean())
