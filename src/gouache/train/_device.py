"""Devices, ranks and precision: what only ``train`` knows."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch

from gouache.check import InputError

from ._config import TrainConfig

if TYPE_CHECKING:
    from lightning.fabric import Fabric  # pyright: ignore[reportMissingImports]


@contextlib.contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Run the block with this many threads; None leaves the count alone."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def has_bf16(accelerator: str) -> bool:
    """Tell whether the processor multiplies bfloat16 matrices in hardware."""
    if accelerator == "cuda" or (accelerator == "auto" and torch.cuda.is_available()):
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if accelerator == "mps":
        return False
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def precision(config: TrainConfig) -> str:
    """Return ``bf16`` or ``32``, resolving ``auto`` on this machine."""
    if config.precision == "auto":
        return "bf16" if has_bf16(config.accelerator) else "32"
    return config.precision


def fabric(config: TrainConfig, phases: int) -> Fabric:
    """Return the launched Fabric of a run.

    Raises:
        InputError: sharding is asked of a model with several phases, or of a CPU.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lightning_fabric import Fabric
        from lightning_fabric.strategies import DDPStrategy, FSDPStrategy

    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    strategy: Any = config.strategy
    if config.strategy == "ddp":
        strategy = DDPStrategy(find_unused_parameters=phases > 1)
    if config.strategy == "fsdp":
        if phases > 1 or not torch.cuda.is_available():
            raise InputError(
                "strategy fsdp needs CUDA devices and a model with one phase, got "
                f"{phases} phases and {torch.cuda.device_count()} CUDA devices; use ddp"
            )
        strategy = FSDPStrategy(use_orig_params=True, state_dict_type="full")
    made = Fabric(
        accelerator=config.accelerator,
        devices=config.devices,
        strategy=strategy,
        precision="bf16-mixed" if precision(config) == "bf16" else "32-true",
    )
    made.launch()
    return made
