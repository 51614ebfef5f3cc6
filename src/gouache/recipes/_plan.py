"""A plan: everything that a run is, before it starts."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gouache import check, data
from gouache.contracts import Trainable
from gouache.random import generator
from gouache.train import Augment, TrainConfig


@dataclass(frozen=True)
class Plan:
    """A whole run: model, data and training.

    Attributes:
        recipe: the name of the function that made it.
        source: what ``gouache.data.load`` takes; a folder by its absolute path.
        size: pixels a side, as asked for or chosen; None is the source's own.
        dataset: the training images.
        model: the class that learns, with a ``Config``.
        config: its configuration.
        train: how it is trained.
        augment: changes a batch, keyed by (seed, draw); None leaves it alone.
        changed: the settings that were overridden, as the user wrote them.
    """

    recipe: str
    source: str
    size: int | None
    dataset: data.Dataset
    model: type[Trainable]
    config: Any
    train: TrainConfig
    augment: Augment | None = None
    changed: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def override(self, values: Mapping[str, str]) -> Plan:
        """Return the plan with some settings changed, ``{"steps": "500", "widths": "32,64"}``.

        A key is a field of the training configuration or of the model's.

        Raises:
            InputError: an unknown key (a near miss is named), or a value that does not fit.

        Example:
            >>> from gouache import recipes
            >>> recipes.digits_diffusion().override({"steps": "10"}).train.steps
            10
        """
        train, config = dict[str, Any](), dict[str, Any]()
        model_fields = _fields(type(self.config))
        known = {**model_fields, **_fields(TrainConfig)}
        for key, text in values.items():
            kind = known[check.choice(key, "setting", known)]
            (train if key in _fields(TrainConfig) else config)[key] = _parse(key, text, kind)
        return dataclasses.replace(
            self,
            train=dataclasses.replace(self.train, **train),
            config=dataclasses.replace(self.config, **config),
            changed={**self.changed, **values},
        )

    def build(self) -> Trainable:
        """Return the untrained model, its weights drawn from the plan's seed."""
        import torch

        with torch.random.fork_rng(devices=[]):
            torch.random.set_rng_state(generator(self.train.seed).get_state())
            return self.model(self.config)


def _fields(config: type[Any]) -> dict[str, Any]:
    return typing.get_type_hints(config)


def _parse(key: str, text: str, kind: Any) -> Any:
    """Read a setting as JSON, commas making a list; a plain word is itself."""
    text = text.strip()
    many = typing.get_origin(kind) is tuple
    source = f"[{text.strip('()[]')}]" if many else text
    if kind is str or typing.get_origin(kind) is typing.Literal:
        source = json.dumps(text)
    try:
        value: Any = float(text) if kind is float else json.loads(source)
    except (ValueError, RecursionError):
        value = text
    value = tuple(value) if isinstance(value, list) else value
    if not fits(value, kind):
        raise check.InputError(f"{key} must be {_name(kind)}, got {text!r}")
    return value


def fits(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a kind, written as a type: ``list[int]``, ``str | None``."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if typing.is_typeddict(kind):
        fields = typing.get_type_hints(kind)
        whole = isinstance(value, dict) and value.keys() >= fields.keys()
        return whole and all(fits(value[key], fields[key]) for key in fields)
    if origin is typing.Literal:
        return value in inner
    if origin is types.UnionType:
        return any(fits(value, one) for one in inner)
    if origin is tuple:
        count, one = _entries(kind)
        whole = isinstance(value, tuple) and count in (None, len(value))
        return whole and all(fits(v, one) for v in value)
    if origin is list:
        return isinstance(value, list) and all(fits(v, inner[0]) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(fits(v, inner[1]) for v in value.values())
    return _is_a(value, kind)


def _is_a(value: Any, kind: Any) -> bool:
    """Tell whether a value is of a plain type; true and false are no numbers."""
    if kind in (int, float):
        plain = (int, float) if kind is float else int
        return isinstance(value, plain) and not isinstance(value, bool)
    return kind is Any or isinstance(value, kind)


def _entries(kind: Any) -> tuple[int | None, Any]:
    """Return how many entries a tuple has (None: any number), and of what kind."""
    inner = typing.get_args(kind)
    return (None if inner[-1] is ... else len(inner)), inner[0]


def _name(kind: Any) -> str:
    if typing.get_origin(kind) is tuple:
        count, inner = _entries(kind)
        many = {int: "whole numbers", float: "numbers", bool: "true or false", str: "words"}
        return f"{f'{count} ' if count else ''}{many[inner]} with commas between"
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(typing.get_args(kind))
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    return words.get(kind, str(kind))
