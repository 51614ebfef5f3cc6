"""Line charts as inline SVG, in the colours of the page: no script, no font, no library."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 276
LEFT, RIGHT, TOP, BOTTOM = 74, 24, 28, 44
POINTS = 400


@dataclass(frozen=True)
class Series:
    """One line of a chart.

    Attributes:
        name: in the legend; empty keeps it out.
        x: places, increasing.
        y: values; what is not finite, or not positive on a logarithmic axis, is left out.
        style: a class of the page's style sheet, ``c0``, ``c1`` or ``faint``.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    style: str


def line_chart(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str, log: bool = False
) -> str:
    """Return a chart as an SVG element; with nothing to draw, an empty string."""
    lines = [_kept(one, log) for one in series]
    xs = [x for line in lines for x, _ in line]
    ys = [y for line in lines for _, y in line]
    if not xs:
        return ""
    scale_x = _Axis(min(xs), max(xs), LEFT, WIDTH - RIGHT, False)
    scale_y = _Axis(min(ys), max(ys), HEIGHT - BOTTOM, TOP, log)
    parts = [*_grid(scale_x, scale_y), *_labels(x_label, y_label)]
    for one, line in zip(series, lines, strict=True):
        points = " ".join(f"{scale_x(x):.1f},{scale_y(y):.1f}" for x, y in line)
        parts.append(f'<polyline class="line {one.style}" points="{points}"/>')
    parts += _legend([one for one in series if one.name])
    name = html.escape(title)
    head = f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">'
    return f"{head}<title>{name}</title>{''.join(parts)}</svg>"


def smooth(values: Sequence[float], window: int) -> list[float]:
    """Return the mean of each value and those before it, at most ``window`` of them."""
    means = []
    for end in range(1, len(values) + 1):
        part = values[max(0, end - window) : end]
        means.append(sum(part) / len(part))
    return means


def histogram(
    values: Sequence[float], low: float, high: float, bins: int
) -> tuple[list[float], list[float]]:
    """Return the outline of a histogram, as x and the share of the values in each bin."""
    counts = [0] * bins
    for value in values:
        place = int((value - low) / (high - low) * bins) if high > low else 0
        counts[min(bins - 1, max(0, place))] += 1
    xs, ys = [low], [0.0]
    for k, number in enumerate(counts):
        xs += [low + (high - low) * k / bins, low + (high - low) * (k + 1) / bins]
        ys += [number / max(1, len(values))] * 2
    return [*xs, high], [*ys, 0.0]


class _Axis:
    """A map from values to places on the page, and the values to mark."""

    def __init__(self, low: float, high: float, start: float, end: float, log: bool) -> None:
        if high <= low:
            low, high = (low / 2, low * 2) if log and low > 0 else (low - 0.5, low + 0.5)
        self.low, self.high, self.start, self.end, self.log = low, high, start, end, log

    def __call__(self, value: float) -> float:
        low, high = self._place(self.low), self._place(self.high)
        share = (self._place(value) - low) / (high - low)
        return self.start + share * (self.end - self.start)

    def _place(self, value: float) -> float:
        return math.log10(value) if self.log else value

    def ticks(self) -> list[float]:
        """Return round values within the axis, about five."""
        if self.log and self.high / self.low > 3:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            wide = self.high / self.low > 1000
            marks = [m * 10.0**k for k in decades for m in ((1,) if wide else (1, 2, 5))]
        else:
            raw = (self.high - self.low) / 5
            unit = 10.0 ** math.floor(math.log10(raw))
            step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= raw)
            first = math.ceil(self.low / step)
            marks = [step * k for k in range(first, first + 8)]
        return [mark for mark in marks if self.low <= mark <= self.high * (1 + 1e-9)]


def _kept(series: Series, log: bool) -> list[tuple[float, float]]:
    points = [(x, y) for x, y in zip(series.x, series.y, strict=True) if math.isfinite(y)]
    points = [(x, y) for x, y in points if y > 0] if log else points
    step = max(1, -(-len(points) // POINTS))
    return points[::step] if len(points) > POINTS else points


def _grid(x: _Axis, y: _Axis) -> list[str]:
    base, parts = HEIGHT - BOTTOM, []
    for mark in y.ticks():
        place = f"{y(mark):.1f}"
        parts.append(f'<path class="grid" d="M{LEFT} {place}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{place}" dy="4" class="end">{mark:.3g}</text>')
    for mark in x.ticks():
        place = f"{x(mark):.1f}"
        parts.append(f'<path class="grid" d="M{place} {base}v5"/>')
        parts.append(f'<text x="{place}" y="{base + 18}" class="mid">{mark:g}</text>')
    return parts


def _labels(x_label: str, y_label: str) -> list[str]:
    x, y = html.escape(x_label), html.escape(y_label)
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return [
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}" class="mid">{x}</text>',
        f'<text transform="translate(14 {middle}) rotate(-90)" class="mid">{y}</text>',
    ]


def _legend(series: Sequence[Series]) -> list[str]:
    parts = []
    for k, one in enumerate(series):
        x = LEFT + 180 * k
        parts.append(f'<path class="line {one.style}" d="M{x} 12h24"/>')
        parts.append(f'<text x="{x + 30}" y="16">{html.escape(one.name)}</text>')
    return parts
