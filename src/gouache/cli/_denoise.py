"""``gouache denoise``: take noise out of a picture, or out of every picture of a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._compiling import compiling
from ._folders import each_picture
from ._options import Seed, Threads, noise_level, using
from ._picture import read, save
from ._screen import Told, say, telling, waiting

if TYPE_CHECKING:
    from torch import Tensor


BEST = "bm3d"


class Noise(StrEnum):
    """What disturbed a picture."""

    gaussian = "gaussian"
    poisson = "poisson"
    impulse = "impulse"


def denoise(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A noisy picture, or a folder.")],
    out: Annotated[Path, typer.Argument(help="The picture or the folder to write.")],
    sigma: Annotated[
        str, typer.Option(help="Noise, pixels being in [0, 1]: auto, 0.1, or 25/255.")
    ] = "auto",
    method: Annotated[
        str | None,
        typer.Option(help="Such as nlmeans; see: gouache list methods.", show_default=BEST),
    ] = None,
    noise: Annotated[
        Noise, typer.Option(help="Gaussian; poisson: of counted photons; impulse: salt and pepper.")
    ] = Noise.gaussian,
    peak: Annotated[
        float | None, typer.Option(help="Of poisson: photons at white; estimated if not given.")
    ] = None,
    explain: Annotated[
        str | None, typer.Option(metavar="X,Y", help="Draw where this pixel's value comes from.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Denoise a picture, or every picture of a folder into a new one.

    Without --sigma the noise level of each picture is estimated, and said. Impulses are filled from
    patches, without --method. Pictures of 16 bits stay so in PNG and TIFF; transparent parts are
    laid over white. --explain writes OUT-explained.png too.

    Example: gouache denoise noisy.png clean.png --sigma 25/255 --method nlmeans
    """
    from gouache import check, image, registry

    job = _Job(noise, registry.find("denoise", method or BEST), noise_level(sigma), peak, seed)
    if noise is not Noise.gaussian and (sigma != "auto" or explain is not None):
        raise check.InputError(f"--sigma and --explain are for gaussian noise, not for {noise}")
    if noise is not Noise.poisson and peak is not None:
        raise check.InputError(f"--peak is for poisson noise, not for {noise}")
    if noise is Noise.impulse and method is not None:
        raise check.InputError("impulses are filled from patches; leave out --method")
    if source.is_dir():
        if explain is not None:
            raise check.InputError(f"--explain takes one picture, and {source} is a folder")
        with using(threads), compiling():
            each_picture(source, out, job.write)
    else:
        check.new_file(out, suffixes=image.WRITTEN)
        with using(threads), compiling():
            _one(job, source, out, explain)
    typer.echo(out)


@dataclass(frozen=True)
class _Job:
    """What disturbed the pictures, a filter of the role ``denoise``, and the noise, if known."""

    noise: Noise
    filtered: Callable[..., Tensor]
    sigma: float | None
    peak: float | None
    seed: int

    def level(self, noisy: Tensor) -> float | None:
        """Return the noise level of a picture; None where it is not Gaussian noise."""
        from gouache.patches import estimate_sigma

        if self.noise is not Noise.gaussian:
            return None
        return float(estimate_sigma(noisy)) if self.sigma is None else self.sigma

    def run(self, noisy: Tensor, level: float | None, told: Told | None = None) -> Tensor:
        """Denoise a picture; ``told`` hears of (steps done, steps in all)."""
        from gouache import patches, random

        if self.noise is Noise.poisson:
            return patches.poisson(noisy, self.peak, method=self.filtered.__name__)
        if self.noise is Noise.impulse:
            return patches.impulse(noisy, rng=random.generator(self.seed))
        options = {} if told is None else telling(self.filtered, told)
        return self.filtered(noisy, level, **options)

    def write(self, file: Path, target: Path) -> str:
        """Denoise one of many pictures, and return what to tell."""
        noisy, bits = read(file)
        level = self.level(noisy)
        save(self.run(noisy, level), target, bits)
        return f"{self.noise} noise" if level is None else _told(level)


def _one(job: _Job, source: Path, out: Path, explain: str | None) -> None:
    """Denoise one picture, and explain a pixel of it if that is asked for."""
    from gouache import check, image, patches

    beside = out.with_name(f"{out.stem}-explained.png")
    explained = None if explain is None else _explainer(job.filtered.__name__)
    at = None if explain is None else _point(explain)
    if explained:
        check.new_file(beside)
    noisy, bits = read(source)
    level = job.level(noisy)
    if job.sigma is None and level is not None:
        say(_told(level))
    name = "impulse" if job.noise is Noise.impulse else job.filtered.__name__
    with waiting(f"{name} of {noisy.shape[-1]}x{noisy.shape[-2]} pixels") as told:
        found = explained(noisy, level, at=at) if explained else None
        clean = job.run(noisy, level, told)
    save(clean, out, bits)
    if found is not None:
        image.save(patches.draw(found, noisy), beside)
        say(f"{beside} shows where the pixel {explain} comes from")


def _told(level: float) -> str:
    return f"sigma {level:.4f}, that is {255 * level:.1f}/255"


def _explainer(name: str) -> Callable[..., Any]:
    """Return what explains a filter."""
    from gouache import check, registry

    known = [entry.name.removeprefix("explain_") for entry in registry.entries("explain")]
    if name not in known:
        able = " and ".join(sorted(known))
        raise check.InputError(f"{name} cannot be explained; {able} can: pass --method {known[0]}")
    return registry.find("explain", f"explain_{name}")


def _point(text: str) -> tuple[int, int]:
    """Read ``X,Y``."""
    from gouache import check

    words = text.split(",")
    if len(words) != 2 or not all(word.strip().isdecimal() for word in words):
        raise check.InputError(
            f'--explain takes a pixel X,Y, from 0,0 at the top left, such as 120,80, got "{text}"'
        )
    return int(words[0]), int(words[1])
