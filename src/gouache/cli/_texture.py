"""``gouache texture``: make a texture of any size from an example of it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._compiling import compiling
from ._options import PixelSize, Seed, Threads, pixel_size, using
from ._picture import read, save
from ._screen import say, waiting

if TYPE_CHECKING:
    from torch import Tensor

    from gouache.patches import Texture


def texture(
    exemplars: Annotated[
        list[Path], typer.Argument(metavar="EXEMPLAR", help="Pictures of the texture.")
    ],
    out: Annotated[Path, typer.Argument(help="The picture to write.")],
    size: PixelSize = None,
    method: Annotated[
        str, typer.Option(help="Such as quilting; see: gouache list methods.")
    ] = "texture_optimization",
    tileable: Annotated[
        bool, typer.Option("--tileable", help="Let it go on at its left where it ends at right.")
    ] = False,
    guide: Annotated[
        list[Path] | None,
        typer.Option(help="What is where in the exemplar: a picture as large; one for each."),
    ] = None,
    wish: Annotated[
        Path | None, typer.Option(help="What is to be where, told as in --guide; as large as OUT.")
    ] = None,
    copy_map: Annotated[
        Path | None, typer.Option(help="Write where in the exemplar every pixel comes from.")
    ] = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Make a texture of any size from pictures of it.

    Without --size it is as large as --wish, else as the first exemplar. The copy rate, said in the
    end, is the share of patches that stand in the exemplar word for word. In a copy map red is the
    column and green the row that a pixel comes from, both from 0 to the exemplar's last, blue the
    exemplar; black is no copy.

    Example: gouache texture bricks.png wall.png --size 1024x1024 --tileable
    """
    from gouache import check, image, random, registry

    for file in (out, copy_map):
        if file is not None:
            check.new_file(file, suffixes=image.WRITTEN)
    if copy_map == out:
        raise check.InputError(f"OUT and --copy-map are both {out}; name two files")
    synthesis = registry.find("texture", method)
    examples, bits = _read(exemplars)
    guides = _guides(guide or [], wish)
    shape = pixel_size(size) or (examples[0] if guides is None else guides[1]).shape[1:]
    rows, cols = (int(n) for n in shape)
    options = {"tileable": tileable, "guides": guides, "rng": random.generator(seed)}
    with using(threads), compiling(), waiting(f"{method} of {cols}x{rows} pixels") as told:
        made: Texture = synthesis(examples, (rows, cols), progress=told, **options)
    save(made.image, out, bits)
    if copy_map is not None:
        save(_map(made), copy_map, 16 if copy_map.suffix.lower() in image.DEEP else 8)
        if bool((made.origin < 0).all()):
            say(f"{copy_map} is black: {method} copies no pixels")
    rate = made.copy_rate
    where = "exemplar" if len(examples) == 1 else "exemplars"
    say(f"copy rate {rate:.2f}: {100 * rate:.0f} % of the patches stand in the {where}")
    typer.echo(out)


def _read(files: list[Path]) -> tuple[list[Tensor], int]:
    """Return the exemplars, all grey or all in colour, and the most bits of one."""
    pictures, bits = zip(*map(read, files), strict=True)
    return _alike(list(pictures)), max(bits)


def _alike(pictures: list[Tensor]) -> list[Tensor]:
    """Return pictures with as many channels as that of them which has most."""
    from gouache import image

    channels = max(len(picture) for picture in pictures)
    return [image.as_channels(picture, channels) for picture in pictures]


def _guides(guide: list[Path], wish: Path | None) -> tuple[list[Tensor], Tensor] | None:
    """Return the guides of the exemplars and of the texture, if any are given."""
    from gouache import check, image

    if not guide and wish is None:
        return None
    if not guide or wish is None:
        raise check.InputError("--guide and --wish go together: what is where, and what is to be")
    *ours, theirs = _alike([image.load(file) for file in (*guide, wish)])
    return ours, theirs


def _map(made: Texture) -> Tensor:
    """Return where the pixels of a texture come from, as a picture."""
    import torch

    number, row, col = made.origin.long().cpu()
    last = torch.tensor([u.shape[1:] for u in made.exemplars])[number.clamp(min=0)].sub(1)
    high, wide = last.clamp(min=1).unbind(-1)
    blue = (number + 1) / len(made.exemplars)
    return torch.where(number < 0, 0, torch.stack([col / wide, row / high, blue]))
