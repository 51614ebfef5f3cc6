"""Tells the user, while it happens, that kernels are compiled."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator

from ._screen import say


class _Saying(logging.Handler):
    """Writes what is logged to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """Run the block; the first time a kernel of ``gouache.patches`` is compiled, say so."""
    logger, handler = logging.getLogger("gouache.patches"), _Saying()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
