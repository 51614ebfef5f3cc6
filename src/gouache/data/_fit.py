"""From pictures of any shape to one shape: how folders and hubs are cut to size."""

from __future__ import annotations

from typing import Literal, TypeAlias

import torch
from torch import Tensor

from gouache.image import as_channels, as_uint8, resize

Fit: TypeAlias = Literal["crop", "pad", "stretch"]
FITS = ("crop", "pad", "stretch")


def fit_to(image: Tensor, shape: tuple[int, int, int], fit: Fit) -> Tensor:
    """Return a picture ``(C, h, w)`` as uint8 of exactly ``shape`` (C, H, W).

    ``crop`` keeps the largest centred part of the wanted proportions; ``pad`` keeps all of it,
    centred on white; ``stretch`` ignores proportions. All resize antialiased, also enlarging.
    """
    channels, height, width = shape
    if fit == "crop":
        image = _centre(image, height, width)
    elif fit == "pad":
        image = _inside(image, height, width)
    return as_uint8(as_channels(resize(image, (height, width)), channels))


def _centre(image: Tensor, height: int, width: int) -> Tensor:
    """Return the largest centred part whose sides are as height to width, to the pixel."""
    h, w = image.shape[1:]
    scale = min(h / height, w / width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (h - rows) // 2, (w - columns) // 2
    return image[:, top : top + rows, left : left + columns]


def _inside(image: Tensor, height: int, width: int) -> Tensor:
    """Return the picture, resized to lie inside height x width, on white."""
    h, w = image.shape[1:]
    scale = min(height / h, width / w)
    rows, columns = max(1, round(h * scale)), max(1, round(w * scale))
    page = torch.ones(image.shape[0], height, width)
    top, left = (height - rows) // 2, (width - columns) // 2
    page[:, top : top + rows, left : left + columns] = resize(image, (rows, columns))
    return page
