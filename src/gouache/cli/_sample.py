"""``gouache sample``: draw images from a run or from weights that ship."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Device, Seed, Threads, device_name, using
from ._screen import say, waiting

if TYPE_CHECKING:
    from gouache.contracts import SampleOptions
    from gouache.samples import Samples


def sample(
    run: Annotated[str, typer.Argument(help="A run's folder, or weights that ship.")],
    out: Annotated[Path, typer.Argument(help="A picture (.png) for a grid, else a folder.")],
    n: Annotated[int, typer.Option("-n", "--n", help="How many images.")] = 64,
    condition: Annotated[
        str | None,
        typer.Option(help="Classes in turn, by number or name: 3, or 0,1,2; none: without."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(help="Steps of the sampler; heun evaluates twice a step.")
    ] = None,
    sampler: Annotated[
        str | None, typer.Option(help="Such as ddim; see: gouache list methods.")
    ] = None,
    guidance: Annotated[
        float, typer.Option(help="Weight of the condition; above 1 exaggerates it.")
    ] = 1.0,
    seed: Seed = 0,
    grid: Annotated[
        bool | None,
        typer.Option("--grid/--folder", help="One picture, or a folder; by default OUT tells."),
    ] = None,
    columns: Annotated[int | None, typer.Option(min=1, help="Columns of the grid.")] = None,
    device: Device = None,
    threads: Threads = None,
) -> None:
    """Draw images, as one grid or as a folder of numbered PNGs.

    Image i depends on the seed and i alone. A model of several classes draws them in turn unless
    --condition says otherwise; in a folder each class has a sub-folder then.

    Example: gouache sample digits-diffusion digits.png -n 64 --condition 3 --seed 1
    """
    import torch

    from gouache import check, samples

    with using(threads):
        picture = _is_picture(out, grid)
        check.count(n, "n", 1, 1_000_000)
        where = device_name(device)
        model, classes = samples.open_model(run)
        options = _options(steps, sampler, guidance)
        chosen = samples.condition(condition, classes)
        _check_out(out, picture)
        if isinstance(model, torch.nn.Module):
            model.to(where)
        with waiting(f"drawing {n} images"):
            drawn = samples.draw(
                model, n, seed=seed, classes=chosen, options=options, names=classes
            )
        _write(drawn, out, picture, columns)
    say(f"{n} images, seed {seed}")
    typer.echo(out)


def _is_picture(out: Path, grid: bool | None) -> bool:
    from gouache import image

    return out.suffix.lower() in image.WRITTEN if grid is None else grid


def _check_out(out: Path, picture: bool) -> None:
    """Check, before any work, that OUT can be written."""
    from gouache import check, image

    if picture:
        check.new_file(out, suffixes=image.WRITTEN)
    else:
        check.new_folder(out)


def _options(steps: int | None, sampler: str | None, guidance: float) -> SampleOptions:
    from gouache import check, registry
    from gouache.contracts import SampleOptions

    if steps is not None:
        check.count(steps, "steps", 1, 10_000)
    if sampler is not None:
        registry.find("sampler", sampler)
    check.between(guidance, "guidance", 0, 100)
    return SampleOptions(steps=steps, sampler=sampler, guidance=guidance)


def _write(drawn: Samples, out: Path, picture: bool, columns: int | None) -> None:
    from gouache import image, samples

    if not picture:
        samples.write_samples(drawn, out)
        return
    scale = max(1, round(32 / max(drawn.images.shape[-2:])))
    image.save(image.grid(drawn.images, columns, pad=2, scale=scale), out)
