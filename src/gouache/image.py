"""The only door for pixels: files, NumPy and Pillow in, tensors out, and back.

An image here is float32 ``(C, H, W)`` in [0, 1], C = 1 for grey and 3 for colour, a batch
``(N, C, H, W)``. Values are taken as sRGB as they stand: ICC profiles are ignored. Alpha is laid
over ``background``, a grey level in [0, 1]: ``x = alpha colour + (1 - alpha) background``.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from . import _decode, _encode, check
from .check import InputError
from .pretrained import replacing

SUFFIXES = _decode.SUFFIXES
_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_KINDS |= {".tif": "TIFF", ".tiff": "TIFF"}
WRITTEN = tuple(_KINDS)
DEEP = tuple(suffix for suffix, kind in _KINDS.items() if kind in ("PNG", "TIFF"))
_OPTIONS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 95, "subsampling": 0},
    "WEBP": {"lossless": True},
    "TIFF": {"compression": "tiff_adobe_deflate"},
}
_LUMA = (0.299, 0.587, 0.114)
_TOP = {"uint8": 255, "uint16": 65535, "bool": 1}


def load(path: str | Path, *, background: float = 1.0, frame: int | None = None) -> Tensor:
    """Read a picture as float32 ``(C, H, W)`` in [0, 1].

    PNG, JPEG, WebP, TIFF, BMP and GIF; 1, 8 and 16 bits (16 at full precision), grey, palette,
    CMYK; turned upright by its EXIF orientation. C is 1 for grey sources and 3 for all others.

    Args:
        path: the file.
        background: grey level under transparent pixels, in [0, 1]; white by default.
        frame: which frame of an animation or of a TIFF of several pages, from 0.

    Raises:
        InputError: the file is missing, empty, cut short, too large, or no picture; or it holds
            several frames and ``frame`` is not given.

    Example:
        >>> import tempfile, torch
        >>> from gouache import image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     image.save(torch.full((3, 4, 6), 0.2), f"{folder}/grey.png")
        ...     image.load(f"{folder}/grey.png").shape
        torch.Size([3, 4, 6])
    """
    check.between(background, "background", 0, 1)
    return _from_levels(_decode.read(path, frame), background)


def save(images: Tensor, path: str | Path, *, bits: Literal[8, 16] = 8) -> None:
    """Write one picture ``(C, H, W)`` in [0, 1], whole or not at all; values are rounded.

    Args:
        images: float in [0, 1], C = 1 or 3; a batch is first made one picture by :func:`grid`.
        path: ends in .png, .jpg, .webp (lossless) or .tif; its folder is made if need be.
        bits: 16 keeps 65536 levels, in PNG and TIFF only.

    Raises:
        InputError: wrong rank, range or suffix, or the path cannot be written.
    """
    file = check.new_file(path, suffixes=WRITTEN)
    image = _one(images)
    if bits not in (8, 16) or (bits == 16 and file.suffix.lower() not in DEEP):
        raise InputError(f"bits must be 8, or 16 for {', '.join(DEEP)}, got {bits} for {file}")
    kind = _KINDS[file.suffix.lower()]
    with replacing(file) as temporary:
        if bits == 16:
            temporary.write_bytes(_deep(image, kind))
        else:
            as_pil(image).save(temporary, format=kind, **_OPTIONS[kind])


def png_bytes(images: Tensor) -> bytes:
    """Return one picture ``(C, H, W)`` as the bytes of an 8-bit PNG, to embed in a page."""
    buffer = io.BytesIO()
    as_pil(images).save(buffer, format="PNG", optimize=True)
    return buffer.getvalue()


def as_tensor(
    x: Tensor | NDArray[Any] | Image.Image,
    *,
    layout: Literal["CHW", "HWC"] | None = None,
    background: float = 1.0,
) -> Tensor:
    """Convert a picture or a batch to float32 in [0, 1], channels first.

    Args:
        x: a Pillow image, which is turned upright by its EXIF orientation; or an array or tensor
            ``(H, W)``, ``(C, H, W)``, ``(H, W, C)``, or a batch of the last two, C = 1, 3 or 4
            (with alpha); bool, uint8 (divided by 255), uint16 (by 65535), or float in [0, 1].
        layout: where the channels are; needed only where both ends could be.
        background: grey level under transparent pixels.

    Raises:
        InputError: a layout that can be read in two ways or in none, another dtype, a float
            outside [0, 1].

    Example:
        >>> import numpy as np
        >>> as_tensor(np.full((5, 7, 3), 51, np.uint8))[:, 0, 0]
        tensor([0.2000, 0.2000, 0.2000])
    """
    if isinstance(x, Image.Image):
        return _from_levels(_decode.levels_of(x), background)
    if isinstance(x, Tensor):
        x = x.detach().cpu().numpy() if x.dtype != torch.bfloat16 else x.float().numpy()
    if not isinstance(x, np.ndarray):
        raise InputError(f"an image must be a tensor, array or PIL image, got {type(x).__name__}")
    return _from_levels(_channels_last(_unit_levels(x), layout), background)


def as_uint8(images: Tensor) -> Tensor:
    """Return round(255 x) of images in [0, 1], in their layout."""
    return _levels(images, 255).to(torch.uint8)


def as_pil(images: Tensor) -> Image.Image:
    """Return one picture ``(C, H, W)`` as an 8-bit Pillow image, grey or RGB."""
    array = as_uint8(_one(images)).permute(1, 2, 0).cpu().numpy()
    return Image.fromarray(np.ascontiguousarray(array[..., 0] if array.shape[2] == 1 else array))


def as_channels(images: Tensor, channels: int) -> Tensor:
    """Return images with 1 or 3 channels: grey is repeated, colour becomes its luma.

    The luma is that of ITU-R BT.601, 0.299 R + 0.587 G + 0.114 B.
    """
    if channels not in (1, 3):
        raise InputError(f"channels must be 1 (grey) or 3 (colour), got {channels}")
    if images.shape[-3] == channels:
        return images
    if channels == 3:
        return images.expand(*images.shape[:-3], 3, *images.shape[-2:]).contiguous()
    luma = images.new_tensor(_LUMA)[:, None, None]
    return (images * luma).sum(-3, keepdim=True)


def grid(
    images: Tensor,
    columns: int | None = None,
    pad: int = 1,
    scale: int = 1,
    background: float = 1.0,
) -> Tensor:
    """Lay a batch out as one picture, row by row.

    The result is ``(C, R (s H + pad) + pad, K (s W + pad) + pad)`` for R rows and K columns.

    Args:
        images: ``(N, C, H, W)`` in [0, 1].
        columns: K, but no more than N; by default the least with K^2 >= N.
        pad: pixels between and around the images.
        scale: s, how many times each pixel is repeated in both directions.
        background: grey level of the padding and of empty places.

    Example:
        >>> import torch
        >>> grid(torch.zeros(10, 1, 8, 8), columns=5, pad=2).shape
        torch.Size([1, 22, 52])
    """
    images = check.images(images)
    n, c, h, w = images.shape
    most = math.ceil(math.sqrt(n)) if columns is None else check.count(columns, "columns")
    columns = min(n, most)
    check.count(pad, "pad", 0)
    images = images.repeat_interleave(check.count(scale, "scale"), -1).repeat_interleave(scale, -2)
    rows, h, w = math.ceil(n / columns), h * scale + pad, w * scale + pad
    page = images.new_full((c, rows * h + pad, columns * w + pad), background)
    for k, image in enumerate(images):
        top, left = k // columns * h + pad, k % columns * w + pad
        page[:, top : top + h - pad, left : left + w - pad] = image
    return page


def resize(
    images: Tensor,
    size: int | tuple[int, int],
    method: Literal["antialias", "bilinear", "nearest"] = "antialias",
) -> Tensor:
    """Resize ``(C, H, W)`` or ``(N, C, H, W)`` to (height, width).

    ``antialias`` is bicubic (a = -1/2) with the kernel widened by the reduction, clipped to
    [0, 1]; ``bilinear`` the triangle kernel, widened likewise; ``nearest`` takes the pixel under
    the centre.

    Raises:
        InputError: an impossible size, an unknown method.

    Reference:
        R. Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    height, width = size_pair(size)
    check.choice(method, "method", ("antialias", "bilinear", "nearest"))
    batch = images if images.ndim == 4 else images[None]
    if batch.shape[-2:] == (height, width):
        return images
    mode = {"antialias": "bicubic", "bilinear": "bilinear", "nearest": "nearest-exact"}[method]
    result = torch.nn.functional.interpolate(
        batch, (height, width), mode=mode, antialias=method != "nearest"
    ).clamp_(0, 1)
    return result if images.ndim == 4 else result[0]


def size_pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Check a size in pixels, and return it as (height, width); a number means a square."""
    pair = (size, size) if isinstance(size, int) else size
    if not isinstance(pair, Sequence) or len(pair) != 2:
        raise InputError(f"size must be a number or (height, width), got {size!r}")
    return check.count(pair[0], "height", 1, 1 << 15), check.count(pair[1], "width", 1, 1 << 15)


def _one(images: Tensor) -> Tensor:
    """Check that this is one picture."""
    if isinstance(images, Tensor) and images.ndim == 4:
        raise InputError(
            f"one picture (C, H, W) is expected, got a batch {tuple(images.shape)}; "
            "gouache.image.grid lays a batch out as one picture"
        )
    return check.images(images, "image", batched=False)


def _levels(images: Tensor, top: int) -> Tensor:
    check.unit_range(check.finite(images, "images"), "images")
    return (images.double() * top).round().clamp(0, top)


def _from_levels(levels: NDArray[Any], background: float) -> Tensor:
    """Turn levels ``(..., H, W, C)`` in [0, 1] into channels-first images without alpha."""
    if levels.shape[-1] in (2, 4):
        alpha = levels[..., -1:]
        levels = levels[..., :-1] * alpha + np.float32(background) * (1 - alpha)
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(levels, -1, -3)))


def _unit_levels(x: NDArray[Any]) -> NDArray[Any]:
    """Return an array as float32 in [0, 1] by the meaning of its dtype."""
    if 0 in x.shape:
        raise InputError(f"the image is empty: shape {x.shape}")
    if x.dtype.name in _TOP:
        return x.astype(np.float32) / np.float32(_TOP[x.dtype.name])
    if x.dtype.kind != "f":
        raise InputError(
            f"pixels must be bool, uint8, uint16 or float in [0, 1], got {x.dtype}; "
            "divide by the largest level"
        )
    tensor = torch.from_numpy(x.astype(np.float32))
    check.unit_range(check.finite(tensor, "the image"), "the image")
    return tensor.numpy()


def _channels_last(x: NDArray[Any], layout: str | None) -> NDArray[Any]:
    """Return ``(H, W, C)`` or ``(N, H, W, C)`` from any layout that can be told."""
    if x.ndim == 2:
        return x[..., None]
    if x.ndim not in (3, 4):
        raise InputError(f"an image must have 2, 3 or 4 axes, got shape {x.shape}")
    first, last = x.shape[-3] in (1, 3, 4), x.shape[-1] in (1, 3, 4)
    if layout is None and first == last:
        reason = "can be read in two ways" if first else "has no axis of 1, 3 or 4 channels"
        raise InputError(f'the layout of shape {x.shape} {reason}; pass layout="CHW" or "HWC"')
    if layout is not None:
        check.choice(layout, "layout", ("CHW", "HWC"))
        if not (first if layout == "CHW" else last):
            raise InputError(f"shape {x.shape} is not {layout} with 1, 3 or 4 channels")
    return np.moveaxis(x, -3, -1) if (layout == "CHW" or (layout is None and first)) else x


def _deep(image: Tensor, kind: str) -> bytes:
    """Encode a checked picture with 16 bits."""
    levels = _levels(image, 65535).permute(1, 2, 0).cpu().numpy().astype(np.uint16)
    return {"PNG": _encode.png, "TIFF": _encode.tiff}[kind](levels)
