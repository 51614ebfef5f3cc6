"""Samples of a model: drawn, kept as 8-bit pictures, and written as a folder."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gouache import check, image, pretrained, random, weights
from gouache.check import InputError
from gouache.contracts import GenerativeModel, SampleOptions
from gouache.recipes import read_run


@dataclass(frozen=True)
class Samples:
    """What a model drew.

    Attributes:
        images: ``(n, C, H, W)`` in [0, 1], rounded to the 256 levels of the files.
        labels: the classes ``(n,)`` they were drawn under, or None.
        names: the name of each class.
    """

    images: Tensor
    labels: Tensor | None = None
    names: tuple[str, ...] = ()


def open_model(run: str | Path) -> tuple[GenerativeModel, tuple[str, ...]]:
    """Return the model of a run, or of weights that ship, and the names of its classes.

    Args:
        run: a run's folder, a saved model's folder, or a name for ``gouache.load``.

    Raises:
        InputError: nothing is there, or the model draws no images.
    """
    folder, file = Path(run), Path(run) / "run.json"
    if file.is_file():
        read_run(folder)
    elif folder.exists() and not (folder / pretrained.CONFIG).is_file():
        raise InputError(
            f"{run} is neither a run nor a saved model: it has no run.json and no "
            f"{pretrained.CONFIG}; name the folder that `gouache train` wrote"
        )
    model = weights.load(run)
    if not isinstance(model, GenerativeModel):
        raise InputError(
            f"{run} holds a {type(model).__name__}, which draws no images; name the run of a "
            "generative model"
        )
    known = tuple(read_run(folder)["classes"]) if file.is_file() else ()
    numbers = tuple(map(str, range(model.classes)))
    return model, known if len(known) == model.classes else numbers


def condition(text: str | None, names: Sequence[str]) -> tuple[int, ...] | None:
    """Return the classes that a user names, to be drawn in turn.

    Args:
        text: numbers or names with commas between, ``none`` for no condition (an empty tuple);
            None leaves the choice to :func:`draw`.
        names: of the model's classes.

    Raises:
        InputError: the model has no classes, or not this one.

    Example:
        >>> condition("cat,0", ("ant", "bee", "cat"))
        (2, 0)
    """
    if text is None or text == "none":
        return None if text is None else ()
    if not names:
        raise InputError(f'this model has no classes, got --condition "{text}"; leave it out')
    return tuple(_class(part.strip(), names) for part in text.split(","))


def _class(part: str, names: Sequence[str]) -> int:
    if part in names:
        return list(names).index(part)
    if part.lstrip("-").isdecimal():
        return check.count(int(part), "condition", 0, len(names) - 1)
    check.choice(part, "class", names)
    raise AssertionError


def draw(
    model: GenerativeModel,
    n: int,
    *,
    seed: int,
    classes: Sequence[int] | None = None,
    options: SampleOptions | None = None,
    names: Sequence[str] = (),
) -> Samples:
    """Draw ``n`` images; image i depends on (seed, i) and its class alone.

    Args:
        model: a GenerativeModel.
        n: how many.
        seed: of the noise.
        classes: drawn in turn; None is every class of the model, empty is no condition.
        options: steps, sampler, guidance.
        names: of the model's classes, kept with the samples.
    """
    if classes is None:
        classes = range(model.classes)
    labels = torch.tensor(list(classes))[torch.arange(n) % len(classes)] if classes else None
    images = model.sample(
        n,
        condition=None if labels is None else {"label": labels},
        rng=random.generator(seed),
        options=options,
    )
    return Samples(image.as_uint8(images).float() / 255, labels, tuple(names))


def write_samples(samples: Samples, folder: str | Path) -> None:
    """Write numbered PNGs, all or none; samples of several classes go into a sub-folder each.

    Args:
        samples: from :func:`draw`.
        folder: it takes the place of what is there; see ``gouache.check.new_folder``.
    """
    folder = Path(folder).resolve()
    partial = folder.with_name(f".{folder.name}-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        for i, picture in enumerate(samples.images):
            file = partial / _place(samples, i) / f"{i:05d}.png"
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(image.png_bytes(picture))
        if folder.is_dir() and not any(folder.iterdir()):  # it may be where the user stands
            for made in partial.iterdir():
                made.rename(folder / made.name)
            return
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _place(samples: Samples, i: int) -> str:
    """Return the sub-folder of sample i: its class, if there are several."""
    if samples.labels is None or len(samples.labels.unique()) < 2:
        return ""
    label = int(samples.labels[i])
    return re.sub(r"[^\w -]", "_", samples.names[label]) if samples.names else str(label)
