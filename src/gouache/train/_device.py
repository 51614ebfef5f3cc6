"""Devices, ranks and precision: what only ``train`` knows."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import gc
import logging
import platform
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from gouache.check import InputError

from ._config import TrainConfig, decisive
from ._shard import forget_shards, shard


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Run the block with this many threads; None leaves the count alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Run the block; an InputError of the first rank is raised on every rank."""
    failure = None
    try:
        yield
    except InputError as error:
        failure = error
    said = [failure and str(failure)]
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.broadcast_object_list(said)
    if failure is not None:
        raise failure
    if said[0] is not None:
        raise InputError(said[0])


def accelerator(config: TrainConfig) -> str:
    """Return ``cpu`` or ``cuda``, resolving ``auto`` on this machine.

    Raises:
        InputError: more CUDA devices are asked for than there are.
    """
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if config.accelerator == "cpu" or (config.accelerator == "auto" and not found):
        return "cpu"
    if found < config.devices:
        raise InputError(
            f"accelerator {config.accelerator} needs {config.devices} CUDA device(s), this machine "
            f'has {found}; pass accelerator="cpu" or fewer devices'
        )
    return "cuda"


def has_bf16(accelerator: str) -> bool:
    """Tell whether the processor multiplies bfloat16 matrices in hardware."""
    if accelerator == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def precision(config: TrainConfig) -> str:
    """Return ``bf16`` or ``32``, resolving ``auto`` on this machine."""
    if config.precision == "auto":
        return "bf16" if has_bf16(accelerator(config)) else "32"
    return config.precision


def facts(config: TrainConfig, device: torch.device, images: int) -> dict[str, Any]:
    """Return what a resumed run must share with the first to end on the same bits."""
    return decisive(dataclasses.asdict(config)) | {
        "images": images,
        "precision": precision(config),
        "threads": torch.get_num_threads(),
        "device": device.type,
        "torch": torch.__version__,
        "machine": platform.machine(),
    }


def fabric(config: TrainConfig, phases: int) -> Any:
    """Return the launched Fabric of a run.

    Raises:
        InputError: sharding is asked of a model with several phases, a CUDA device is absent, or
            the launcher started another number of processes than ``devices``.
    """
    if config.strategy == "fsdp" and phases > 1:
        raise InputError(f"strategy fsdp shards models with one phase, got {phases}; use ddp")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightning_fabric import Fabric

    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    made = Fabric(
        accelerator=accelerator(config),
        devices=config.devices,
        strategy=_strategy(config, phases),
        precision="bf16-mixed" if precision(config) == "bf16" else "32-true",
    )
    made.launch()
    atexit.register(_leave)
    if made.world_size != config.devices:
        raise InputError(
            f"devices must be the number of processes, got {config.devices} for {made.world_size}"
        )
    return made


def _leave() -> None:
    """End the process groups, or a rank aborts on its way out now and then.

    Their threads end with the last that refers to them: if that is the interpreter's own end, a
    thread that then frees a tensor takes the process with it.
    """
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        forget_shards()
        gc.collect()
        torch.distributed.destroy_process_group()


def _strategy(config: TrainConfig, phases: int) -> Any:
    from lightning_fabric.strategies.ddp import DDPStrategy
    from lightning_fabric.strategies.model_parallel import ModelParallelStrategy

    if config.strategy == "fsdp":
        return ModelParallelStrategy(shard, config.devices, 1)
    if config.strategy == "ddp" or config.devices > 1:
        return DDPStrategy(find_unused_parameters=phases > 1)
    return "auto"
