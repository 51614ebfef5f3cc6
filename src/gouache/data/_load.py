"""One word for a source of images: a bundled name, a folder, or ``hf:NAME``."""

from __future__ import annotations

from .. import registry
from ._dataset import Dataset, Size


def load(source: str, split: str = "train", *, size: Size = None) -> Dataset:
    """Load a source by its name."""
    return registry.find("data", source)(split, size=size)
