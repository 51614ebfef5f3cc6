"""Real handwritten digits, 8x8 pixels of 17 levels, bundled with scikit-learn."""

from __future__ import annotations

import gzip
from functools import cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from gouache import check
from gouache.registry import method

from ._bundled import bundled, stratified
from ._dataset import SPLITS, Card, Dataset, Size, resized, split_name

SIZES = (1000, 350, 447)
CLASSES = tuple("0123456789")
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
_NOTES = {
    "chronological": "First 1000, next 350, last 447, in the order of writing: other people wrote "
    "the last ones, so train and test differ; for comparison with published likelihoods.",
    "exchangeable": "1000, 350 and 447 drawn at random, each class alike in all: train and "
    "held-out images have one distribution; for every test that compares the two.",
}


@method("data")
def digits(
    split: str = "train",
    *,
    protocol: Literal["exchangeable", "chronological"] = "exchangeable",
    size: Size = None,
    seed: int = 0,
) -> Dataset:
    """Load 1797 real handwritten digits, 8x8 grey pixels k / 16, k = 0..16, with labels.

    Args:
        split: train (1000 images), validation (350) or test (447).
        protocol: ``exchangeable``, a fixed random split with each class alike in every part;
            ``chronological``, first, next and last in the order of writing, which carries a
            shift between writers.
        size: (height, width) or one number, to resize to; None keeps 8x8 and the 17 levels.
        seed: of the exchangeable split; every figure of gouache is for 0.

    Raises:
        InputError: an unknown split or protocol.

    Reference:
        E. Alpaydin, C. Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning
        Repository, 1998.

    Example:
        >>> from gouache.data import digits
        >>> len(digits("test", protocol="chronological"))
        447
    """
    part = SPLITS.index(split_name(split))
    check.choice(protocol, "protocol", _NOTES)
    images, labels = _read()
    index = split_indices(protocol, seed)[part]
    labels = labels[index]
    card = Card(
        name="digits",
        title="Handwritten digits of 13 people, 8x8 pixels",
        origin="E. Alpaydin and C. Kaynak, UCI test set, as bundled with scikit-learn",
        licence="CC BY 4.0",
        shape=(1, 8, 8),
        size=len(index),
        notes=_NOTES[protocol],
    )
    captions = tuple(f"a handwritten {WORDS[k]}" for k in labels.tolist())
    return resized(Dataset(images[index], card, labels, CLASSES, captions, levels=17), size)


def split_indices(protocol: str, seed: int = 0) -> tuple[Tensor, ...]:
    """Return the places of the train, validation and test images in scikit-learn's order."""
    if protocol == "chronological":
        return torch.arange(sum(SIZES)).split(SIZES)
    return stratified(_read()[1], SIZES, seed)


@cache
def _read() -> tuple[Tensor, Tensor]:
    file = bundled("sklearn", "datasets/data/digits.csv.gz")
    with gzip.open(file, "rt") as stream:
        table = np.loadtxt(stream, delimiter=",", dtype=np.float32)
    images = torch.from_numpy(table[:, :-1].reshape(-1, 1, 8, 8) / np.float32(16))
    return images, torch.from_numpy(table[:, -1].astype(np.int64))
