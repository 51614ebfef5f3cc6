"""``gouache recolor``: give a picture the colours of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Seed, Threads, using
from ._picture import read, save
from ._screen import telling, waiting

if TYPE_CHECKING:
    from torch import Tensor


def recolor(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The picture to recolour.")],
    palette: Annotated[Path, typer.Argument(help="The picture whose colours it is to have.")],
    out: Annotated[Path, typer.Argument(help="The picture to write.")],
    method: Annotated[
        str, typer.Option(help="Such as linear_color_transfer; see: gouache list methods.")
    ] = "color_transport",
    strength: Annotated[
        float, typer.Option(help="Share of the way that each colour goes, from 0 to 1.")
    ] = 1.0,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Give a picture the colours of another, by optimal transport.

    What is in the pictures does not matter, nor do their sizes. Pictures of 16 bits stay so
    in PNG and TIFF.

    Example: gouache recolor photo.png painting.png out.png --strength 0.8
    """
    from gouache import check, image, random, registry

    check.new_file(out, suffixes=image.WRITTEN)
    check.between(strength, "strength", 0, 1)
    transfer = registry.find("recolor", method)
    (given, bits), (wanted, _) = read(source), read(palette)
    with using(threads), waiting(f"{method} of {given.shape[-1]}x{given.shape[-2]} pixels") as told:
        options = {"strength": strength, "rng": random.generator(seed), **telling(transfer, told)}
        recoloured: Tensor = transfer(given, wanted, **options)
    save(recoloured, out, bits)
    typer.echo(out)
