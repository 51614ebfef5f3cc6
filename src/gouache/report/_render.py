"""A report as one HTML page: pictures as data URIs, charts as inline SVG, nothing fetched."""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from gouache import image, measure, registry
from gouache.measure import Score

from ._chapter import Chapter
from ._chart import Series, histogram, line_chart, smooth
from ._gather import Pair, Report

TEMPLATE = "report.html.j2"
SIDE = 40
DIRECTION = {
    "lower": "lower is better",
    "higher": "higher is better",
    "floor": "the nearer to the floor, the better",
}


def render(report: Report, chapters: Sequence[Chapter] = ()) -> str:
    """Return the page of a report, self-contained.

    Args:
        report: from :func:`gather`.
        chapters: further parts, after the data.
    """
    import jinja2

    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    environment.filters["figure"] = _figure
    return environment.get_template(TEMPLATE).render(
        report=report,
        rows=[(row.name, _picture(row.images, report)) for row in report.rows],
        trajectory=_trajectory(report),
        pairs=[_pair(pair) for pair in report.pairs],
        charts=_charts(report),
        scores=_scores(report.scores),
        facts=_facts(report),
        settings=_settings(report.run),
        card=_card(report),
        chapters=[(part, [(words, _uri(x)) for words, x in part.figures]) for part in chapters],
    )


def _uri(page: Tensor) -> dict[str, Any]:
    """Return a picture as a data URI, with its size for the layout."""
    code = base64.b64encode(image.png_bytes(page)).decode("ascii")
    height, width = page.shape[-2:]
    return {"uri": f"data:image/png;base64,{code}", "width": width, "height": height}


def _picture(images: Tensor, report: Report, columns: int | None = None) -> dict[str, Any]:
    scale = max(1, round(SIDE / max(images.shape[-2:])))
    return _uri(image.grid(images, columns or len(images), pad=2, scale=scale))


def _figure(picture: Mapping[str, Any], alt: str) -> Any:
    import markupsafe

    tag = '<img src="{}" width="{}" height="{}" alt="{}">'
    return markupsafe.Markup(tag).format(picture["uri"], picture["width"], picture["height"], alt)


def _trajectory(report: Report) -> list[tuple[str, dict[str, Any]]]:
    if report.trajectory is None:
        return []
    titles = ("what the sampler holds", "what it expects the image to be")
    made = []
    for title, frames in zip(titles, report.trajectory, strict=True):
        pages = frames.transpose(0, 1).flatten(0, 1)
        made.append((title, _picture(pages, report, columns=len(frames))))
    return made


def _pair(pair: Pair) -> dict[str, Any]:
    side = max(pair.sample.shape[-2:])
    scale = max(1, round(1.6 * SIDE / side))
    both = [image.grid(x[None], 1, pad=0, scale=scale) for x in (pair.sample, pair.train)]
    share = "unknown" if math.isnan(pair.quantile) else f"{100 * pair.quantile:.1f} %"
    return {
        "name": pair.name,
        "sample": _uri(both[0]),
        "train": _uri(both[1]),
        "distance": f"{pair.distance:.3f}",
        "quantile": share,
    }


def _charts(report: Report) -> dict[str, Any]:
    import markupsafe

    steps = [line["step"] for line in report.log]
    phases = [key for key in (report.log[0] if report.log else {}) if key not in _NO_LOSS]
    window = max(1, len(steps) // 20)
    losses = [
        Series(name, steps, values, style)
        for k, phase in enumerate(phases)
        for values in [[float(line[phase]) for line in report.log]]
        for name, values, style in (
            ("", values, "faint"),
            (f"{phase}, mean of {window}", smooth(values, window), f"c{k % 3}"),
        )
    ]
    rates = [Series("", steps, [float(line["lr"]) for line in report.log], "c0")]
    made = {
        "loss": line_chart(
            losses, title="Loss over steps", x_label="step", y_label="loss", log=True
        ),
        "rate": line_chart(
            rates, title="Learning rate over steps", x_label="step", y_label="learning rate"
        ),
        "distances": _distances(report),
    }
    return {name: markupsafe.Markup(svg) for name, svg in made.items()}


_NO_LOSS = {"step", "lr", "seconds"}


def _distances(report: Report) -> str:
    if report.distances is None:
        return ""
    samples, null = (x.tolist() for x in report.distances)
    low, high = min(samples + null), max(samples + null)
    return line_chart(
        [
            Series("samples", *histogram(samples, low, high, 24), "c0"),
            Series("held-out images", *histogram(null, low, high, 24), "c1"),
        ],
        title="Distance to the nearest training image, of samples and of held-out images",
        x_label="distance to the nearest training image",
        y_label="share",
    )


def _scores(scores: Sequence[Score]) -> list[dict[str, str]]:
    rows = measure.table(scores)[1:]
    meaning = {e.name: _sentence(e.summary) for e in registry.entries("measure")}
    meaning["FID"] = meaning["frechet"]
    return [
        {
            "name": row[0],
            "value": row[1],
            "error": row[2],
            "floor": row[3],
            "copier": f"{score.extra['train']:.3g}" if "train" in score.extra else "",
            "better": DIRECTION[score.better],
            "features": score.features,
            "sizes": f"{score.n_real} real, {score.n_fake} generated",
            "meaning": meaning[score.name],
        }
        for score, row in zip(scores, rows, strict=True)
    ]


def _sentence(summary: str) -> str:
    """Turn the first line of a measure's docstring, "Measure the ...", into "The ..."."""
    rest = summary.removeprefix("Measure ")
    return rest[:1].upper() + rest[1:]


def _facts(report: Report) -> list[tuple[str, str]]:
    run, last = report.run, report.log[-1] if report.log else {}
    versions = ", ".join(f"{name} {value}" for name, value in run["versions"].items())
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    return [
        ("recipe", run["recipe"]),
        ("data", f"{run['data']}, {run['images']} training images"),
        ("model", f"{run['model']['model']}, {report.parameters:,} parameters"),
        ("steps", f"{last.get('step', 0)} of {run['train']['steps']}"),
        ("training", f"{last.get('seconds', 0):.1f} s"),
        ("seed of the training", str(run["train"]["seed"])),
        ("seed of the samples", str(report.seed)),
        ("machine", machine or "unknown: no checkpoint is left"),
        ("versions", versions),
    ]


def _settings(run: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return (group, key, value) of every setting, as one would write it on the command line."""
    groups = (("training", run["train"]), ("model", run["model"]["config"]))
    return [
        (group, key, ",".join(map(str, value)) if isinstance(value, list) else str(value))
        for group, values in groups
        for key, value in values.items()
    ]


def _card(report: Report) -> list[tuple[str, str]]:
    card = report.card
    shape = " x ".join(map(str, card.shape))
    return [
        ("name", card.name),
        ("what", card.title),
        ("origin", card.origin),
        ("licence", card.licence),
        ("images", f"{card.size} to train on, {shape} (channels x height x width)"),
        ("splits", ", ".join(card.splits)),
        ("notes", card.notes or "none"),
    ]
