"""The transport of colours between two Gaussians, in closed form."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gouache.registry import method

from ._palette import pair

ROUNDING = 1 / (12 * 255**2)  # variance of what rounding to 8 bits adds


@method("recolor")
def linear_color_transfer(
    image: Tensor,
    palette: Tensor,
    *,
    strength: float = 1.0,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Give an image the mean and the covariance of another's colours by the Monge-Kantorovitch map.

    ``f(u) = T (u - mean_u) + mean_v``, ``T = S^-1 (S Sigma_v S)^1/2 S^-1``, ``S = Sigma_u^1/2``

    which of all affine maps with this effect moves colours least. Along directions in which the
    image varies by less than rounding to 8 bits, T is 0: a grey image gets a scale of one hue.
    Values beyond [0, 1] are clipped.

    Args:
        image: ``(C, H, W)`` in [0, 1]; grey counts as three equal channels.
        palette: likewise, of any size.
        strength: share of the way that each colour goes; 0 leaves the image as it is.
        rng: not used: nothing is random.
        progress: hears of (steps done, steps in all).

    Returns:
        ``(3, H, W)`` in [0, 1].

    Raises:
        InputError: no images, or a strength out of [0, 1].

    Reference:
        F. Pitie, A. Kokaram, "The linear Monge-Kantorovitch linear colour mapping for
        example-based colour transfer", 2007.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image, palette = 0.4 + 0.2 * torch.rand(3, 9, 9), 0.3 + 0.3 * torch.rand(3, 9, 9)
        >>> found = patches.linear_color_transfer(image, palette)
        >>> torch.allclose(found.mean((1, 2)), palette.mean((1, 2)))
        True
    """
    a, b = pair(image, palette, strength)
    (mean_u, sigma_u), (mean_v, sigma_v) = moments(a), moments(b)
    matrix = monge_map(sigma_u, sigma_v)
    u = a.flatten(1).double()
    there = matrix @ (u - mean_u) + mean_v
    found = (u + strength * (there - u)).view(a.shape).float().clamp(0, 1)
    if progress is not None:
        progress(1, 1)
    return found


def moments(picture: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean ``(3, 1)`` and the covariance ``(3, 3)`` of colours, in float64."""
    u = picture.flatten(1).double()
    mean = u.mean(1, keepdim=True)
    return mean, (u - mean) @ (u - mean).T / u.shape[1]


def monge_map(sigma_u: Tensor, sigma_v: Tensor) -> Tensor:
    """Return T; on directions that ``sigma_u`` lacks, 0."""
    values, axes = torch.linalg.eigh(sigma_u)
    held = values > ROUNDING
    root = values.clamp(min=0).sqrt() * held
    inverse = torch.where(held, 1 / root.clamp(min=ROUNDING), 0)
    inner = (root[:, None] * root) * (axes.T @ sigma_v @ axes)
    return axes @ (inverse[:, None] * inverse * _root(inner)) @ axes.T


def _root(matrix: Tensor) -> Tensor:
    values, axes = torch.linalg.eigh(matrix)
    return axes * values.clamp(min=0).sqrt() @ axes.T
