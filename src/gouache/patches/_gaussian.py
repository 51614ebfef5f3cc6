"""The Gaussian filter: a pixel is the mean of those around it, weighted by how near they are.

Notation: ``u`` the noisy image, ``w`` the width of the Gaussian in pixels, ``p`` and ``q`` pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gouache import check
from gouache.registry import method

from ._image import batched, kept, like, mirrored, reflected, sigma_of

REACH, SCALE = 4.0, 3.5


@method("denoise")
def gaussian(
    image: Tensor, sigma: float | Tensor | None = None, *, width: float | None = None
) -> Tensor:
    """Denoise by a Gaussian mean, the same in every direction and whatever is in the image.

    ``v(p) = sum_q g(p - q) u(q) / sum_q g(p - q)`` with ``g(t) = exp(-|t|^2 / (2 w^2))``, over the
    square of ``4 w`` pixels to each side; beyond the border the image is mirrored. Without
    ``width``, ``w = 3.5 sqrt(sigma)``: for images whose spectrum falls as a power of the frequency
    the best width is a power of sigma, and this one fits photographs. The result has a gradient for
    the image.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1, not clipped.
        sigma: noise in units of the pixel range: a number, one an image, or a map ``(H, W)``,
            with which the width varies, and where it is 0 the pixel stays; None estimates it. With
            ``width`` only its zeros count.
        width: standard deviation of the Gaussian in pixels; None follows sigma.

    Raises:
        InputError: an image that is no image, sigma on another scale, a negative width.

    Reference:
        D. Marr, E. Hildreth, "Theory of edge detection", 1980; the best linear filter for a
        spectrum is N. Wiener's, "Extrapolation, interpolation, and smoothing of stationary time
        series", 1949.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0, 1, 32).expand(1, 32, 32)
        >>> noisy = clean + 0.1 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> error = (patches.gaussian(noisy, 0.1) - clean).square().mean()
        >>> bool(error < 0.3 * (noisy - clean).square().mean())
        True
    """
    check.between(0.0 if width is None else width, "width", 0)
    u = batched(image)
    level = sigma_of(1.0 if sigma is None and width is not None else sigma, u)
    widths = SCALE * level.sqrt() if width is None else torch.full_like(level, width)
    out = [_one(picture, w) for picture, w in zip(u, widths, strict=True)]
    return like(kept(torch.stack(out), u, level), image)


def smoothed(u: Tensor, width: float) -> Tensor:
    """Return ``(C, H, W)`` under a Gaussian of one width, a row and then a column at a time."""
    r = int(REACH * width + 0.5)
    if r == 0:
        return u
    if r > max(u.shape[-2:]):
        down, across = (_matrix(width, n).to(u) for n in u.shape[-2:])
        return down @ u @ across.T
    taps = torch.exp(-0.5 * (torch.arange(-r, r + 1).double() / width) ** 2)
    taps, (height, wide) = (taps / taps.sum()).tolist(), u.shape[-2:]
    padded = mirrored(u, r)
    rows = torch.zeros_like(padded[:, :height])
    for k, tap in enumerate(taps):
        rows = rows + tap * padded[:, k : k + height]
    out = torch.zeros_like(u)
    for k, tap in enumerate(taps):
        out = out + tap * rows[..., k : k + wide]
    return out


def _matrix(width: float, n: int) -> Tensor:
    """Return what each of n pixels gets from each, ``(n, n)``, by a Gaussian that reaches further.

    Mirrored pixels repeat after 2 n, and a Gaussian of 2 n pixels is flat to all of them.
    """
    width = min(width, 2.0 * n)
    r = int(REACH * width + 0.5)
    steps = torch.arange(-r, r + 1)
    taps = torch.exp(-0.5 * (steps.double() / width) ** 2)
    folded = torch.zeros(2 * n).double().index_add(0, steps % (2 * n), taps / taps.sum())
    to, among = torch.arange(n)[:, None], torch.arange(2 * n)
    sums = torch.zeros(n, n).double()
    return sums.index_add(1, reflected(among, n), folded[(among - to) % (2 * n)])


def _one(u: Tensor, width: Tensor) -> Tensor:
    """Filter one image by widths ``(1, 1, 1)`` or ``(1, H, W)``."""
    low, high = float(width.min()), float(width.max())
    return smoothed(u, high) if low == high else _varying(u, width)


def _varying(u: Tensor, width: Tensor) -> Tensor:
    """Filter by a Gaussian of its own width at each pixel, an offset at a time."""
    reach = (REACH * width + 0.5).floor()
    r, (height, wide) = int(reach.max()), u.shape[-2:]
    padded, decay = mirrored(u, r), 0.5 / width.clamp(min=1e-3) ** 2
    out, total = torch.zeros_like(u), torch.zeros_like(width)
    for dy in range(-r, r + 1):
        for dx in range(-r, r + 1):
            near = reach >= max(abs(dy), abs(dx))
            g = torch.exp(-decay * (dy * dy + dx * dx)) * near
            out = out + g * padded[:, r + dy : r + dy + height, r + dx : r + dx + wide]
            total = total + g
    return out / total
