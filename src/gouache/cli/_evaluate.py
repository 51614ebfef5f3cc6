"""``gouache evaluate``: measure one set of images against another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ._options import Seed, Size, Threads, using
from ._screen import say, table, waiting

if TYPE_CHECKING:
    from gouache.contracts import Features
    from gouache.measure import Score

    from ._sources import Images


def evaluate(
    real: Annotated[str, typer.Argument(help="Real images: a folder, or data such as digits.")],
    fake: Annotated[str, typer.Argument(help="Generated ones: a folder, a run, or weights.")],
    features: Annotated[
        str, typer.Option(help="pca-20, pixels, random, digits or inception.")
    ] = "pca-20",
    train: Annotated[
        str | None, typer.Option(help="What the model was trained on; shows memorisation.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(help="With commas between; see: gouache list metrics.")
    ] = None,
    size: Size = None,
    n: Annotated[int, typer.Option("-n", "--n", help="Samples to draw from a run.")] = 1000,
    seed: Seed = 0,
    weights: Annotated[
        Path | None, typer.Option(help="Weights of the features, for inception.")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="Write the scores to this file too.")] = None,
    threads: Threads = None,
) -> None:
    """Measure generated images against real ones: value, error, and what real images would score.

    A folder gives all its pictures, its sub-folders being classes; bundled data give what is held
    out of training; a run or weights that ship draw samples. digits:train or my_folder:test names
    a split. If --train is the folder REAL itself, then REAL is what that leaves out of training.

    Example: gouache evaluate digits digits-diffusion --train digits:train --json scores.json
    """
    from gouache import check

    if json is not None:
        check.new_file(json, suffixes=(".json",))
    check.count(n, "n", 1, 1_000_000)
    chosen = _chosen(metrics)
    with using(threads):
        with waiting("reading the images"):
            sets = _read(real, fake, train, size, n, seed)
            extract = _features(features, sets[0], weights)
        with waiting("measuring"):
            scores = _scores(sets, chosen, extract, seed)
    if json is not None:
        _write(scores, json)
    _show(scores)


def _chosen(metrics: str | None) -> list[str] | None:
    from gouache import check, registry

    if metrics is None:
        return None
    known = registry.names("measure")
    return [check.choice(name.strip(), "metric", known) for name in metrics.split(",")]


def _read(
    real: str, fake: str, train: str | None, size: int | None, n: int, seed: int
) -> list[Images]:
    """Return the real, the generated and perhaps the training images, alike in size and channels.

    Of one source named twice, REAL is what is held out; a folder of its own is all trained on.
    """
    from gouache.data import is_folder

    from . import _sources

    shared = train is not None and _sources.same(real, train)
    sets = [_sources.read(real, size, n, seed, "held-out" if shared else "")]
    sets += [_sources.read(fake, size, n, seed)]
    if train is not None:
        part = "train" if shared or not is_folder(train) else "all"
        sets += [_sources.read(train, size, n, seed, part)]
    return _sources.common(sets)


def _features(name: str, real: Images, weights: Path | None) -> Features:
    from gouache import features

    return features.load(name, reference=real.images, weights=weights)


def _scores(
    sets: list[Images], chosen: list[str] | None, extract: Features, seed: int
) -> list[Score]:
    from gouache import measure, random

    from ._sources import numbered

    labels = numbered(sets)
    third = len(sets) > 2
    return measure.evaluate(
        sets[0].images,
        sets[1].images,
        measures=chosen,
        features=extract,
        train=sets[2].images if third else None,
        rng=random.generator(seed),
        real_labels=labels[0],
        fake_labels=labels[1],
        train_labels=labels[2] if third else None,
    )


def _write(scores: list[Score], file: Path) -> None:
    import json

    from gouache.pretrained import write_text

    write_text(json.dumps([score.to_dict() for score in scores], indent=2) + "\n", file)


def _show(scores: list[Score]) -> None:
    from gouache import measure

    table(measure.table(scores))
    say("+- is one standard error; the floor is what real images score against real images")
