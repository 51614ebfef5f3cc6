"""``gouache stylize``: show a picture in the patches of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._compiling import compiling
from ._options import Seed, Threads, using
from ._picture import read, save
from ._screen import telling, waiting

if TYPE_CHECKING:
    from torch import Tensor


def stylize(
    content: Annotated[Path, typer.Argument(help="The picture whose content is shown.")],
    style: Annotated[Path, typer.Argument(help="The picture of whose patches it is made.")],
    out: Annotated[Path, typer.Argument(help="The picture to write.")],
    method: Annotated[
        str, typer.Option(help="Such as patch_stylize; see: gouache list methods.")
    ] = "patch_stylize",
    lead: Annotated[
        float,
        typer.Option(help="How firmly the content leads: 0.1 shows more style, 2 its details."),
    ] = 0.5,
    keep_colors: Annotated[
        bool, typer.Option("--keep-colors", help="Keep the content's colours.")
    ] = False,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Show a picture in the patches of another, without training.

    Strokes keep their size in pixels: resize the style to make them smaller. Pictures of
    16 bits stay so in PNG and TIFF.

    Example: gouache stylize photo.png painting.png out.png --lead 0.3
    """
    from gouache import check, image, random, registry

    check.new_file(out, suffixes=image.WRITTEN)
    check.between(lead, "lead", 0)
    run = registry.find("stylize", method)
    (shown, bits), (strokes, _) = read(content), read(style)
    words = f"{method} of {shown.shape[-1]}x{shown.shape[-2]} pixels"
    with using(threads), compiling(), waiting(words) as told:
        options = {"lead": lead, "keep_colors": keep_colors, "rng": random.generator(seed)}
        made: Tensor = run(shown, strokes, **options, **telling(run, told))
    save(made, out, bits)
    typer.echo(out)
