"""``gouache inpaint``: fill holes of a picture with what is around them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._compiling import compiling
from ._options import Seed, Threads, using
from ._picture import read, read_alpha, save
from ._screen import waiting

if TYPE_CHECKING:
    from torch import Tensor

ALPHA = "alpha"


def inpaint(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The picture with holes.")],
    mask: Annotated[
        str,
        typer.Argument(help="A picture, white where to fill; or alpha: where IN is transparent."),
    ],
    out: Annotated[Path, typer.Argument(help="The picture to write.")],
    method: Annotated[
        str, typer.Option(help="Such as criminisi; see: gouache list methods.")
    ] = "inpaint",
    free: Annotated[
        Path | None, typer.Option("--source", help="A mask, white where pixels may be copied.")
    ] = None,
    protect: Annotated[
        Path | None, typer.Option(help="A mask, white where pixels stay though MASK is white.")
    ] = None,
    patch: Annotated[int | None, typer.Option(min=1, help="Side of the patches.")] = None,
    seed: Seed = 0,
    threads: Threads = None,
) -> None:
    """Fill holes of a picture with patches of the rest of it.

    Masks are as large as IN; grey blends, and what is transparent counts as black. In PNG, pixels
    outside the holes stay as they are to the last bit, also those of 16 bits. A file named alpha
    is reached as ./alpha.

    Example: gouache inpaint photo.png mask.png filled.png
    """
    from gouache import check, image, random, registry

    check.new_file(out, suffixes=image.WRITTEN)
    fill = registry.find("inpaint", method)
    picture, hole, bits = _read(source, mask)
    if protect is not None:
        hole = hole * (1 - _plane(protect, picture))
    if not hole.any():
        raise check.InputError(_nothing(source, mask, protect))
    options: dict[str, Any] = {} if patch is None else {"patch": patch}
    options["source"] = None if free is None else _plane(free, picture)
    with using(threads), compiling(), waiting(_told(method, hole)) as told:
        filled: Tensor = fill(picture, hole, rng=random.generator(seed), progress=told, **options)
    save(filled, out, bits)
    typer.echo(out)


def _read(source: Path, mask: str) -> tuple[Tensor, Tensor, int]:
    """Return the picture, how much of the fill is to be seen ``(H, W)``, and the picture's bits."""
    if mask == ALPHA:
        picture, alpha, bits = read_alpha(source)
        return picture, 1 - alpha, bits
    picture, bits = read(source)
    return picture, _plane(Path(mask), picture), bits


def _plane(file: Path, picture: Tensor) -> Tensor:
    """Return the picture of a mask as ``(H, W)``."""
    from gouache import check, image

    found = image.load(file, background=0).mean(0)
    (high, wide), (rows, cols) = found.shape, picture.shape[1:]
    if (high, wide) != (rows, cols):
        raise check.InputError(
            f"the mask {file} has {wide}x{high} pixels and the picture {cols}x{rows}; "
            "a mask is as large as its picture"
        )
    return found


def _nothing(source: Path, mask: str, protect: Path | None) -> str:
    if protect is not None:
        return f"there is nothing to fill: {protect} protects all that {mask} covers"
    if mask == ALPHA:
        return f"there is nothing to fill: no pixel of {source} is transparent"
    return f"there is nothing to fill: {mask} is all black; a mask is white where to fill"


def _told(method: str, hole: Tensor) -> str:
    return f"{method} of {int((hole > 0).sum())} of {hole.numel()} pixels"
