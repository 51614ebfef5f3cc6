"""Recipes of diffusion models in pixel space."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from gouache import random
from gouache.data import Dataset
from gouache.generate import Diffusion, DiffusionConfig
from gouache.registry import method
from gouache.train import TrainConfig

from ._plan import Plan
from ._source import settle


@method("recipe")
def diffusion(source: str = "digits", *, size: int | None = None) -> Plan:
    """Plan a diffusion model of any images, sized to them; labels are used where there are any.

    The U-Net halves the image until its shorter side is at most 8, with attention on the levels
    of 16 pixels and less. Images are mirrored at random if their card says so: photographs
    and folders, not digits or shapes.

    Command: ``gouache train diffusion --data my_folder --out run``.
    Two cores: about 0.05 s a step at 8 pixels, 0.4 s at 32 pixels.

    Args:
        source: what ``gouache.data.load`` takes: a bundled name, a folder, ``hf:NAME``.
        size: pixels a side to train at; None keeps the source's own; of a folder it is the shortest
            side of any picture, at most 64.

    Reference: Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based
    generative models", 2022.
    """
    source, size, dataset = settle(source, size)
    levels = _levels(min(dataset.shape[1:]))
    config = DiffusionConfig(
        shape=dataset.shape,
        classes=len(dataset.classes),
        widths=(32, 64, 96, 128, 128)[:levels],
        blocks=(*(1,) * (levels - 1), 3),
        attention=tuple(_side(dataset, level) <= 16 for level in range(levels)),
    )
    train = TrainConfig(steps=4000, batch=min(64, max(8, len(dataset))), lr=1e-3, ema=0.999)
    augment = mirror if dataset.card.mirror else None
    return Plan("diffusion", source, size, dataset, Diffusion, config, train, augment)


@method("recipe")
def digits_diffusion(source: str = "digits", *, size: int | None = None) -> Plan:
    """Plan the demo: a class-conditional diffusion model of real 8x8 digits.

    ``diffusion`` with attention on the coarsest level alone, a little dropout, a higher learning
    rate, noise levels shifted upwards, no mirroring and fewer steps.

    Command: ``gouache train digits_diffusion --out run``; about a minute on two cores.
    To expect: the figures on the card of the weights ``digits-diffusion``.

    Args:
        source: a source of small images.
        size: pixels a side.

    Reference: Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based
    generative models", 2022.
    """
    base = diffusion(source, size=size)
    levels = len(base.config.widths)
    coarsest = (*(False,) * (levels - 1), True)
    return dataclasses.replace(
        base,
        recipe="digits_diffusion",
        config=dataclasses.replace(base.config, attention=coarsest, dropout=0.05, p_mean=-0.8),
        train=TrainConfig(steps=1600, batch=64, lr=2e-3, ema=0.99),
        augment=None,
    )


def mirror(images: Tensor, keys: Tensor) -> Tensor:
    """Mirror about half of the images ``(B, C, H, W)`` left to right, by key."""
    flip = random.keyed_uniform(keys, (1, 1, 1)) < 0.5
    return images.where(~flip, images.flip(-1))


def _levels(side: int) -> int:
    """How many levels halve ``side`` to 8 or less, at least two."""
    levels = 2
    while side > 8 * 2 ** (levels - 1) and levels < 5:
        levels += 1
    return levels


def _side(dataset: Dataset, level: int) -> int:
    return min(dataset.shape[1:]) // 2**level
