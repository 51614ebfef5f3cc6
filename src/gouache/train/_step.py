"""One optimizer step a phase, on any number of micro-batches and ranks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gouache import random
from gouache.check import InputError
from gouache.contracts import Batch, Losses, Trainable

from ._config import TrainConfig

STEP, LAYERS = 3, 4


def optimizers(model: Trainable, config: TrainConfig) -> dict[str, torch.optim.Optimizer]:
    """Return one AdamW a phase.

    Raises:
        InputError: a parameter that learns belongs to no phase, or to two.
    """
    groups = model.parameter_groups()
    owned = [id(parameter) for phase in model.phases for parameter in groups.get(phase, [])]
    learns = {id(p): name for name, p in model.named_parameters() if p.requires_grad}
    odd = [name for key, name in learns.items() if owned.count(key) != 1]
    if odd or set(groups) != set(model.phases):
        raise InputError(
            f"parameter_groups must give each of the phases {model.phases} its own parameters, got "
            f"{tuple(groups)} and {odd[0] if odd else 'nothing'} in none or several of them; "
            "what does not learn has requires_grad False"
        )
    return {
        phase: torch.optim.AdamW(
            groups[phase], config.lr, config.betas, weight_decay=config.weight_decay, fused=True
        )
        for phase in model.phases
    }


def take(
    fabric: Any,
    wrapped: Any,
    optimizers: list[Any],
    batch: Batch,
    config: TrainConfig,
    k: int,
    lr: float,
) -> dict[str, Tensor]:
    """Take step ``k`` of every phase on one rank's share of a batch; return the losses.

    A phase: zero all gradients; advance each micro-batch's generator of losses once and go
    backward, synchronising ranks on the last; clip; step. Layers that draw (dropout) draw from
    (seed, step, rank), and the global generator is left as it was.

    Raises:
        InputError: ``training_losses`` yields other phases than the model's, in their order.
    """
    model, losses = wrapped.module, {}
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    micro = _split(batch, config.accumulate)
    cuda = [fabric.device] if fabric.device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda):
        _seed(fabric.device, random.derive(config.seed, LAYERS, k, fabric.global_rank))
        steps = [model.training_losses(part, _rng(config, k)) for part in micro]
        for phase, optimizer in zip(model.phases, optimizers, strict=True):
            for parameter in (p for group in groups for p in group["params"]):
                parameter.grad = None
            losses[phase] = _backward(fabric, wrapped, steps, phase)
            if config.clip:
                fabric.clip_gradients(
                    wrapped, optimizer, max_norm=config.clip, error_if_nonfinite=False
                )
            for group in optimizer.param_groups:
                group["lr"] = lr
            optimizer.step()
    if any(next(generator, None) for generator in steps):
        raise InputError(f"training_losses must end after its phases {model.phases}")
    return losses


def _backward(fabric: Any, wrapped: Any, steps: list[Losses], phase: str) -> Tensor:
    """Add the gradients of one phase over all micro-batches; return its mean loss."""
    total = torch.zeros((), device=fabric.device)
    for i, generator in enumerate(steps):
        with fabric.no_backward_sync(wrapped, enabled=i < len(steps) - 1):
            name, loss = _advance(wrapped, generator)
            if name != phase:
                raise InputError(
                    f"training_losses must yield its phases in order: expected {phase}, got {name}"
                )
            fabric.backward(loss / len(steps))
        total += loss.detach() / len(steps)
    return total


def _advance(wrapped: Any, generator: Losses) -> tuple[str, Tensor]:
    try:
        return wrapped(generator)
    except StopIteration:
        return "no more", torch.zeros(())


def _seed(device: torch.device, seed: int) -> None:
    """Seed the generators of layers; ``torch.manual_seed`` would format the stack every time."""
    torch.default_generator.manual_seed(seed)
    if device.type != "cpu":
        torch.get_device_module(device).manual_seed(seed)


def _rng(config: TrainConfig, k: int) -> torch.Generator:
    return random.generator(random.derive(config.seed, STEP, k))


def _split(batch: Batch, parts: int) -> list[Batch]:
    columns = {name: value.chunk(parts) for name, value in batch.items()}
    return [{name: column[i] for name, column in columns.items()} for i in range(parts)]
