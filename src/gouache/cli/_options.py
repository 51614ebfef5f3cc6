"""Options that several verbs share, and their checks."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Annotated

import typer

# Not mps, Apple's: keyed noise is hashed in float64 on the device of its keys, and mps has none.
DEVICES = ("cpu", "cuda", "auto")

Seed = Annotated[int, typer.Option(help="Seed of everything random.")]
Device = Annotated[str | None, typer.Option(help="cpu, cuda, or auto: cuda where there is one.")]
Threads = Annotated[
    int | None, typer.Option(min=1, help="Threads of the processor; by default all cores.")
]
Size = Annotated[
    int | None, typer.Option(min=1, max=4096, help="Resize the images to this many pixels a side.")
]
PixelSize = Annotated[
    str | None, typer.Option("--size", metavar="WIDTHxHEIGHT", help="In pixels, such as 640x480.")
]


@contextlib.contextmanager
def using(threads: int | None) -> Iterator[None]:
    """Run the block with this many threads."""
    from gouache import train

    with train.threads(threads):
        yield


def device_name(device: str | None, default: str = "cpu") -> str:
    """Return the device to use, and check that this machine has it.

    Raises:
        InputError: an unknown device, or one that is not there.
    """
    import torch

    from gouache import check

    name, there = check.choice(device or default, "device", DEVICES), torch.cuda.is_available()
    if name == "auto":
        return "cuda" if there else "cpu"
    if name == "cuda" and not there:
        raise check.InputError("this machine has no cuda device; pass --device cpu")
    return name


def pixel_size(text: str | None) -> tuple[int, int] | None:
    """Read ``640x480``, or one number for a square, as (height, width).

    Raises:
        InputError: another text, or sides that no picture has.
    """
    from gouache import check, image

    if text is None:
        return None
    words = text.lower().split("x")
    if len(words) > 2 or not all(word.isascii() and word.isdecimal() for word in words):
        raise check.InputError(
            f'--size takes WIDTHxHEIGHT in pixels, such as 640x480, got "{text}"'
        )
    return image.size_pair((int(words[-1]), int(words[0])))


def noise_level(text: str) -> float | None:
    """Read ``auto``, a number, or a fraction of two numbers."""
    from gouache import check

    if text == "auto":
        return None
    try:
        above, slash, below = text.partition("/")
        parts = [float(above), float(below) if slash else 1.0]
        value = parts[0] / parts[1]
    except (ValueError, ZeroDivisionError):
        parts, value = [], math.nan
    if not all(map(math.isfinite, [*parts, value])):
        raise check.InputError(
            f'sigma must be auto, a number or a fraction such as 25/255, got "{text}"'
        )
    if not 0 <= value <= 1:
        hint = f"; for 8-bit levels pass {value:g}/255" if value > 1 else ""
        raise check.InputError(
            f"sigma must be in [0, 1] (units of the pixel range), got {value:g}{hint}"
        )
    return value
