"""``gouache report``: write the page of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ._options import Device, Seed, Threads, device_name, using
from ._screen import Clock, say

PAGE = "report.html"


def report(
    run: Annotated[Path, typer.Argument(help="The folder of a run.")],
    out: Annotated[Path | None, typer.Option(help="The page; by default RUN/report.html.")] = None,
    n: Annotated[
        int | None, typer.Option("-n", "--n", help="How many images to draw and judge.")
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Draw from a run, judge what was drawn, and write one self-contained HTML page.

    Example: gouache report run --out run.html
    """
    from gouache import report as reports

    clock, page, where = Clock(), out or run / PAGE, device_name(device)
    with using(threads):
        reports.write(run, page, n=n, seed=seed, device=where, stage=clock.part)
    say(", ".join(f"{name} {seconds:.1f} s" for name, seconds in clock.seconds.items()))
    typer.echo(page)
