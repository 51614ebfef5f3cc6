"""The training loop: a generator of steps that its caller owns.

A step is ``_step.take`` (one gradient step a phase), then one update of the averaged weights.
Nothing in it is random but by (seed, step), so a run resumes to the bits of an uninterrupted one.
"""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.contracts import Trainable

from . import _device, _state
from ._average import Average
from ._config import TrainConfig, learning_rate
from ._log import Log, seconds_until
from ._order import Augment, Images, batches
from ._step import optimizers, take

PREPARE = 1024


@dataclass(frozen=True)
class Step:
    """One finished step, as the caller of ``fit`` sees it.

    Attributes:
        number: steps done, 1 .. config.steps.
        losses: the loss of each phase, averaged over micro-batches and ranks.
        lr: the learning rate of this step.
        seconds: time spent in steps since the run began, resumed or not.
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
        InputError: a folder that holds a run already, nothing to resume, a checkpoint of another
            model, a loss that is not finite, a folder that cannot be written.

    Example:
        >>> from gouache import data, generate, train
        >>> model = generate.Diffusion(generate.DiffusionConfig((1, 8, 8), classes=10))
        >>> config = train.TrainConfig(steps=3, batch=8)
        >>> steps = list(train.fit(model, data.digits("train"), config))
        >>> [step.number for step in steps]
        [1, 2, 3]

    """
    fabric = _device.fabric(config, len(model.phases))
    saved = _begin(folder, resume)
    if saved is None:
        model.prepare(images.batch(_spread(len(images))))
    # Channels-last is the layout in which convolutions are fastest.
    model.train().to(fabric.device, memory_format=torch.channels_last)  # pyright: ignore
    average = Average(model, config.ema)
    wrapped = fabric.setup_module(model)
    each = optimizers(model, config)
    ready = [fabric.setup_optimizers(optimizer) for optimizer in each.values()]
    state = _state.State(model, average, each)
    facts = _device.facts(config, fabric.device, len(images))
    first = 0 if saved is None else _state.restore(state, saved, facts)
    seconds = seconds_until(folder, first)
    with _device.together():
        place = check.folder(folder) if folder is not None and fabric.is_global_zero else None
        log = None if place is None else Log(place, first)
    feed = batches(
        images, config, first, rank=fabric.global_rank, ranks=fabric.world_size, augment=augment
    )
    try:
        for k in range(first, config.steps):
            clock = time.perf_counter()
            batch = fabric.to_device(next(feed))
            lr = learning_rate(config, k)
            losses = take(fabric, wrapped, ready, batch, config, k, lr)
            average.update(model, k)
            mean = {name: float(fabric.all_reduce(loss)) for name, loss in losses.items()}
            _finite(mean, k)
            seconds += time.perf_counter() - clock
            done = k + 1
            if log is not None and (done % config.log_every == 0 or done == config.steps):
                log.write(done, **mean, lr=lr, seconds=round(seconds, 4))
            if folder is not None and (done % config.checkpoint_every == 0 or done == config.steps):
                _state.save(state, place, done, facts)
            yield Step(done, mean, lr, seconds, average.model, fabric.global_rank)
    finally:
        feed.close()
        if log is not None:
            log.close()


def _spread(count: int) -> Tensor:
    """Return at most PREPARE rows evenly spaced over all: folders are sorted by class."""
    some = min(count, PREPARE)
    return torch.arange(some) * count // some


def _begin(folder: str | Path | None, resume: bool) -> _state.Saved | None:
    """Return the checkpoint to go on from; None begins anew, which a run in the way forbids."""
    if resume:
        if folder is None:
            raise InputError("resume needs the folder of the run; pass folder=")
        return _state.newest(folder)
    if folder is not None and _state.checkpoints(folder):
        raise InputError(f"{folder} already holds a run; resume it, or name another folder")
    return None


def _finite(losses: Mapping[str, float], k: int) -> None:
    for name, loss in losses.items():
        if not math.isfinite(loss):
            raise InputError(f"the loss of {name} became {loss} at step {k + 1}; lower lr or clip")
