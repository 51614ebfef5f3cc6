"""Picture files of the verbs that change a picture: what had 16 bits keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._screen import say

if TYPE_CHECKING:
    from torch import Tensor


def read(file: Path) -> tuple[Tensor, int]:
    """Return a picture, and with how many bits it is stored; that alpha goes is said."""
    from gouache import _decode, check, image

    with _decode.opened(check.existing(file, "image")) as head:
        bits = _bits(head)
        if head.mode in ("LA", "PA", "RGBA") or "transparency" in head.info:
            say(f"{file.name}: transparent parts are laid over white")
    return image.load(file), bits


def read_alpha(file: Path) -> tuple[Tensor, Tensor, int]:
    """Return the colours of a picture, its alpha ``(H, W)``, and with how many bits it is stored.

    Raises:
        InputError: no picture, or one without transparency.
    """
    from gouache import _decode, check, image

    levels = _decode.read(file)
    if levels.shape[2] not in (2, 4):
        raise check.InputError(f"{file} has no transparency; name a mask, white where to fill")
    with _decode.opened(file) as head:
        bits = _bits(head)
    colours = image.as_tensor(levels[..., :-1], layout="HWC")
    return colours, image.as_tensor(levels[..., -1])[0], bits


def save(picture: Tensor, out: Path, bits: int) -> None:
    """Write a picture with as many bits as the one read; that 16 become 8 is said."""
    from gouache import image

    deep = bits == 16 and out.suffix.lower() in image.DEEP
    if bits == 16 and not deep:
        say(f"{out.name}: 16 bits become 8, as only PNG and TIFF keep them")
    image.save(picture.clamp(0, 1), out, bits=16 if deep else 8)


def _bits(head: Any) -> int:
    """Return with how many bits a picture is stored that is opened but not decoded."""
    deep = head.mode == "I" or ";16" in f"{head.mode} {getattr(head, 'tile', '')}"
    return 16 if deep else 8
