"""BM3D: similar blocks are stacked, and the stack is filtered in a 3-D transform domain.

Notation: ``z = y + sigma n`` the noisy image; ``Z_R`` the stack of blocks similar to the reference
block R, ``T`` the 3-D transform (two dimensions within a block, Haar along the stack).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check
from gouache.registry import method

from ._image import batched, kept, like, opponent, sigma_of
from ._strips import Array, mean_of_strips

N = 8
RADIUS, STEP, LEAST = 19, 3, 1e-6


@method("denoise")
def bm3d(
    image: Tensor,
    sigma: float | Tensor | None = None,
    *,
    steps: int = 2,
    threshold: float = 2.7,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Denoise by block matching and collaborative filtering in a 3-D transform domain.

    First ``Y_R = T^-1 hard(T Z_R, threshold sigma)`` for every reference block, its blocks put
    back with weight ``1 / (sigma^2 N_kept)``: the basic estimate b. Then the stacks are matched
    again in b, and ``Y_R = T^-1 (W T Z_R)`` with ``W = |T B_R|^2 / (|T B_R|^2 + sigma^2)``, put
    back with weight ``1 / (sigma^2 |W|^2)``. Blocks are 8 x 8, every third pixel is a reference,
    the window is 39 pixels, stacks hold up to 16 blocks, then 32. Images of three channels are
    filtered in an opponent colour space, with stacks matched in luminance. A stack keeps its mean.
    The result carries no gradient.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1, not clipped.
        sigma: noise in units of the pixel range: a number, one an image, or a map ``(H, W)``,
            whose mean variance over the blocks of a stack counts, and whose zeros stay as they are;
            None estimates it.
        steps: 1 returns the basic estimate.
        threshold: of the first step, in sigmas.
        progress: called with (strips done, strips in all).

    Raises:
        InputError: an image that is no image, or sigma on another scale.

    Reference:
        K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D
        transform-domain collaborative filtering", 2007; M. Lebrun, "An analysis and implementation
        of the BM3D image denoising method", 2012.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0, 1, 32).expand(1, 32, 32)
        >>> noisy = clean + 0.1 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> error = (patches.bm3d(noisy, 0.1) - clean).square().mean()
        >>> bool(error < 0.1 * (noisy - clean).square().mean())
        True
    """
    check.count(steps, "steps", 1, 2)
    check.between(threshold, "threshold", 0)
    z = batched(image).detach()
    level = sigma_of(sigma, z)
    jobs = [job_of(a, s, threshold) if s.any() else None for a, s in zip(z, level, strict=True)]
    tick = _counter(progress, steps * sum(len(job.tops) for job in jobs if job))
    out = [_one(job, steps, tick) if job else a for a, job in zip(z, jobs, strict=True)]
    return like(kept(torch.stack(out), z, level), image)


@dataclass(frozen=True)
class Job:
    """One image, and what both steps need to know.

    Attributes:
        noisy: in the space of the filter, a block at least ``(C, H, W)``.
        size: height and width of the image.
        back: the matrix from the space of the filter to the image's.
        level: noise of the image, root mean square.
        threshold: of the first step, in sigmas.
        rows: where references begin ``(R,)``; ``cols`` likewise ``(Q,)``.
        sigma: noise at each reference ``(R, C, Q)``.
        variance: of the noise, mean over each block of the image ``(H - 7, W - 7)``.
        tops: the first row that each strip of references reaches.
        reach: how many rows a strip reaches.
    """

    noisy: Array
    size: tuple[int, int]
    back: Array
    level: float
    threshold: float
    rows: NDArray[np.int32]
    cols: NDArray[np.int32]
    sigma: Array
    variance: Array
    tops: NDArray[np.int32]
    reach: int


@dataclass(frozen=True)
class Step:
    """What one of the two steps does.

    Attributes:
        images: noisy channels ``(1, C, H, W)``, or with the basic estimate ``(2, C, H, W)``.
        guide: what blocks are compared in ``(H, W + 48)``.
        bases: its transform.
        search: radius of the window, most blocks of a stack, largest distance of a block.
        factor: of the threshold.
    """

    images: Array
    guide: Array
    bases: Array
    search: tuple[int, int, np.float32]
    factor: np.float32


def job_of(image: Tensor, sigma: Tensor, threshold: float) -> Job:
    """Prepare one image ``(C, H, W)`` and its noise level, a number or a map."""
    from . import _bm3d_kernels as kernels

    channels, height, width = image.shape
    turn, back = _colours(channels)
    noisy = np.ascontiguousarray(_padded(np.einsum("dc,chw->dhw", turn, image.cpu().numpy())))
    level = _padded(np.broadcast_to(sigma.cpu().numpy(), (1, height, width)))
    rows, cols = (_starts(n) for n in level.shape[1:])
    means = torch.nn.functional.avg_pool2d(torch.from_numpy(level**2), N, 1)[0].numpy()
    local = np.sqrt(means[np.ix_(rows, cols)]).clip(LEAST)
    scales = np.sqrt((turn**2).sum(1))
    heads, tails = rows[:: kernels.ROWS], rows[kernels.ROWS - 1 :: kernels.ROWS]
    tails = tails if len(tails) == len(heads) else np.append(tails, rows[-1])
    tops = np.maximum(0, heads - RADIUS).astype(np.int32)
    return Job(
        noisy=noisy,
        size=(height, width),
        back=back,
        level=float(np.sqrt((level**2).mean())),
        threshold=threshold,
        rows=rows,
        cols=cols,
        sigma=(scales[:, None] * local[:, None]).astype(np.float32),
        variance=means.clip(LEAST**2),
        tops=tops,
        reach=int((tails + RADIUS + N - tops).max()),
    )


def _starts(length: int) -> NDArray[np.int32]:
    """Return where references begin along one axis; the last one ends at the border."""
    starts = list(range(0, length - N + 1, STEP))
    return np.array(starts + [length - N] * (starts[-1] != length - N), np.int32)


def _counter(progress: Callable[[int, int], None] | None, count: int) -> Callable[[], None]:
    """Return what is called after each strip."""
    done = itertools.count(1)
    return lambda: None if progress is None else progress(next(done), count)


def _one(job: Job, steps: int, tick: Callable[[], None]) -> Tensor:
    """Denoise one image."""
    height, width = job.size
    out = filtered(first(job), job, tick)
    out = out if steps == 1 else filtered(second(job, out), job, tick)
    return torch.from_numpy(np.einsum("dc,chw->dhw", job.back, out)[:, :height, :width].copy())


def first(job: Job) -> Step:
    """Return the step that thresholds."""
    tau = np.float32(N * N * _tau(job.level))
    search, factor = (RADIUS, 16, tau), np.float32(job.threshold)
    return Step(job.noisy[None], _guide(job.noisy), biorthogonal(), search, factor)


def second(job: Job, basic: Array) -> Step:
    """Return the step that takes Wiener's factors from the basic estimate."""
    tau = np.float32(N * N * 400 / 255**2)
    images = np.stack([job.noisy, basic])
    return Step(images, _guide(basic), cosine(), (RADIUS, 32, tau), np.float32(0))


def filtered(step: Step, job: Job, tick: Callable[[], None] = lambda: None) -> Array:
    """Return the estimate of a step ``(C, H, W)``; ``tick`` is called after each strip."""
    from . import _bm3d_kernels as kernels

    channels, _, width = job.noisy.shape

    def strip(k: int) -> tuple[Array, Array]:
        mine = slice(k * kernels.ROWS, (k + 1) * kernels.ROWS)
        acc = np.zeros((channels, job.reach, width), np.float32)
        norm = np.zeros_like(acc)
        places = (job.sigma[mine], job.variance, job.rows[mine], job.cols)
        kernels.collaborate(
            step.images, step.guide, *places, step.bases, kaiser(), step.search, step.factor,
            job.tops[k], acc, norm,
        )  # fmt: skip
        return acc, norm

    return mean_of_strips(strip, job.tops, job.noisy.shape, tick)


def _guide(image: Array) -> Array:
    """Return what blocks are compared in: luminance, or the mean of other channels."""
    from . import _bm3d_kernels as kernels

    plane = image[0] if len(image) in (1, 3) else image.mean(0)
    return np.pad(plane, ((0, 0), (0, kernels.WIDE)))


def _tau(sigma: float) -> float:
    """Return the mean square at which noisy blocks differ too much: 50/255, and the noise's own."""
    return 2500 / 255**2 + 2 * sigma**2


def _colours(channels: int) -> tuple[Array, Array]:
    """Return the matrix to the space of the filter, luminance first, and its inverse."""
    turn = opponent(channels).numpy()
    return turn, np.linalg.inv(turn.astype(np.float64)).astype(np.float32)


def _padded(image: Array) -> Array:
    """Extend an image ``(C, H, W)`` by reflection to a block at least."""
    missing = [(0, 0), *((0, max(0, N - n)) for n in image.shape[1:])]
    return np.pad(image, missing, "symmetric")


@cache
def cosine() -> Array:
    """Return the bases of the orthonormal discrete cosine transform ``(4, 8, 8)``."""
    k, n = np.arange(N)[:, None], np.arange(N)[None]
    basis = np.cos(np.pi * (2 * n + 1) * k / (2 * N)) * np.sqrt(2 / N)
    basis[0] /= np.sqrt(2)
    return _bases(basis)


@cache
def biorthogonal() -> Array:
    """Return the bases of the biorthogonal spline wavelet 1.5, periodic ``(4, 8, 8)``.

    The rows of the forward matrix have norm 1, so that noise keeps its level.
    """
    low = np.array([3, -3, -22, 22, 128, 128, 22, -22, -3, 3]) / (128 * np.sqrt(2))
    high = np.array([0, 0, 0, 0, -1, 1, 0, 0, 0, 0]) / np.sqrt(2)
    T, n = np.eye(N), N
    while n > 1:
        stage = np.zeros((n, n))
        for k in range(n // 2):
            for j in range(10):
                at = (2 * k + j - 4) % n
                stage[k, at] += low[j]
                stage[n // 2 + k, at] += high[j]
        T[:n] = stage @ T[:n]
        n //= 2
    T /= np.sqrt((T**2).sum(1, keepdims=True))
    return _bases(T)


def _bases(T: NDArray[np.float64]) -> Array:
    """Return T, its transpose, its inverse and the transpose of that."""
    S = np.linalg.inv(T)
    return np.stack([T, T.T, S, S.T]).astype(np.float32)


@cache
def kaiser() -> Array:
    """Return the weights within a block, a Kaiser window of beta 2."""
    line = np.kaiser(N, 2.0)
    return np.outer(line, line).astype(np.float32)
