"""A model by name: weights that ship, or the folder of a run."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch

from gouache import check, pretrained
from gouache.check import InputError
from gouache.registry import ROOT
from gouache.train import checkpoints, load_average

SHIPPED = ROOT / "weights"


def names() -> tuple[str, ...]:
    """Return the names of the weights that ship."""
    return tuple(sorted(file.parent.name for file in SHIPPED.glob("*/card.json")))


def card(name: str) -> dict[str, Any]:
    """Return the card of shipped weights: recipe, command, data, figures, sha256."""
    return pretrained.read_json(_shipped(name) / "card.json")


def locate(name: str | Path) -> Path | None:
    """Return the folder of the model that a word names; None if it names none.

    Args:
        name: shipped weights, which win over a folder of the same name (``./name`` or a ``Path``
            reaches that); a run's folder, or a saved model's folder.

    Example:
        >>> from gouache import weights
        >>> weights.locate("digits-diffusion").name, weights.locate("nowhere")
        ('digits-diffusion', None)
    """
    folder = Path(name)
    if str(name) in names() and not (isinstance(name, Path) and folder.exists()):
        return _shipped(str(name))
    return folder if (folder / "run.json").is_file() or pretrained.is_saved(folder) else None


def load(name: str | Path) -> torch.nn.Module:
    """Return a trained model, in evaluation mode.

    Args:
        name: shipped weights, a run's folder or a saved model's folder; see ``locate``. Of a run
            that is not finished it is the averaged weights of the last checkpoint.

    Raises:
        InputError: there is no such thing, or the shipped file is not the one of its card.

    Example:
        >>> import gouache
        >>> from gouache import random
        >>> model = gouache.load("digits-diffusion")
        >>> model.sample(2, rng=random.generator(0)).shape
        torch.Size([2, 1, 8, 8])
    """
    folder = locate(name) or Path(name)
    if not folder.exists():
        folder = _shipped(str(name))
    if folder.parent == SHIPPED:
        return _verified(folder)
    if (folder / "run.json").exists():
        return _of_run(folder)
    return pretrained.load(folder)


def _shipped(name: str) -> Path:
    return SHIPPED / check.choice(name, "run or weights", names())


def _verified(folder: Path) -> torch.nn.Module:
    digest = hashlib.sha256((folder / pretrained.WEIGHTS).read_bytes()).hexdigest()
    if digest != card(folder.name)["sha256"]:
        raise InputError(f"the weights {folder.name} do not match their card; reinstall gouache")
    return pretrained.load(folder)


def _of_run(folder: Path) -> torch.nn.Module:
    if pretrained.is_saved(folder / "model"):
        return pretrained.load(folder / "model")
    found = checkpoints(folder)
    if not found:
        raise InputError(f"the run {folder} has no checkpoint yet; train it further")
    content = pretrained.read_json(folder / "run.json")
    described = content.get("model") if isinstance(content, dict) else None
    model = pretrained.build(described, folder / "run.json")
    try:
        return load_average(model, found[-1]).eval()
    except RuntimeError:
        raise InputError(f"{found[-1]} does not fit the model of {folder}/run.json") from None
