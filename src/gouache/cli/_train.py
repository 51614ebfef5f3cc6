"""``gouache train``: carry out a recipe."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Device, Threads, device_name, using
from ._screen import say

if TYPE_CHECKING:
    from gouache.recipes import Plan

RUNS = Path("runs")


def train(
    recipe: Annotated[str, typer.Argument(help="What to train; see: gouache list recipes.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[KEY=VALUE]...", help="Settings of the training or the model."),
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A bundled name, a folder of images, or hf:NAME.")
    ] = None,
    size: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Pixels a side to train at.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the run; by default runs/RECIPE-<n>.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.")
    ] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    device: Device = None,
    threads: Threads = None,
    preview: Annotated[
        int, typer.Option(min=0, help="Steps between preview grids; 0 draws none.")
    ] = 250,
) -> None:
    """Train a model: a recipe, on images of yours or on bundled ones.

    The run is a folder with what was asked, checkpoints, log, previews and the trained model.
    Ctrl-C keeps the last checkpoint, and --resume goes on from it to the very same end; on resume
    the settings are those of the run.

    Example: gouache train diffusion --data my_photos --size 32 --out run steps=2000 lr=5e-4
    """
    from . import _live

    values = _values(settings or [], seed=seed, accelerator=device and device_name(device))
    with using(threads):
        folder = out or _folder(recipe, resume)
        plan = _resumed(recipe, folder, data, size) if resume else _planned(recipe, data, size)
        plan = plan.override(values)
        _check_processes(plan, out)
        try:
            last = _live.train(plan, folder, resume=resume, preview=preview)
        except KeyboardInterrupt:
            _live.interrupted(folder, lambda: _again(recipe, folder, threads))
            raise
    if last is None:
        say(f"{folder} is trained to its last step already")
    if last is None or last.rank == 0:
        say(f"next: gouache sample {folder} samples.png -n 64; gouache report {folder}")
        typer.echo(folder)


def _again(recipe: str, folder: Path, threads: int | None) -> str:
    """Return the command that goes on with this run."""
    words = ["gouache", "train", recipe, "--resume", "--out", str(folder)]
    return shlex.join([*words, *(["--threads", str(threads)] if threads else [])])


def _values(settings: list[str], **options: object) -> dict[str, str]:
    from gouache.check import InputError

    values = {}
    for text in settings:
        key, found, value = text.partition("=")
        if not found or not key:
            raise InputError(f'a setting is key=value, such as steps=500, got "{text}"')
        values[key] = value
    for key, value in options.items():
        if value is not None and key in values:
            raise InputError(f"{key} is given twice: as {key}={values[key]} and as an option")
    return values | {key: str(value) for key, value in options.items() if value is not None}


def _planned(recipe: str, data: str | None, size: int | None) -> Plan:
    from gouache import registry

    make = registry.find("recipe", recipe)
    return make(size=size) if data is None else make(data, size=size)


def _resumed(recipe: str, folder: Path, data: str | None, size: int | None) -> Plan:
    """Return the plan of the run in ``folder``; what is asked besides must agree with it."""
    from gouache import recipes, registry
    from gouache.check import InputError
    from gouache.data import resolve
    from gouache.train import checkpoints

    if not checkpoints(folder):
        raise InputError(f"nothing to resume: {folder} holds no checkpoint; leave out --resume")
    recipes.read_run(folder)
    plan = recipes.load_plan(folder)
    name = registry.find("recipe", recipe).__name__
    for key, asked, begun in (
        ("recipe", name, plan.recipe),
        ("--data", data and resolve(data), plan.source),
        ("--size", size, plan.size),
    ):
        if asked is not None and asked != begun:
            raise InputError(
                f"{folder} was begun with {key} {begun}, not {asked}; "
                "resume it as it was, or start a new --out"
            )
    return plan


def _folder(recipe: str, resume: bool) -> Path:
    """Return the folder of the newest run of a recipe, or of the one after it."""
    from gouache import registry

    name = registry.find("recipe", recipe).__name__
    taken = [
        int(path.name.rpartition("-")[2]) for path in RUNS.glob(f"{name}-*") if _numbered(path)
    ]
    return RUNS / f"{name}-{max(taken, default=0) + (not resume)}"


def _numbered(path: Path) -> bool:
    return path.name.rpartition("-")[2].isdecimal()


def _check_processes(plan: Plan, out: Path | None) -> None:
    """Check that this machine has the device, and that several processes share a folder."""
    from gouache.check import InputError

    device_name(plan.train.accelerator)
    if plan.train.devices > 1 and out is None:
        raise InputError("a run of several processes needs --out, the one folder they share")
