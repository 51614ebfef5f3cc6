"""Save and load a model as a folder: ``config.json`` and ``model.safetensors``, never a pickle.

The folder follows the Hugging Face convention. ``config.json`` names the class
(``"model": "Diffusion"``), which the registry looks up under the roles ``generate``,
``features`` and ``prior``; the rest is the class's ``Config``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from . import registry
from .check import InputError, choice, existing
from .check import folder as writable_folder

CONFIG, WEIGHTS = "config.json", "model.safetensors"
ROLES = ("generate", "features", "prior")


def save(model: nn.Module, folder: str | Path, weights: Mapping[str, Tensor] | None = None) -> None:
    """Write ``model`` (or other ``weights`` of it, an average say) into ``folder``.

    The configuration is written last: see :func:`is_saved`.
    """
    folder = writable_folder(folder)
    config: Any = model.config
    content = {"model": type(model).__name__, "config": dataclasses.asdict(config)}
    write_tensors(dict(model.state_dict() if weights is None else weights), folder / WEIGHTS)
    write_text(json.dumps(content, indent=2) + "\n", folder / CONFIG)


def is_saved(folder: str | Path) -> bool:
    """Tell whether :func:`save` came to its end in ``folder``."""
    return (Path(folder) / CONFIG).is_file()


def load(folder: str | Path) -> nn.Module:
    """Return the model that :func:`save` wrote into ``folder``, in evaluation mode.

    Raises:
        InputError: the folder lacks a file, names an unknown class or key, or holds a pickle.
    """
    network = build(read_json(Path(folder) / CONFIG), Path(folder) / CONFIG)
    state = read_tensors(Path(folder) / WEIGHTS)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        reason = str(error).split("\n")[1].strip() if "\n" in str(error) else str(error)
        raise InputError(f"{folder}/{WEIGHTS} does not fit its {CONFIG}: {reason}") from None
    return network.eval()


def build(content: Any, where: str | Path) -> nn.Module:
    """Return the untrained model that ``{"model": class, "config": values}`` describes."""
    if not isinstance(content, dict) or not {"model", "config"} <= content.keys():
        raise InputError(f"{where} is not a gouache model: it lacks model and config")
    model = _class(str(content["model"]))
    return model(config_from(model.Config, content["config"], str(where)))


def config_from(config: type[Any], values: Mapping[str, Any], where: str) -> Any:
    """Build a ``Config`` dataclass from plain values, naming an unknown or impossible key."""
    if not isinstance(values, Mapping):
        raise InputError(f"{where} must map names to values, got {type(values).__name__}")
    fields = {field.name for field in dataclasses.fields(config)}
    for key in values:
        choice(key, f"key in {where}", fields)
    plain = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    try:
        return config(**plain)
    except TypeError as error:
        raise InputError(f"{where} does not fit {config.__name__}: {error}") from None


def read_tensors(file: str | Path) -> dict[str, Tensor]:
    """Read a safetensors file; anything else, a pickle above all, is refused."""
    file = existing(file, "weights")
    try:
        return load_file(file)
    except SafetensorError:
        raise InputError(
            f"{file} is not a whole safetensors file; pickled weights are refused because "
            "loading one can run code: convert them with safetensors.torch.save_file"
        ) from None


def read_json(file: str | Path) -> Any:
    """Read a JSON file."""
    file = existing(file, "file")
    try:
        return json.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:  # of a number of many digits, a deep nest too
        raise InputError(f"{file} is not JSON: {error}") from None


def write_tensors(tensors: Mapping[str, Tensor], file: Path) -> None:
    """Write a safetensors file atomically; tensors are stored contiguous, each on its own."""
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(file) as temporary:
        save_file(plain, temporary)


def write_text(text: str, file: Path) -> None:
    """Write a text file atomically."""
    with replacing(file) as temporary:
        temporary.write_text(text, "utf-8")


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``file`` that takes its place once whole and on the disk.

    The folder is made if it is not there.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(
        dir=file.parent, prefix=f".{file.stem}-", suffix=f".partial{file.suffix}"
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        sync(temporary)
        temporary.chmod(0o644)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Flush a file to the disk."""
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())


def _class(name: str) -> Any:
    for role in ROLES:
        for entry in registry.entries(role):
            if entry.name == name:
                return entry.load()
    known = [entry.name for role in ROLES for entry in registry.entries(role)]
    raise InputError(f'unknown model "{name}" (known: {", ".join(known)})')
