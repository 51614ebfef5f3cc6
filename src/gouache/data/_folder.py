"""Any folder of pictures as a data set, decoded once.

Notation: a file's *name* is its path below the folder, with ``/``; ``u`` in [0, 1) is the hash of
a name, which alone decides the split, so that adding files moves none from one split to another.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from gouache import _decode, check
from gouache.check import InputError
from gouache.image import SUFFIXES, size_pair

from . import _cache
from ._dataset import SPLITS, Card, Dataset, EmptySplit, Size
from ._fit import FITS, Fit

VERSION = 1
CAPTIONS = "metadata.jsonl"


def folder(
    path: str | Path,
    split: str = "train",
    *,
    size: Size = None,
    fit: Fit = "crop",
    channels: int | None = None,
    validation: float = 0.1,
    test: float = 0.1,
) -> Dataset:
    """Load every picture below a folder, decoded once into a memory-mapped cache of uint8.

    Sub-folders are searched; if every picture lies in one of two or more sub-folders, these are
    the classes. A ``metadata.jsonl`` with lines ``{"file_name": ..., "text": ...}`` gives
    captions, its names being relative to where it lies. If there is a sub-folder ``train``, then
    the splits are the sub-folders train, validation and test; else a hash of its name decides
    where a picture goes. Files that cannot be read are skipped with one warning, and listed in
    ``dataset.skipped``. The cache lies in the user's cache folder, or in ``GOUACHE_CACHE``.

    Args:
        path: the folder.
        split: train, validation, test, or all.
        size: (height, width) or one number; None if all pictures of the folder have one size.
        fit: ``crop`` keeps the largest centred part of the wanted proportions, ``pad`` keeps the
            whole picture on white, ``stretch`` ignores proportions.
        channels: 1 or 3; None is 3 if any picture of the folder, in whatever split, has
            colour.
        validation: expected fraction of the pictures, in [0, 1).
        test: likewise. Very few pictures that would leave ``train`` empty are all ``train``.

    Raises:
        InputError: the folder is missing, empty, or without a picture in this split; pictures of
            several sizes and no ``size``; a caption file that cannot be read.

    Example:
        >>> import tempfile, torch
        >>> from gouache import data, image
        >>> with tempfile.TemporaryDirectory() as place:
        ...     for k in range(4):
        ...         image.save(torch.rand(3, 20, 30), f"{place}/{k}.png")
        ...     data.folder(place, "all", size=16).shape
        (3, 16, 16)
    """
    root = _root(path)
    check.choice(split, "split", (*SPLITS, "all"))
    check.choice(fit, "fit", FITS)
    if channels not in (None, 1, 3):
        raise InputError(f"channels must be 1, 3 or None, got {channels!r}")
    pair = None if size is None else size_pair(size)
    everything = _found(root)
    files = _of_split(root, everything, split, validation, test)
    decoded = _decoded(root, files, _common(root, everything, pair, channels), fit)
    _warn(decoded.skipped, root)
    kept = [files[k] for k in decoded.kept]
    labels, classes = _labels(kept, everything, root)
    card = Card(
        name=root.name,
        title=f"Pictures of the folder {root.name}",
        origin="a folder of this computer",
        licence="unknown",
        shape=_shape(decoded.rows.shape[1:]),
        size=len(kept),
        notes=f"Cut to size by {fit}; split by hash of the file name, or by sub-folder.",
        mirror=True,
    )
    captions = _captions(kept, root)
    return Dataset(decoded.rows, card, labels, classes, captions, skipped=decoded.skipped)


def shortest_side(path: str | Path, *, least: int = 1) -> int:
    """Return the shortest side, in pixels, of all pictures below a folder.

    Only the heads of the files are read; files that cannot be read do not count.

    Args:
        path: the folder.
        least: pixels that every side must have.

    Raises:
        InputError: the folder is missing, empty, or without a picture that can be read; a picture
            with a side below ``least``.

    Example:
        >>> import tempfile, torch
        >>> from gouache import data, image
        >>> with tempfile.TemporaryDirectory() as place:
        ...     image.save(torch.rand(3, 20, 30), f"{place}/a.png")
        ...     data.shortest_side(place)
        20
    """
    root = _root(path)
    files = _found(root)
    heads = _some_heads(files, root)
    smallest = min(heads, key=lambda file: min(heads[file][1:]))
    _, height, width = heads[smallest]
    if min(height, width) < least:
        raise InputError(
            f"{_name(smallest, root)} of {root} has only {width}x{height} pixels, and all pictures "
            "would be cut to its shortest side; pass a size, say 32 (--size 32), or remove it"
        )
    return min(height, width)


def _root(path: str | Path) -> Path:
    root = check.existing(path, "folder").resolve()
    if not root.is_dir():
        raise InputError(f"{path} is a file; name the folder it lies in")
    return root


def _found(root: Path) -> list[Path]:
    """Return every picture below ``root`` in order of name; hidden ones do not count."""
    files = []
    for place, folders, names in os.walk(root):
        folders[:] = [f for f in folders if not f.startswith((".", "__MACOSX"))]
        names = [n for n in names if not n.startswith(".") and n.lower().endswith(SUFFIXES)]
        files += [Path(place) / name for name in names]
    if not files:
        raise InputError(f"{root} holds no picture ({', '.join(SUFFIXES)}); name another folder")
    return sorted(files, key=lambda file: _name(file, root))


def _name(file: Path, root: Path) -> str:
    return file.relative_to(root).as_posix()


def _has_split_folders(root: Path) -> bool:
    return (root / "train").is_dir()


def _of_split(
    root: Path, files: list[Path], split: str, validation: float, test: float
) -> list[Path]:
    """Return the files of one split."""
    if check.between(validation, "validation", 0) + check.between(test, "test", 0) >= 1:
        raise InputError(f"validation + test must be below 1, got {validation} + {test}")
    if split == "all":
        return files
    if _has_split_folders(root):
        places = [file.relative_to(root).parts[0] for file in files]
        mend = f"add pictures to {root.name}/{split}"
    else:
        places = [_split_of(_name(file, root), validation, test) for file in files]
        places = places if "train" in places else ["train"] * len(files)
        mend = f'add pictures, or take all of them: split="all", or {root.name}:all in a command'
    part = [file for file, place in zip(files, places, strict=True) if place == split]
    if not part:
        raise EmptySplit(f"the {split} split of {root} is empty ({len(files)} pictures); {mend}")
    return part


def _split_of(name: str, validation: float, test: float) -> str:
    u = int.from_bytes(hashlib.sha256(name.encode()).digest()[:7], "big") / 2**56
    if u < validation:
        return "validation"
    return "test" if u < validation + test else "train"


def _decoded(
    root: Path, files: list[Path], shape: tuple[int, int, int], fit: Fit
) -> _cache.Decoded:
    """Return the pictures from the cache, or decode them into it."""
    stats = [(_name(f, root), s.st_size, s.st_mtime_ns) for f in files for s in (f.stat(),)]
    text = json.dumps([VERSION, str(root), stats, fit, shape])
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    return _cache.read(key) or _cache.write(key, files, shape, fit)


def _common(
    root: Path, everything: list[Path], size: tuple[int, int] | None, channels: int | None
) -> tuple[int, int, int]:
    """Return the shape of every picture in every split, from the heads of all files if need be."""
    if size and channels:
        return (channels, *size)
    heads = _some_heads(everything, root).values()
    sizes = {head[1:] for head in heads}
    if not size and len(sizes) > 1:
        least, most = min(sizes), max(sizes)
        raise InputError(
            f"the pictures of {root} have {len(sizes)} sizes, from {least[0]}x{least[1]} to "
            f"{most[0]}x{most[1]}; pass a size, say 64"
        )
    height, width = size or sizes.pop()
    return channels or max(head[0] for head in heads), height, width


def _some_heads(files: list[Path], root: Path) -> dict[Path, tuple[int, int, int]]:
    """Return (C, H, W) of every file that can be read."""
    stats = ((file, file.stat()) for file in files)
    heads = {file: _head(file, s.st_size, s.st_mtime_ns) for file, s in stats}
    readable = {file: head for file, head in heads.items() if head}
    if not readable:
        raise InputError(f"none of the {len(files)} pictures of {root} can be read")
    return readable


@lru_cache(maxsize=1 << 18)
def _head(file: Path, size: int, changed: int) -> tuple[int, int, int] | None:
    """Read a head once for as long as a file has this size and time; None if it cannot be read."""
    try:
        return _decode.header(file)
    except InputError:
        return None


def _warn(skipped: tuple[str, ...], root: Path) -> None:
    if skipped:
        first = "; ".join(skipped[:3]) + (" ..." if len(skipped) > 3 else "")
        count = f"{len(skipped)} file" + ("s" if len(skipped) > 1 else "")
        warnings.warn(f"skipped {count} of {root}: {first}", UserWarning, stacklevel=3)


def _labels(
    kept: list[Path], everything: list[Path], root: Path
) -> tuple[torch.Tensor | None, tuple[str, ...]]:
    """Return a number a file and the classes, if the folder is sorted into sub-folders."""
    depth = 1 if _has_split_folders(root) else 0
    parts = [file.relative_to(root).parts[depth:] for file in everything]
    classes = sorted({part[0] for part in parts if len(part) > 1})
    if len(classes) < 2 or any(len(part) < 2 for part in parts):
        return None, ()
    numbers = [classes.index(file.relative_to(root).parts[depth]) for file in kept]
    return torch.tensor(numbers), tuple(classes)


def _captions(kept: list[Path], root: Path) -> tuple[str, ...] | None:
    """Return the caption of every file, empty where none is given; None without captions."""
    table: dict[Path, str] = {}
    for source in sorted(root.rglob(CAPTIONS)):
        table.update(_caption_lines(source))
    return tuple(table.get(file, "") for file in kept) if table else None


def _caption_lines(source: Path) -> Iterator[tuple[Path, str]]:
    for number, line in enumerate(source.read_text("utf-8").splitlines(), 1):
        if line.strip():
            entry = _caption(line, f"{source} line {number}")
            file = Path(os.path.normpath(source.parent / entry["file_name"]))
            if not file.is_file():
                raise InputError(f"{source} line {number} names {file.name}, which does not exist")
            yield file, entry["text"]


def _caption(line: str, where: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except json.JSONDecodeError as error:
        raise InputError(f"{where} is not JSON: {error}") from None
    keys = ("file_name", "text")
    if not isinstance(entry, dict) or not all(isinstance(entry.get(k), str) for k in keys):
        raise InputError(f'{where} must be {{"file_name": "...", "text": "..."}}, got {line[:80]}')
    return entry


def _shape(shape: tuple[int, ...]) -> tuple[int, int, int]:
    c, h, w = shape
    return c, h, w
