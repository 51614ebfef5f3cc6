"""A nearest-neighbour field as a picture: the direction of a displacement is a hue."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gouache import check

from ._match import Field


def colour_wheel(field: Field, *, most: float | None = None) -> Tensor:
    """Draw the displacement of every patch to its nearest one.

    Hue is ``atan2(dy, dx)``: right is red, down yellow-green, left cyan, up violet. Saturation is
    ``min(1, |(dx, dy)| / most)``, so that what stays is white; what has no match is black.

    Args:
        field: what a matcher returned.
        most: displacement in pixels that has full colour; None is the largest but for one in a
            hundred, at least 1.

    Returns:
        ``(3, h, w)`` in [0, 1].

    Raises:
        InputError: ``most`` not positive.

    Reference:
        S. Baker, D. Scharstein, J. Lewis, S. Roth, M. Black, R. Szeliski, "A database and
        evaluation methodology for optical flow", 2011.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 12, 12)
        >>> field = patches.brute_force(image[:, :, :8], image[:, :, 4:], patch=3)
        >>> patches.colour_wheel(field, most=4)[:, 0, 5]  # its patch lies 4 pixels to the left
        tensor([0., 1., 1.])
    """
    place = field.place[0].cpu()
    h, w = place.shape[:2]
    dy = (place[..., 0] - torch.arange(h)[:, None]).double()
    dx = (place[..., 1] - torch.arange(w)).double()
    length, found = torch.hypot(dx, dy), place[..., 0] >= 0
    if most is None:
        far = length[found]
        rank = max(1, round(0.99 * len(far)))
        most = max(1.0, float(far.kthvalue(rank).values)) if len(far) else 1.0
    check.between(most, "most", 1e-6)
    hue, saturation = torch.atan2(dy, dx) / (2 * math.pi) % 1, (length / most).clamp(max=1)
    # Of each of red, green and blue: how far it lies from the hue on the wheel, in sixths.
    apart = (6 * hue[None] - torch.tensor([0.0, 2.0, 4.0], dtype=hue.dtype)[:, None, None]) % 6
    colour = (torch.minimum(apart, 6 - apart) - 1).clamp(0, 1)
    return ((1 - saturation * colour) * found).float()
