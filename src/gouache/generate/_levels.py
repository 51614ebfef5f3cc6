"""Images of a few grey levels as whole numbers, and back.

Notation: L levels; level k is the pixel k / (L - 1), and stands for the pixels from k / L to
(k + 1) / L, in which it lies. So a distribution P of levels is a density in [0, 1]^D that is
constant on cells: ``log p = log P + D log L``, D being the number of values in an image.
"""

from __future__ import annotations

import math

from torch import Tensor

from gouache import check
from gouache.check import InputError


def as_levels(images: Tensor, levels: int) -> Tensor:
    """Return the levels, int64, in whose cells the pixels of images in [0, 1] lie."""
    return (images * levels).long().clamp(0, levels - 1)


def as_pixels(values: Tensor, levels: int) -> Tensor:
    """Return levels as pixels in [0, 1], float32."""
    return values.float() / (levels - 1)


def log_density(log_mass: Tensor, shape: tuple[int, ...], levels: int) -> Tensor:
    """Return the log density of images in [0, 1]^D from the log mass of their levels."""
    return log_mass + math.prod(shape) * math.log(levels)


def checked_shape(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return images, checked to have a model's shape.

    Raises:
        InputError: no images in [0, 1], or of another shape.
    """
    if tuple(check.images(images).shape[1:]) != tuple(shape):
        raise InputError(f"the model is for images {tuple(shape)}, got {tuple(images.shape[1:])}")
    return images
