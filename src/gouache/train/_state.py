"""Checkpoints: everything that a step changes, written whole or not at all.

A checkpoint is a folder ``checkpoints/step-0000500`` with ``state.safetensors`` (weights, buffers,
averaged weights, the optimizers' tensors) and ``state.json`` (step, the optimizers' numbers, what
the machine was). It is written under another name, flushed, and renamed; the last two are kept.
Nothing random is stored: every stream is a function of (seed, step), see ``gouache.random``.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from gouache.check import InputError
from gouache.pretrained import read_json, read_tensors, write_tensors, write_text

from ._average import Average
from ._device import together
from ._shard import cut_like, whole

KEPT = 2
TENSORS, NUMBERS = "state.safetensors", "state.json"


class State(NamedTuple):
    """What training changes."""

    model: nn.Module
    average: Average
    optimizers: Mapping[str, torch.optim.Optimizer]


class Saved(NamedTuple):
    """A checkpoint as it was read."""

    name: str
    tensors: dict[str, Tensor]
    content: dict[str, Any]


def checkpoints(folder: str | Path) -> list[Path]:
    """Return the whole checkpoints of a run, oldest first."""
    return sorted((Path(folder) / "checkpoints").glob("step-*"))


def save(state: State, folder: Path | None, step: int, facts: Mapping[str, Any]) -> None:
    """Write the checkpoint of step ``step``, atomically, and drop all but the last two.

    Every rank calls it, since shards are gathered; the one that has a ``folder`` writes, and if
    it fails, all of them raise: none may wait for it in the next step.

    Raises:
        InputError: a weight is not finite, or the folder cannot be written.
    """
    tensors, numbers = _pack(state)
    with together():
        if folder is not None:
            _checked_write(tensors, {"step": step, **facts, "optimizers": numbers}, folder)


def _checked_write(tensors: Mapping[str, Tensor], content: Mapping[str, Any], folder: Path) -> None:
    step = content["step"]
    for name, tensor in tensors.items():
        if name.startswith("model.") and not bool(tensor.isfinite().all()):
            raise InputError(f"{name} is not finite at step {step}; lower lr or clip")
    try:
        _write(tensors, content, folder)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"cannot write the checkpoint of step {step} to {folder}: {error}; "
            "mend that and resume from the one before"
        ) from error


def newest(folder: str | Path) -> Saved:
    """Read the last checkpoint of a run; the one before, with a warning, if it is broken.

    Raises:
        InputError: there is none, or all of them are broken.
    """
    for checkpoint in reversed(checkpoints(folder)):
        try:
            content = read_json(checkpoint / NUMBERS)
            return Saved(checkpoint.name, read_tensors(checkpoint / TENSORS), content)
        except InputError as error:
            warnings.warn(f"{checkpoint.name} is broken and left out: {error}", stacklevel=3)
    raise InputError(f"nothing to resume: {folder} holds no whole checkpoint; begin a new run")


def restore(state: State, saved: Saved, facts: Mapping[str, Any]) -> int:
    """Load a checkpoint into ``state`` and return its step; warn where the run differs.

    Raises:
        InputError: the checkpoint belongs to another model.
    """
    _compare(saved, facts)
    for name, model in (("model", state.model), ("average", state.average.model)):
        _restore_model(model, _below(saved.tensors, f"{name}."), saved.name)
    for name, optimizer in state.optimizers.items():
        groups = saved.content["optimizers"][name]
        _restore_optimizer(optimizer, _below(saved.tensors, f"optimizer.{name}."), groups)
    return int(saved.content["step"])


def load_average(model: nn.Module, checkpoint: Path) -> nn.Module:
    """Load the averaged weights of a checkpoint into ``model``."""
    model.load_state_dict(_below(read_tensors(checkpoint / TENSORS), "average."))
    return model


def _write(tensors: Mapping[str, Tensor], content: Mapping[str, Any], folder: Path) -> None:
    place = folder / "checkpoints"
    target = place / f"step-{content['step']:07d}"
    place.mkdir(exist_ok=True)
    for left in place.glob(".*"):  # by a run that was killed while it wrote
        shutil.rmtree(left)
    partial = place / f".{target.name}"
    partial.mkdir()
    try:
        write_tensors(tensors, partial / TENSORS)
        write_text(json.dumps(content) + "\n", partial / NUMBERS)
        _sync_folder(partial)
        if target.exists():
            _drop(target)
        partial.rename(target)
        _sync_folder(place)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in checkpoints(folder)[:-KEPT]:
        _drop(old)


def _drop(checkpoint: Path) -> None:
    """Remove a checkpoint; it loses its name first, so that it is never seen half gone."""
    hidden = checkpoint.with_name(f".old-{checkpoint.name}")
    checkpoint.rename(hidden)
    shutil.rmtree(hidden)


def _pack(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in state.average.model.state_dict().items()}
    numbers = {}
    for name, optimizer in state.optimizers.items():
        content = optimizer.state_dict()
        numbers[name] = content["param_groups"]
        for index, entry in content["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{key}": value for key, value in entry.items()}
    return dict(zip(tensors, whole(tensors.values()), strict=True)), numbers


@torch.no_grad()
def _restore_model(model: nn.Module, tensors: Mapping[str, Tensor], checkpoint: str) -> None:
    mine = model.state_dict()
    shapes = {name: tuple(value.shape) for name, value in mine.items()}
    theirs = {name: tuple(value.shape) for name, value in tensors.items()}
    if shapes != theirs:
        odd = sorted(dict(shapes.items() ^ theirs.items()))
        raise InputError(
            f"{checkpoint} is of another model: {odd[0]} is {theirs.get(odd[0], 'absent')} there, "
            f"{shapes.get(odd[0], 'absent')} here"
        )
    for name, value in mine.items():
        value.copy_(cut_like(tensors[name], value))


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[Any]
) -> None:
    """Restore moments in their parameter's memory format, or a fused step reads them askew."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        index, key = path.split(".", 1)
        like = cut_like(value, parameters[int(index)]) if value.ndim else value
        entries.setdefault(int(index), {})[key] = like
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def _compare(saved: Saved, facts: Mapping[str, Any]) -> None:
    for key, now in json.loads(json.dumps(facts)).items():
        then = saved.content.get(key)
        if then != now:
            warnings.warn(
                f"{saved.name} was written with {key} = {then}, this run has {now}: "
                "the resumed run will not be bit for bit the uninterrupted one",
                stacklevel=4,
            )


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)
