"""Numba behind one door: compiled once, kept on the disk, one call at a time.

Kernels lie in files ``_<name>_kernels.py``, which import numba and are imported by functions when
they are first called. A kernel takes float32 C-contiguous arrays, int32 indices and plain scalars,
so that it is compiled once. Threads write to disjoint places, or to a number of strips that does
not depend on how many threads there are: the bytes of a result are the same for any number.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numba
import torch

_LOCK = threading.RLock()
_MOST = numba.get_num_threads()


def kernel(
    *, parallel: bool = False, inline: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Compile a function at its first call, and keep the result beside the source if possible.

    Args:
        parallel: whether ``prange`` runs on several threads.
        inline: whether LLVM should put the function into its callers.
    """

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        options: dict[str, Any] = {"nogil": True, "parallel": parallel, "error_model": "numpy"}
        if inline:
            options["forceinline"] = True
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # no folder for the cache can be written
            return numba.njit(cache=False, **options)(function)

    return compiled


@contextlib.contextmanager
def session() -> Iterator[None]:
    """Hold the process's lock, with as many threads as torch uses; call kernels in here."""
    with _LOCK:
        numba.set_num_threads(max(1, min(torch.get_num_threads(), _MOST)))
        yield
