"""From a picture file to an array of levels: everything that Pillow's modes and formats need.

Notation: ``levels`` is an array ``(H, W, C)``, C = 1, 2 (grey and alpha), 3 or 4 (colour and
alpha), float32 in [0, 1] once divided by ``top``, the level that means white. Pillow cuts 16-bit
colour to its high bytes; here such a file is decoded twice, with the byte order told rightly and
then wrongly, which gives the high and the low bytes at the speed of C.
"""

from __future__ import annotations

import struct
import sys
import threading
import warnings
import zlib
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from .check import InputError, existing

Levels: TypeAlias = NDArray[Any]
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF")
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif")
_DEEP = ("LA;16", "RGB;16", "RGBA;16")
_DAMAGED = (
    *(OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError),
    *(struct.error, zlib.error),
)
_BOMBS = (Image.DecompressionBombError, Image.DecompressionBombWarning)
_OPENING = threading.Lock()


def read(path: str | Path, frame: int | None = None) -> Levels:
    """Return the levels of a file ``(H, W, C)``, upright, as float32 in [0, 1].

    Raises:
        InputError: the file is missing, empty, cut short, too large, no picture or several.
    """
    file = existing(path, "image")
    with opened(file) as image:
        try:
            _seek(image, file, frame)
            return levels_of(image, _deep_colour(file, image))
        except InputError as error:
            raise InputError(f"{file}: {error}" if str(file) not in str(error) else error) from None
        except _DAMAGED as error:
            reason = str(error).partition("\n")[0]
            raise InputError(f"{file} is damaged or cut short ({reason}); fetch it again") from None


def header(path: str | Path) -> tuple[int, int, int]:
    """Return (C, H, W) of the upright picture without decoding it.

    Raises:
        InputError: as :func:`read`, as far as the head of the file tells.
    """
    with opened(existing(path, "image")) as image:
        grey = image.mode.startswith(("1", "L", "I", "F")) and image.mode != "LAB"
        width, height = image.size
        turned = image.format != "TIFF" and _orientation(image) >= 5  # Pillow turns TIFF itself
        channels = 1 if grey or _rawmode(image).startswith("LA;16") else 3
        return (channels, width, height) if turned else (channels, height, width)


def opened(file: Path) -> Image.Image:
    """Open a picture; its pixels are not yet read."""
    if file.is_dir():
        raise InputError(f"{file} is a folder; name a picture, or load it by gouache.data.folder")
    if file.stat().st_size == 0:
        raise InputError(f"{file} is empty (0 bytes); fetch it again")
    try:
        with _OPENING, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(file, formats=FORMATS)
    except _BOMBS:
        raise InputError(
            f"{file} has more than {Image.MAX_IMAGE_PIXELS} pixels and may be a decompression "
            "bomb; shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it"
        ) from None
    except UnidentifiedImageError:
        raise InputError(
            f"{file} is not a picture that can be read; convert it to one of {', '.join(FORMATS)}"
        ) from None
    except PermissionError:
        raise InputError(f"{file} may not be read; change its permissions") from None
    except _DAMAGED as error:
        raise InputError(f"{file} is damaged ({error}); fetch it again") from None


def levels_of(image: Image.Image, deep: Levels | None = None) -> Levels:
    """Return the levels of a Pillow image, upright; ``deep`` are its 16-bit ones, if colour."""
    rawmode, mode = _rawmode(image), image.mode
    if deep is None:
        image.load()
        levels, top = _plain(image, rawmode)
    else:
        levels, top = deep, 65535
    levels = levels[..., None] if levels.ndim == 2 else levels
    key = None if mode == "P" else image.info.get("transparency")
    if isinstance(key, (int, tuple)) and levels.shape[2] in (1, 3):
        opaque = (levels != np.asarray(key)).any(axis=2, keepdims=True) * top
        levels = np.concatenate([levels, opaque.astype(levels.dtype)], axis=2)
    levels = levels.astype(np.float32)
    levels /= np.float32(top)
    return _upright(levels, _orientation(image))


def _plain(image: Image.Image, rawmode: str) -> tuple[Levels, int]:
    """Return the levels of every mode but 16-bit colour, and the level that means white."""
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PNG"):
        return np.asarray(image).astype(np.uint16), 4095 if rawmode == "I;12" else 65535
    if image.mode == "I":
        raise InputError("whole-number pixels of 32 bits have no known range; save 16-bit PNG")
    if image.mode == "F":
        return _unit(np.asarray(image)), 1
    return np.asarray(_eight_bit(image)), 255


def _unit(levels: Levels) -> Levels:
    low, high = float(levels.min()), float(levels.max())
    if not (low >= 0 and high <= 1):
        raise InputError(f"float pixels must lie in [0, 1], got [{low:.4g}, {high:.4g}]; rescale")
    return levels


def _eight_bit(image: Image.Image) -> Image.Image:
    """Return the image as grey or RGB, with or without alpha."""
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image
    if image.mode in ("1", "La"):
        return image.convert("L" if image.mode == "1" else "LA")
    alpha = image.mode in ("PA", "RGBa") or (image.mode == "P" and "transparency" in image.info)
    return image.convert("RGBA" if alpha else "RGB")


def _seek(image: Image.Image, file: Path, frame: int | None) -> None:
    """Go to a frame; a file of several is refused unless one is asked for."""
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1 and frame is None:
        raise InputError(f"{file} holds {frames} frames; pass frame=0 for the first of them")
    if frame is not None and not 0 <= frame < frames:
        raise InputError(f"frame must be in 0..{frames - 1} for {file}, got {frame}")
    if frame:
        image.seek(frame)


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 where there is none or it cannot be read.

    The base class's method is called because that of PNG decodes all pixels first.
    """
    try:
        value = Image.Image.getexif(image).get(0x0112, 1)
    except _DAMAGED:
        return 1
    return value if value in range(1, 9) else 1


def _upright(levels: Levels, orientation: int) -> Levels:
    """Turn and mirror the levels as the EXIF orientation says."""
    if orientation >= 5:
        levels = levels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        levels = levels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        levels = levels[::-1]
    return np.ascontiguousarray(levels)


def _rawmode(image: Image.Image) -> str:
    """Return how the bytes of the first tile are laid out, in Pillow's words, before loading."""
    tiles = getattr(image, "tile", [])
    args = tiles[0][3] if tiles else ""
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _deep_colour(file: Path, image: Image.Image) -> Levels | None:
    """Return the uint16 levels of a picture with 16-bit colour; None for any other."""
    rawmode = _rawmode(image)
    if ";16" not in rawmode or image.mode.startswith("I"):
        return None
    if not rawmode.startswith(_DEEP):
        raise InputError(f"{file} stores 16-bit colour as {rawmode}; save it as a 16-bit PNG")
    if rawmode.startswith("LA"):
        pairs = _reread(file, image.tell(), "RGBA").astype(np.uint16)
        return pairs[..., 0::2] * 256 + pairs[..., 1::2]
    name, order = rawmode.split(";16")
    little = order == "L" or (order == "N" and sys.byteorder == "little")
    low = _reread(file, image.tell(), f"{name};16{'B' if little else 'L'}")
    image.load()
    return np.asarray(image).astype(np.uint16) * 256 + low


def _reread(file: Path, frame: int, rawmode: str) -> Levels:
    """Decode a file with its bytes taken as another ``rawmode`` than its own."""
    with opened(file) as image:
        image.seek(frame)
        tiles: list[Any] = getattr(image, "tile", [])
        for k, (codec, box, offset, args) in enumerate(tiles):
            other = rawmode if isinstance(args, str) else (rawmode, *args[1:])
            tiles[k] = type(tiles[k])(codec, box, offset, other)
        image.load()
        return np.asarray(image)
