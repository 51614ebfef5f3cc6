"""Expected patch log likelihood: an image all of whose patches are likely, near the noisy one.

Notation: y the noisy image, x the estimate, sigma the noise, z the mean of the estimates of the
patches of x, b the weight of z in units of ``1 / sigma^2``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from gouache import check
from gouache.registry import method

from ._image import batched, kept, like, opponent, sigma_of
from ._prior import PatchPrior
from ._prior_filter import padded, smoothed

BETAS = (1.0, 4.0, 8.0, 16.0, 32.0, 64.0)
RATIO = 2 ** (1 / 8)  # between neighbouring noise levels of a map
DARKEST = 1e-2  # noise below that part of a map's most counts as that


@method("denoise")
def epll(
    image: Tensor,
    sigma: float | Tensor | None = None,
    *,
    prior: PatchPrior | None = None,
    betas: Sequence[float] = BETAS,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Denoise by the expected patch log likelihood of a Gaussian mixture.

    ``min_x p^2 |x - y|^2 / (2 sigma^2) - sum_i log p(P_i x)`` over images, ``P_i x`` being patch i,
    by half-quadratic splitting: for each b of ``betas`` all overlapping patches are estimated at
    noise ``sigma / sqrt(b)``, and ``x = (y + b z) / (1 + b)`` with z the mean of their estimates.
    Three channels are filtered in an opponent space, each with the prior of grey patches; channels
    of another number as they are. It computes where the prior is, and gradients do not flow
    through it.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1, not clipped.
        sigma: noise in units of the pixel range: a number, one an image, or a map ``(H, W)``, of
            which the root mean square over a patch counts, to within 5 %; None estimates it.
        prior: of patches; None is the one that ships.
        betas: the weights b, one an iteration, above 0.
        progress: called with (iterations done, iterations in all).

    Raises:
        InputError: an image that is no image, sigma on another scale, or betas not above 0.

    Reference:
        D. Zoran, Y. Weiss, "From learning models of natural image patches to whole image
        restoration", 2011.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0, 1, 32).expand(1, 32, 32)
        >>> noisy = clean + 0.1 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> error = (patches.epll(noisy, 0.1) - clean).square().mean()
        >>> bool(error < 0.1 * (noisy - clean).square().mean())
        True
    """
    mixture = chosen(prior)
    device = mixture.covariance.device

    def estimate(plane: Tensor, noise: Noise, _: int) -> Tensor:
        filters = [mixture.at(level) for level in noise.levels]
        return smoothed(plane.to(device), filters, noise.index.to(device)).to(plane)

    return split(image, sigma, mixture.config.patch, betas, estimate, progress)


def chosen(prior: PatchPrior | None) -> PatchPrior:
    """Return the prior that a user passed, or that which ships."""
    if prior is None:
        return PatchPrior.shipped()
    if not isinstance(prior, PatchPrior):
        raise check.InputError(
            f"prior must be a gouache.patches.PatchPrior, or None for the one that ships, got "
            f"{type(prior).__name__}; PatchPrior.fit and gouache.load return one"
        )
    return prior


@dataclass(frozen=True)
class Noise:
    """The noise of every patch of an image.

    Attributes:
        levels: the noise levels that there are, L of them.
        index: which one a patch has, by its place ``(H - p + 1, W - p + 1)``.
        ratio: ``sigma^2`` of a pixel over that of the patches it lies in ``(H, W)``, their
            harmonic mean.
    """

    levels: tuple[float, ...]
    index: Tensor
    ratio: Tensor

    @classmethod
    def of(cls, sigma: Tensor, p: int) -> Noise:
        """Sort the patches of a map ``(H, W)`` by their root mean square."""
        variance = sigma.square().clamp(min=float((DARKEST * sigma.max()) ** 2))
        mean = F.avg_pool2d(variance[None], p, 1)[0]
        low, high = float(mean.min()) ** 0.5, float(mean.max()) ** 0.5
        if bool((sigma == sigma.flatten()[0]).all()):
            return cls((float(sigma.max()),), torch.zeros_like(mean).long(), torch.ones_like(sigma))
        span = max(math.log(high / low), 1e-6)
        count = math.ceil(span / math.log(RATIO))
        place = (mean.sqrt() / low).log() / span * count
        index = place.long().clamp(0, count - 1)
        levels = [low * math.exp(span * (k + 0.5) / count) for k in range(count)]
        inverse = torch.tensor(levels).pow(-2)[index.cpu()].to(sigma)
        cover = F.pad(torch.stack([inverse, torch.ones_like(inverse)]), (p - 1,) * 4)
        above, below = F.avg_pool2d(cover, p, 1)
        return cls(tuple(levels), index, sigma.square() * above / below)

    def scaled(self, factor: float) -> Noise:
        """Return noise that is ``factor`` times as strong."""
        return Noise(tuple(factor * level for level in self.levels), self.index, self.ratio)


def split(
    image: Tensor,
    sigma: float | Tensor | None,
    p: int,
    betas: Sequence[float],
    estimate: Callable[[Tensor, Noise, int], Tensor],
    progress: Callable[[int, int], None] | None,
) -> Tensor:
    """Denoise a batch by half-quadratic splitting.

    Args:
        image: as the user gave it, like sigma, betas and progress.
        sigma: the noise.
        p: side of a patch.
        betas: the weights b.
        estimate: returns z ``(H, W)`` of one channel of x, given its noise and the iteration's
            number.
        progress: called with (iterations done, iterations in all).
    """
    _check_betas(betas)
    y, out = batched(image).detach(), []
    done, total, levels = 0, len(y) * len(betas), sigma_of(sigma, y)
    for noisy, level in zip(y, levels, strict=True):
        run = _Run(noisy, level, p)
        for number, b in enumerate(betas):
            run.step(b, number, estimate)
            done += 1
            if progress is not None:
                progress(done, total)
        out.append(run.result())
    return like(kept(torch.stack(out), y, levels), image)


def _check_betas(betas: Sequence[float]) -> None:
    if (
        not isinstance(betas, Sequence)
        or not betas
        or not all(check.between(b, "betas") > 0 for b in betas)
    ):
        raise check.InputError(
            f"betas must be a tuple or a list of numbers above 0, got {betas!r}; pass (1.0, 4.0)"
        )


class _Run:
    """Half-quadratic splitting of one image ``(C, H, W)``."""

    def __init__(self, noisy: Tensor, sigma: Tensor, p: int) -> None:
        self.noisy, self.still = noisy, not bool(sigma.any())
        self.turn = opponent(len(noisy)).to(noisy)
        self.y = self.x = padded(torch.einsum("dc,chw->dhw", self.turn, noisy), p)
        if not self.still:
            level = padded(sigma.expand(1, *noisy.shape[1:]), p)[0]
            self.noise = Noise.of(level, p)

    def step(self, b: float, number: int, estimate: Callable[[Tensor, Noise, int], Tensor]) -> None:
        """Replace x by ``(y + b z) / (1 + b)``."""
        if self.still:
            return
        weight = b * self.noise.ratio
        scales = self.turn.norm(dim=1).tolist()
        z = torch.stack(
            [
                estimate(plane, self.noise.scaled(scale / b**0.5), number)
                for plane, scale in zip(self.x, scales, strict=True)
            ]
        )
        self.x = (self.y + weight * z) / (1 + weight)

    def result(self) -> Tensor:
        """Return x in the colours and the size of the image."""
        if self.still:
            return self.noisy
        height, width = self.noisy.shape[1:]
        back = torch.linalg.inv(self.turn.double()).float()
        return torch.einsum("cd,dhw->chw", back, self.x[:, :height, :width]).contiguous()
