"""What the user sees: results on stdout, progress and messages on stderr."""

from __future__ import annotations

import contextlib
import inspect
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import typer


def say(text: str) -> None:
    """Write a line to stderr."""
    typer.echo(text, err=True)


def console(*, stderr: bool = True) -> Any:
    """Return a rich console on stderr or stdout, as it is now (tests exchange both)."""
    from rich.console import Console

    return Console(file=sys.stderr if stderr else sys.stdout, highlight=False, soft_wrap=False)


def table(rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table on stdout, the head first; a narrow or piped output loses no text."""
    from rich.table import Table
    from rich.text import Text

    screen = console(stderr=False)
    made = Table(title=title or None, title_justify="left", header_style="bold", box=None)
    for head in rows[0]:
        made.add_column(head, overflow="fold")
    for row in rows[1:]:
        made.add_row(*map(Text, row))
    if not screen.is_terminal:
        screen.width = max(screen.width, 200)
    screen.print(made)


class Clock:
    """The seconds that each part of a verb takes, shown while it runs."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time a part; on a terminal a spinner turns beside its name."""
        start = time.perf_counter()
        with waiting(name):
            yield
        self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Count seconds under a name."""
        self.seconds[name] = self.seconds.get(name, 0.0) + seconds


Told: TypeAlias = Callable[[int, int], None]


@contextlib.contextmanager
def waiting(text: str) -> Iterator[Told]:
    """Turn a spinner with the time elapsed while the block runs; elsewhere write one line.

    What is yielded may be called with (steps done, steps in all): a bar then shows them.
    """
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    screen = console()
    if not screen.is_terminal:
        say(f"{text} ...")
        yield lambda done, total: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as progress:
        task = progress.add_task(text, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def telling(run: Callable[..., Any], told: Told) -> dict[str, Told]:
    """Return ``progress=told`` as an option of a method, if the method has it."""
    return {"progress": told} if "progress" in inspect.signature(run).parameters else {}
