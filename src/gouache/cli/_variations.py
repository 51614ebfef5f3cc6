"""``gouache variations``: other pictures made of the patches of one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._compiling import compiling
from ._folders import whole
from ._options import PixelSize, Seed, Threads, pixel_size, using
from ._picture import read, save
from ._screen import Told, say, waiting

if TYPE_CHECKING:
    from torch import Tensor


def variations(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The picture to vary.")],
    out: Annotated[Path, typer.Argument(help="A picture (.png) for a grid, else a folder.")],
    n: Annotated[int, typer.Option("-n", "--n", help="How many pictures.")] = 8,
    size: PixelSize = None,
    method: Annotated[str, typer.Option(help="Such as gpdm; see: gouache list methods.")] = "gpnn",
    noise: Annotated[
        float | None,
        typer.Option(
            help="Added to the start when it is smallest, in units of IN's deviation; by default "
            "5, or 0 with --start."
        ),
    ] = None,
    start: Annotated[
        Path | None, typer.Option(help="A picture whose layout is taken; by default IN's own.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Make other pictures of the patches of one, as a folder of numbered PNGs or as one grid.

    Picture i depends on the seed and i, not on how many are made. With --size and --noise 0 the
    picture is fitted into another frame; with --start it takes the layout of another. Without
    --size a picture is as large as --start, else as IN.

    Example: gouache variations balloons.png out -n 8 --seed 1
    """
    from gouache import check, image, registry

    check.count(n, "n", 1, 10_000)
    grid = out.suffix.lower() in image.SUFFIXES
    if grid:
        check.new_file(out, suffixes=image.WRITTEN)
    else:
        check.new_folder(out)
    vary, shape = registry.find("variation", method), pixel_size(size)
    picture, bits = read(source)
    first = None if start is None else image.as_channels(read(start)[0], len(picture))
    options: dict[str, Any] = {"start": first, "noise": noise}
    if n > 1 and not (noise or (noise is None and first is None)):
        say(f"without --noise the {n} pictures differ little, if at all")
    with using(threads), compiling(), waiting(f"{n} of {method}") as told:
        made = _made(lambda **more: vary(picture, shape, **options, **more), n, seed, told)
        if grid:
            import torch

            save(image.grid(torch.stack(list(made)), pad=2), out, bits)
        else:
            _write(made, n, out, bits)
    say(f"{n} pictures, seed {seed}")
    typer.echo(out)


def _made(vary: Callable[..., Tensor], n: int, seed: int, told: Told) -> Iterator[Tensor]:
    """Yield the pictures one by one."""
    from gouache import random

    for i in range(n):
        rng = random.generator(random.derive(seed, i))
        yield vary(rng=rng, progress=lambda done, total, i=i: told(i * total + done, n * total))


def _write(made: Iterator[Tensor], n: int, out: Path, bits: int) -> None:
    """Write pictures into a folder, all or none."""
    digits = max(2, len(str(n - 1)))
    with whole(out) as folder:
        for i, picture in enumerate(made):
            save(picture, folder / f"{i:0{digits}}.png", bits)
