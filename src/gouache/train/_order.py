"""The order of the data: a function of (seed, step), so that to resume is to look it up again.

Notation: N images, B a step. *Draw* d = 0, 1, 2, ... numbers every image ever shown; epoch
``d // N`` is a permutation of the N images, drawn from (seed, epoch).
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gouache import random

from ._config import TrainConfig

ORDER, AUGMENT = 1, 2
Augment = Callable[[Tensor, Tensor], Tensor]


class Images(Protocol):
    """What is trained on: a length, and a batch of given rows."""

    def __len__(self) -> int: ...

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """Return a batch with a leading ``len(indices)``."""
        ...


class Order:
    """Which images step k shows: draws ``k B .. (k + 1) B - 1`` of an endless shuffled order."""

    def __init__(self, images: int, batch: int, seed: int) -> None:
        self.images, self.batch, self.seed = images, batch, seed
        self._epoch = lru_cache(maxsize=2)(self._permutation)

    def _permutation(self, epoch: int) -> Tensor:
        rng = random.generator(random.derive(self.seed, ORDER, epoch))
        return torch.randperm(self.images, generator=rng)

    def draws(self, step: int, rank: int = 0, ranks: int = 1) -> Tensor:
        """Return the numbers of the draws of a step, or this rank's equal share of them."""
        share = self.batch // ranks
        return torch.arange(share) + step * self.batch + rank * share

    def index(self, draws: Tensor) -> Tensor:
        """Return the images that these draws show."""
        epochs, places = draws // self.images, draws % self.images
        index = torch.empty_like(draws)
        for epoch in epochs.unique().tolist():
            here = epochs == epoch
            index[here] = self._epoch(epoch)[places[here]]
        return index

    def __reduce__(self) -> tuple[type[Order], tuple[int, int, int]]:
        return Order, (self.images, self.batch, self.seed)


class _Steps(Dataset[dict[str, Tensor]]):
    """A map from the number of a step to its batch, for a loader whose items are batches."""

    def __init__(
        self, images: Images, order: Order, rank: int, ranks: int, augment: Augment | None
    ) -> None:
        self.images, self.order, self.augment = images, order, augment
        self.rank, self.ranks = rank, ranks

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        draws = self.order.draws(step, self.rank, self.ranks)
        batch = self.images.batch(self.order.index(draws))
        batch["draw"] = draws
        if self.augment is not None:
            keys = random.derive_keys(random.derive(self.order.seed, AUGMENT), draws)
            batch["image"] = self.augment(batch["image"], keys)
        return batch


def batches(
    images: Images,
    config: TrainConfig,
    first: int,
    *,
    rank: int = 0,
    ranks: int = 1,
    augment: Augment | None = None,
) -> Generator[dict[str, Tensor], None, None]:
    """Yield the batch of each step from ``first`` on; the same ones with workers or without."""
    order = Order(len(images), config.batch, config.seed)
    steps = _Steps(images, order, rank, ranks, augment)
    numbers = range(first, config.steps)
    if not config.workers:
        yield from (steps[number] for number in numbers)
        return
    yield from DataLoader(
        steps,
        sampler=numbers,
        batch_size=None,
        num_workers=config.workers,
        multiprocessing_context="spawn",
        generator=random.generator(config.seed),  # so that the global one is left alone
    )
