"""Sharded tensors: made whole to be stored, cut again to be restored."""

from __future__ import annotations

import contextlib
import functools
import gc
import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def shard(model: nn.Module, mesh: Any) -> nn.Module:
    """Shard the parameters of ``model`` over the ranks of Fabric's mesh, in place.

    Shards are contiguous: channels-last weights cannot be cut.
    """
    from torch.distributed.fsdp import fully_shard

    model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    fully_shard(model, mesh=mesh["data_parallel"])
    return model


def whole(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return tensors in one piece each; where one is a shard, every rank must call this."""
    from torch.distributed.tensor import DTensor

    return [t.full_tensor() if isinstance(t, DTensor) else t for t in tensors]


@torch.no_grad()
def cut_like(value: Tensor, like: Tensor) -> Tensor:
    """Return a whole tensor in the memory format of ``like``, or this rank's shard of it."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    if isinstance(like, DTensor):
        return distribute_tensor(value.to(like.device), like.device_mesh, like.placements)
    return torch.empty_like(like, dtype=value.dtype, requires_grad=False).copy_(value)


def forget_shards() -> None:
    """Empty torch's memory of operations on shards, which holds their process groups."""
    if "torch.distributed.tensor" not in sys.modules:
        return
    from torch.distributed.tensor import _redistribute, debug

    cleared = [(debug, name) for name in dir(debug) if name.startswith("_clear")]
    # Other versions of torch have others.
    for owner, name in [*cleared, (_redistribute, "clear_redistribute_planner_cache")]:
        with contextlib.suppress(AttributeError, TypeError, RuntimeError):
            getattr(owner, name)()
    kept = [x for x in gc.get_objects() if isinstance(x, functools._lru_cache_wrapper)]
    for found in kept:
        if str(found.__module__).startswith("torch.distributed.tensor"):
            found.cache_clear()
