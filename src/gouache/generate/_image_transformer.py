"""A transformer that draws an image pixel by pixel, and knows exactly how likely one is.

Notation: an image as the sequence of its D = H W C values, row by row, the channels of a pixel side
by side, each one of L levels.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gouache import check, random
from gouache.contracts import (
    Batch,
    Condition,
    GenerativeModel,
    HasLogProb,
    Losses,
    Pretrained,
    SampleOptions,
    Trainable,
)
from gouache.nets import TokenTransformer
from gouache.registry import method

from ._labels import checked_label, hidden_label, in_classes, on, rows
from ._levels import as_levels, as_pixels, checked_shape, log_density

DRAW, DROP = 0, 1
CHUNK = 256


@dataclass(frozen=True)
class ImageTransformerConfig:
    """What a transformer of pixels is made of.

    Attributes:
        shape: (C, H, W) of the images.
        levels: L, how many levels a value has; 256 for photographs.
        classes: how many labels; 0 is unconditional.
        width: channels, a multiple of ``heads``.
        depth: blocks.
        heads: of attention.
        dropout: of embeddings and residuals.
        label_dropout: how often the label is hidden, so that the model can do without.
    """

    shape: tuple[int, int, int]
    levels: int = 256
    classes: int = 0
    width: int = 96
    depth: int = 4
    heads: int = 4
    dropout: float = 0.2
    label_dropout: float = 0.1

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise check.InputError(f"shape must be (C, H, W), got {self.shape}")
        for side in self.shape:
            check.count(side, "shape (C, H, W)")
        check.count(self.levels, "levels", 2)
        check.count(self.classes, "classes", 0)
        check.count(self.depth, "depth")
        if check.count(self.width, "width") % check.count(self.heads, "heads"):
            raise check.InputError(
                f"width must be a multiple of heads, got {self.width} and {self.heads}"
            )
        check.between(self.dropout, "dropout", 0, 0.99)
        check.between(self.label_dropout, "label_dropout", 0, 1)


@final
@method("generate")
class ImageTransformer(Trainable, GenerativeModel, HasLogProb, Pretrained):
    """An autoregressive transformer of pixel values.

    ``log p(x) = sum_n log p(x_n | x_1, ..., x_n-1)``, each factor a categorical distribution over
    the levels, places being known by row, column and channel. Trained by maximum likelihood;
    sampled value by value, with what was read before kept.

    Reference: Parmar et al., "Image transformer", 2018; Chen et al., "Generative pretraining from
    pixels", 2020.

    Example:
        >>> from gouache import generate, random
        >>> model = generate.ImageTransformer.tiny().eval()
        >>> x = model.sample(3, rng=random.generator(0))
        >>> x.shape, model.log_prob(x).shape
        (torch.Size([3, 1, 4, 4]), torch.Size([3]))
    """

    Config = ImageTransformerConfig

    def __init__(self, config: ImageTransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.classes = config.classes
        channels, height, width = config.shape
        self.core = TokenTransformer(
            config.levels,
            (height, width, channels),
            config.classes,
            config.width,
            config.depth,
            config.heads,
            config.dropout,
        )

    @classmethod
    def tiny(cls) -> ImageTransformer:
        """Return a model of 4 x 4 pixels of four levels, two labels and two blocks."""
        return cls(ImageTransformerConfig((1, 4, 4), 4, classes=2, width=8, depth=2, heads=2))

    def prepare(self, batch: Batch) -> None:
        """Check that images and labels fit, and start from how often each level occurs.

        Raises:
            InputError: images of another shape, or labels beyond the model's classes.
        """
        config = self.config
        checked_shape(batch["image"], config.shape)
        if config.classes and "label" in batch:
            in_classes(batch["label"], config.classes)
        counts = (
            as_levels(batch["image"], config.levels).flatten().bincount(minlength=config.levels)
        )
        self.core.logits.bias.data.copy_(((counts + 1) / (counts + 1).sum()).log())

    def training_losses(self, batch: Batch, rng: torch.Generator) -> Losses:
        """Yield the one loss, ``("model", -log P(x) / D)``, in nats a value."""
        label = None
        if self.config.classes and "label" in batch:
            keys = random.batch_keys(rng, batch)
            label = hidden_label(batch["label"], keys, self.config.label_dropout, DROP)
        tokens = self._tokens(as_levels(batch["image"], self.config.levels))
        yield "model", -self._log_masses(tokens, label).mean()

    @torch.no_grad()
    def log_prob(
        self, images: Tensor, condition: Condition = None, *, rng: torch.Generator | None = None
    ) -> Tensor:
        """Return log p(image) in nats ``(B,)``, exactly; ``rng`` is not needed.

        A density with respect to pixels in [0, 1]: ``log P(levels) + D log L``.

        Raises:
            InputError: images of another shape or out of range, or labels that do not fit.
        """
        label = checked_label(condition, len(images), self.classes)
        levels = as_levels(checked_shape(images, self.config.shape), self.config.levels)
        device = self.core.logits.weight.device
        with evaluating(self.core):
            parts = [
                self._log_masses(self._tokens(levels[i]).to(device), on(rows(label, i), device))
                for i in torch.arange(len(images)).split(CHUNK)
            ]
        masses = torch.cat(parts).double().sum(1).float()
        return log_density(masses.cpu(), self.config.shape, self.config.levels)

    @torch.no_grad()
    def sample(
        self,
        n: int,
        *,
        condition: Condition = None,
        rng: torch.Generator | None = None,
        options: SampleOptions | None = None,
    ) -> Tensor:
        """Return ``n`` images ``(n, C, H, W)`` in [0, 1]; ``condition["label"]`` is ``(n,)``.

        The temperature divides the logits; guidance w draws from ``p(x)^(1-w) p(x | label)^w``,
        value by value.

        Raises:
            InputError: labels that do not fit, guidance without labels, a size that is not
                the model's, a temperature below .001.
        """
        options = options or SampleOptions()
        keys = random.keys(rng, check.count(n, "n"))
        label = checked_label(condition, n, self.classes, options)
        if options.size not in (None, self.config.shape[1:]):
            raise check.InputError(
                f"the model draws images of {self.config.shape[1:]}, as it knows places by heart; "
                f"got size {options.size}"
            )
        check.between(options.temperature, "temperature", 1e-3)
        chunks = torch.arange(n).split(check.count(options.chunk, "chunk"))
        parts = [self._drawn(keys[i], rows(label, i), options) for i in chunks]
        return as_pixels(torch.cat(parts), self.config.levels)

    def _drawn(self, keys: Tensor, label: Tensor | None, options: SampleOptions) -> Tensor:
        """Draw the levels of a chunk ``(n, C, H, W)``, on the CPU."""
        channels, height, width = self.config.shape
        length, device = channels * height * width, self.core.logits.weight.device
        uniform = random.keyed_uniform(keys, (length,), DRAW).to(device)
        with evaluating(self.core):
            tokens = self._walk(uniform, on(label, device), options)
        return tokens.view(-1, height, width, channels).permute(0, 3, 1, 2).cpu()

    def _walk(self, uniform: Tensor, label: Tensor | None, options: SampleOptions) -> Tensor:
        """Draw token by token ``(n, D)`` from uniform numbers."""
        n, length = uniform.shape
        cache, free = self.core.start(n), self.core.start(n if options.guidance != 1 else 0)
        token, found = None, list[Tensor]()
        for place in range(length):
            logits = self.core.step(token, cache, label)
            if options.guidance != 1:
                plain = self.core.step(token, free)
                logits = plain + options.guidance * (logits - plain)
            token = drawn(logits / options.temperature, uniform[:, place])
            found.append(token)
        return torch.stack(found, 1)

    def _tokens(self, levels: Tensor) -> Tensor:
        """Return levels ``(B, C, H, W)`` as sequences ``(B, D)``."""
        return levels.permute(0, 2, 3, 1).flatten(1)

    def _log_masses(self, tokens: Tensor, label: Tensor | None) -> Tensor:
        """Return ``log p(x_n | before)`` ``(B, D)``, in nats."""
        logits = self.core(tokens, label).float()
        return -F.cross_entropy(logits.transpose(1, 2), tokens, reduction="none")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Leave dropout out for a while."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def drawn(logits: Tensor, uniform: Tensor) -> Tensor:
    """Draw from categorical distributions ``(n, V)`` the value at which uniform ``(n,)`` is passed.

    The sum is in float64, so that what is drawn hardly depends on how the logits were reckoned.
    """
    edges = logits.double().softmax(1).cumsum(1)
    return (edges[:, :-1] <= uniform[:, None] * edges[:, -1:]).sum(1)
