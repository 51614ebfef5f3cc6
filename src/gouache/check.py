"""The only validation: every error says what was asked, what was expected, what came, the mend.

Functions here raise :class:`InputError`, return the checked value, and never convert silently.
"""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor


class InputError(ValueError):
    """A mistake that the user can mend; the command line prints it on one line and exits with 2."""


def images(value: Tensor, name: str = "images", *, batched: bool = True) -> Tensor:
    """Check a batch ``(B, C, H, W)`` (or one ``(C, H, W)``) of finite floats in [0, 1]."""
    rank, layout = (4, "(B, C, H, W)") if batched else (3, "(C, H, W)")
    if not isinstance(value, Tensor):
        raise InputError(
            f"{name} must be a torch tensor {layout}, got {type(value).__name__}; "
            "gouache.image.as_tensor converts NumPy and PIL images"
        )
    if value.ndim != rank:
        raise InputError(f"{name} must have shape {layout}, got {tuple(value.shape)}")
    if 0 in value.shape:
        raise InputError(f"{name} is empty: shape {tuple(value.shape)}")
    if value.shape[-3] not in (1, 3):
        raise InputError(
            f"{name} must have 1 or 3 channels at axis -3, got shape {tuple(value.shape)}; "
            "for channels-last data call gouache.image.as_tensor"
        )
    if not value.is_floating_point():
        raise InputError(f"{name} must be float in [0, 1], got {value.dtype}; divide by 255")
    return unit_range(finite(value, name), name)


def finite(value: Tensor, name: str) -> Tensor:
    """Check that no entry is NaN or infinite."""
    bad = int((~torch.isfinite(value)).sum())
    if bad:
        raise InputError(f"{name} must be finite, got {bad} NaN or infinite of {value.numel()}")
    return value


def unit_range(value: Tensor, name: str, *, slack: float = 1e-3) -> Tensor:
    """Check that every entry lies in [0, 1] (up to ``slack``)."""
    levels = value.detach()
    low, high = float(levels.min()), float(levels.max())
    if low < -slack or high > 1 + slack:
        hint = "; divide 8-bit levels by 255" if high > 2 else ""
        hint = "; map [-1, 1] by (x + 1) / 2" if -1.01 < low < -slack and high < 1.01 else hint
        raise InputError(f"{name} must lie in [0, 1], got [{low:.4g}, {high:.4g}]{hint}")
    return value


def sigma(value: float, name: str = "sigma") -> float:
    """Check a noise level in units of the pixel range: 0 < sigma <= 1."""
    if not 0 < value <= 1:
        raise InputError(
            f"{name} must be in (0, 1] (units of the pixel range), got {value}; "
            "for 8-bit levels pass 25/255"
        )
    return float(value)


def between(value: float, name: str, low: float | None = None, high: float | None = None) -> float:
    """Check low <= value <= high, either bound optional, and that it is a finite number."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not abs(value) <= sys.float_info.max:
        raise InputError(f"{name} must be a finite number, got {_told(value)}")
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"in [{low}, {high}]"
        bounds = f"at most {high}" if low is None else bounds
        raise InputError(f"{name} must be {bounds}, got {value}")
    return value


def count(value: int, name: str, low: int = 1, high: int | None = None) -> int:
    """Check a whole number with low <= value <= high."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{name} must be a whole number, got {value!r}")
    if value.bit_length() > 63:
        raise InputError(f"{name} must be a whole number of at most 63 bits, got {_told(value)}")
    return int(between(value, name, low, high))


def _told(value: object) -> str:
    """Return a value as written, but for whole numbers that would fill the screen."""
    if isinstance(value, int) and value.bit_length() > 63:
        return f"one of {value.bit_length()} bits"
    return repr(value)


def choice(value: str, name: str, options: Iterable[str]) -> str:
    """Check that ``value`` is one of ``options``; a near miss is named in the error."""
    known = sorted(options)
    if value in known:
        return value
    near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.5)
    hint = f'; did you mean "{near[0]}"?' if near else ""
    raise InputError(f'unknown {name} "{value}"{hint} (known: {", ".join(known)})')


def same_shape(a: Tensor, b: Tensor, a_name: str, b_name: str) -> None:
    """Check that two tensors have one shape."""
    if a.shape != b.shape:
        raise InputError(
            f"{a_name} and {b_name} must have the same shape, "
            f"got {tuple(a.shape)} and {tuple(b.shape)}"
        )


def new_file(path: str | Path, *, suffixes: Iterable[str] = ()) -> Path:
    """Check, before any work, that ``path`` can be written; its folder may be absent still."""
    path = Path(path)
    allowed = tuple(suffixes)
    if allowed and path.suffix.lower() not in allowed:
        raise InputError(f"{path} must end in one of {', '.join(allowed)}, got {path.suffix!r}")
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")
    return _under_writable(path)


def new_folder(path: str | Path) -> Path:
    """Check, before any work, that ``path`` can become a folder: absent or empty, and writable."""
    path = Path(path)
    if path.is_file():
        raise InputError(f"{path} is a file; name a folder")
    if path.is_dir() and any(path.iterdir()):
        raise InputError(f"{path} holds files already; name a new or an empty folder")
    return _writable(path) if path.is_dir() else _under_writable(path)


def folder(path: str | Path) -> Path:
    """Make ``path`` a folder that can be written, or say why it cannot be."""
    path = Path(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{path} is a file or lies below one; name a folder") from None
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror or error}") from None
    return _writable(path)


def _under_writable(path: Path) -> Path:
    """Check that the innermost folder above ``path`` that is there can be written."""
    above = path.absolute().parent
    while not above.exists() and above != above.parent:
        above = above.parent
    if not above.is_dir():
        raise InputError(f"{above} is a file; {path} cannot lie below it")
    _writable(above)
    return path


def _writable(path: Path) -> Path:
    try:
        probe = path / ".gouache-write-test"
        probe.touch()
        probe.unlink(missing_ok=True)  # another process may have tried at the same time
    except OSError as error:
        raise InputError(f"cannot write to {path}: {error.strerror or error}") from None
    return path


def existing(path: str | Path, name: str = "input") -> Path:
    """Check that a file or folder exists."""
    path = Path(path)
    if not path.exists():
        raise InputError(f"{name} {path} does not exist")
    return path
