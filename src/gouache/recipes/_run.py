"""A run is a folder: what was asked, checkpoints, log, and the trained model.

``run.json`` (recipe, data, settings, seed, versions, command), ``log.jsonl``, ``checkpoints/``,
``model/`` (the averaged weights, once trained), ``samples/`` and ``report.html``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import platform
import shlex
import shutil
from collections.abc import Generator
from pathlib import Path
from typing import Any, TypedDict

import torch

from gouache import check, pretrained, registry
from gouache.check import InputError
from gouache.train import Step, TrainConfig, checkpoints, decisive, fit, load_average

from ._plan import Plan, fits

NAME = "run.json"
MADE = (NAME, "log.jsonl", "tensorboard", "checkpoints")


class Model(TypedDict):
    """A model as ``gouache.pretrained.build`` takes it."""

    model: str
    config: dict[str, Any]


class Description(TypedDict):
    """What ``run.json`` holds of a plan: all that decides its result."""

    recipe: str
    data: str
    size: int | None
    shape: list[int]
    changed: dict[str, str]
    command: str
    threads: int
    images: int
    fingerprint: str
    classes: list[str]
    model: Model
    train: dict[str, Any]
    versions: dict[str, str]


def run(plan: Plan, folder: str | Path, *, resume: bool = False) -> Generator[Step, None, None]:
    """Carry out a plan in ``folder`` and yield every step; end with ``folder/model``.

    Args:
        plan: of a recipe.
        folder: without checkpoints or ``model/``, unless ``resume``; made if it is not there. A
            run that fails before its first step takes back what it wrote there.
        resume: go on from the last checkpoint; the plan must be the one that was begun.

    Raises:
        InputError: the folder holds another run, or nothing to resume, or cannot be written.

    Example:
        >>> import tempfile
        >>> from gouache import recipes
        >>> plan = recipes.digits_diffusion().override({"steps": "2", "batch": "4"})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     [step.number for step in recipes.run(plan, folder)]
        [1, 2]
    """
    model = plan.build()
    absent = _absent(Path(folder))
    folder = check.folder(folder)
    last = None
    steps = fit(
        model,
        plan.dataset,
        plan.train,
        folder=folder,
        augment=plan.augment,
        resume=resume,
    )
    try:
        _claim(plan, folder, resume)
        for last in steps:
            yield last
    except Exception:
        if last is None:
            _take_back(folder, absent)
        raise
    if last is not None and last.rank == 0:
        pretrained.save(last.average, folder / "model")
    elif last is None and not pretrained.is_saved(folder / "model"):  # killed before or in it
        pretrained.save(load_average(model, checkpoints(folder)[-1]), folder / "model")


def read_run(folder: str | Path) -> dict[str, Any]:
    """Return what ``run.json`` in a run's folder holds, settings it does not know at their default.

    Raises:
        InputError: there is no such file, or it is not one that a run wrote.
    """
    file = Path(folder) / NAME
    if not file.is_file():
        raise InputError(
            f"{folder} is not the folder of a run: it has no run.json; train one first"
        )
    content = pretrained.read_json(file)
    if not fits(content, Description):
        raise InputError(f"{file} is not what a run wrote; train again, into another folder")
    train = pretrained.config_from(TrainConfig, content["train"], str(file))
    return content | {"train": _as_json(dataclasses.asdict(train))}


def load_plan(folder: str | Path) -> Plan:
    """Return the plan of the run in ``folder``, its data loaded again.

    Raises:
        InputError: no run is there.
    """
    content = read_run(folder)
    recipe = registry.find("recipe", content["recipe"])
    plan: Plan = recipe(content["data"], size=content["size"])
    return plan.override(content["changed"])


def describe(plan: Plan) -> Description:
    """Return what ``run.json`` holds of a plan."""
    return {
        "recipe": plan.recipe,
        "data": plan.source,
        "size": plan.size,
        "shape": list(plan.dataset.shape),
        "changed": dict(plan.changed),
        "command": _command(plan),
        "threads": torch.get_num_threads(),
        "images": len(plan.dataset),
        "fingerprint": _fingerprint(plan),
        "classes": list(plan.dataset.classes),
        "model": {"model": plan.model.__name__, "config": dataclasses.asdict(plan.config)},
        "train": dataclasses.asdict(plan.train),
        "versions": {
            "gouache": importlib.metadata.version("gouache"),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


def _as_json(content: Any) -> Any:
    """Return plain values as they come back from a file: tuples as lists."""
    return json.loads(json.dumps(content))


def _command(plan: Plan) -> str:
    """Return the line that makes this run again, quoted for a shell."""
    words = ["gouache", "train", plan.recipe, "--data", plan.source]
    words += ["--size", str(plan.size)] if plan.size else []
    words += ["--threads", str(torch.get_num_threads())]
    return shlex.join([*words, *(f"{key}={value}" for key, value in plan.changed.items())])


def _claim(plan: Plan, folder: Path, resume: bool) -> None:
    """Write ``run.json``, or check that the one there is of this plan."""
    file, content = folder / NAME, describe(plan)
    if resume and not checkpoints(folder):
        raise InputError(f"nothing to resume: {folder} holds no checkpoint; leave out --resume")
    if resume:
        _same(read_run(folder), _as_json(content), folder)
        return
    if checkpoints(folder):
        raise InputError(
            f"{folder} already holds a run; pass --resume to go on with it, or another --out"
        )
    if (folder / "model").exists():
        raise InputError(
            f"{folder} already holds model/, which is not of this run; remove it, or pass "
            "another --out"
        )
    pretrained.write_text(json.dumps(content, indent=2) + "\n", file)


def _absent(folder: Path) -> list[Path]:
    """Return what a run may make and is not there yet, innermost first."""
    places = (*(folder / name for name in MADE), folder, *folder.parents)
    return [place for place in places if not place.exists()]


def _take_back(folder: Path, absent: list[Path]) -> None:
    """Remove what a run made that could not take its first step; folders only if empty."""
    for place in absent:
        with contextlib.suppress(OSError):
            if place == folder / "tensorboard":
                shutil.rmtree(place)
            elif place.is_dir():
                place.rmdir()
            else:
                place.unlink()


def _same(then: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    """Check that two descriptions of a run differ in bookkeeping alone."""
    for key in ("recipe", "data", "fingerprint", "model", "train"):
        a, b = (decisive(x) if isinstance(x, dict) else x for x in (then.get(key), now[key]))
        if a != b:
            raise InputError(
                f"{folder} was begun with other {key}: {_difference(a, b)}; "
                "resume with the same settings, or start a new --out"
            )


def _difference(then: Any, now: Any) -> str:
    if isinstance(then, dict) and isinstance(now, dict):
        keys = [key for key in now if then.get(key) != now[key]]
        return ", ".join(f"{key} {then.get(key)} then, {now[key]} now" for key in keys)
    return f"{then} then, {now} now"


def _fingerprint(plan: Plan) -> str:
    """Return a hash of the images that are trained on (of at most 4096, evenly spread)."""
    count = len(plan.dataset)
    rows = torch.arange(0, count, max(1, count // 4096))
    batch = plan.dataset.batch(rows)
    digest = hashlib.sha256(str((count, tuple(batch["image"].shape))).encode())
    for name in sorted(batch):
        digest.update(batch[name].numpy().tobytes())
    return digest.hexdigest()[:16]
