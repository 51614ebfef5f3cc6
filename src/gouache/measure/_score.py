"""What every measure returns: a value that cannot be quoted without its uncertainty and floor."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Score:
    """One measurement of a set of images against another.

    Attributes:
        name: of the measure.
        value: the measurement.
        error: its standard error over draws of the images (each measure says how it is found).
        n_real: how many real images.
        n_fake: how many generated ones.
        features: the representation it was taken in; ``given`` for feature matrices.
        floor: what real images score against real images at the same sizes; NaN where unknown.
        better: ``lower`` or ``higher``, or ``floor``: the nearer to the floor, the better.
        extra: further figures of this measure, and ``floor_by``, how the floor was found.

    Example:
        >>> print(Score("frechet", 12.31, 0.42, 1000, 1000, "pca-20", 5.12, "lower"))
        frechet 12.3 +- 0.4 (pca-20, 1000 real, 1000 fake; floor 5.1)
    """

    name: str
    value: float
    error: float
    n_real: int
    n_fake: int
    features: str
    floor: float
    better: Literal["lower", "higher", "floor"]
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return one line; the error has one or two digits, the value as many decimals."""
        places = _places(self.error, self.value)
        value, error, floor = (_fixed(x, places) for x in (self.value, self.error, self.floor))
        sizes = f"{self.features}, {self.n_real} real, {self.n_fake} fake"
        return f"{self.name} {value} +- {error} ({sizes}; floor {floor})"

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON; what is not a number becomes None."""
        plain = dataclasses.asdict(self)
        plain["extra"] = {key: _plain(value) for key, value in plain["extra"].items()}
        return {key: _plain(value) for key, value in plain.items()}


def table(scores: Iterable[Score]) -> list[list[str]]:
    """Return rows of text, the head first: measure, value, error, floor, better, features, sizes.

    Example:
        >>> table([Score("density", 0.98, 0.02, 500, 400, "given", 1.0, "floor")])[1]
        ['density', '0.98', '0.02', '1.00', 'floor', 'given', '500 real, 400 fake']
    """
    rows = [["measure", "value", "+-", "floor", "better", "features", "images"]]
    for s in scores:
        places = _places(s.error, s.value)
        numbers = [_fixed(x, places) for x in (s.value, s.error, s.floor)]
        sizes = f"{s.n_real} real, {s.n_fake} fake"
        rows.append([s.name, *numbers, s.better, s.features, sizes])
    return rows


def _places(error: float, value: float) -> int:
    """Return how many decimals show the first digit of the error (both digits of 1x)."""
    scale = error if math.isfinite(error) and error > 0 else abs(value) / 100
    if not math.isfinite(scale) or scale == 0:
        return 3
    leading = math.floor(math.log10(scale))
    first = scale / 10**leading
    return max(0, -leading + (1 if first < 1.95 else 0))


def _fixed(x: float, places: int) -> str:
    return "unknown" if math.isnan(x) else f"{x:.{places}f}"


def _plain(x: Any) -> Any:
    return None if isinstance(x, float) and not math.isfinite(x) else x
