"""The level of white Gaussian noise, from one noisy image.

Notation: blocks of n x n pixels, n = 8, and their orthonormal cosine coefficients at frequencies
(i, j); *low* are 0 < i + j < n, *high* are i + j > n.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ._image import batched

SIDE, SHARE, LEAST, MOST = 8, 0.01, 64, 250_000


def estimate_sigma(image: Tensor) -> Tensor:
    """Estimate the standard deviation of white Gaussian noise, one number an image ``(B,)``.

    Of all blocks, the hundredth part with the least energy at low frequencies is taken: the
    smoothest, chosen without a look at the high frequencies, whose noise is independent of the
    choice. There each frequency has a mean square, and the median of these is sigma^2. All channels
    are taken to carry the same noise. An image of fewer than 3 pixels a side gives 0.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1.

    Raises:
        InputError: an image that is no image.

    Reference:
        M. Colom, A. Buades, "Analysis and extension of the Ponomarenko et al. method, estimating a
        noise curve from a single image", 2013.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0, 1, 64).expand(1, 64, 64)
        >>> noise = torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
        >>> bool((patches.estimate_sigma(clean + 0.1 * noise) - 0.1).abs() < 0.01)
        True
    """
    return torch.stack([_one(picture) for picture in batched(image).cpu()]).to(image.device)


def _one(picture: Tensor) -> Tensor:
    n = min(SIDE, *picture.shape[-2:])
    if n < 3:
        return torch.zeros(())
    coefficients = _coefficients(picture.double(), n)
    order = torch.arange(n)[:, None] + torch.arange(n)
    low, high = (order > 0) & (order < n), order > n
    count = min(len(coefficients), max(LEAST, round(SHARE * len(coefficients))))
    energy = coefficients[:, low].square().sum(1)
    smooth = energy.topk(count, largest=False).indices
    return coefficients[smooth][:, high].square().mean(0).median().sqrt().float()


def _coefficients(picture: Tensor, n: int) -> Tensor:
    """Return the cosine coefficients ``(N, n, n)`` of all blocks, or of an even choice of them."""
    channels, height, width = picture.shape
    step = math.ceil(math.sqrt(channels * height * width / MOST))
    blocks = picture.unfold(1, n, step).unfold(2, n, step).reshape(-1, n, n)
    D = _cosine(n)
    return D @ blocks @ D.T


def _cosine(n: int) -> Tensor:
    """Return the orthonormal cosine transform of n values, frequencies by rows."""
    k, x = torch.arange(n).double()[:, None], torch.arange(n).double()
    rows = torch.cos(math.pi * (2 * x + 1) * k / (2 * n)) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows
