"""The bilateral filter: a mean over those pixels around that are of a similar colour.

Notation: ``u`` the noisy image, ``g`` the guide (the image itself, or another of the same place),
p and q pixels; ``d2(p, q)`` the mean square difference of ``g(p)`` and ``g(q)`` over channels;
``w`` the width in pixels, ``c`` the contrast in units of the pixel range.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gouache import check
from gouache.registry import method

from ._guide import guide_of
from ._image import batched, kept, like, sigma_of

CONTRAST, LEAST = 2.5, 1e-6


@method("denoise")
def bilateral(
    image: Tensor,
    sigma: float | Tensor | None = None,
    *,
    guide: Tensor | None = None,
    width: float = 1.5,
    contrast: float | None = None,
    radius: int | None = None,
) -> Tensor:
    """Denoise by the bilateral filter, or with a guide by the joint (cross) bilateral filter.

    ``v(p) = sum_q k(p, q) u(q) / sum_q k(p, q)``,
    ``k(p, q) = exp(-|p - q|^2 / (2 w^2)) exp(-d2(p, q) / (2 c^2))``

    over the q of the image in the square of ``radius`` pixels around p. All channels share the
    weights. ``d2`` is a mean over channels, so that one contrast serves grey and colour: the
    paper's sigma_r, of the Euclidean distance of C channels, is ``sqrt(C) c``. The noise is part of
    ``d2``: the best contrast is 2 to 3 sigma and the best width, 1.5 to 2.1 pixels, hardly depends
    on sigma (Zhang and Gunturk). The result has a gradient for the image and the guide.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1, not clipped.
        sigma: noise in units of the pixel range: a number, one an image, or a map ``(H, W)``, whose
            value at p counts, and where it is 0 the pixel stays; None estimates it. With
            ``contrast`` only its zeros count.
        guide: what colours are compared in, of the image's height and width and any channels: a
            photograph of the same place with a flash, a depth map; None is the image itself.
        width: w.
        contrast: c; None is 2.5 sigma.
        radius: of the window in pixels; None is three widths.

    Raises:
        InputError: an image or guide that is none, sigma on another scale, a guide of another size.

    Reference:
        C. Tomasi, R. Manduchi, "Bilateral filtering for gray and color images", 1998;
        G. Petschnigg et al., "Digital photography with flash and no-flash image pairs", and
        E. Eisemann, F. Durand, "Flash photography enhancement via intrinsic relighting", both 2004
        (the guide); M. Zhang, B. K. Gunturk, "Multiresolution bilateral filtering for image
        denoising", 2008 (the parameters).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0, 1, 32).expand(1, 32, 32)
        >>> noisy = clean + 0.1 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> error = (patches.bilateral(noisy, 0.1) - clean).square().mean()
        >>> bool(error < 0.2 * (noisy - clean).square().mean())
        True
    """
    check.between(width, "width", LEAST)
    check.between(1.0 if contrast is None else contrast, "contrast", 0)
    r = math.ceil(3 * width) if radius is None else check.count(radius, "radius", 0)
    u = batched(image)
    r = min(r, max(u.shape[-2:]) - 1)
    level = sigma_of(1.0 if sigma is None and contrast is not None else sigma, u)
    c = CONTRAST * level if contrast is None else contrast * (level > 0)
    out = [
        a if not s.any() else _one(_Job(a, g, s, width, r))
        for a, g, s in zip(u, guide_of(guide, u), c, strict=True)
    ]
    return like(kept(torch.stack(out), u, level), image)


@dataclass(frozen=True)
class _Job:
    """One image ``(C, H, W)``, its guide ``(G, H, W)``, the contrast, and the window."""

    image: Tensor
    guide: Tensor
    contrast: Tensor
    width: float
    radius: int

    def scale(self) -> Tensor:
        """Return what the sum of squares over channels is multiplied with ``(H, W)``."""
        channels, *size = self.guide.shape
        c = self.contrast[0].clamp(min=LEAST).expand(size)
        return 0.5 / (channels * c**2)

    def near(self) -> np.ndarray:
        """Return the weights of distance in the window."""
        steps = np.arange(-self.radius, self.radius + 1)
        line = np.exp(-0.5 * (steps / self.width) ** 2)
        return np.outer(line, line).astype(np.float32)


def _one(job: _Job) -> Tensor:
    follows = torch.is_grad_enabled() and (job.image.requires_grad or job.guide.requires_grad)
    return _tensors(job) if follows or job.image.is_cuda else _kernels(job)


def _kernels(job: _Job) -> Tensor:
    """Filter by the compiled kernel."""
    from . import _bilateral_kernels as kernels
    from ._jit import spread

    u, g = (np.ascontiguousarray(a.detach().cpu().numpy()) for a in (job.image, job.guide))
    out, scale = np.empty_like(u), np.ascontiguousarray(job.scale().cpu().numpy())
    near, strips = job.near(), -(-u.shape[1] // kernels.STRIP)
    deque(spread(lambda k: kernels.bilateral(k, u, g, scale, near, out), strips), 0)
    return torch.from_numpy(out)


def _tensors(job: _Job) -> Tensor:
    """Filter by whole-image operations, an offset at a time, which autograd can follow."""
    u, g, r, scale, near = job.image, job.guide, job.radius, job.scale(), job.near()
    out, total = torch.zeros_like(u), torch.zeros_like(u[:1])
    height, width = u.shape[-2:]
    for dy in range(-min(r, height - 1), min(r, height - 1) + 1):
        for dx in range(-min(r, width - 1), min(r, width - 1) + 1):
            rows, cols = (slice(max(0, -d), min(n, n - d)) for d, n in ((dy, height), (dx, width)))
            to = (slice(rows.start + dy, rows.stop + dy), slice(cols.start + dx, cols.stop + dx))
            d2 = (g[:, rows, cols] - g[:, *to]).square().sum(0, keepdim=True)
            k = float(near[r + dy, r + dx]) * torch.exp(-d2 * scale[rows, cols])
            edge = (cols.start, width - cols.stop, rows.start, height - rows.stop)
            out = out + torch.nn.functional.pad(k * u[:, *to], edge)
            total = total + torch.nn.functional.pad(k, edge)
    return out / total
