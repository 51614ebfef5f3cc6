"""What a training run is told."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gouache import check

_BOOKKEEPING = ("checkpoint_every", "log_every", "workers", "accelerator", "precision", "strategy")


@dataclass(frozen=True)
class TrainConfig:
    """How to train: the optimizer, the schedule, the precision and the bookkeeping.

    Attributes:
        steps: optimizer steps in all.
        batch: images a step, over all ranks and micro-batches.
        lr: highest learning rate.
        betas: of AdamW.
        weight_decay: of AdamW.
        clip: largest norm of a phase's gradient; 0 leaves it alone.
        warmup: steps over which the learning rate rises from 0.
        decay: ``cosine`` to 0 at the last step, or ``constant``.
        ema: decay of the averaged weights a step, reached as (k + 1) / (k + 10) grows.
        accumulate: micro-batches a step.
        precision: ``bf16`` (autocast), ``32``, or ``auto``: bf16 where the processor has it.
        strategy: ``ddp``, or ``fsdp``, which shards weights and optimizer over the ranks (models
            with one phase); ``auto`` is ``ddp`` where there are several devices.
        devices: processes, one a device.
        accelerator: ``cpu``, ``cuda``, or ``auto``: cuda where there is one.
        workers: processes that load data beside each training process; 0 loads in line.
        seed: of everything random in the run.
        checkpoint_every: steps between checkpoints; the last step always leaves one.
        log_every: steps between lines of the log.
    """

    steps: int = 1000
    batch: int = 64
    lr: float = 2e-3
    betas: tuple[float, float] = (0.9, 0.99)
    weight_decay: float = 0.01
    clip: float = 1.0
    warmup: int = 50
    decay: Literal["cosine", "constant"] = "cosine"
    ema: float = 0.99
    accumulate: int = 1
    precision: Literal["auto", "bf16", "32"] = "auto"
    strategy: Literal["auto", "ddp", "fsdp"] = "auto"
    devices: int = 1
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 0
    seed: int = 0
    checkpoint_every: int = 500
    log_every: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulate", "devices", "checkpoint_every", "log_every"):
            check.count(getattr(self, name), name)
        for name in ("warmup", "workers"):
            check.count(getattr(self, name), name, 0)
        check.between(self.lr, "lr", 0, 10)
        check.between(self.clip, "clip", 0)
        check.between(self.weight_decay, "weight_decay", 0, 1)
        check.between(self.ema, "ema", 0, 1)
        for beta in self.betas:
            check.between(beta, "betas", 0, 1 - 1e-6)
        check.choice(self.decay, "decay", ("cosine", "constant"))
        check.choice(self.precision, "precision", ("auto", "bf16", "32"))
        check.choice(self.strategy, "strategy", ("auto", "ddp", "fsdp"))
        check.choice(self.accelerator, "accelerator", ("auto", "cpu", "cuda"))
        if self.batch % (self.devices * self.accumulate):
            raise check.InputError(
                f"batch must be a multiple of devices x accumulate, got {self.batch} for "
                f"{self.devices} x {self.accumulate}: every micro-batch has one size"
            )


def decisive(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of a run's settings that decide its result, by key: no bookkeeping.

    Example:
        >>> decisive({"lr": 0.1, "log_every": 5})
        {'lr': 0.1}
    """
    return {key: value for key, value in settings.items() if key not in _BOOKKEEPING}


def learning_rate(config: TrainConfig, step: int) -> float:
    """Return the learning rate of step ``step`` = 0 .. steps - 1.

    ``lr min(1, (k + 1) / warmup)``, times ``(1 + cos(pi k / steps)) / 2`` under cosine decay.

    Reference: Loshchilov, Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """
    rate = config.lr * min(1.0, (step + 1) / max(1, config.warmup))
    if config.decay == "cosine":
        rate *= 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return rate
