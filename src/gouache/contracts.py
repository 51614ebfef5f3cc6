"""The few kinds of object that gouache is made of, as small abstract classes.

Notation: ``x0`` is a clean image, ``y = x0 + sigma n`` a noisy one, ``B`` the batch axis. Images
are float32 in [0, 1] at every function that a user calls. A *batch* and a *condition* are mappings
of tensors with a leading ``B`` (``image``, ``label``, ``text``, ``text_mask``, ``index``);
``None`` is unconditional.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, final

import torch
from torch import Tensor, nn

Batch: TypeAlias = Mapping[str, Tensor]
Condition: TypeAlias = Mapping[str, Tensor] | None
Losses: TypeAlias = Generator[tuple[str, Tensor], None, None]


@dataclass(frozen=True)
class SampleOptions:
    """How to sample; a family reads what concerns it and leaves the rest.

    Attributes:
        size: height and width in pixels; None is the size of the training images.
        steps: steps of the sampler (a solver of second order may evaluate the network twice in
            one); None is the family's default.
        sampler: a name of the role ``sampler``; None is the family's default.
        guidance: weight of the conditional direction; 1 is the plain conditional model, and any
            other needs a condition.
        temperature: scale of the noise at the start; 1 is the model itself.
        chunk: how many samples go through the network at once.
    """

    size: tuple[int, int] | None = None
    steps: int | None = None
    sampler: str | None = None
    guidance: float = 1.0
    temperature: float = 1.0
    chunk: int = 256


class Denoiser(ABC):
    """The posterior mean ``D(y, sigma, condition) = E[x0 | y = x0 + sigma n]``.

    ``y`` ``(B, ...)`` is any finite float tensor and is never clipped, on the way in or out;
    ``sigma`` > 0 is a scalar, ``(B,)``, or a map that broadcasts against ``y``, in the unit of
    the space acted on (pixels or latents).
    """

    @abstractmethod
    def __call__(self, y: Tensor, sigma: Tensor | float, condition: Condition = None) -> Tensor:
        """Return E[x0 | y], in the shape of ``y``."""


class GenerativeModel(ABC):
    """Anything that draws images: a network, or patches of one photograph.

    Attributes:
        classes: how many labels ``condition["label"]`` may name; 0 is unconditional.
    """

    classes: int = 0

    @abstractmethod
    def sample(
        self,
        n: int,
        *,
        condition: Condition = None,
        rng: torch.Generator | None = None,
        options: SampleOptions | None = None,
    ) -> Tensor:
        """Return ``n`` images ``(n, C, H, W)``, float32 in [0, 1].

        Sample i depends on (one draw of ``rng``, i), never on how the n were chunked.
        """


class HasLogProb(ABC):
    """A model whose likelihood of an image is known, exactly or by an unbiased estimate."""

    @abstractmethod
    def log_prob(
        self, images: Tensor, condition: Condition = None, *, rng: torch.Generator | None = None
    ) -> Tensor:
        """Return log p(image) in nats ``(B,)``, a density with respect to pixels in [0, 1]."""


class HasEncoder(ABC):
    """A model with a way from image to latent and back."""

    @abstractmethod
    def encode(self, images: Tensor, condition: Condition = None) -> Tensor:
        """Return the latents ``(B, ...)`` of images ``(B, C, H, W)`` in [0, 1]."""

    @abstractmethod
    def decode(self, latents: Tensor, condition: Condition = None) -> Tensor:
        """Return images ``(B, C, H, W)`` in [0, 1]."""


class HasDenoiser(ABC):
    """A model built on a denoiser of its own space."""

    @abstractmethod
    def denoiser(self) -> Denoiser:
        """Return the denoiser; its unit of ``sigma`` is that of the model's space."""


class HasTrajectory(ABC):
    """A model that draws in steps, and can show them."""

    @abstractmethod
    def trajectory(
        self,
        n: int,
        *,
        condition: Condition = None,
        rng: torch.Generator | None = None,
        options: SampleOptions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return what is held and the image expected after each step, ``(steps, n, C, H, W)``.

        Both are in pixels and not clipped; the last ones are what ``sample`` returns, clipped.
        """


class Features(ABC):
    """A frozen representation ``f(images)``, named in every result that rests on it."""

    name: str

    @abstractmethod
    def __call__(self, images: Tensor) -> Tensor:
        """Return one vector an image ``(B, D)`` of images ``(B, C, H, W)`` in [0, 1]."""

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return feature maps ``(B, K, h, w)``, fine to coarse; by default the vector as 1x1."""
        return [self(images)[:, :, None, None]]


class Operator(ABC):
    """A linear degradation ``A``; what is observed is ``y = A x + n``."""

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """Return ``A x``."""

    @abstractmethod
    def adjoint(self, y: Tensor) -> Tensor:
        """Return ``A^T y``, such that ``<A x, y> = <x, A^T y>``."""

    @abstractmethod
    def pinv(self, y: Tensor) -> Tensor:
        """Return ``A^+ y``, the least-norm solution of least squares."""


class Trainable(nn.Module, ABC):
    """A network that learns: ``training_losses`` yields one ``(phase, loss)`` a phase, in order.

    A phase is a set of parameters with a loss of its own (a GAN has two, most models one). The
    generator is advanced by the training loop alone, through ``forward``, so that DDP and autocast
    see every forward pass. No context manager is open at a ``yield``, and nothing follows the
    last one. State that changes in training lives in persistent buffers.
    """

    phases: tuple[str, ...] = ("model",)

    @abstractmethod
    def training_losses(self, batch: Batch, rng: torch.Generator) -> Losses:
        """Yield ``(phase, scalar loss)`` for every phase, in the order of ``phases``.

        ``rng`` is the stream of this step, the same on every rank and micro-batch: what differs
        between samples is drawn by ``gouache.random.batch_keys(rng, batch)``.
        """

    def parameter_groups(self) -> Mapping[str, list[nn.Parameter]]:
        """Return the parameters of each phase; by default all of them belong to the only one."""
        (phase,) = self.phases
        return {phase: [p for p in self.parameters() if p.requires_grad]}

    def prepare(self, batch: Batch) -> None:
        """Initialise what depends on data, once, before the first step; by default nothing."""

    @final
    def forward(self, steps: Losses) -> tuple[str, Tensor]:
        """Advance the generator of losses by one phase."""
        return next(steps)


class Pretrained(ABC):
    """A module that is saved as ``config.json`` and ``model.safetensors`` (see ``pretrained``).

    The class has a frozen dataclass ``Config``, is built as ``cls(config)``, and keeps it as
    ``self.config``.
    """

    Config: type[Any]
    config: Any

    @classmethod
    @abstractmethod
    def tiny(cls) -> Pretrained:
        """Return the smallest instance that exercises every part, for tests."""
