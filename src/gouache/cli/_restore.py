"""``gouache restore``: undo a blur, a reduction or missing pixels."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._options import Threads, noise_level, using
from ._screen import say, telling, waiting

if TYPE_CHECKING:
    from torch import Tensor

    from gouache.contracts import Operator


def restore(
    source: Annotated[Path, typer.Argument(metavar="IN", help="The picture to restore.")],
    out: Annotated[Path, typer.Argument(help="The picture to write.")],
    operator: Annotated[
        list[str],
        typer.Option(
            help="What happened to it: blur:SIGMA, blur:KERNEL.png, downsample:FACTOR, "
            "mask:MASK.png (white where known) or identity; several in the order they happened."
        ),
    ],
    sigma: Annotated[
        str, typer.Option(help="Noise, pixels being in [0, 1]: auto, 0.01, or 2/255.")
    ] = "auto",
    method: Annotated[str, typer.Option(help="Such as hqs; see: gouache list methods.")] = "hqs",
    denoiser: Annotated[
        str | None, typer.Option(help="Plugged into hqs: bm3d, nlmeans, ...; by default bm3d.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Rounds of the method.")] = None,
    threads: Threads = None,
) -> None:
    """Undo a blur, a reduction or missing pixels that are known, with a prior and no training.

    Example: gouache restore small.png large.png --operator blur:1.6 --operator downsample:2
    """
    from gouache import check, image, registry
    from gouache.restore import estimate_noise, parse_operator

    check.new_file(out, suffixes=image.WRITTEN)
    level = noise_level(sigma)
    solver = registry.find("restore", method)
    options = _options(solver, method, denoiser=denoiser, steps=steps)
    damage, observed = parse_operator(operator), image.load(source)
    with using(threads):
        if level is None:
            level = float(estimate_noise(observed, damage))
            say(f"sigma {level:.4f}, that is {255 * level:.1f}/255")
        with waiting(f"{method} of {observed.shape[-1]}x{observed.shape[-2]} pixels") as told:
            options |= telling(solver, told)
            restored: Tensor = solver(observed, damage, level, **options)
    image.save(_seen(restored, observed, damage).clamp(0, 1), out)
    typer.echo(out)


def _seen(restored: Tensor, observed: Tensor, damage: Operator) -> Tensor:
    """Cut off the rim that was estimated but not observed."""
    from gouache.restore import Blur, Compose, Downsample

    parts = damage.operators if isinstance(damage, Compose) else (damage,)
    scale, top, left = 1, 0, 0
    for part in parts:
        if isinstance(part, Downsample):
            scale *= part.optics.factor
        elif isinstance(part, Blur) and part.optics.boundary == "valid":
            before = [taps - 1 - (taps - 1) // 2 for taps in part.optics.kernel.shape]
            top, left = top + scale * before[0], left + scale * before[1]
    height, width = (scale * n for n in observed.shape[-2:])
    return restored[:, top : top + height, left : left + width]


def _options(solver: Callable[..., Any], method: str, **given: Any) -> dict[str, Any]:
    """Return the options that were given, and check that the method has them."""
    from gouache import check

    asked = {name: value for name, value in given.items() if value is not None}
    for name in asked:
        if name not in inspect.signature(solver).parameters:
            raise check.InputError(f"the method {method} takes no --{name}; leave it out")
    return asked
