"""Training as the user sees it: a bar with loss, speed and time left, and preview grids."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ._screen import console, say

if TYPE_CHECKING:
    from gouache.recipes import Plan
    from gouache.train import Step

PREVIEW = 0x9E
SILENT = 10.0


def train(plan: Plan, folder: Path, *, resume: bool, preview: int) -> Step | None:
    """Carry out a plan with a live bar, and return the last step.

    Every ``preview`` steps (0: never) a grid is drawn from the averaged weights into
    ``previews/``, with a generator of its own, so that training is the same with and without.
    """
    from gouache import recipes

    last = None
    with _Bar(plan) as bar:
        for last in recipes.run(plan, folder, resume=resume):
            if last.rank:
                continue
            bar.show(last)
            if preview and (last.number % preview == 0 or last.number == plan.train.steps):
                write_preview(plan, last, folder / "previews")
    return last


def write_preview(plan: Plan, step: Step, folder: Path) -> None:
    """Draw a grid of samples of the averaged weights, if the model draws images."""
    from gouache import check, image, random
    from gouache.contracts import GenerativeModel
    from gouache.samples import draw

    if not isinstance(step.average, GenerativeModel):
        return
    side = max(plan.dataset.shape[1:])
    columns = min(10, len(plan.dataset.classes)) or 8
    rows = 4 if side <= 16 else 2
    seed = random.derive(plan.train.seed, PREVIEW)
    drawn = draw(step.average, rows * columns, seed=seed)
    scale = max(1, round(32 / side))
    page = image.grid(drawn.images, columns, pad=2, scale=scale)
    image.save(page, check.folder(folder) / f"step-{step.number:06d}.png")


class _Bar:
    """A progress bar on a terminal; elsewhere a line every few seconds."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.progress = _progress()
        self.task: Any = None
        self.begin: Step | None = None
        self.spoken = time.monotonic()

    def __enter__(self) -> _Bar:
        if self.progress is not None:
            self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress is not None:
            self.progress.stop()

    def show(self, step: Step) -> None:
        if self.begin is None:
            images, (channels, height, width) = len(self.plan.dataset), self.plan.dataset.shape
            say(
                f"training {self.plan.recipe}: {self.plan.train.steps} steps on {images} images of "
                f"{width}x{height} pixels in {'grey' if channels == 1 else 'colour'}"
            )
            self.begin = step
        loss = " ".join(f"{value:.4f}" for value in step.losses.values())
        speed = self._speed(step)
        if self.progress is not None:
            if self.task is None:
                self.task = self.progress.add_task(
                    "training", total=self.plan.train.steps, loss=loss, speed=speed
                )
            self.progress.update(self.task, completed=step.number, loss=loss, speed=speed)
        elif time.monotonic() - self.spoken > SILENT or step.number == self.plan.train.steps:
            self.spoken = time.monotonic()
            say(f"step {step.number}/{self.plan.train.steps}  loss {loss}  {speed}")

    def _speed(self, step: Step) -> str:
        assert self.begin is not None
        seconds = step.seconds - self.begin.seconds
        images = (step.number - self.begin.number) * self.plan.train.batch
        rate = images / seconds if seconds > 0 else math.nan
        return f"{rate:.0f} images/s" if math.isfinite(rate) else "..."


def _progress() -> Any:
    from rich import progress as rich

    screen = console()
    if not screen.is_terminal:
        return None
    return rich.Progress(
        rich.TextColumn("{task.description}"),
        rich.BarColumn(bar_width=None),
        rich.MofNCompleteColumn(),
        rich.TextColumn("loss {task.fields[loss]}"),
        rich.TextColumn("{task.fields[speed]}"),
        rich.TimeRemainingColumn(),
        console=screen,
    )


def interrupted(folder: Path, resume: Callable[[], str]) -> None:
    """Say, after Ctrl-C, what is kept and how to go on."""
    from gouache import train as training

    kept = training.checkpoints(folder)
    if kept:
        number = int(kept[-1].name.partition("-")[2])
        say(f"stopped; the checkpoint of step {number} is kept. Go on with: {resume()}")
    else:
        say("stopped before the first checkpoint; nothing to resume")
