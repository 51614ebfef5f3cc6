"""NL-Bayes: a patch is estimated by the Gaussian of the patches that are like it.

Notation: ``y`` a noisy patch as a vector, ``m`` and ``C`` mean and covariance of its group, sigma
the noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check
from gouache.registry import method

from ._image import batched, kept, like, sigma_of
from ._strips import Array, mean_of_strips


@method("denoise")
def nlbayes(
    image: Tensor,
    sigma: float | Tensor | None = None,
    *,
    steps: int = 2,
    gamma: float = 1.05,
) -> Tensor:
    """Denoise by a Gaussian model of each group of similar patches.

    First ``x = y - s C^-1 (y - m)`` for every patch y of a group, with ``s = beta sigma^2`` and
    mean m and covariance C of the noisy group: the basic estimate. Then groups are taken anew in
    that, and ``x = m + C (C + s I)^-1 (y - m)`` with mean and covariance of the basic estimate.
    Pixels are the mean over all patches that they lie in. A group whose variance is hardly above
    the noise's becomes its mean. A patch that has been in a group is no reference any more.
    Gradients do not flow through it.

    Sizes of patches, groups and windows and beta are those published for the noise level, for one
    channel or for colour (three channels and more). The first step treats the channels one by one,
    those of a colour image in an orthonormal opponent space with groups taken in luminance; the
    second treats them together.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1, not clipped.
        sigma: noise in units of the pixel range: a number, one an image, or a map ``(H, W)``, whose
            mean square over a group's reference patch counts; None estimates it.
        steps: 1 returns the basic estimate.
        gamma: a group is flat if its variance is at most gamma sigma^2; 0 takes none for flat.

    Raises:
        InputError: an image that is no image, or sigma on another scale.

    Reference:
        M. Lebrun, A. Buades, J.-M. Morel, "Implementation of the Non-Local Bayes (NL-Bayes) image
        denoising algorithm", 2013.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0, 1, 32).expand(1, 32, 32)
        >>> noisy = clean + 0.1 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> error = (patches.nlbayes(noisy, 0.1) - clean).square().mean()
        >>> bool(error < 0.1 * (noisy - clean).square().mean())
        True
    """
    check.count(steps, "steps", 1, 2)
    check.between(gamma, "gamma", 0)
    y = batched(image).detach()
    level = sigma_of(sigma, y).detach()
    out = [_one(a, s, steps, gamma) for a, s in zip(y, level, strict=True)]
    return like(kept(torch.stack(out), y, level), image)


def _one(y: Tensor, sigma: Tensor, steps: int, gamma: float) -> Tensor:
    """Denoise one image ``(C, H, W)``."""
    if not sigma.any():
        return y
    channels, height, width = y.shape
    first, second = _published(255 * float(sigma.mean()), channels)
    most = max(first.patch, second.patch)
    noisy = _padded(y.cpu().numpy(), most)
    noise = _padded(np.broadcast_to(sigma.cpu().numpy() ** 2, (1, height, width)), most)
    turn = opponent() if channels == 3 else np.eye(channels, dtype=np.float32)
    turned = np.einsum("dc,chw->dhw", turn, noisy)
    guide = turned[:1] if channels == 3 else turned.mean(0, keepdims=True)
    out = np.einsum("dc,dhw->chw", turn, _step(turned, turned, guide, noise, first, gamma))
    if steps == 2:
        basic = np.ascontiguousarray(out)
        out = _step(noisy, basic, basic, noise, second, gamma)
    return torch.from_numpy(out[:, :height, :width].copy())


@dataclass(frozen=True)
class _Step:
    """The parameters of one step.

    Attributes:
        patch: side of a patch.
        group: patches in a group.
        beta: factor of sigma^2.
        tau: root mean square difference of patches that are in the group however many they are.
        second: which step it is.
    """

    patch: int
    group: int
    beta: float
    tau: float = 0.0
    second: bool = False


def _published(level: float, channels: int) -> tuple[_Step, _Step]:
    """Return the parameters of both steps for noise of ``level`` of 255, as published."""
    if channels < 3:
        group = _at(level, (10, 35), (30, 45), (80, 90), (np.inf, 100))
        first = _Step(
            5 if level < 30 else 7, int(group), _at(level, (15, 1.1), (70, 1), (1e9, 0.9))
        )
        group = _at(level, (20, 15), (40, 25), (80, 30), (np.inf, 45))
        beta = _at(level, (15, 1.1), (35, 1), (np.inf, 0.9))
        return first, _Step(5, int(group), beta, 4 / 255, True)
    side = int(_at(level, (20, 3), (50, 5), (np.inf, 7)))
    other = int(_at(level, (50, 3), (70, 5), (np.inf, 7)))
    beta = _at(level, (50, 1.2), (np.inf, 1))
    return _Step(side, 3 * side**2, 1.0), _Step(other, 3 * other**2, beta, 4 / 255, True)


def _at(level: float, *rows: tuple[float, float]) -> float:
    """Return the value of the first row whose bound is above the level."""
    return next(value for bound, value in rows if level < bound)


def _step(z: Array, basic: Array, guide: Array, noise: Array, step: _Step, gamma: float) -> Array:
    """Run one step on the channels ``(C, H, W)``."""
    from . import _nlbayes_kernels as kernels

    z, guide = np.ascontiguousarray(z), np.ascontiguousarray(guide)
    p, radius = step.patch, step.group // 4
    means = torch.nn.functional.avg_pool2d(torch.from_numpy(noise), p, 1)[0].numpy()
    rows, cols = (_starts(n, p) for n in noise.shape[1:])
    heads = rows[:: kernels.ROWS]
    tails = np.append(rows[kernels.ROWS - 1 :: kernels.ROWS], rows[-1])[: len(heads)]
    tops = np.maximum(0, heads - radius).astype(np.int32)
    reach = int((np.minimum(tails + radius + p, z.shape[1]) - tops).max())
    tau = np.float32(step.tau**2 * p * p * len(guide))
    search = (rows, cols, p, radius, step.group, tau)
    rule = (float(step.beta), float(gamma), step.second)

    def strip(k: int) -> tuple[Array, Array]:
        acc = np.zeros((len(z), reach, z.shape[2]), np.float32)
        norm = np.zeros(acc.shape[1:], np.float32)
        kernels.estimate(k, z, basic, guide, means, *search, *rule, int(tops[k]), acc, norm)
        return acc, norm

    return mean_of_strips(strip, tops, z.shape)


def _starts(length: int, p: int) -> NDArray[np.int32]:
    """Return where references begin along one axis; the last one ends at the border."""
    starts = list(range(0, length - p + 1, p // 2))
    return np.array(starts + [length - p] * (starts[-1] != length - p), np.int32)


def _padded(image: NDArray[np.floating], side: int) -> Array:
    """Extend an image ``(C, H, W)`` by reflection to a patch at least."""
    missing = [(0, 0), *((0, max(0, side - n)) for n in image.shape[1:])]
    return np.ascontiguousarray(np.pad(image, missing, "symmetric"), np.float32)


def opponent() -> Array:
    """Return the orthonormal opponent space: luminance, red against blue, green against both."""
    rows = np.array([[1, 1, 1], [1, 0, -1], [1, -2, 1]], np.float64)
    return (rows / np.sqrt((rows**2).sum(1, keepdims=True))).astype(np.float32)
