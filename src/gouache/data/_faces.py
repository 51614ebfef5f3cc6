"""Small grey faces, and patches that are not faces, bundled with scikit-image."""

from __future__ import annotations

import numpy as np
import torch

from gouache.registry import method

from ._bundled import bundled, stratified
from ._dataset import SPLITS, Card, Dataset, Size, resized, split_name

SIZES = (120, 40, 40)
CLASSES = ("face", "background")
CAPTIONS = ("a face", "a piece of background")


@method("data")
def faces(split: str = "train", *, size: Size = None, seed: int = 0) -> Dataset:
    """Load 100 faces and 100 pieces of background, 25x25 continuous grey pixels, with labels.

    Args:
        split: train (120 images), validation (40) or test (40), each class alike in all.
        size: (height, width) or one number, to resize to; None keeps 25x25.
        seed: of the split.

    Raises:
        InputError: an unknown split.

    Reference:
        G. Huang, M. Mattar, H. Lee, E. Learned-Miller, "Learning to align from scratch", 2012.

    Example:
        >>> from gouache.data import faces
        >>> ds = faces("train")
        >>> ds.shape, ds.classes
        ((1, 25, 25), ('face', 'background'))
    """
    part = SPLITS.index(split_name(split))
    images = np.load(bundled("skimage", "data/lfw_subset.npy")).astype(np.float32)
    labels = torch.arange(len(images)) // 100
    index = stratified(labels, SIZES, seed)[part]
    card = Card(
        name="faces",
        title="Faces and pieces of background of press photographs, 25x25 pixels",
        origin="Labeled Faces in the Wild, as bundled with scikit-image (lfw_subset)",
        licence="for research; the rights in the photographs remain with their owners",
        shape=(1, 25, 25),
        size=len(index),
        notes="A random split with each class alike in every part. The set holds one pair of "
        "images that are almost the same, and a person may appear more than once.",
        mirror=True,
    )
    captions = tuple(CAPTIONS[k] for k in labels[index].tolist())
    rows = torch.from_numpy(images)[index][:, None]
    return resized(Dataset(rows, card, labels[index], CLASSES, captions, levels=0), size)
