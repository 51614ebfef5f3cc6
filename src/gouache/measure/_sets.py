"""The sets that a measure compares, checked and turned into feature matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.contracts import Features
from gouache.features import load as load_features


class MissingInput(InputError):
    """A measure cannot be had from these sets: an argument, samples or a class are missing.

    ``evaluate`` leaves such a measure out unless it was asked for by name.
    """


@dataclass(frozen=True)
class Sets:
    """Feature matrices ``(N, D)`` of real, generated and (perhaps) training images."""

    real: Tensor
    fake: Tensor
    train: Tensor | None
    features: str


def sets(
    real: Tensor,
    fake: Tensor,
    train: Tensor | None,
    features: str | Features,
    *,
    default: str = "pca",
    least: int = 2,
) -> Sets:
    """Check what the user brings and return its features.

    Images ``(N, C, H, W)`` go through ``features``; ``pca`` is fitted to ``real``, so that fakes
    and training images, of which one makes the score and the other its floor, are both new to it.
    Matrices ``(N, D)`` are features already, and then ``features`` must be the measure's
    ``default``. ``least`` is the smallest N allowed; 2 training images will do.
    """
    given = {"real": real, "fake": fake} | ({} if train is None else {"train": train})
    for name, value in given.items():
        _check(value, name, 2 if name == "train" else least)
        if value.shape[1:] != real.shape[1:]:
            raise InputError(
                f"{name} must match real apart from the number of images, got "
                f"{tuple(value.shape)} and {tuple(real.shape)}; resize the images, or compute both "
                "sets of features in the same way"
            )
    if real.ndim == 2:
        if features != default:
            raise InputError(
                "features apply to images (N, C, H, W), got matrices (N, D); leave features out"
            )
        return Sets(real, fake, train, "given")
    extract = extractor(features, real)
    vectors = {name: extract(value) for name, value in given.items()}
    return Sets(vectors["real"], vectors["fake"], vectors.get("train"), extract.name)


def resplits(s: Sets, times: int, rng: torch.Generator | None) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of disjoint sets of real features, for floors.

    The real images come first and random training images, as many as there are fakes or as there
    are, stand in for the fakes: like these they are new to features fitted to ``real``. Without
    training images enough (see :func:`stand_in`), the real ones are split at random, in the ratio
    of the score's sizes, at most evenly, and both parts are known to such features. Below 8 real
    images there is then nothing to split and the list is empty.
    """
    n, m, train = len(s.real), len(s.fake), stand_in(s)
    if train is not None:
        times = 1 if len(train) == m else times
        drawn = [order(len(train), rng)[:m].to(train.device) for _ in range(times)]
        return [(s.real, train[i]) for i in drawn]
    if n < 8:
        return []
    first = n - max(4, round(n * min(0.5, m / (n + m))))
    drawn = [order(n, rng).to(s.real.device) for _ in range(times)]
    return [(s.real[i[:first]], s.real[i[first:]]) for i in drawn]


def stand_in(s: Sets) -> Tensor | None:
    """Return the training images if they can stand in for the fakes in a floor.

    They must be as many as the fakes, or else 8 and half as many as the real images, which is
    what splitting these would give.
    """
    enough = min(len(s.fake), max(8, len(s.real) // 2))
    return s.train if s.train is not None and len(s.train) >= enough else None


def how_split(pairs: list[tuple[Tensor, Tensor]], s: Sets) -> str:
    """Say what :func:`resplits` did."""
    if not pairs:
        return "unknown: too few real images to split; pass 8 or more"
    alone = stand_in(s) is None
    source = "random parts of real images" if alone else "real against training images"
    first, second = pairs[0]
    return f"{source}, {len(first)} against {len(second)} (draws: {len(pairs)})"


def order(n: int, rng: torch.Generator | None) -> Tensor:
    """Return a random permutation of 0..n-1, on the CPU."""
    return torch.randperm(n, generator=rng, device="cpu" if rng is None else rng.device).cpu()


def _check(value: Tensor, name: str, least: int) -> None:
    if not isinstance(value, Tensor) or value.ndim not in (2, 4):
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise InputError(
            f"{name} must be images (N, C, H, W) in [0, 1] or features (N, D), got {shape}"
        )
    if value.ndim == 4:
        check.images(value, name)
    elif not value.is_floating_point():
        raise InputError(f"{name} must be float features (N, D), got {value.dtype}; call .float()")
    check.finite(value, name)
    if len(value) < least:
        raise MissingInput(f"{name} must hold at least {least} samples, got {len(value)}; add more")


def extractor(features: str | Features, reference: Tensor) -> Features:
    """Return the features of this name, fitted to ``reference`` where they need it."""
    if isinstance(features, Features):
        return features
    return load_features(features, reference=reference)
