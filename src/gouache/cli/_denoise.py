"""``gouache denoise``: take noise out of a picture, or of a folder of pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Threads, using
from ._screen import say, waiting

if TYPE_CHECKING:
    from torch import Tensor


def denoise(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A noisy picture.")],
    out: Annotated[Path, typer.Argument(help="The picture to write.")],
    sigma: Annotated[
        str, typer.Option(help="Noise, pixels being in [0, 1]: auto, 0.1, or 25/255.")
    ] = "auto",
    method: Annotated[str, typer.Option(help="Such as nlmeans; see: gouache list methods.")] = (
        "bm3d"
    ),
    threads: Threads = None,
) -> None:
    """Denoise a picture; without --sigma the noise level is estimated, and said.

    Example: gouache denoise noisy.png clean.png --sigma 25/255 --method nlmeans
    """
    from gouache import check, image, registry
    from gouache.patches import estimate_sigma

    check.new_file(out, suffixes=image.WRITTEN)
    level = _level(sigma)
    filtered = registry.find("denoise", method)
    noisy = image.load(source)
    with using(threads):
        if level is None:
            level = float(estimate_sigma(noisy))
            say(f"sigma {level:.4f}, that is {255 * level:.1f}/255")
        with waiting(f"{method} of {noisy.shape[-1]}x{noisy.shape[-2]} pixels"):
            clean: Tensor = filtered(noisy, level)
    image.save(clean.clamp(0, 1), out)
    typer.echo(out)


def _level(text: str) -> float | None:
    """Read ``auto``, a number, or a fraction of two numbers."""
    from gouache import check

    if text == "auto":
        return None
    try:
        above, _, below = text.partition("/")
        value = float(Fraction(above) / Fraction(below or "1"))
    except (ValueError, ZeroDivisionError):
        raise check.InputError(
            f'sigma must be auto, a number or a fraction such as 25/255, got "{text}"'
        ) from None
    if not 0 <= value <= 1:
        raise check.InputError(
            f"sigma must be in [0, 1] (units of the pixel range), got {value:g}; "
            f"for 8-bit levels pass {value:g}/255"
        )
    return value
