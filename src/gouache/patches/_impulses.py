"""Where impulses hit: pixels whose value has nothing to do with what was there.

Notation: ``u`` one channel of the image; a window of radius r has ``2 r + 1`` pixels a side and is
cut at the border by reflection.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gouache import check

from ._guided import box_sums
from ._image import batched, mirrored

KINDS = ("random", "salt")
FARTHEST, MOST = 19, 4_000_000
SIDE, FLOOR, TURNS = 2, 5.0, 3
TILE, QUANTILE, DENSEST, SDS = 16, 0.1, 0.45, 5.0
# Of what share of pixels ROLD of 5 x 5 exceeds PROBE: below FEW, windows of 3 x 3 are the better.
PROBE, FEW = 5.0, 0.17


def impulses(image: Tensor, *, kind: str = "salt") -> Tensor:
    """Tell which values are impulses ``(B, C, H, W)``, channel by channel.

    ``kind="salt"``: salt and pepper. A value equal to the least or the greatest of the channel is
    an impulse unless more of its 24 neighbours share it than chance explains: more than ``24 p + 5
    sqrt(24 p (1 - p))``, p being the share of such values in the tenth of the image (by tiles of
    16 pixels) that has fewest. So white paper and black shadow stay what they are.

    ``kind="random"``: any value. ROLD, the sum of the 12 least of ``1 + max(log2 |u(q) - u(p)|,
    -5) / 5`` over the 24 neighbours q of p, is large where p resembles too few of them. In texture
    it is large anywhere: p is an impulse if ROLD exceeds a threshold and 0.8 of its median over the
    5 x 5 pixels around. Impulses are replaced by the median of the others around them, and the
    search is repeated with thresholds of 3, 2 and 1. Where few pixels are hit, less than a quarter
    or so, it is the 4 least of 8 neighbours, the whole median, and 1.3, 1.1 and 0.9.

    Args:
        image: ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1.
        kind: ``salt`` or ``random``.

    Raises:
        InputError: an image that is no image, an unknown kind.

    Reference:
        K. Toh, N. Isa, "Noise adaptive fuzzy switching median filter for salt-and-pepper noise
        reduction", 2010 (salt: the extremes; the test of chance is ours); Y. Dong, R. Chan, S. Xu,
        "A detection statistic for random-valued impulse noise", 2007 (the statistic; what it
        is compared with is ours, chosen on photographs).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.linspace(0.2, 0.8, 32).repeat(1, 32, 1)
        >>> image[0, 5, 7], image[0, 20, 9] = 1, 0
        >>> patches.impulses(image).nonzero().tolist()
        [[0, 0, 5, 7], [0, 0, 20, 9]]
    """
    check.choice(kind, "kind", KINDS)
    u = batched(image.detach() if isinstance(image, Tensor) else image)
    one = _salt if kind == "salt" else _random
    return torch.stack([torch.stack([one(channel) for channel in picture]) for picture in u])


def medians(u: Tensor, use: Tensor, wanted: Tensor) -> Tensor:
    """Replace ``wanted`` pixels of ``u (H, W)`` by the median of the ``use`` pixels around them.

    The window is the smallest with three such pixels; a pixel that has too few within 19 stays.
    """
    out, left = u.clone(), wanted.nonzero()
    sound = torch.where(use, u, torch.nan)
    for r in range(1, FARTHEST + 1):
        again = [left[:0]]
        for some in left.split(MOST // (2 * r + 1) ** 2):
            values = _windows(sound, some, r)
            enough = values.isfinite().sum(1) >= 3
            rows, cols = some[enough].T
            out[rows, cols] = values[enough].nanmedian(1).values
            again.append(some[~enough])
        left = torch.cat(again)
    return out


def _salt(u: Tensor) -> Tensor:
    """Return the impulses of one channel at its two extremes."""
    hit = torch.zeros_like(u, dtype=torch.bool)
    for value in (u.min(), u.max()) if u.min() < u.max() else ():
        hit |= _scattered(u == value)
    return hit


def _scattered(own: Tensor) -> Tensor:
    """Return those with no more of their kind around than independent hits would have."""
    x = own[None].double()
    tile = tuple(min(TILE, n) for n in own.shape)
    shares = torch.nn.functional.avg_pool2d(x, tile)
    p = min(float(torch.quantile(shares, QUANTILE)), DENSEST)
    others, places = (box_sums(a, SIDE) - 1 for a in (x, torch.ones_like(x)))
    return own & (others <= places * p + SDS * (places * p * (1 - p)).sqrt())[0]


def _random(u: Tensor) -> Tensor:
    """Return the impulses of one channel, by ROLD above that of the place, thresholds falling."""
    share = int((_rold(u, u, SIDE) > PROBE).sum()) / u.numel()
    side, part, last, step = (1, 1.0, 0.9, 0.2) if share < FEW else (SIDE, 0.8, 1.0, 1.0)
    hit, guess = torch.zeros_like(u, dtype=torch.bool), u
    for turn in reversed(range(TURNS)):
        usual = _median(_rold(guess, guess, side), SIDE)
        hit = hit | (_rold(guess, u, side) - part * usual > last + turn * step)
        guess = medians(u, ~hit, hit)
    return hit


def _median(x: Tensor, r: int) -> Tensor:
    """Return the median of the window around each pixel."""
    side = 2 * r + 1
    return mirrored(x, r).unfold(0, side, 1).unfold(1, side, 1).flatten(2).median(2).values


def _rold(around: Tensor, u: Tensor, r: int) -> Tensor:
    """Return ROLD of the pixels of ``u`` among the neighbours in ``around``, half of them."""
    (height, width), side = u.shape, 2 * r + 1
    padded = mirrored(around, r)
    steps = [(y, x) for y in range(side) for x in range(side) if (y, x) != (r, r)]
    gaps = torch.stack([(padded[y : y + height, x : x + width] - u).abs() for y, x in steps])
    near = gaps.topk(len(steps) // 2, dim=0, largest=False).values
    return (1 + near.log2().clamp(min=-FLOOR) / FLOOR).sum(0)


def _windows(u: Tensor, at: Tensor, r: int) -> Tensor:
    """Return the windows of ``u (H, W)`` around places ``at (n, 2)`` as ``(n, (2 r + 1)^2)``."""
    padded, side = mirrored(u, r), 2 * r + 1
    step = torch.arange(side, device=u.device)
    rows = at[:, 0, None, None] + step[:, None]
    cols = at[:, 1, None, None] + step
    return padded[rows, cols].flatten(1)
