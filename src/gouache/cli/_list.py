"""``gouache list``: what there is, read from the registry without importing it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ._screen import table


class Kind(StrEnum):
    """What can be listed."""

    methods = "methods"
    recipes = "recipes"
    data = "data"
    metrics = "metrics"
    weights = "weights"


ROLES = {Kind.recipes: "recipe", Kind.data: "data", Kind.metrics: "measure"}


def show(
    kind: Annotated[Kind, typer.Argument(help="What to list.")] = Kind.methods,
) -> None:
    """List methods, recipes, data, metrics or weights.

    Example: gouache list recipes
    """
    from gouache import registry

    if kind is Kind.weights:
        table([["weights", "what"], *_weights()])
    elif kind is Kind.methods:
        found = [entry for entry in registry.entries() if entry.role]
        found.sort(key=lambda entry: (entry.role, entry.name))
        table([["role", "name", "what"], *([e.role, e.name, e.summary] for e in found)])
    else:
        entries = registry.entries(ROLES[kind])
        table([["name", "what"], *([entry.name, entry.summary] for entry in entries)])


def _weights() -> list[list[str]]:
    import json

    from gouache.registry import ROOT

    cards = sorted((ROOT / "weights").glob("*/card.json"))
    rows = [(file.parent.name, json.loads(file.read_text("utf-8"))) for file in cards]
    return [[name, str(card["title"])] for name, card in rows]
