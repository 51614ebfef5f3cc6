"""``gouache evaluate``: measure one set of images against another."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from ._options import Seed, Size, Threads, using
from ._screen import say, table, waiting

if TYPE_CHECKING:
    from torch import Tensor

    from gouache.contracts import Features
    from gouache.measure import Score

    from ._sources import Images


class _Training(NamedTuple):
    """Images that a model was trained on: whether a run tells so, and whether the user did."""

    source: str
    own: bool
    asked: bool


def evaluate(
    real: Annotated[str, typer.Argument(help="Real images: a folder, or data such as digits.")],
    fake: Annotated[str, typer.Argument(help="Generated ones: a folder, a run, or weights.")],
    features: Annotated[
        str, typer.Option(help="pca, pca-50, pixels, random, digits or inception.")
    ] = "pca",
    train: Annotated[
        str | None,
        typer.Option(help="Images trained on; shows memorisation. Of a run, by default its data."),
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
    a split. If --train names the source of REAL, then REAL is what that leaves out of training. Of
    a run, --train and --size are by default the run's own.

    Example: gouache evaluate digits digits-diffusion --train digits:train --json scores.json
    """
    from gouache import check
    from gouache.features import names as known

    if json is not None:
        check.new_file(json, suffixes=(".json",))
    check.count(n, "n", 1, 1_000_000)
    check.choice(features.partition("-")[0], "features", known())
    chosen = _chosen(metrics)
    training, size = _settled(fake, train, size)
    with using(threads):
        with waiting("reading the images"):
            sets = _read(real, fake, training, size, n, seed)
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


def _settled(fake: str, train: str | None, size: int | None) -> tuple[_Training | None, int | None]:
    """Return the training images and the size to take; of a run its own unless others are asked."""
    from . import _sources

    if train is not None:
        _sources.check_data(train)
    run = _sources.run_of(fake)
    if run is None:
        return None if train is None else _Training(train, own=False, asked=True), size
    size = run["size"] if size is None else size
    if train is not None:
        return _Training(train, own=_sources.same(train, run["data"]), asked=True), size
    say(f"training images: {run['data']}, as {fake} tells; --train names others")
    return _Training(run["data"], own=True, asked=False), size


def _read(
    real: str, fake: str, training: _Training | None, size: int | None, n: int, seed: int
) -> list[Images]:
    """Return the real, the generated and perhaps the training images, alike in size and channels.

    Of one source named twice, REAL is what is held out, and the training images are the split
    train, as they are of a run's own data; of another folder they are all of it.
    """
    from gouache.data import is_folder

    from . import _sources

    shared = training is not None and _sources.same(real, training.source)
    sets = [_sources.read(real, size, n, seed, "held-out" if shared else "")]
    sets += [_sources.read(fake, size, n, seed)]
    if training is not None:
        part = "train" if shared or training.own or not is_folder(training.source) else "all"
        sets += _trained_on(training, part, size)
    return _sources.common(sets)


def _trained_on(training: _Training, part: str, size: int | None) -> list[Images]:
    """Return the training images; none, with a warning, if nobody asked and they are not here."""
    from gouache import check

    from . import _sources

    try:
        return [_sources.read(training.source, size, 0, 0, part)]
    except check.InputError as error:
        if training.asked:
            raise
        warnings.warn(f"no memorisation: {error}", UserWarning, stacklevel=2)
        return []


def _features(name: str, real: Images, weights: Path | None) -> str | Features:
    """Return the features as their name, as far as it goes: fitted only if a measure takes them."""
    from gouache import features

    if weights is None:
        return name
    return features.load(name, reference=real.images, weights=weights)


def _scores(
    sets: list[Images], chosen: list[str] | None, extract: str | Features, seed: int
) -> list[Score]:
    from gouache import measure, random

    labels = _labels(sets, chosen)
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


def _labels(sets: list[Images], chosen: list[str] | None) -> list[Tensor | None]:
    """Return the class numbers of each set; none where nobody asks, or where classes do not meet.

    Raises:
        InputError: classification accuracy was asked for by name, and classes do not meet.
    """
    from gouache import check

    from ._sources import numbered

    asked = "classification_accuracy"
    try:
        if asked in (chosen or [asked]):
            return numbered(sets)
    except check.InputError as error:
        if chosen is not None:
            raise
        warnings.warn(f"no classification accuracy: {error}", UserWarning, stacklevel=2)
    return [None] * len(sets)


def _write(scores: list[Score], file: Path) -> None:
    import json

    from gouache.pretrained import write_text

    write_text(json.dumps([score.to_dict() for score in scores], indent=2) + "\n", file)


def _show(scores: list[Score]) -> None:
    from gouache import measure

    table(measure.table(scores))
    say("+- is one standard error; the floor is what real images score against real images")
