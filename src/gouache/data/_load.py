"""One word for a source of images: a bundled name, a folder, or ``hf:NAME``."""

from __future__ import annotations

from pathlib import Path

from gouache import registry
from gouache.check import InputError

from ._dataset import SPLITS, Dataset, Size, joined
from ._folder import folder
from ._hub import hub


def load(source: str | Path, split: str = "train", *, size: Size = None) -> Dataset:
    """Load a source of images by one word.

    Args:
        source: the name of a bundled source (``digits``, ``faces``, ``photos``, ``textures``,
            ``shapes``); the path of a folder, with ``./`` before a name that is also a bundled
            one; or ``hf:OWNER/NAME`` for the Hugging Face hub.
        split: train, validation or test; ``held-out`` is the last two together, or the one that
            there is; for a folder also ``all``.
        size: (height, width) or one number; None keeps the source's own.

    Raises:
        InputError: no such source (a near miss is named), or nothing in this split.

    Example:
        >>> from gouache import data
        >>> data.load("digits", "validation", size=16).shape
        (1, 16, 16)
    """
    word = str(source)
    if split == "held-out":
        return joined(_held_out(word, size))
    if word.startswith("hf:"):
        return hub(word.removeprefix("hf:"), split, size=size)
    if is_folder(word):
        return folder(word, split, size=size)
    try:
        return registry.find("data", word)(split, size=size)
    except InputError as error:
        if str(error).startswith("unknown data"):
            raise InputError(f"{error}; a folder's path and hf:OWNER/NAME also serve") from None
        raise


def resolve(source: str | Path) -> str:
    """Return the word that loads the same source from whatever folder one works in.

    Args:
        source: what :func:`load` takes; a folder's path becomes absolute, all else stays.

    Example:
        >>> from pathlib import Path
        >>> from gouache import data
        >>> data.resolve("digits")
        'digits'
        >>> Path(data.resolve("./digits")).is_absolute()
        True
    """
    word = str(source)
    name = word.removeprefix("hf:")
    if name != word:
        return f"hf:{Path(name).resolve()}" if Path(name).is_dir() else word
    return str(Path(word).resolve()) if is_folder(word) else word


def is_folder(source: str | Path) -> bool:
    """Tell whether :func:`load` takes a word for a folder: it is there, or written as a path.

    Args:
        source: what :func:`load` takes; bundled names win.

    Example:
        >>> from gouache import data
        >>> data.is_folder("digits"), data.is_folder("./digits")
        (False, True)
    """
    word, path = str(source), Path(source)
    if word.startswith("hf:") or word in registry.names("data"):
        return False
    return path.exists() or word != path.name


def _held_out(source: str, size: Size) -> list[Dataset]:
    """Return the splits validation and test, or the one that there is."""
    found, reasons = list[Dataset](), list[str]()
    for split in SPLITS[1:]:
        try:
            found.append(load(source, split, size=size))
        except InputError as error:
            reasons.append(str(error))
    if not found:
        raise InputError(f"nothing is held out of {source}: {reasons[-1]}")
    return found
