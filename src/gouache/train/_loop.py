"""The training loop: a generator of steps that its caller owns.

A step is ``_step.take`` (one gradient step a phase), then one update of the averaged weights.
Nothing in it is random but by (seed, step), so a run resumes to the bits of an uninterrupted one.
"""

from __future__ import annotations

import dataclasses
import math
import platform
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from gouache.check import InputError
from gouache.contracts import Trainable

from . import _device, _state
from ._average import Average
from ._config import TrainConfig, learning_rate
from ._log import Log, read_log
from ._order import Augment, Images, batches
from ._step import take

PREPARE = 1024


@dataclass(frozen=True)
class Step:
    """One finished step, as the caller of ``fit`` sees it.

    Attributes:
        number: steps done, 1 .. config.steps.
        losses: the loss of each phase, averaged over micro-batches and ranks.
        lr: the learning rate of this step.
        seconds: time spent in steps so far, by all sessions of the run.
        average: the model with averaged weights, in evaluation mode; do not change it.
        rank: 0 in the process that writes.
    """

    number: int
    losses: Mapping[str, float]
    lr: float
    seconds: float
    average: torch.nn.Module
    rank: int


def fit(
    model: Trainable,
    images: Images,
    config: TrainConfig,
    *,
    folder: str | Path | None = None,
    augment: Augment | None = None,
    resume: bool = False,
) -> Generator[Step, None, None]:
    """Train ``model`` and yield every finished step; the caller may stop, preview or measure.

    Args:
        model: what learns; it is changed in place.
        images: the training set; ``images.batch(indices)`` gives a batch.
        config: optimizer, schedule, precision, devices.
        folder: where checkpoints and the log go; None keeps nothing.
        augment: ``augment(images, keys)``, keyed by (seed, draw); it must be picklable.
        resume: go on from the last checkpoint in ``folder``, to the same end bit for bit.

    Raises:
        InputError: resume without a checkpoint, or a checkpoint of another model.

    Example:
        >>> from gouache import data, generate, train
        >>> model = generate.Diffusion.tiny()
        >>> config = train.TrainConfig(steps=3, batch=8)
        >>> steps = list(train.fit(model, data.digits("train"), config))
        >>> [step.number for step in steps]
        [1, 2, 3]

    """
    fabric = _device.fabric(config, len(model.phases))
    start = _start(folder, resume)
    if start is None:
        model.prepare(images.batch(torch.arange(min(len(images), PREPARE))))
    _channels_last(model)
    optimizers = {
        phase: torch.optim.AdamW(
            parameters, config.lr, config.betas, weight_decay=config.weight_decay, fused=True
        )
        for phase, parameters in model.parameter_groups().items()
    }
    wrapped, *ready = fabric.setup(model, *optimizers.values())
    state = _state.State(model, Average(model, config.ema), dict(optimizers))
    facts = _facts(config, fabric.device)
    first = 0 if start is None else _state.restore(state, start, facts)
    place = Path(folder) if folder is not None and fabric.is_global_zero else None
    log = None if place is None else Log(place, first)
    seconds = _seconds(folder, first)
    feed = batches(
        images, config, first, rank=fabric.global_rank, ranks=fabric.world_size, augment=augment
    )
    try:
        for k in range(first, config.steps):
            clock = time.perf_counter()
            batch = fabric.to_device(next(feed))
            lr = learning_rate(config, k)
            losses = take(fabric, wrapped, ready, batch, config, k, lr)
            state.average.update(model, k)
            mean = {name: float(fabric.all_reduce(loss)) for name, loss in losses.items()}
            _finite(mean, k)
            seconds += time.perf_counter() - clock
            done = k + 1
            if log is not None and (done % config.log_every == 0 or done == config.steps):
                log.write(done, **mean, lr=lr, seconds=round(seconds, 4))
            if place and (done % config.checkpoint_every == 0 or done == config.steps):
                _state.save(state, place, done, facts)
            yield Step(done, mean, lr, seconds, state.average.model, fabric.global_rank)
    finally:
        if log is not None:
            log.close()


def _finite(losses: Mapping[str, float], k: int) -> None:
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise InputError(f"the loss of {name} became {loss} at step {k + 1}; lower lr or clip")


def _channels_last(model: torch.nn.Module) -> None:
    """Store 4-d weights channels-last: the layout in which convolutions are fastest."""
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def _facts(config: TrainConfig, device: torch.device) -> dict[str, Any]:
    """What a resumed run must share with the first to end on the same bits."""
    named = dataclasses.asdict(config)
    kept = {key: named[key] for key in ("steps", "batch", "accumulate", "devices", "seed", "lr")}
    return kept | {
        "precision": _device.precision(config),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def _start(folder: str | Path | None, resume: bool) -> Path | None:
    found = _state.checkpoints(folder) if folder is not None else []
    if resume and not found:
        raise InputError(f"nothing to resume: {folder} holds no checkpoint; train without --resume")
    return found[-1] if resume else None


def _seconds(folder: str | Path | None, first: int) -> float:
    lines = [] if folder is None else [x for x in read_log(folder) if x["step"] <= first]
    return float(lines[-1]["seconds"]) if lines and first else 0.0
