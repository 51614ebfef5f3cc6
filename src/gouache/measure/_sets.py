"""The sets that a measure compares, checked and turned into feature matrices."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.contracts import Features
from gouache.features import load as load_features


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
    least: int = 2,
) -> Sets:
    """Check what the user brings and return its features.

    Images ``(N, C, H, W)`` go through ``features`` (``pca`` is fitted to ``train``, or without it
    to ``real``); matrices ``(N, D)`` are features already. ``least`` is the smallest N allowed.
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
        if features != "pca":
            raise InputError(
                "features apply to images (N, C, H, W), got matrices (N, D); leave features out"
            )
        return Sets(real, fake, train, "given")
    extract = _extractor(features, real if train is None else train)
    vectors = {name: extract(value) for name, value in given.items()}
    return Sets(vectors["real"], vectors["fake"], vectors.get("train"), extract.name)


def split(x: Tensor, first: int, rng: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Return ``first`` random members of a set, and the others."""
    order = _order(len(x), rng).to(x.device)
    return x[order[:first]], x[order[first:]]


def subset(x: Tensor, n: int, rng: torch.Generator | None) -> Tensor:
    """Return ``n`` random members of a set, or all of it if it has fewer."""
    return x if n >= len(x) else x[_order(len(x), rng)[:n].to(x.device)]


def _order(n: int, rng: torch.Generator | None) -> Tensor:
    return torch.randperm(n, generator=rng, device="cpu" if rng is None else rng.device)


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


def _extractor(features: str | Features, reference: Tensor) -> Features:
    if isinstance(features, Features):
        return features
    return load_features(features, reference=reference)
