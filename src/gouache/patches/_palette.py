"""Colours of an image as a cloud of points, and a smooth map of colours from where points move.

Notation: ``c_i`` the means of n clusters of equal mass of an image's colours ``(n, 3)``, ``t_i``
the colours that they are to become, ``v_i = t_i - c_i``; ``f`` the map of colours, known on a
lattice of ``SIDE^3`` nodes and trilinear between them.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check, image

from ._guided import guided

BITS, LEVELS = 6, 2**16 - 1  # of a bin of colours; of a colour, so that sums of it are exact
SIDE, RIDGE = 33, 0.02**2
RADIUS = 4  # of the filter that tells grain from what is drawn
ROWS = 4096


def pair(picture: Tensor, palette: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Check what a transfer of colour is given; grey becomes three equal channels.

    Raises:
        InputError: no images ``(C, H, W)`` in [0, 1], or a strength out of [0, 1].
    """
    check.between(strength, "strength", 0, 1)
    named = ((picture, "image"), (palette, "palette"))
    a, b = (check.images(x, name, batched=False).detach() for x, name in named)
    return image.as_channels(a, 3).float(), image.as_channels(b, 3).float().to(a.device)


def clusters(picture: Tensor, depth: int) -> Tensor:
    """Return the means of ``2^depth`` clusters of equal mass ``(n, 3)`` float64.

    Colours are counted in bins, and halved by mass across the axis along which they vary most,
    again and again; a bin on the border is shared out. The order of pixels does not matter.
    """
    levels = np.rint(picture.clamp(0, 1).flatten(1).double().cpu().numpy() * LEVELS)
    where = np.zeros(levels.shape[1], np.int64)
    for channel in levels:
        where = where << BITS | channel.astype(np.int64) >> (16 - BITS)
    mass = np.bincount(where, minlength=1 << 3 * BITS).astype(np.float64)
    sums = [np.bincount(where, channel, len(mass)) for channel in levels]
    held = np.flatnonzero(mass)
    colours = np.stack([s[held] for s in sums], 1) / (LEVELS * mass[held, None])
    return torch.from_numpy(_halved(colours, mass[held], depth))


def _halved(colours: NDArray[np.float64], mass: NDArray[np.float64], depth: int) -> NDArray:
    """Return the means of halves of halves ``(2^depth, 3)``."""
    mean = mass @ colours / mass.sum()
    if depth == 0 or len(mass) == 1:
        return np.repeat(mean[None], 1 << depth, 0)
    axis = int(np.argmax(mass @ (colours - mean) ** 2))
    order = np.argsort(colours[:, axis], kind="stable")
    colours, sums = colours[order], mass[order].cumsum()
    half = sums[-1] / 2
    low = np.diff(np.minimum(sums, half), prepend=0)
    high = mass[order] - low
    parts = [_halved(colours[m > 0], m[m > 0], depth - 1) for m in (low, high)]
    return np.concatenate(parts)


def extended(
    picture: Tensor, points: Tensor, moves: Tensor, *, strength: float, smooth: float, grain: float
) -> Tensor:
    """Return an image whose colours are moved as those of some points are, clipped.

    The displacement is looked up at the image without its grain, which so is added back as it was
    and not stretched.

    Args:
        picture: ``(3, H, W)``.
        points: c ``(n, 3)``.
        moves: v ``(n, 3)``.
        strength: share of the way.
        smooth: see ``table``.
        grain: its standard deviation; 0 takes all for what is drawn.
    """
    clean = picture
    if grain > 0:
        grey = image.as_channels(picture, 1)
        clean = guided(picture, guide=grey, radius=RADIUS, eps=grain**2).clamp(0, 1)
    moved = table(points, moves, smooth, used(clean)).to(picture)
    at = clean.flatten(1).T.mul(2).sub_(1).flip(1)[None, :, None, None]
    found = torch.nn.functional.grid_sample(
        moved[None], at, padding_mode="border", align_corners=True
    )
    return found.view(picture.shape).mul_(strength).add_(picture).clamp_(0, 1)


def used(picture: Tensor) -> Tensor:
    """Return which nodes are a corner of a cell that holds a colour, ``(SIDE, SIDE, SIDE)``."""
    red, green, blue = (picture * (SIDE - 1)).int().clamp(0, SIDE - 2).flatten(1).cpu()
    count = torch.bincount((red * SIDE + green) * SIDE + blue, minlength=SIDE**3)
    held = (count > 0).float().view(1, 1, SIDE, SIDE, SIDE)
    ahead = torch.nn.functional.pad(held, (1, 0) * 3)
    return torch.nn.functional.max_pool3d(ahead, 2, 1)[0, 0] > 0


def table(points: Tensor, moves: Tensor, smooth: float, wanted: Tensor) -> Tensor:
    """Return the displacement of colours on the lattice ``(3, SIDE, SIDE, SIDE)``.

    At a node x it is an affine function of the colour, fitted to ``v_i`` at ``c_i`` by least
    squares with weights ``exp(-|x - c_i|^2 / 2 smooth^2)`` and a small penalty on its slope.

    Args:
        points: c ``(n, 3)``.
        moves: v ``(n, 3)``.
        smooth: in units of the pixel range.
        wanted: at which nodes ``(SIDE, SIDE, SIDE)``; elsewhere it is 0.

    Reference:
        S. Schaefer, T. McPhail, J. Warren, "Image deformation using moving least squares", 2006.
    """
    nodes, out = wanted.nonzero().double() / (SIDE - 1), torch.zeros(3, *wanted.shape)
    found = [_fitted(x, points, moves, smooth) for x in nodes.split(ROWS)]
    out[:, wanted] = torch.cat(found).T.float()
    return out


def _fitted(x: Tensor, c: Tensor, v: Tensor, smooth: float) -> Tensor:
    """Return the value at nodes ``(m, 3)`` of the affine functions fitted there."""
    far = torch.cdist(x, c).square_()
    w = (far.amin(1, keepdim=True) - far).float().div_(2 * smooth**2).exp_()
    w /= w.sum(1, keepdim=True)
    both = torch.cat([c, v], 1)
    given = torch.cat([both, (c[:, :, None] * both[:, None]).flatten(1)], 1)
    sums = w.double() @ given
    mean = sums[:, :6]
    cov = sums[:, 6:].view(-1, 3, 6) - mean[:, :3, None] * mean[:, None]
    ridge = RIDGE * torch.eye(3, dtype=c.dtype)
    slope = torch.linalg.solve(cov[..., :3] + ridge, cov[..., 3:])
    return mean[:, 3:] + ((x - mean[:, :3])[:, None] @ slope)[:, 0]
