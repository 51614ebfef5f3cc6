"""``gouache doctor``: what machine this is, what gouache uses of it, and what is amiss."""

from __future__ import annotations

import platform
import time
from collections.abc import Iterator
from importlib import metadata, util
from typing import Any

import typer

from ._screen import say, table

SIDE, REPEATS = 1024, 5
BROKEN = 1


def doctor() -> None:
    """Tell what machine this is, how fast it multiplies, what is installed, and what is amiss.

    The exit code is 1 if something is broken.

    Example: gouache doctor
    """
    rows = [*_software(), *_processor(), *_devices(), *_extras(), *_cache(), *_weights()]
    table([["what", "found"], *([name, found] for name, found, _ in rows)])
    broken = [name for name, _, well in rows if not well]
    if broken:
        say(f"amiss: {', '.join(broken)}")
        raise typer.Exit(BROKEN)


Found = Iterator[tuple[str, str, bool]]


def _software() -> Found:
    import torch

    import gouache

    yield "gouache", gouache.__version__, True
    yield "python", f"{platform.python_version()} on {platform.platform(terse=True)}", True
    yield "torch", torch.__version__, True


def _processor() -> Found:
    import torch

    from gouache import train

    yield "threads", str(torch.get_num_threads()), True
    fast = train.has_bf16("cpu")
    yield "bfloat16 in hardware", "yes" if fast else "no: training uses float32", True
    yield "float32 matrices", f"{_rate(torch.float32):.0f} GFLOP/s", True
    if fast:
        yield "bfloat16 matrices", f"{_rate(torch.bfloat16):.0f} GFLOP/s", True


def _rate(dtype: Any) -> float:
    """Return the best of a few products of square matrices, in 1e9 operations a second."""
    import torch

    a = torch.ones(SIDE, SIDE, dtype=dtype)
    best = float("inf")
    for _ in range(REPEATS):
        start = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - start)
    return 2 * SIDE**3 / best / 1e9


def _devices() -> Found:
    import torch

    found = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
    found += ["Apple GPU (mps, not used)"] if torch.backends.mps.is_available() else []
    yield "GPUs", ", ".join(found) or "none: everything runs on the processor", True


def _extras() -> Found:
    """Report each extra of the package's own metadata, and how to install what is missing."""
    wanted = metadata.requires("gouache") or []
    for extra in metadata.metadata("gouache").get_all("Provides-Extra") or []:
        names = [line for line in wanted if f'extra == "{extra}"' in line.replace("'", '"')]
        missing = [name for name in map(_name, names) if not _installed(name)]
        mend = f"not installed: pip install 'gouache[{extra}]' (lacks {', '.join(missing)})"
        yield f"extra {extra}", mend if missing else "installed", True


def _name(requirement: str) -> str:
    head = requirement.partition(";")[0]
    return "".join(c if c.isalnum() or c in "-_." else " " for c in head).split()[0]


def _installed(name: str) -> bool:
    try:
        return bool(metadata.version(name))
    except metadata.PackageNotFoundError:
        return util.find_spec(name) is not None


def _cache() -> Found:
    from gouache import check
    from gouache.data import cache_folder

    try:
        yield "cache", f"{check.folder(cache_folder())}, writable", True
    except check.InputError as error:
        yield "cache", f"{error}; name another folder in GOUACHE_CACHE", False


def _weights() -> Found:
    from gouache import check, weights

    names = weights.names()
    if not names:
        yield "weights", "none ship with this build", True
    for name in names:
        try:
            weights.load(name)
            yield f"weights {name}", "sha256 as on its card", True
        except check.InputError as error:
            yield f"weights {name}", str(error), False
