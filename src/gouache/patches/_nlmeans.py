"""Non-local means: a pixel is the mean of the pixels whose surroundings look like its own.

Notation: ``u`` the noisy image of C channels, p and q pixels, ``P(p)`` the patch of
``(2f + 1)^2`` pixels around p, beyond the border by reflection; ``d2(p, q)`` the mean square
difference of two patches over pixels and channels; q runs over the pixels of the image in a window
around p.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gouache import check
from gouache.registry import method

from ._image import batched, kept, like, mirrored, sigma_of

Array: TypeAlias = NDArray[np.float32]
DECAY = 3.5  # the default of h is this over the root of the values in a patch


@method("denoise")
def nlmeans(
    image: Tensor,
    sigma: float | Tensor | None = None,
    *,
    patch: int | None = None,
    window: int | None = None,
    h: float | None = None,
    slack: float = 1.0,
    aggregate: str = "patch",
) -> Tensor:
    """Denoise by non-local means.

    ``w(p, q) = exp(-max(d2(p, q) - t, 0) / (h sigma)^2)``, and each pixel becomes the mean of
    ``u(q)`` under ``w(p, q)``, itself with weight 1 (``aggregate="pixel"``). With
    ``aggregate="patch"`` whole patches are averaged, and a pixel is the mean over all patches that
    it lies in. ``t = 2 sigma^2 (1 + slack sqrt(2 / n))``, n being the values in a patch: what d2 is
    between patches that differ by their noise alone, and ``slack`` standard deviations more. The
    result has a gradient for the image.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1, not clipped.
        sigma: noise in units of the pixel range: a number, one an image, or a map ``(H, W)`` (the
            variances of the two pixels are averaged, and where it is 0 the pixel stays); None
            estimates it.
        patch: side of a patch, odd; None and the next two: by the noise level.
        window: side of the search window, odd.
        h: decay of the weights in sigmas.
        slack: 0 is as published, where half of the patches that differ by noise alone count less.
        aggregate: ``pixel`` or ``patch``.

    Raises:
        InputError: an image that is no image, sigma on another scale, an even side.

    Reference:
        A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", 2005;
        "Non-local means denoising", 2011.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0, 1, 32).expand(1, 32, 32)
        >>> noisy = clean + 0.1 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> error = (patches.nlmeans(noisy, 0.1) - clean).square().mean()
        >>> bool(error < 0.3 * (noisy - clean).square().mean())
        True
    """
    check.choice(aggregate, "aggregate", ("pixel", "patch"))
    u = batched(image)
    given = (odd(patch, "patch"), odd(window, "window"), h)
    check.between(1.0 if h is None else h, "h", 1e-6)
    check.between(slack, "slack", 0)
    level, whole = sigma_of(sigma, u), aggregate == "patch"
    pairs = zip(u, level, strict=True)
    out = [_filtered(job_of(a, s, given, whole, slack)) if s.any() else a for a, s in pairs]
    return like(kept(torch.stack(out), u, level), image)


def _filtered(job: Job) -> Tensor:
    """Filter one image ``(C, H, W)``."""
    u = job.padded
    return _tensors(job) if u.requires_grad or u.is_cuda else _kernels(job)


def job_of(
    u: Tensor,
    sigma: Tensor,
    given: tuple[int | None, int | None, float | None],
    whole: bool,
    slack: float = 1.0,
) -> Job:
    """Prepare one image ``(C, H, W)``; of patch, window and h, what is None is by the noise."""
    patch, window, h = given
    sides = _sides(float(sigma.mean()), len(u))
    patch, window = sides[0] if patch is None else patch, sides[1] if window is None else window
    values = len(u) * patch**2
    noise2 = (sigma[0] ** 2).expand(u.shape[-2:]).contiguous()
    forgiven = noise2 * (1 + slack * math.sqrt(2 / values))
    h = DECAY / math.sqrt(values) if h is None else h
    half = min(window // 2, max(u.shape[-2:]) - 1)
    return Job(mirrored(u, patch // 2), noise2, forgiven, patch // 2, half, h, whole)


def odd(side: int | None, name: str) -> int | None:
    """Check that a side, if given, is odd."""
    if side is not None and check.count(side, name) % 2 == 0:
        raise check.InputError(f"{name} must be odd, got {side}; pass {side + 1}")
    return side


def _sides(sigma: float, channels: int) -> tuple[int, int]:
    """Return side of patch and side of window for this noise."""
    if channels < 3:
        table, last = ((15, 5, 13), (37, 7, 17)), (11, 21)
    else:
        table, last = ((37, 3, 13),), (5, 17)
    return next((row[1:] for row in table if sigma * 255 <= row[0]), last)


@dataclass(frozen=True)
class Job:
    """One image, and what decides its weights.

    Attributes:
        padded: the image, f pixels larger on every side by reflection ``(C, H + 2f, W + 2f)``.
        noise2: sigma^2 ``(H, W)``.
        forgiven: half of the t of a pair is each pixel's ``(H, W)``.
        f: radius of a patch.
        half: radius of the window.
        h: decay of the weights in sigmas.
        whole: whether whole patches are averaged.
    """

    padded: Tensor
    noise2: Tensor
    forgiven: Tensor
    f: int
    half: int
    h: float
    whole: bool


def _kernels(job: Job) -> Tensor:
    """Filter by the compiled kernels."""
    from . import _jit
    from . import _nlmeans_kernels as kernels

    u, noise2, h2 = arrays(job)
    (height, width), channels = noise2.shape, len(u)
    strips, rows = -(-height // kernels.STRIP), kernels.STRIP + job.half
    acc = np.zeros((strips, channels, rows, width), np.float32)
    norm, out = np.zeros((strips, rows, width), np.float32), np.empty_like(u[:, :height, :width])
    total = np.empty((height, width), np.float32)

    def each(kernel: Callable[..., None], *given: object) -> None:
        deque(_jit.spread(lambda strip: kernel(strip, *given), strips), 0)

    each(kernels.pixelwise, u, job.f, job.half, noise2, h2, acc, norm)
    each(kernels.total, norm, job.half, total)
    if job.whole:
        acc[:] = 0
        each(kernels.patchwise, u, job.f, job.half, noise2, h2, total, acc)
    each(kernels.gather, u, job.f, job.half, acc, total, job.whole, out)
    return torch.from_numpy(out)


def arrays(job: Job) -> tuple[Array, Array, Array]:
    """Return the padded image, what is forgiven and (h sigma)^2 for the kernels."""
    u, noise2 = job.padded.cpu().numpy(), job.noise2.cpu().numpy()
    return (
        u,
        job.forgiven.cpu().numpy(),
        np.maximum(np.float32(job.h**2) * noise2, np.float32(1e-12)),
    )


def _tensors(job: Job) -> Tensor:
    """Filter by whole-image operations, an offset at a time, which autograd can follow."""
    u, f, (height, width) = job.padded, job.f, job.noise2.shape
    inside = u[:, f : f + height, f : f + width]
    offsets = [
        (dy, dx)
        for dy in range(-min(job.half, height - 1), min(job.half, height - 1) + 1)
        for dx in range(-min(job.half, width - 1), min(job.half, width - 1) + 1)
    ]
    total = torch.stack([_full(_weights(job, t), t, job) for t in offsets]).sum(0)
    out = torch.zeros_like(inside)
    for t in offsets:
        w = _full(_weights(job, t), t, job)
        w = _spread(w / total, f) if job.whole else w / total
        out = out + w * _shifted(job, t)
    return out / _spread(torch.ones_like(total), f) if job.whole else out


def _weights(job: Job, t: tuple[int, int]) -> Tensor:
    """Return ``w(p, p + t)`` for those p whose p + t is in the image."""
    (dy, dx), (height, width), side = t, job.noise2.shape, 2 * job.f
    rows, cols = (slice(max(0, -d), min(n, n - d)) for d, n in ((dy, height), (dx, width)))
    a, b = (
        job.padded[:, rows.start + y : rows.stop + y + side, cols.start + x : cols.stop + x + side]
        for y, x in ((0, 0), t)
    )
    d2 = F.avg_pool2d((a - b).square().mean(0)[None], side + 1, 1)[0]
    here, there = ((rows, cols), (_moved(rows, dy), _moved(cols, dx)))
    decay = (job.h**2 * (job.noise2[here] + job.noise2[there]) / 2).clamp(min=1e-12)
    beyond = (d2 - job.forgiven[here] - job.forgiven[there]).clamp(min=0)
    return torch.exp(-beyond / decay) if any(t) else torch.ones_like(d2)


def _moved(some: slice, by: int) -> slice:
    return slice(some.start + by, some.stop + by)


def _full(w: Tensor, t: tuple[int, int], job: Job) -> Tensor:
    """Return weights as a map of the whole image, 0 where p + t is outside."""
    (dy, dx), (height, width) = t, job.noise2.shape
    left, top = max(0, -dx), max(0, -dy)
    return F.pad(w, (left, width - w.shape[1] - left, top, height - w.shape[0] - top))


def _shifted(job: Job, t: tuple[int, int]) -> Tensor:
    """Return ``u(r + t)`` for every pixel r; beyond the padding, where no weight is, anything."""
    (height, width), edge = job.noise2.shape, job.half
    wide = F.pad(job.padded, (edge,) * 4)
    y, x = (edge + job.f + d for d in t)
    return wide[:, y : y + height, x : x + width]


def _spread(w: Tensor, f: int) -> Tensor:
    """Return the sum of a map over the patch around every pixel, 0 being outside."""
    side = 2 * f + 1
    return F.avg_pool2d(w[None], side, 1, f, count_include_pad=True)[0] * side**2
