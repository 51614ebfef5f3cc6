"""Where a pixel of BM3D comes from: its row of the matrix that the filter turned out to be.

Notation: p the pixel; a stack ``Z`` of K blocks becomes ``S H^T (F H T Z T^T) S^T``, T and S the
transforms of a block, H the Haar transform of K values, F the factors of the coefficients; it goes
back with weight omega, times a window within each block. With F and the stacks held this is
linear, and its transpose, applied to the pixel, gives the weights of all pixels in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check
from gouache.registry import method

from . import _bm3d
from ._bm3d import RADIUS, Job, N, Step
from ._explain import Block, Explanation, one_image

Array: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.integer]


@method("explain")
def explain_bm3d(
    image: Tensor,
    sigma: float | Tensor | None = None,
    *,
    at: tuple[int, int],
    steps: int = 2,
    threshold: float = 2.7,
) -> Explanation:
    """Explain one pixel of ``bm3d``: its weights through every stack that reaches it.

    A stack becomes ``T^-1 (F T Z)``, F being 0 or 1 by the threshold, or Wiener's factors. With F
    and the stacks held, a pixel is linear in the image, and ``weights`` is its row of that matrix;
    some are negative. ``blocks`` is the stack whose reference block has the pixel nearest to its
    middle.

    Args:
        image: noisy ``(C, H, W)``, C = 1 or 3, pixel range 1.
        sigma: noise in units of the pixel range: a number, or a map ``(H, W)``; None estimates it.
        at: the pixel, (x, y), from 0 at the top left.
        steps: as in ``bm3d``, and so the next; what is explained is the last step.
        threshold: likewise.

    Raises:
        InputError: not one image, a pixel outside, sigma 0 or on another scale.

    Reference:
        K. Dabov, A. Foi, V. Katkovnik, K. Egiazarian, "Image denoising by sparse 3-D
        transform-domain collaborative filtering", 2007.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 12, 10, generator=torch.Generator().manual_seed(0))
        >>> found = patches.explain_bm3d(image, 0.2, at=(3, 4))
        >>> filtered = patches.bm3d(image, 0.2)[0, 4, 3]
        >>> torch.allclose((found.weights * image[0]).sum(), filtered, atol=1e-5)
        True
    """
    u, level = one_image(image, sigma, at)
    check.count(steps, "steps", 1, 2)
    check.between(threshold, "threshold", 0)
    job, (x, y) = _bm3d.job_of(u, level, threshold), at
    step = _bm3d.first(job)
    if steps == 2:
        step = _bm3d.second(job, _bm3d.filtered(step, job))
    stacks = _stacks(step, job, at)
    rows = [_row([_filtering(step, job, c, s) for s in stacks], job, at) for c in range(len(u))]
    after = job.back @ [(row * plane).sum() for row, plane in zip(rows, job.noisy, strict=True)]
    middle = min(stacks, key=lambda s: abs(s.ys[0] + 3.5 - y) + abs(s.xs[0] + 3.5 - x))
    blocks, kept = _blocks(step, job, middle)
    top, left, height, width = int(middle.ys[0]), int(middle.xs[0]), *u.shape[1:]
    return Explanation(
        method="bm3d",
        at=at,
        sigma=float(level.expand(1, height, width)[0, y, x]),
        weights=torch.from_numpy(_folded(rows[0], height, width)).float(),
        before=u[:, y, x],
        after=torch.from_numpy(after).float(),
        window=(max(0, left - RADIUS), max(0, top - RADIUS),
                min(width, left + RADIUS + N), min(height, top + RADIUS + N)),
        side=N,
        blocks=blocks,
        kept=kept,
    )  # fmt: skip


@dataclass(frozen=True)
class _Stack:
    """The blocks found for one reference.

    Attributes:
        at: the reference, of the row and the column of references.
        size: how many blocks are filtered, the first ones.
        found: how many are near enough.
        far: their sums of squares, from 0.
        ys: where they begin, and behind them room.
        xs: likewise.
    """

    at: tuple[int, int]
    size: int
    found: int
    far: NDArray[np.float32]
    ys: Ints
    xs: Ints

    def covering(self, at: tuple[int, int]) -> tuple[Ints, Ints, Ints]:
        """Return those blocks of the stack that hold a pixel, and its row and column in each."""
        dy, dx = at[1] - self.ys[: self.size], at[0] - self.xs[: self.size]
        (k,) = np.nonzero((dy >= 0) & (dy < N) & (dx >= 0) & (dx < N))
        return k, dy[k], dx[k]


@dataclass(frozen=True)
class _Filtering:
    """What became of a stack in one channel.

    Attributes:
        stack: its blocks.
        bases: T and S.
        coefficients: of the filtered stack ``(K, 8, 8)``.
        factors: F, likewise.
        weight: omega.
    """

    stack: _Stack
    bases: tuple[Array, Array]
    coefficients: Array
    factors: Array
    weight: float


def _stacks(step: Step, job: Job, at: tuple[int, int]) -> list[_Stack]:
    """Return every stack with a block that holds the pixel, as the kernel matches them."""
    from . import _bm3d_kernels as kernels

    near = [np.nonzero(np.abs(starts - place) < N + RADIUS)[0]
            for starts, place in ((job.rows, at[1]), (job.cols, at[0]))]  # fmt: skip
    r, q = (places.reshape(-1) for places in np.meshgrid(*near, indexing="ij"))
    found, far = np.zeros(len(r), np.int32), np.zeros((len(r), step.search[1]), np.float32)
    ys, xs = np.zeros(far.shape, np.int32), np.zeros(far.shape, np.int32)
    kernels.matches(step.guide, job.rows[r], job.cols[q], step.search, found, far, ys, xs)
    stacks = [
        _Stack((int(r[k]), int(q[k])), 1 << (int(found[k]).bit_length() - 1), int(found[k]),
               far[k].clip(min=0), ys[k], xs[k])
        for k in range(len(r))
    ]  # fmt: skip
    return [stack for stack in stacks if len(stack.covering(at)[0])]


def _filtering(step: Step, job: Job, c: int, stack: _Stack) -> _Filtering:
    """Return what the kernel does to a stack in channel c."""
    from . import _bm3d_kernels as kernels

    (r, q), size = stack.at, stack.size
    variance = job.variance[stack.ys[:size], stack.xs[:size]]
    level = job.sigma[r, c, q] * np.sqrt(variance.mean() / variance[0])
    both = np.zeros((2, step.search[1], N * N), np.float32)
    kept = kernels.spectrum(
        step.images, c, stack.ys, stack.xs, size, step.bases, level, step.factor, both
    )
    coefficients, pilot = both[:, :size].astype(np.float64)
    power = pilot**2
    factors = coefficients != 0 if len(step.images) == 1 else power / (power + float(level) ** 2)
    factors = factors.astype(np.float64)
    factors[0, 0] = 1
    T, _, S, _ = step.bases.astype(np.float64)
    z, f = coefficients.reshape(size, N, N), factors.reshape(size, N, N)
    return _Filtering(stack, (T, S), z, f, 1 / (float(level) ** 2 * kept))


def _row(filterings: list[_Filtering], job: Job, at: tuple[int, int]) -> Array:
    """Return the weights of the padded image's pixels in one of them ``(H, W)``."""
    window, total = _bm3d.kaiser().astype(np.float64), 0.0
    weights = np.zeros(job.noisy.shape[1:])
    for found in filterings:
        k, dy, dx = found.stack.covering(at)
        back = np.zeros_like(found.factors)
        back[k, dy, dx] = found.weight * window[dy, dx]
        total += back.sum()
        T, S = found.bases
        H = _haar(len(back))
        back = found.factors * np.tensordot(H, S.T @ back @ S, 1)
        back = T.T @ np.tensordot(H.T, back, 1) @ T
        for block, y, x in zip(back, found.stack.ys, found.stack.xs, strict=False):
            weights[y : y + N, x : x + N] += block
    return weights / total


def _haar(size: int) -> Array:
    """Return the matrix of the kernel's Haar transform, whose coefficients stay in place."""
    H, step = np.eye(size), 1
    while step < size:
        a, b = H[:: 2 * step].copy(), H[step :: 2 * step].copy()
        H[:: 2 * step], H[step :: 2 * step] = (a + b) / np.sqrt(2), (a - b) / np.sqrt(2)
        step *= 2
    return H


def _blocks(step: Step, job: Job, stack: _Stack) -> tuple[tuple[Block, ...], float]:
    """Return the blocks found, before and after, and how much of the first channel is kept."""
    channels = [_filtering(step, job, c, stack) for c in range(len(job.noisy))]
    noisy = np.einsum("dc,chw->dhw", job.back, job.noisy)
    H = _haar(stack.size)
    cubes = [f.bases[1] @ np.tensordot(H.T, f.coefficients, 1) @ f.bases[1].T for f in channels]
    filtered = torch.from_numpy(np.einsum("dc,ckij->kdij", job.back, np.stack(cubes))).float()
    blocks = tuple(
        Block(
            x=int(stack.xs[k]),
            y=int(stack.ys[k]),
            distance=float(stack.far[k]) / N**2,
            kept=k < stack.size,
            before=_cut(noisy, int(stack.ys[k]), int(stack.xs[k])),
            after=filtered[k] if k < stack.size else None,
        )
        for k in range(stack.found)
    )
    return blocks, float(channels[0].factors.mean())


def _cut(noisy: NDArray[np.float32], y: int, x: int) -> Tensor:
    return torch.from_numpy(noisy[:, y : y + N, x : x + N].copy())


def _folded(weights: Array, height: int, width: int) -> Array:
    """Add what padded pixels weigh to the pixels that they repeat ``(H, W)``."""
    missing = [(0, padded - n) for padded, n in zip(weights.shape, (height, width), strict=True)]
    origin = np.pad(np.arange(height * width).reshape(height, width), missing, "symmetric")
    found = np.zeros(height * width)
    np.add.at(found, origin.reshape(-1), weights.reshape(-1))
    return found.reshape(height, width)
