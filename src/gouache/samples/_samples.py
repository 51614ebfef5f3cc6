"""Samples of a model: drawn, kept as 8-bit pictures, and written as a folder."""

from __future__ import annotations

import itertools
import re
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gouache import check, image, pretrained, random, weights
from gouache.check import InputError
from gouache.contracts import GenerativeModel, SampleOptions
from gouache.recipes import read_run

PARTIAL = ".partial-samples-"


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
        run: what ``gouache.load`` takes; see ``gouache.weights.locate``.

    Raises:
        InputError: nothing is there, or the model draws no images.
    """
    folder = weights.locate(run)
    if folder is None and Path(run).exists():
        raise InputError(
            f"{run} is neither a run nor a saved model: it has no run.json and no "
            f"{pretrained.CONFIG}; name the folder that `gouache train` wrote"
        )
    of_run = folder is not None and (folder / "run.json").is_file()
    known = tuple(read_run(Path(run))["classes"]) if of_run else ()
    model = weights.load(run)
    if not isinstance(model, GenerativeModel):
        raise InputError(
            f"{run} holds a {type(model).__name__}, which draws no images; name the run of a "
            "generative model"
        )
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
    if re.fullmatch(r"-?\d{1,18}", part):
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


def write_samples(samples: Samples, folder: str | Path, *, replace: bool = False) -> None:
    """Write numbered PNGs, all or none; samples of several classes go into a sub-folder each.

    A sub-folder has the name of its class, but for what file systems refuse.

    Args:
        samples: from :func:`draw`.
        folder: absent or empty.
        replace: whether the samples may take the place of what the folder holds.

    Raises:
        InputError: the folder holds files, is a file, or cannot be written.
    """
    folder = Path(folder).resolve()
    if not (replace and folder.is_dir()):
        check.new_folder(folder)
    absent = not folder.exists()
    place = folder.parent if absent else folder  # a folder may be a volume, or where one stands
    place.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=place, prefix=PARTIAL))
    try:
        _write_pictures(samples, partial)
        if absent:
            partial.chmod(0o755)
            partial.rename(folder)
        else:
            _exchange(folder, partial)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_pictures(samples: Samples, folder: Path) -> None:
    places = _class_folders(samples, folder)
    labels = [0] * len(samples.images) if samples.labels is None else samples.labels.tolist()
    for i, (picture, label) in enumerate(zip(samples.images, labels, strict=True)):
        file = places.get(label, folder) / f"{i:05d}.png"
        file.write_bytes(image.png_bytes(picture))


def _exchange(folder: Path, partial: Path) -> None:
    """Put what ``partial`` holds into the folder it lies in, in place of all else there."""
    for old in list(folder.iterdir()):
        if old.is_dir() and not old.is_symlink() and old != partial:
            shutil.rmtree(old)
        elif old != partial:
            old.unlink()
    for made in list(partial.iterdir()):
        made.rename(folder / made.name)


def _class_folders(samples: Samples, folder: Path) -> dict[int, Path]:
    """Make a folder a class, if there are several; a name that is taken gets a number."""
    found = [] if samples.labels is None else samples.labels.unique().tolist()
    if len(found) < 2:
        return {}
    names = {label: samples.names[label] if samples.names else str(label) for label in found}
    places = {}
    for label in sorted(found, key=lambda label: _file_name(names[label]) != names[label]):
        name = _file_name(names[label])
        tries = itertools.chain([name], (f"{name}-{k}" for k in itertools.count(2)))
        places[label] = next(folder / name for name in tries if _made(folder / name))
    return places


def _file_name(name: str) -> str:
    """Return a class as a file name, and one that a folder of pictures takes for a class."""
    name = re.sub(r'[/\\:*?"<>|\x00-\x1f\x7f]|^\.|[. ]+$', "_", name) or "_"
    return "_train" if name == "train" else name  # ``train`` would be a split


def _made(folder: Path) -> bool:
    """Make a folder; false if there is one, by the file system's own rule of what is the same."""
    try:
        folder.mkdir()
    except FileExistsError:
        return False
    return True
