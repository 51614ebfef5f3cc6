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
    """A measure needs what it was not given; ``evaluate`` leaves it out unless asked for it."""


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
    ``default``. ``least`` is the smallest N allowed.
    """
    given = {"real": real, "fake": fake} | ({} if train is None else {"train": train})
    for name, value in given.items():
        _check(value, name, least)
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
    """Return pairs of disjoint random sets of real features, for floors.

    The pool is the real and the training images. The parts are as large as the real and the
    generated set where the pool allows, otherwise in their ratio, at most evenly. Below 8 images
    there is nothing to split and the list is empty.
    """
    pool = s.real if s.train is None else torch.cat([s.real, s.train])
    n, m, N = len(s.real), len(s.fake), len(pool)
    if N < 8:
        return []
    second = m if n + m <= N else max(4, round(N * min(0.5, m / (n + m))))
    first = min(n, N - second)
    drawn = [order(N, rng).to(pool.device) for _ in range(times)]
    return [(pool[i[:first]], pool[i[first : first + second]]) for i in drawn]


def how_split(pairs: list[tuple[Tensor, Tensor]], s: Sets) -> str:
    """Say what :func:`resplits` did."""
    if not pairs:
        return "unknown: too few real images to split; pass 8 or more"
    source = "real" if s.train is None else "real and training"
    first, second = pairs[0]
    return f"{len(pairs)} random splits of {source} images, {len(first)} against {len(second)}"


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
        raise InputError(f"{name} must hold at least {least} samples, got {len(value)}; add more")


def extractor(features: str | Features, reference: Tensor) -> Features:
    """Return the features of this name, fitted to ``reference`` where they need it."""
    if isinstance(features, Features):
        return features
    return load_features(features, reference=reference)
