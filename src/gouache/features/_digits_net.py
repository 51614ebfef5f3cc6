"""A small convolutional network for 8x8 digits: classifier and features at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, overload

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gouache import check
from gouache.check import images as check_images
from gouache.contracts import Batch, Features, Losses, Pretrained, Trainable
from gouache.registry import method

_CHUNK = 1024


@dataclass(frozen=True)
class DigitsNetConfig:
    """Shape of a :class:`DigitsNet`.

    Attributes:
        channels: of the input, 1 or 3.
        width: channels of the first stage, a multiple of 4; the second has twice as many.
        features: length D of the feature vector.
        classes: how many, at least 2.
    """

    channels: int = 1
    width: int = 32
    features: int = 64
    classes: int = 10

    def __post_init__(self) -> None:
        check.count(self.channels, "channels")
        check.count(self.features, "features")
        check.count(self.classes, "classes", 2)
        if check.count(self.width, "width") % 4:
            raise check.InputError(f"width must be a multiple of 4, got {self.width}")


@method("features")
class DigitsNet(Trainable, Features, Pretrained):
    """Four convolutions, then ``f(x) = SiLU(W h(x))`` and ``logits = V f(x)``.

    Trained by cross entropy on labelled images; 82,000 parameters at the default size. It has no
    dropout and no batch statistics, so an image's features never depend on its batch. Calling it
    with images gives features; the training loop calls it with its generator of losses. Only the
    weights that ship are called ``digits`` (``gouache.features.load`` knows them by their hash).

    Args:
        config: its shape.

    Reference:
        Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document
        recognition", 1998.

    Example:
        >>> import torch
        >>> DigitsNet.tiny()(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 8])
    """

    Config = DigitsNetConfig
    config: DigitsNetConfig
    name = "digits (unnamed weights)"

    def __init__(self, config: DigitsNetConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or DigitsNetConfig()
        narrow, wide = config.width, 2 * config.width
        self.stem = nn.Sequential(_conv(config.channels, narrow), _conv(narrow, narrow))
        self.body = nn.Sequential(_conv(narrow, wide), _conv(wide, wide))
        self.embed = nn.Linear(2 * 2 * wide, config.features)
        self.head = nn.Linear(config.features, config.classes)

    @classmethod
    def tiny(cls) -> DigitsNet:
        """Return a network of about 1,400 parameters."""
        return cls(DigitsNetConfig(width=4, features=8))

    @overload
    def __call__(self, images: Tensor) -> Tensor: ...
    @overload
    def __call__(self, images: Losses) -> tuple[str, Tensor]: ...
    def __call__(self, images: Tensor | Losses) -> Any:
        """Return features ``(B, D)`` of images; advance a generator of losses (training only)."""
        if not isinstance(images, Tensor):
            return nn.Module.__call__(self, images)
        with torch.no_grad():
            chunks = check_images(images).split(_CHUNK)
            return torch.cat([self._features(self._maps(x)[-1]) for x in chunks])

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps of both stages, ``(B, width, H, W)`` and ``(B, 2 width, H/2, W/2)``."""
        return self._maps(check_images(images))

    def logits(self, images: Tensor) -> Tensor:
        """Return the classes' unnormalised log-probabilities ``(B, classes)``."""
        return self.head(self._features(self._maps(images)[-1]))

    def prepare(self, batch: Batch) -> None:
        """Check that the training images are what the network is for.

        Raises:
            InputError: images of other channels, without labels, or with labels beyond the classes.
        """
        channels = batch["image"].shape[1]
        if channels != self.config.channels:
            raise check.InputError(
                f"the network is for {self.config.channels} channels, got images of {channels}"
            )
        if "label" not in batch:
            raise check.InputError("a classifier learns from labels, and these images have none")
        most = int(batch["label"].max()) + 1
        if most > self.config.classes:
            raise check.InputError(
                f"classes must be at least {most}, as many as the labels, got {self.config.classes}"
            )

    def training_losses(self, batch: Batch, rng: torch.Generator) -> Losses:
        """Yield the cross entropy of ``batch["label"]`` given ``batch["image"]``."""
        yield "model", F.cross_entropy(self.logits(batch["image"]), batch["label"])

    def _maps(self, images: Tensor) -> list[Tensor]:
        fine = self.stem(2 * images - 1)
        return [fine, self.body(F.avg_pool2d(fine, 2))]

    def _features(self, coarse: Tensor) -> Tensor:
        return F.silu(self.embed(F.adaptive_avg_pool2d(coarse, 2).flatten(1)))


def _conv(inside: int, outside: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inside, outside, 3, padding=1, bias=False),
        nn.GroupNorm(4, outside),
        nn.SiLU(),
    )
