"""Memorisation: are generated images nearer to the training set than unseen real ones are?"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from gouache.contracts import Features
from gouache.registry import method

from ._neighbours import nearest
from ._score import Score
from ._sets import MissingInput, sets

SEEN = 0.01
LEVEL = 0.51 / 255


@method("measure")
def memorization(
    real: Tensor,
    fake: Tensor,
    *,
    features: str | Features = "pixels",
    train: Tensor | None = None,
    rng: torch.Generator | None = None,
) -> Score:
    """Measure how often a sample is nearer to the training set than a held-out image is.

    With d(z) the distance of z to its nearest training image, over fakes y and held-out x:
    ``value = P(d(y) < d(x)) + P(d(y) = d(x)) / 2``. 0.5 means no nearer than unseen images; 1 means
    copies; below 0.5, images unlike any real one. The error is DeLong's, given the training set.

    The floor is the same probability for the training images themselves, each against the others
    (the leave-one-out null); where the split is exchangeable it is near 0.5, and a floor far from
    it says that held-out and training images differ, so that 0.5 is no yardstick.

    ``extra`` holds the mean distances of ``fake``, ``held_out`` and ``null``, ``ratio`` (median of
    fakes over median of the null), ``against_null`` (value with the null in place of held-out
    images), ``below_null_1_percent`` (share of fakes below the null's first percentile; 0.01 is
    expected of fresh images), and ``copies``: the share within half an 8-bit level of their nearest
    training image (root mean square over pixels), as a copy is that was saved to a file, or equal
    to it where features are given.

    Args:
        real: held-out real images ``(N, C, H, W)`` in [0, 1] or features ``(N, D)``.
        fake: generated ones.
        features: a name for ``gouache.features.load``, or Features.
        train: the training images; required.
        rng: unused; here for the common signature.

    Raises:
        InputError: no training images, fewer than 2 of a kind, shapes that differ, NaN.

    Reference:
        C. Meehan, K. Chaudhuri, S. Dasgupta, "A Non-Parametric Test to Detect Data-Copying in
        Generative Models", 2020; E. DeLong, D. DeLong, D. Clarke-Pearson, "Comparing the Areas
        under Two or More Correlated Receiver Operating Characteristic Curves", 1988.

    Example:
        >>> import torch
        >>> train, held_out = torch.randn(2, 100, 4, generator=torch.Generator().manual_seed(0))
        >>> memorization(held_out, train, train=train).value
        1.0
    """
    if train is None:
        raise MissingInput(
            "memorization needs the images that the model was trained on; pass train=images"
        )
    s = sets(real, fake, train, features, default="pixels")
    assert s.train is not None
    held_out, of_real = (x[:, 0] for x in nearest(s.real, s.train))
    generated, of_fake = (x[:, 0] for x in nearest(s.fake, s.train))
    _warn_of_seen(_copied(real, train[of_real]))
    null = nearest(s.train, s.train, exclude_self=True)[0][:, 0]
    value, error = auc(generated, held_out)
    floor, floor_error = auc(null, held_out)
    extra = {
        "floor_by": "training images, each against the others",
        "error_by": "DeLong",
        "floor_error": floor_error,
        "fake": float(generated.mean()),
        "held_out": float(held_out.mean()),
        "null": float(null.mean()),
        "ratio": float(generated.median() / null.median().clamp(min=1e-300)),
        "against_null": auc(generated, null)[0],
        "below_null_1_percent": float((generated < null.quantile(0.01)).double().mean()),
        "copies": _copied(fake, train[of_fake]),
    }
    n, m = len(real), len(fake)
    return Score("memorization", value, error, n, m, s.features, floor, "floor", extra)


def _copied(samples: Tensor, originals: Tensor) -> float:
    """Return the share of samples that are their ``originals``, up to the rounding of a file."""
    level = LEVEL if samples.ndim == 4 else 0.0
    difference = (samples.double() - originals.double()).flatten(1)
    return float((difference.square().mean(1).sqrt() <= level).double().mean())


def _warn_of_seen(share: float) -> None:
    if share > SEEN:
        warnings.warn(
            f"{share:.0%} of the real images are among the training images: memorization compares "
            "with images that the model has not seen; leave the training images out of real",
            UserWarning,
            stacklevel=3,
        )


def auc(low: Tensor, high: Tensor) -> tuple[float, float]:
    """Return ``P(a < b) + P(a = b) / 2`` over a in ``low``, b in ``high``, and DeLong's error."""
    below = _share_below(high, low)
    above = 1 - _share_below(low, high)
    variance = below.var() / len(high) + above.var() / len(low)
    return float(below.mean()), float(variance) ** 0.5


def _share_below(x: Tensor, others: Tensor) -> Tensor:
    """Return for each x the share of ``others`` below it, ties counted half."""
    ordered = others.sort().values
    left = torch.searchsorted(ordered, x, right=False)
    right = torch.searchsorted(ordered, x, right=True)
    return (left + right).double() / (2 * len(others))
