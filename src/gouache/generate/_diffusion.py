"""Diffusion models: a U-Net made a denoiser, trained at all noise levels, sampled by a solver.

Notation: a *pixel image* lies in [0, 1]; inside, ``x0 = SIGMA_DATA (image - mean) / std`` with the
mean and standard deviation of the training set. So ``sigma`` is in EDM's unit, in which data have
standard deviation .5, whether they are digits or photographs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from gouache import check, diffuse, random, registry
from gouache.contracts import (
    Batch,
    Condition,
    Denoiser,
    GenerativeModel,
    HasDenoiser,
    HasLogProb,
    HasTrajectory,
    Losses,
    Pretrained,
    SampleOptions,
    Trainable,
)
from gouache.nets import UNet
from gouache.registry import method

from ._labels import checked_label, hidden_label, in_classes

SIGMA_DATA = 0.5
LEVEL, NOISE, DROP = 0, 1, 2
PROBES = 4


@dataclass(frozen=True)
class DiffusionConfig:
    """What a diffusion model is made of.

    Attributes:
        shape: (C, H, W) of the images.
        classes: how many labels; 0 is unconditional.
        widths: channels of each level of the U-Net, multiples of 8.
        blocks: residual blocks of each level.
        attention: which levels have self-attention.
        dropout: probability that a residual block leaves out a channel.
        target: what the network predicts: a name of the role ``target``.
        p_mean: mean of log sigma in training.
        p_std: standard deviation of log sigma in training.
        label_dropout: how often the label is hidden, for classifier-free guidance.
        sigma_min: least noise of a sampler before it ends at 0.
        sigma_max: largest noise of a sampler; data have standard deviation .5.
        sampler: the default sampler, a name of the role ``sampler``.
        sample_steps: the default number of steps of its grid.
    """

    shape: tuple[int, int, int]
    classes: int = 0
    widths: tuple[int, ...] = (32, 64)
    blocks: tuple[int, ...] = (1, 3)
    attention: tuple[bool, ...] = (False, False)
    dropout: float = 0.0
    target: str = "edm"
    p_mean: float = -1.0
    p_std: float = 1.2
    label_dropout: float = 0.1
    sigma_min: float = 0.01
    sigma_max: float = 15.0
    sampler: str = "adams"
    sample_steps: int = 16

    def __post_init__(self) -> None:
        if len(self.shape) != 3:
            raise check.InputError(f"shape must be (C, H, W), got {self.shape}")
        for side in self.shape:
            check.count(side, "shape (C, H, W)")
        if not 0 < len(self.widths) == len(self.blocks) == len(self.attention):
            raise check.InputError(
                "widths, blocks and attention must have one entry a level, got "
                f"{self.widths}, {self.blocks}, {self.attention}"
            )
        for width, blocks in zip(self.widths, self.blocks, strict=True):
            check.count(blocks, "blocks")
            if check.count(width, "widths") % 8:
                raise check.InputError(f"widths must be multiples of 8, got {self.widths}")
        check.count(self.classes, "classes", 0)
        check.count(self.sample_steps, "sample_steps")
        check.between(self.dropout, "dropout", 0, 0.99)
        check.between(self.label_dropout, "label_dropout", 0, 1)
        check.choice(self.target, "target", registry.names("target"))
        check.choice(self.sampler, "sampler", registry.names("sampler"))
        check.between(self.p_mean, "p_mean", -10, 10)
        check.between(self.p_std, "p_std", 0, 10)
        check.between(self.sigma_max, "sigma_max", 0.1, 1e4)
        check.between(self.sigma_min, "sigma_min", 1e-6, self.sigma_max)


@final
@method("generate")
class Diffusion(Trainable, GenerativeModel, HasLogProb, HasDenoiser, HasTrajectory, Pretrained):
    """A class-conditional diffusion model of images in pixel space.

    Trained by ``E weight(s) |F(c_in y) - (x0 - c_skip y) / c_out|^2`` with ``y = x0 + s n`` and
    ``log s ~ N(p_mean, p_std^2)``; sampled by any sampler of ``gouache.diffuse``.

    Reference: Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based
    generative models", 2022.

    Example:
        >>> from gouache import generate, random
        >>> model = generate.Diffusion.tiny().eval()
        >>> model.sample(3, rng=random.generator(0)).shape
        torch.Size([3, 1, 8, 8])
    """

    Config = DiffusionConfig
    mean: Tensor
    std: Tensor

    def __init__(self, config: DiffusionConfig) -> None:
        super().__init__()
        self.config = config
        self.classes = config.classes
        unet = UNet(
            config.shape[0],
            config.widths,
            config.blocks,
            config.attention,
            config.classes,
            config.dropout,
        )
        self.core = diffuse.Preconditioned(unet, registry.find("target", config.target), SIGMA_DATA)
        self.register_buffer("mean", torch.full((), 0.5))
        self.register_buffer("std", torch.full((), 0.5))

    @classmethod
    def tiny(cls) -> Diffusion:
        """Return the smallest model that has every part: two levels, attention, two labels."""
        return cls(
            DiffusionConfig(
                (1, 8, 8),
                classes=2,
                widths=(8, 8),
                blocks=(1, 1),
                attention=(False, True),
                sample_steps=4,
            )
        )

    def prepare(self, batch: Batch) -> None:
        """Set the mean and standard deviation to those of the training images.

        Raises:
            InputError: images of another shape, or labels beyond the model's classes.
        """
        shape = tuple(batch["image"].shape[1:])
        if shape != self.config.shape:
            raise check.InputError(f"the model is for images {self.config.shape}, got {shape}")
        if self.config.classes and "label" in batch:
            in_classes(batch["label"], self.config.classes)
        self.mean.copy_(batch["image"].mean())
        self.std.copy_(batch["image"].std().clamp(min=1e-3))

    def training_losses(self, batch: Batch, rng: torch.Generator) -> Losses:
        """Yield the one loss, ``("model", weighted denoising error)``."""
        keys = random.batch_keys(rng, batch)
        x0 = self._inside(batch["image"])
        log_sigma = self.config.p_mean + self.config.p_std * _normal(keys, (), LEVEL, x0)
        noise = _normal(keys, tuple(x0.shape[1:]), NOISE, x0)
        condition = self._dropped(batch, keys)
        yield (
            "model",
            diffuse.denoising_loss(self.core, x0, log_sigma.exp(), noise, condition).mean(),
        )

    def denoiser(self) -> Denoiser:
        """Return the denoiser of the model's space, ``SIGMA_DATA (image - mean) / std``."""
        return self.core

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

        Sample i depends on (one draw of ``rng``, i) alone, and on its own label.

        Raises:
            InputError: an unknown sampler, or labels that do not fit.
        """
        options = options or SampleOptions()
        keys = random.keys(rng, check.count(n, "n"))
        checked_label(condition, n, self.classes, options)
        chunks = torch.arange(n).split(check.count(options.chunk, "chunk"))
        parts = [self._walk(keys[i], _rows(condition, i), options) for i in chunks]
        return torch.cat([self._outside(part) for part in parts])

    @torch.no_grad()
    def trajectory(
        self,
        n: int,
        *,
        condition: Condition = None,
        rng: torch.Generator | None = None,
        options: SampleOptions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what a sampler saw: ``x_t`` and the estimate of ``x0`` after every step.

        Returns:
            Two tensors ``(steps, n, C, H, W)``, in pixels but not clipped.
        """
        seen: list[tuple[Tensor, Tensor]] = []
        options = options or SampleOptions()
        keys = random.keys(rng, check.count(n, "n"))
        checked_label(condition, n, self.classes, options)
        self._walk(keys, condition, options, lambda _, x, x0: seen.append((x, x0)))
        x_t, x0 = (self._pixels(torch.stack(column)) for column in zip(*seen, strict=True))
        return x_t.cpu(), x0.cpu()

    def log_prob(
        self, images: Tensor, condition: Condition = None, *, rng: torch.Generator | None = None
    ) -> Tensor:
        """Return log p(image) in nats ``(B,)``, by the probability-flow ODE.

        ``log p(image) = log p(x0) + D log(SIGMA_DATA / std)`` with D the number of values in an
        image: the density with noise ``sigma_min`` added, its divergence estimated without bias.

        Raises:
            InputError: images out of range, or labels that do not fit.

        Reference: Song et al., "Score-based generative modeling through stochastic differential
        equations", 2021.
        """
        checked_label(condition, len(images), self.classes)
        x0 = self._inside(check.images(images).to(self.mean.device))
        likelihood = diffuse.log_likelihood(
            self.core,
            x0,
            condition=_on(condition, x0.device),
            sigma_min=self.config.sigma_min,
            sigma_max=self.config.sigma_max,
            sigma_data=SIGMA_DATA,
            probes=PROBES,
            rng=rng,
        )
        stretch = math.log(SIGMA_DATA / float(self.std))
        return (likelihood.value + x0[0].numel() * stretch).cpu()

    def _walk(
        self,
        keys: Tensor,
        condition: Condition,
        options: SampleOptions,
        on_step: Callable[[int, Tensor, Tensor], None] | None = None,
    ) -> Tensor:
        """Sample one chunk in the model's space."""
        config = self.config
        size = options.size or config.shape[1:]
        like = self.mean.new_empty(len(keys), config.shape[0], *size)
        sampler = registry.find("sampler", options.sampler or config.sampler)
        schedule = diffuse.EDM(config.sigma_min, config.sigma_max)
        grid = schedule.grid(options.steps or config.sample_steps, diffuse.angular)
        denoiser: Denoiser = self.core
        if options.guidance != 1:
            hidden = {"label": torch.tensor([-1], device=like.device)}
            denoiser = diffuse.ClassifierFree(denoiser, options.guidance, null=hidden)
        noise = random.Noise(keys)
        x = options.temperature * diffuse.start(grid, like, noise)
        where = _on(condition, x.device)
        return sampler(denoiser, x, grid, condition=where, noise=noise, on_step=on_step)

    def _inside(self, images: Tensor) -> Tensor:
        return (images - self.mean) * (SIGMA_DATA / self.std)

    def _pixels(self, x0: Tensor) -> Tensor:
        return x0 * (self.std / SIGMA_DATA) + self.mean

    def _outside(self, x0: Tensor) -> Tensor:
        return self._pixels(x0).clamp(0, 1).cpu()

    def _dropped(self, batch: Batch, keys: Tensor) -> Condition:
        """Hide some labels (-1), for guidance."""
        if not self.config.classes or "label" not in batch:
            return None
        return {"label": hidden_label(batch["label"], keys, self.config.label_dropout, DROP)}


def _normal(keys: Tensor, shape: tuple[int, ...], stream: int, like: Tensor) -> Tensor:
    """Standard normals ``(B, *shape)`` keyed by sample, in the dtype and device of ``like``."""
    draw = random.keyed_normal(keys, shape, stream)
    return draw.to(like.device, like.dtype)


def _rows(condition: Condition, index: Tensor) -> Condition:
    return None if condition is None else {k: v[index] for k, v in condition.items()}


def _on(condition: Condition, device: torch.device) -> Condition:
    return None if condition is None else {k: v.to(device) for k, v in condition.items()}
