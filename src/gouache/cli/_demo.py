"""``gouache demo``: the tour, from real handwriting to a report."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._compiling import compiling
from ._options import Device, Threads, device_name, using
from ._patch_tour import patch_tour
from ._report import PAGE
from ._screen import Clock, say, table

if TYPE_CHECKING:
    from gouache.recipes import Plan

# So small a network gains a seventh from a second thread; but oneDNN's gradients of weights wait
# for all threads by spinning: where another program holds a core, two threads are 50 times slower.
THREADS = 1
QUICK = {"steps": "200", "checkpoint_every": "200"}


def demo(
    out: Annotated[Path, typer.Option(help="Folder of the run.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few seconds of training: worse digits, same tour.")
    ] = False,
    device: Device = None,
    threads: Threads = THREADS,
) -> None:
    """Train a diffusion model on real handwriting, sample it, judge it, and write a report.

    The report has a chapter on what patches of one image can do, without training.

    A second call with the same folder finishes what is left to do.

    Example: gouache demo --out demo
    """
    import time

    from gouache import measure, recipes, report

    from . import _live

    clock, start, where = Clock(), time.perf_counter(), device_name(device)
    settings = {"seed": str(seed), **(QUICK if quick else {})}
    settings |= {"accelerator": where} if device else {}
    with using(threads):
        plan = recipes.digits_diffusion().override(settings)
        try:
            _train(plan, out, clock)
        except KeyboardInterrupt:
            _live.interrupted(out, lambda: _again(out, seed, quick, threads, device))
            raise
        with clock.part("patches"), compiling():
            chapters = [patch_tour(seed)]
        given = {"n": 200 if quick else 1000, "seed": seed, "device": where}
        made = report.write(out, out / PAGE, stage=clock.part, chapters=chapters, **given)
    clock.add("in all", time.perf_counter() - start)
    table(measure.table(made.scores), "What the samples are worth")
    table([["part", "seconds"], *([k, f"{v:.1f}"] for k, v in clock.seconds.items())])
    say(f"look at the report: open {out / PAGE} in a browser")
    typer.echo(out / PAGE)


def _again(
    out: Path, seed: int, quick: bool, threads: int | None, device: str | None = None
) -> str:
    """Return the command that goes on with this tour."""
    words = ["gouache", "demo", "--out", str(out), "--seed", str(seed)]
    words += ["--quick"] if quick else []
    words += ["--device", device] if device else []
    return shlex.join([*words, *(["--threads", str(threads)] if threads else [])])


def _train(plan: Plan, out: Path, clock: Clock) -> None:
    """Train, or go on with a run that was begun, or leave a finished one as it is."""
    import time

    from gouache.train import checkpoints

    from . import _live

    start = time.perf_counter()
    _live.train(plan, out, resume=bool(checkpoints(out)), preview=250)
    clock.add("training and previews", time.perf_counter() - start)
