"""The numbers and pictures of a run, before they become a page.

Notation: n samples are judged against held-out images (validation and test), with the training
images as what may have been memorised; d(z) is the distance of z to its nearest training image.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gouache import check, data, measure, pretrained, random, recipes, weights
from gouache.check import InputError
from gouache.contracts import GenerativeModel, HasTrajectory, SampleOptions
from gouache.measure import Score
from gouache.recipes import Plan, read_run
from gouache.samples import Samples, draw, open_model, write_samples
from gouache.train import checkpoints, read_log

Stage = Callable[[str], AbstractContextManager[None]]
ENTRIES = 40_000_000
TRAJECTORIES, FRAMES = 6, 10
ROWS, COLUMNS, PAIRS = 20, 10, 12
TRAJECTORY, JUDGE = 1, 2


@dataclass(frozen=True)
class Row:
    """Samples side by side.

    Attributes:
        name: of their class; empty where there are no classes.
        images: ``(K, C, H, W)`` in [0, 1].
    """

    name: str
    images: Tensor


@dataclass(frozen=True)
class Pair:
    """A sample beside its nearest training image.

    Attributes:
        sample: ``(C, H, W)`` in [0, 1].
        train: ``(C, H, W)`` in [0, 1].
        distance: between them, the root of the summed squares of pixels.
        quantile: share of held-out images that are nearer to the training set than the sample is.
        name: of the sample's class; empty without one.
    """

    sample: Tensor
    train: Tensor
    distance: float
    quantile: float
    name: str


@dataclass(frozen=True)
class Report:
    """Everything that a page shows.

    Attributes:
        title: of the page.
        run: what ``run.json`` holds.
        machine: what the run was made on, as far as a checkpoint tells; empty without one.
        parameters: of the network.
        log: the lines of the run's log.
        card: where the training images come from.
        samples: how many images were drawn and judged.
        seed: they were drawn with.
        rows: samples to look at.
        trajectory: x_t and the estimate of x0, ``(frames, K, C, H, W)`` in [0, 1], or None.
        pairs: samples beside their nearest training images, the closest first.
        distances: d of the samples and d of the held-out images.
        scores: the measures.
        absent: what is left out, and why.
    """

    title: str
    run: Mapping[str, Any]
    machine: Mapping[str, Any]
    parameters: int
    log: Sequence[Mapping[str, Any]]
    card: data.Card
    samples: int
    seed: int
    rows: tuple[Row, ...]
    trajectory: tuple[Tensor, Tensor] | None
    pairs: tuple[Pair, ...]
    distances: tuple[Tensor, Tensor] | None
    scores: tuple[Score, ...]
    absent: tuple[str, ...]


@dataclass(frozen=True)
class _Real:
    """Real images and their labels."""

    images: Tensor
    labels: Tensor | None


def silent(_: str) -> AbstractContextManager[None]:
    """Enter nothing: the stages of a report that nobody watches."""
    return contextlib.nullcontext()


def gather(
    run_folder: str | Path,
    *,
    n: int | None = None,
    seed: int = 0,
    device: str = "cpu",
    stage: Stage = silent,
) -> Report:
    """Draw samples of a run into its ``samples/``, judge them, and collect what a page shows.

    Args:
        run_folder: made by ``gouache.recipes.run``.
        n: how many samples; by default 1000 of at most 16x16 pixels, fewer of larger ones.
        seed: of the samples, and of what the measures draw.
        device: where the samples are drawn, ``cpu`` or ``cuda``.
        stage: a context manager that is entered, with its name, around each part of the work.

    Raises:
        InputError: no run is there, or it holds no trained model yet.
    """
    folder = check_run(run_folder)
    n = None if n is None else check.count(n, "n", 1, 1_000_000)
    plan = recipes.load_plan(folder)
    model, names, absent = _open(folder, device)
    parts: dict[str, Any] = {"rows": (), "trajectory": None, "samples": 0}
    parts |= {"pairs": (), "distances": None, "scores": ()}
    if isinstance(model, GenerativeModel):
        n = n or _default_number(plan)
        with stage(f"drawing {n} samples"):
            samples = draw(model, n, seed=seed, names=names)
            write_samples(samples, folder / "samples", replace=True)
            parts |= {"samples": n, "rows": _rows(samples)}
            parts["trajectory"] = _trajectory(model, seed)
        with stage("judging them"):
            judged, why = _judge(plan, samples, seed)
            parts |= judged
            absent += why
    return Report(
        title=folder.resolve().name,
        run=read_run(folder),
        machine=_machine(folder),
        parameters=sum(p.numel() for p in model.parameters()),
        log=read_log(folder),
        card=plan.dataset.card,
        seed=seed,
        absent=tuple(absent),
        **parts,
    )


def check_run(folder: str | Path) -> Path:
    """Check that a folder holds a run with something trained."""
    folder = Path(folder)
    read_run(folder)
    if not pretrained.is_saved(folder / "model") and not checkpoints(folder):
        raise InputError(f"the run {folder} has no checkpoint yet; train it further")
    return folder


def _open(folder: Path, device: str) -> tuple[nn.Module, tuple[str, ...], list[str]]:
    """Return the model of a run, the names of its classes, and what it cannot do."""
    model = weights.load(folder).to(device)
    if not isinstance(model, GenerativeModel):
        return model, (), [f"Samples and measures: a {type(model).__name__} draws no images."]
    return model, open_model(folder)[1], []


def _default_number(plan: Plan) -> int:
    _, height, width = plan.dataset.shape
    return max(64, min(1000, 1000 * 256 // (height * width)))


def _machine(folder: Path) -> dict[str, Any]:
    found = checkpoints(folder)
    facts = pretrained.read_json(found[-1] / "state.json") if found else {}
    return {
        key: facts[key] for key in ("device", "machine", "threads", "precision") if key in facts
    }


def _rows(samples: Samples) -> tuple[Row, ...]:
    """Return a row a class, or rows of whatever came first."""
    if samples.labels is None:
        chunks = samples.images[: 6 * COLUMNS].split(COLUMNS)
        return tuple(Row("", chunk) for chunk in chunks)
    found = samples.labels.unique().tolist()[:ROWS]
    rows = [(c, samples.images[samples.labels == c][:COLUMNS]) for c in found]
    return tuple(Row(samples.names[c], images) for c, images in rows)


def _trajectory(model: GenerativeModel, seed: int) -> tuple[Tensor, Tensor] | None:
    """Return what the sampler held and what it expected, at evenly spread steps."""
    if not isinstance(model, HasTrajectory):
        return None
    classes = model.classes
    labels = torch.arange(TRAJECTORIES) % classes if classes else None
    x_t, x0 = model.trajectory(
        TRAJECTORIES,
        condition=None if labels is None else {"label": labels},
        rng=random.generator(random.derive(seed, TRAJECTORY)),
        options=SampleOptions(),
    )
    keep = torch.linspace(0, len(x_t) - 1, min(FRAMES, len(x_t))).round().long()
    return _contrast(x_t[keep], x_t[-1]), x0[keep].clamp(0, 1)


def _contrast(frames: Tensor, last: Tensor) -> Tensor:
    """Bring frames whose noise exceeds the range of pixels back to the spread of the last one."""
    spread = frames.flatten(1).std(1).clamp(min=1e-6)
    scale = (last.std() / spread).clamp(max=1).view(-1, *[1] * (frames.ndim - 1))
    centre = frames.flatten(1).mean(1).view_as(scale)
    return (centre.clamp(0, 1) + scale * (frames - centre)).clamp(0, 1)


def _judge(plan: Plan, samples: Samples, seed: int) -> tuple[dict[str, Any], list[str]]:
    """Return pairs, distances and scores, and what could not be had."""
    train = _real(plan.dataset)
    held_out, why = _held_out(plan)
    parts: dict[str, Any] = {"pairs": _pairs(samples, train, held_out)}
    if held_out is None:
        return parts, why
    parts["distances"] = tuple(
        measure.nearest(x, train.images)[0][:, 0] for x in (samples.images, held_out.images)
    )
    if samples.labels is None or held_out.labels is None:
        why.append("Classification accuracy: these images have no labels.")
    try:
        scores = measure.evaluate(
            held_out.images,
            samples.images,
            train=train.images,
            rng=random.generator(random.derive(seed, JUDGE)),
            real_labels=held_out.labels,
            fake_labels=samples.labels,
            train_labels=train.labels,
        )
    except InputError as error:
        return parts, [*why, f"Measures: {error}."]
    return parts | {"scores": tuple(scores)}, why


def _held_out(plan: Plan) -> tuple[_Real | None, list[str]]:
    """Return the validation and test images of the run's source, or why there are none."""
    try:
        return _real(data.load(plan.source, "held-out", size=plan.size)), []
    except InputError as error:
        return None, [f"Measures, and the null of the distances: no held-out images ({error})."]


def _real(dataset: data.Dataset) -> _Real:
    """Return a data set in memory, or an even choice of one that is too large for it."""
    most = max(200, ENTRIES // dataset.shape[0] // dataset.shape[1] // dataset.shape[2])
    step = -(-len(dataset) // most)
    batch = dataset.batch(torch.arange(0, len(dataset), step))
    return _Real(batch["image"], batch.get("label"))


def _pairs(samples: Samples, train: _Real, held_out: _Real | None) -> tuple[Pair, ...]:
    """Return the samples that are nearest to the training set, the closest first."""
    distance, index = (x[:, 0] for x in measure.nearest(samples.images, train.images))
    null = None if held_out is None else measure.nearest(held_out.images, train.images)[0][:, 0]
    pairs = []
    for i in distance.argsort(stable=True)[:PAIRS].tolist():
        quantile = float("nan") if null is None else float((null < distance[i]).double().mean())
        name = "" if samples.labels is None else samples.names[int(samples.labels[i])]
        nearest = train.images[int(index[i])]
        pairs.append(Pair(samples.images[i], nearest, float(distance[i]), quantile, name))
    return tuple(pairs)
