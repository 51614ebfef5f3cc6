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
from torch import Tensor, nn

from gouache.check import InputError
from gouache.pretrained import read_json, read_tensors, write_tensors, write_text

from ._average import Average

KEPT = 2
TENSORS, NUMBERS = "state.safetensors", "state.json"


class State(NamedTuple):
    """What training changes."""

    model: nn.Module
    average: Average
    optimizers: Mapping[str, torch.optim.Optimizer]


def checkpoints(folder: str | Path) -> list[Path]:
    """Return the whole checkpoints of a run, oldest first."""
    return sorted((Path(folder) / "checkpoints").glob("step-*"))


def save(state: State, folder: Path, step: int, facts: Mapping[str, Any]) -> Path:
    """Write the checkpoint of step ``step``, atomically, and drop all but the last two."""
    target = folder / "checkpoints" / f"step-{step:07d}"
    partial = target.with_name(f".{target.name}-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        tensors, numbers = _pack(state)
        write_tensors(tensors, partial / TENSORS)
        content = {"step": step, **facts, "optimizers": numbers}
        write_text(json.dumps(content) + "\n", partial / NUMBERS)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
        _sync_folder(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
    return target


def restore(state: State, checkpoint: Path, facts: Mapping[str, Any]) -> int:
    """Load a checkpoint into ``state`` and return its step; warn where the machine differs.

    Raises:
        InputError: the checkpoint belongs to another model or configuration.
    """
    tensors, content = read_tensors(checkpoint / TENSORS), read_json(checkpoint / NUMBERS)
    _compare(content, facts, checkpoint)
    try:
        state.model.load_state_dict(_below(tensors, "model."))
        state.average.model.load_state_dict(_below(tensors, "average."))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise InputError(f"{checkpoint} does not fit the model: {reason}") from None
    for name, optimizer in state.optimizers.items():
        _restore_optimizer(
            optimizer, _below(tensors, f"optimizer.{name}."), content["optimizers"][name]
        )
    return int(content["step"])


def load_average(model: nn.Module, checkpoint: Path) -> nn.Module:
    """Load the averaged weights of a checkpoint into ``model``."""
    model.load_state_dict(_below(read_tensors(checkpoint / TENSORS), "average."))
    return model


def _pack(state: State) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {f"model.{k}": v for k, v in state.model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in state.average.model.state_dict().items()}
    numbers = {}
    for name, optimizer in state.optimizers.items():
        content = optimizer.state_dict()
        numbers[name] = content["param_groups"]
        for index, entry in content["state"].items():
            tensors |= {f"optimizer.{name}.{index}.{key}": value for key, value in entry.items()}
    return tensors, numbers


def _restore_optimizer(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], groups: list[Any]
) -> None:
    """Restore moments in their parameter's memory format, or a fused step reads them askew."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for path, value in tensors.items():
        index, key = path.split(".", 1)
        shape = parameters[int(index)]
        like = torch.empty_like(shape, dtype=value.dtype).copy_(value) if value.ndim else value
        entries.setdefault(int(index), {})[key] = like
    optimizer.load_state_dict({"state": entries, "param_groups": groups})


def _compare(content: Mapping[str, Any], facts: Mapping[str, Any], checkpoint: Path) -> None:
    for key, now in facts.items():
        then = content.get(key)
        if then != now:
            warnings.warn(
                f"{checkpoint.name} was written with {key} = {then}, this run has {now}: "
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
