"""One word for a source of images: a bundled name, a folder, or ``hf:NAME``."""

from __future__ import annotations

from pathlib import Path

from .. import registry
from ..check import InputError
from ._dataset import Dataset, Size
from ._folder import folder
from ._hub import hub


def load(source: str | Path, split: str = "train", *, size: Size = None) -> Dataset:
    """Load a source of images by one word.

    Args:
        source: the name of a bundled source (``digits``, ``faces``, ``photos``, ``textures``,
            ``shapes``); the path of a folder, with ``./`` before a name that is also a bundled
            one; or ``hf:OWNER/NAME`` for the Hugging Face hub.
        split: train, validation or test; for a folder also all.
        size: (height, width) or one number; None keeps the source's own.

    Raises:
        InputError: no such source; a near miss is named.

    Example:
        >>> from gouache import data
        >>> data.load("digits", "validation", size=16).shape
        (1, 16, 16)
    """
    word = str(source)
    if word.startswith("hf:"):
        return hub(word.removeprefix("hf:"), split, size=size)
    if _is_path(word):
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
    return str(Path(word).resolve()) if _is_path(word) else word


def _is_path(word: str) -> bool:
    """Tell whether a word means a folder: not bundled, and there or written as a path."""
    return word not in registry.names("data") and (Path(word).exists() or Path(word).name != word)
