"""A run's page, written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gouache import check
from gouache.pretrained import write_text

from ._chapter import Chapter
from ._gather import Report, Stage, check_run, gather, silent
from ._render import render

NAME = "report.html"


def write(
    run_folder: str | Path,
    out: str | Path | None = None,
    *,
    n: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    stage: Stage = silent,
    chapters: Sequence[Chapter] = (),
) -> Report:
    """Write the page of a run, whole or not at all, and return what it shows.

    Args:
        run_folder: made by ``gouache.recipes.run``; its ``samples/`` are drawn anew.
        out: the page; by default ``report.html`` in the run's folder.
        n: how many samples to draw and judge; see :func:`gather`.
        seed: of the samples.
        device: where they are drawn; see :func:`gather`.
        stage: a context manager entered around each part of the work, with its name.
        chapters: further parts of the page.

    Raises:
        InputError: no run is there, or ``out`` cannot be written.

    Example:
        >>> import tempfile
        >>> from gouache import recipes, report
        >>> plan = recipes.digits_diffusion().override({"steps": "2", "widths": "8,8"})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     steps = list(recipes.run(plan, folder))
        ...     report.write(folder, n=20).samples
        20
    """
    page = Path(run_folder) / NAME if out is None else Path(out)
    check_run(run_folder)
    check.new_file(page, suffixes=(".html",))
    report = gather(run_folder, n=n, seed=seed, device=device, stage=stage)
    with stage("writing the page"):
        write_text(render(report, chapters), page)
    return report
