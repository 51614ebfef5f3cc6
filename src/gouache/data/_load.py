"""One word for a source of images: a bundled name, a folder, or ``hf:NAME``."""

from __future__ import annotations

from pathlib import Path

from gouache import check, registry
from gouache.check import InputError

from ._dataset import SPLITS, Dataset, EmptySplit, Size, joined
from ._folder import folder
from ._hub import hub

TOGETHER = {"held-out": SPLITS[1:], "all": SPLITS}


def load(source: str | Path, split: str = "train", *, size: Size = None) -> Dataset:
    """Load a source of images by one word.

    Args:
        source: the name of a bundled source (``digits``, ``faces``, ``photos``, ``textures``,
            ``shapes``); the path of a folder, with ``./`` before a name that is also a bundled
            one; or ``hf:OWNER/NAME`` for the Hugging Face hub.
        split: train, validation or test; ``held-out`` is the last two together, ``all`` all three
            (or those that there are); for the hub also its own name of a split.
        size: (height, width) or one number; None keeps the source's own.

    Raises:
        InputError: no such source or split (a near miss is named), or nothing in this split.

    Example:
        >>> from gouache import data
        >>> data.load("digits", "validation", size=16).shape
        (1, 16, 16)
    """
    word = str(source)
    of_hub, of_folder = word.startswith("hf:"), is_folder(word)
    if not of_hub:
        check.choice(split, "split", (*SPLITS, *TOGETHER))
    if of_folder and split != "held-out":
        return folder(word, split, size=size)
    if split in TOGETHER:
        return joined(_parts(word, split, size))
    if of_hub:
        return hub(word.removeprefix("hf:"), split, size=size)
    try:
        return registry.find("data", word)(split, size=size)
    except InputError as error:
        if str(error).startswith("unknown data"):
            raise InputError(f"{error}; a folder's path and hf:OWNER/NAME also serve") from None
        raise


def source_and_split(text: str) -> tuple[str, str]:
    """Return the source and the split that one word names; without a split it is empty.

    Args:
        text: a source, perhaps with a split that :func:`load` takes of any source.

    Example:
        >>> from gouache.data import source_and_split
        >>> source_and_split("digits:held-out"), source_and_split("hf:mnist")
        (('digits', 'held-out'), ('hf:mnist', ''))
    """
    source, _, split = text.rpartition(":")
    named = source not in ("", "hf") and split in (*SPLITS, *TOGETHER)
    return (source, split) if named else (text, "")


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


def _parts(source: str, split: str, size: Size) -> list[Dataset]:
    """Return the splits that make up ``split``, or those of them that there are."""
    found, reason = list[Dataset](), ""
    for name in TOGETHER[split]:
        try:
            found.append(load(source, name, size=size))
        except EmptySplit as error:
            reason = str(error)
    if not found:
        raise EmptySplit(f"{source} has nothing {split}: {reason}")
    return found
