"""Decoded pictures on the disk: one folder a key, written whole or not at all.

A key's folder holds ``images.u8``, the rows ``(N, C, H, W)`` of uint8 and nothing else, and
``index.json``: shape, the files kept, the files that could not be read. It appears by one rename,
so that of two processes that decode at once the slower finds the work done.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from gouache import check, image
from gouache.check import InputError

from ._fit import Fit, fit_to

ROWS, INDEX = "images.u8", "index.json"
PARTIAL, STALE = ".partial-", 24 * 3600


@dataclass(frozen=True)
class Decoded:
    """Pictures of one shape, on the disk.

    Attributes:
        rows: memory map ``(N, C, H, W)``, uint8, read-only.
        kept: the number of each row's file in the list that was asked for.
        skipped: why each other file could not be read.
    """

    rows: np.memmap
    kept: tuple[int, ...]
    skipped: tuple[str, ...]


def cache_folder() -> Path:
    """Return the folder of caches: ``GOUACHE_CACHE``, or the platform's place for a user's."""
    chosen = os.environ.get("GOUACHE_CACHE")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData/Local")) / "gouache/cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/gouache"
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "gouache"


def read(key: str) -> Decoded | None:
    """Return what lies in the cache under ``key``; None if nothing does, or not all of it."""
    place = cache_folder() / "folders" / key
    try:
        index = json.loads((place / INDEX).read_text("utf-8"))
        rows = np.memmap(place / ROWS, np.uint8, "r", 0, tuple(index["shape"]))
    except (OSError, ValueError, KeyError):
        return None
    return Decoded(rows, tuple(index["kept"]), tuple(index["skipped"]))


def write(key: str, files: list[Path], shape: tuple[int, int, int], fit: Fit) -> Decoded:
    """Decode ``files`` into the cache under ``key``; those that cannot be read are skipped.

    Raises:
        InputError: no file can be read, or the cache cannot be written.
    """
    parent = check.folder(cache_folder() / "folders")
    _drop_stale(parent)
    temporary = Path(tempfile.mkdtemp(dir=parent, prefix=PARTIAL))
    try:
        _decode(temporary, files, shape, fit)
        _publish(temporary, parent / key)
    except OSError as error:
        raise InputError(
            f"cannot write the cache {parent}: {error.strerror or error}; "
            "make room there, or name another folder in GOUACHE_CACHE"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    found = read(key)
    if found is None:
        raise InputError(f"the cache {parent} changes as it is read; set GOUACHE_CACHE elsewhere")
    return found


def _drop_stale(parent: Path) -> None:
    """Remove what processes that were killed more than a day ago left half decoded."""
    for place in parent.glob(f"{PARTIAL}*"):
        with contextlib.suppress(OSError):
            newest = max(path.stat().st_mtime for path in (place, *place.iterdir()))
            if newest < time.time() - STALE:
                shutil.rmtree(place)


def _decode(place: Path, files: list[Path], shape: tuple[int, int, int], fit: Fit) -> None:
    """Write the rows and the index; what is in memory at once is a few pictures."""
    kept, skipped = [], []
    with open(place / ROWS, "wb") as stream:
        for number, result in enumerate(_pictures(files, shape, fit)):
            if isinstance(result, InputError):
                skipped.append(str(result))
            else:
                kept.append(number)
                stream.write(result.numpy().tobytes())
        stream.flush()
        os.fsync(stream.fileno())
    if not kept:
        raise InputError(f"none of {len(files)} pictures can be read; the first: {skipped[0]}")
    index = {"shape": [len(kept), *shape], "kept": kept, "skipped": skipped}
    (place / INDEX).write_text(json.dumps(index), "utf-8")


def _pictures(
    files: list[Path], shape: tuple[int, int, int], fit: Fit
) -> Iterable[Tensor | InputError]:
    """Yield each file's picture, or why there is none, in order; two in work a processor."""

    def one(file: Path) -> Tensor | InputError:
        try:
            return fit_to(image.load(file), shape, fit)
        except InputError as error:
            return error

    ahead = 2 * (os.cpu_count() or 1)
    with ThreadPoolExecutor(ahead // 2) as pool:
        for start in range(0, len(files), ahead):
            yield from pool.map(one, files[start : start + ahead])


def _publish(temporary: Path, place: Path) -> None:
    """Rename to the final place; a whole cache that is there already is as good."""
    if place.exists() and read(place.name) is None:
        shutil.rmtree(place)
    try:
        temporary.rename(place)
    except OSError:
        if read(place.name) is None:
            raise
