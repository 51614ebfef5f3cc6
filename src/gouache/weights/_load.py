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


def load(name: str | Path) -> torch.nn.Module:
    """Return a trained model, in evaluation mode.

    Args:
        name: shipped weights (see ``names``; they win over a folder of the same name, which
            ``./name`` reaches), a run's folder, or a saved model's folder. Of a run that is not
            finished it is the averaged weights of the last checkpoint.

    Raises:
        InputError: there is no such thing, or the shipped file is not the one of its card.

    Example:
        >>> import gouache
        >>> from gouache import random
        >>> model = gouache.load("digits-diffusion")
        >>> model.sample(2, rng=random.generator(0)).shape
        torch.Size([2, 1, 8, 8])
    """
    folder = Path(name)
    if str(name) in names() or not folder.exists():
        return _verified(_shipped(str(name)))
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
    if (folder / "model").exists():
        return pretrained.load(folder / "model")
    found = checkpoints(folder)
    if not found:
        raise InputError(f"the run {folder} has no checkpoint yet; train it further")
    content = pretrained.read_json(folder / "run.json")["model"]
    return load_average(pretrained.build(content, folder / "run.json"), found[-1]).eval()
