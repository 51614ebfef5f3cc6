"""Numba behind one door: compiled once, kept on the disk.

Kernels lie in files ``_<name>_kernels.py``, which import numba and are imported by functions when
they are first called. A kernel takes float32 C-contiguous arrays, int32 indices and plain scalars,
so that it is compiled once; that it is, the logger ``gouache.patches`` is told. No kernel has
threads of its own, which would need a lock and die in a forked process: they run side by side
through :func:`spread`. Threads write to disjoint places, or to a number of strips that does not
depend on how many threads there are: the bytes of a result are the same for any number.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import logging
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numba
import torch
from numba.core import event
from numba.core.caching import FunctionCache, IndexDataCacheFile, NullCache
from numba.np import linalg

T = TypeVar("T")
LOG = logging.getLogger("gouache.patches")
LOST = "which cannot be kept (NUMBA_CACHE_DIR may name a folder for them)"
SHARED = ("_jit.py", "_lanes.py", "_rows.py")


class _Cache(FunctionCache):
    """Numba's cache, which forgets kernels when their file changes, or one that they share."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = (self._impl.locator.get_source_stamp(), _shared())
        self._cache_file = _Index(self._cache_path, self._impl.filename_base, stamp)


class _Index(IndexDataCacheFile):
    """An index of compiled kernels, empty where it names classes of ours that are no more."""

    def _load_index(self) -> dict[Any, Any]:
        try:
            return super()._load_index()
        except (AttributeError, ImportError):
            return {}


@cache
def _shared() -> str:
    """Return a hash of the files that kernels share."""
    files = (Path(__file__).with_name(name) for name in SHARED)
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


class _Teller(event.Listener):
    """Logs, once a process, that a kernel of ours is not in the cache and is being compiled."""

    def __init__(self) -> None:
        self.told = False

    def on_start(self, event: Any) -> None:
        kernel = event.data["dispatcher"]
        if kernel.py_func.__module__.startswith("gouache.") and not self.told:
            self.told = True
            lost = isinstance(kernel._cache, NullCache)
            LOG.info("compiling kernels, %s ...", LOST if lost else "once on this machine")

    def on_end(self, event: Any) -> None: ...


TELLER = _Teller()
event.register("numba:compile", TELLER)


def _without_scipy() -> None:
    """Load numba's array functions without scipy.linalg, a third of a second.

    They import it to learn whether there is a BLAS for products of matrices in kernels; ours have
    none, and a kernel that has one imports it itself.
    """
    check, linalg.ensure_blas = linalg.ensure_blas, lambda: None
    try:
        importlib.import_module("numba.np.arraymath")
    finally:
        linalg.ensure_blas = check


_without_scipy()


def kernel(
    *,
    inline: bool = False,
    reassociate: bool = False,
    allocates: bool = True,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function at its first call, and keep the result beside the source if possible.

    Args:
        inline: whether LLVM should put the function into its callers.
        reassociate: whether a sum may be taken in another order, so that it vectorises; the order
            is one and the same for a compiled function, but processors may differ.
        allocates: whether it makes arrays. Where it does not, none is counted: without this, each
            array taken from a tuple or cut from another costs two atomic operations.
    """

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
        options["no_cfunc_wrapper"] = True  # what only C would call costs a tenth of the time
        if not allocates:
            options["_nrt"] = False
        if inline:
            options["forceinline"] = True
        if reassociate:
            options["fastmath"] = {"reassoc", "contract", "nsz"}
        found: Any = numba.njit(**options)(function)
        # No folder for the cache can be written; files in an archive; a numba of another make.
        with contextlib.suppress(RuntimeError, OSError, AttributeError):
            found._cache = _Cache(function)
        return found

    return compiled


def spread(task: Callable[[int], T], count: int) -> Iterator[T]:
    """Yield ``task(0)``, ..., ``task(count - 1)``, worked on by as many threads as torch uses.

    Kernels release the interpreter, so that threads of Python run side by side. No more than a few
    results wait.
    """
    workers = min(torch.get_num_threads(), count)
    if workers < 2 or getattr(WORKING, "now", False):
        yield from map(task, range(count))
        return
    pool, ahead = _pool(os.getpid(), torch.get_num_threads()), deque[Future[T]]()
    try:
        for k in range(count):
            ahead.append(pool.submit(task, k))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        running = [left for left in ahead if not left.cancel()]
        if not getattr(WORKING, "now", False):  # a worker may close what another thread has left
            wait(running)


WORKING = threading.local()


@lru_cache(maxsize=1)
def _pool(process: int, workers: int) -> ThreadPoolExecutor:
    """Return the threads of a process, of which a forked one has none; they do not spread again."""
    del process
    return ThreadPoolExecutor(workers, initializer=lambda: setattr(WORKING, "now", True))
