"""The program ``gouache``: its verbs, and what becomes of a mistake.

Every verb lies in a file of its own that imports what is heavy inside its function, so that help,
``--version`` and ``list`` answer at once. A mistake of the user is one line on stderr and exit
code 2; with ``GOUACHE_DEBUG=1`` its traceback is shown.
"""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Annotated, Any

import typer

import gouache

from . import (
    _demo,
    _denoise,
    _doctor,
    _evaluate,
    _inpaint,
    _list,
    _recolor,
    _report,
    _restore,
    _sample,
    _stylize,
    _texture,
    _train,
    _variations,
)
from ._screen import say

# Read when torch starts its threads: on a busy machine they otherwise spin for each other, and a
# training step takes four times as long.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

INTERRUPTED, USAGE = 130, 2
# What torch says when it cannot have memory: on a processor, on a GPU, and of more than 2^63 bytes.
TOO_LARGE = (
    "can't allocate memory",
    "not enough memory",
    "out of memory",
    "Storage size calculation overflowed",
)
# What click raises for a mistake in the arguments; typer carries a click of its own since 0.26.
ClickException: Any = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="gouache",
    help="Image generative models at laptop scale: train, sample, judge and report, offline.",
    epilog="Start with: gouache demo",
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(_demo.demo)
app.command("denoise")(_denoise.denoise)
app.command("restore")(_restore.restore)
app.command("recolor")(_recolor.recolor)
app.command("inpaint")(_inpaint.inpaint)
app.command("texture")(_texture.texture)
app.command("variations")(_variations.variations)
app.command("stylize")(_stylize.stylize)
app.command("train")(_train.train)
app.command("sample")(_sample.sample)
app.command("evaluate")(_evaluate.evaluate)
app.command("report")(_report.report)
app.command("list")(_list.show)
app.command("doctor")(_doctor.doctor)


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Image generative models at laptop scale: train, sample, judge and report, offline."""
    if version:
        typer.echo(f"gouache {gouache.__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the verb that the arguments name, and return the exit code."""
    command = typer.main.get_command(app)
    with warnings.catch_warnings():
        warnings.showwarning = _warn
        try:
            code = command.main(
                args=None if arguments is None else list(arguments),
                prog_name="gouache",
                standalone_mode=False,
            )
            return code if isinstance(code, int) else 0
        except (KeyboardInterrupt, typer.Abort):
            return INTERRUPTED
        except ClickException as error:
            return _refuse(error, f"{error.format_message()} (gouache --help)")
        except Exception as error:
            if not _is_users(error):
                raise
            return _refuse(error, _told(error))


def _refuse(error: Exception, text: str) -> int:
    if os.environ.get("GOUACHE_DEBUG") == "1":
        traceback.print_exception(error)
    say(f"error: {' '.join(text.split())}")
    return USAGE


def _is_users(error: Exception) -> bool:
    """Tell whether this is a mistake of the user: bad input, or what the system refuses."""
    check = sys.modules.get("gouache.check")
    return (
        isinstance(error, OSError)
        or (check is not None and isinstance(error, check.InputError))
        or _is_memory(error)
    )


def _is_memory(error: Exception) -> bool:
    """Tell whether memory ran out; of torch's errors only the text tells."""
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in TOO_LARGE)
    return isinstance(error, MemoryError)


def _told(error: Exception) -> str:
    if _is_memory(error):
        return (
            "not enough memory for what was asked; ask for less: a smaller --size, -n or batch, or "
            "narrower widths"
        )
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    return str(error)


def _warn(message: Warning | str, *_: Any, **__: Any) -> None:
    say(f"warning: {message}")
