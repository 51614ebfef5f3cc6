"""Operators as words of a command line: ``blur:1.6``, ``downsample:3``, ``mask:mask.png``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from gouache import check, image
from gouache.check import InputError
from gouache.contracts import Operator

from ._blur import Blur
from ._compose import Compose
from ._downsample import Downsample
from ._identity import Identity
from ._mask import Mask

FORMS = "identity, blur:1.6, blur:kernel.png, downsample:3, mask:mask.png"


def parse_operator(words: str | Sequence[str]) -> Operator:
    """Return the operator that words name, several acting one after the other.

    ``identity``; ``blur:SIGMA`` (in pixels; the boundary reflects) or ``blur:PICTURE`` (of the
    kernel, its levels divided by their sum; nothing is assumed beyond the boundary, ``valid``);
    ``downsample:FACTOR`` (bicubic, reflects); ``mask:PICTURE`` (white where a pixel is KNOWN).

    Args:
        words: one, or several in the order in which they act.

    Raises:
        InputError: an unknown word, a value that it does not take, a missing or black picture.

    Example:
        >>> from gouache import restore
        >>> type(restore.parse_operator("blur:1.6")).__name__
        'Blur'
        >>> type(restore.parse_operator(["blur:1.6", "downsample:2"])).__name__
        'Compose'
    """
    given = [words] if isinstance(words, str) else list(words)
    if not given:
        raise InputError(f"an operator is needed: {FORMS}")
    parts = [_one(word) for word in given]
    return parts[0] if len(parts) == 1 else Compose(*parts)


def _one(word: str) -> Operator:
    name, _, value = word.partition(":")
    return READERS[check.choice(name, "operator", READERS)](value)


def _identity(value: str) -> Operator:
    if value:
        raise InputError(f'identity takes no value, got "{value}"')
    return Identity()


def _blur(value: str) -> Operator:
    if value.lower().endswith(image.SUFFIXES):
        return Blur(_kernel(value), boundary="valid")
    try:
        sigma = float(value)
    except ValueError:
        raise InputError(
            f'blur takes sigma in pixels or the picture of a kernel, got "{value}"; '
            "write blur:1.6 or blur:kernel.png"
        ) from None
    return Blur(sigma)


def _kernel(path: str) -> torch.Tensor:
    taps = image.as_channels(image.load(path, background=0.0), 1)[0].double()
    if float(taps.sum()) == 0:
        raise InputError(f"the kernel {path} is all black; its levels are divided by their sum")
    return taps / taps.sum()


def _downsample(value: str) -> Operator:
    if not value.isdecimal() or not value.isascii():
        raise InputError(f'downsample takes a whole number, got "{value}"; write downsample:2')
    return Downsample(int(value))


def _mask(value: str) -> Operator:
    if not value:
        raise InputError("mask takes a picture, white where a pixel is known; write mask:mask.png")
    return Mask(image.as_channels(image.load(value), 1)[0] > 0.5)


READERS: dict[str, Callable[[str], Operator]] = {
    "identity": _identity,
    "blur": _blur,
    "downsample": _downsample,
    "mask": _mask,
}
