"""What is to a picture as one picture is to another.

Notation: A is to A' as B to B'; p a pixel of B and B', q one of A and A', s(p) the q that p is
copied from. Level l has half the pixels of level l - 1 along either axis; level 0 is the finest.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from gouache import check, image, random
from gouache.check import InputError
from gouache.registry import method

from ._luminance import rescaled, with_luminance
from ._match import image_of
from ._patchmatch import LONGEST, patchmatch, pixels
from ._texture_scales import halved

LEAST = 16  # sides of the coarsest images
DENSE = 1 << 22  # pairs of pixels that are all tried at the coarsest level
SPREAD = 4.0  # windows to a sigma of their weights


class Task(NamedTuple):
    """A level as the kernels take it.

    Attributes:
        a: what is known of A, with a border, flat.
        b: likewise of B.
        a_prime: A' with a border, flat, each channel divided by the root of their number.
        weight: of the pixels of a window ``(N, N)``, the sum being 1.
        high: rows of A.
        wide: columns.
        channels: of what is known.
        made: channels of A'.
        side: N.
    """

    a: NDArray[np.float32]
    b: NDArray[np.float32]
    a_prime: NDArray[np.float32]
    weight: NDArray[np.float32]
    high: int
    wide: int
    channels: int
    made: int
    side: int


class Level(NamedTuple):
    """A, A' and B ``(C, H, W)`` at one level."""

    a: Tensor
    a_prime: Tensor
    b: Tensor


@method("analogy")
def image_analogy(
    a: Tensor,
    a_prime: Tensor,
    b: Tensor,
    *,
    kappa: float = 1.0,
    lead: float = 4.0,
    luminance: bool = True,
    keep_colors: bool = False,
    window: int = 5,
    k: int = 8,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Make of b what a' is of a, pixel by pixel, from coarse levels to fine.

    Pixel p is copied from the q with the least ``d(p, q)``, a sum of mean squared differences in
    windows around both: ``lead`` times that of A and B, that of A' and B' one level coarser, and
    that of A' and B' among the pixels already made. But if among those that go on with a copy
    nearby, ``q = s(p') + p - p'``, one has ``d <= (1 + 2^-l kappa)`` times the least, it is taken:
    copies then hang together. Tried as well are k pixels that PatchMatch finds by the first two
    parts; at the coarsest level, if it is small, all pixels.

    A filter is learnt from a picture before and after it; 'texture by numbers' paints a map of
    labels b as a' belongs to the map a, with ``luminance=False``.

    Args:
        a: ``(C, h, w)``.
        a_prime: ``(C', h, w)`` in [0, 1], a grey or colour image.
        b: ``(C, H, W)``.
        kappa: at least 0: the larger, the larger the pieces copied; 5 for textures.
        lead: weight of A and B against A' and B'; 100 where b' is wanted exactly, as of a filter.
        luminance: whether a and b are images, of which luminance is compared, that of b being
            brought to the mean and deviation of a's; False compares their channels as they are.
        keep_colors: whether only luminance is made, and the colours of b are kept.
        window: side N, odd.
        k: pixels tried.
        rng: of PatchMatch.
        progress: called with (levels done, levels in all).

    Returns:
        B' ``(C', H, W)``, copies of the pixels of a'; with ``keep_colors`` ``(C, H, W)``.

    Raises:
        InputError: images that do not fit each other, an even window, numbers out of range.

    Reference:
        A. Hertzmann, C. Jacobs, N. Oliver, B. Curless, D. Salesin, "Image analogies", 2001.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> a = torch.rand(1, 30, 30)
        >>> b = a[:, 5:, 5:]
        >>> negative = patches.image_analogy(a, 1 - a, b, luminance=False)
        >>> bool((negative - (1 - b)).abs().mean() < 0.05)
        True
    """
    check.between(kappa, "kappa", 0)
    check.between(lead, "lead", 0)
    if check.count(window, "window", 3) % 2 == 0:
        raise InputError(f"window must be odd, so that it has a centre, got {window}")
    check.count(k, "k")
    first = _comparable(a, a_prime, b, luminance, keep_colors)
    led = first._replace(a=lead**0.5 * first.a, b=lead**0.5 * first.b)
    levels, seed = pyramid(led), random.draw_seed(rng)
    place = torch.empty(0, 0, dtype=torch.int32)
    for done, level in enumerate(levels, 1):
        coarser = (levels[done - 2], place) if done > 1 else None
        rng = random.generator(random.derive(seed, done))
        place = filled(level, coarser, kappa * 2.0 ** (done - len(levels)), window, k, rng)
        if progress is not None:
            progress(done, len(levels))
    if keep_colors:
        return with_luminance(b.float(), _copied(first.a_prime, place), first.b)
    return _copied(a_prime.detach().float(), place)


def _comparable(a: Tensor, a_prime: Tensor, b: Tensor, luminance: bool, keep_colors: bool) -> Level:
    """Check what the user brings, and return it as it is compared."""
    made = check.images(a_prime, "a_prime", batched=False).detach().float()
    u, v = image_of(a, "a"), image_of(b, "b")
    if u.shape[1:] != made.shape[1:]:
        raise InputError(
            f"a and a_prime must have the same rows and columns, got {tuple(u.shape)} and "
            f"{tuple(made.shape)}"
        )
    if max(*u.shape, *v.shape) > LONGEST // 2:
        raise InputError(f"sides must be at most {LONGEST // 2} pixels; crop or resize")
    if not luminance:
        return _as_they_are(u, made, v, keep_colors)
    for name, x in (("a", u), ("b", v)):
        check.images(x, name, batched=False)
    u, v = image.as_channels(u, 1), image.as_channels(v, 1)
    if not keep_colors:
        return Level(u, made, rescaled(v, v, u))
    return Level(rescaled(u, u, v), rescaled(image.as_channels(made, 1), u, v), v)


def _as_they_are(a: Tensor, a_prime: Tensor, b: Tensor, keep_colors: bool) -> Level:
    """Check channels that are no luminance."""
    if len(a) != len(b):
        raise InputError(f"a and b must have the same channels, got {len(a)} and {len(b)}")
    if keep_colors:
        raise InputError("keep_colors needs the luminance of b; leave luminance=True")
    return Level(a, a_prime, b)


def pyramid(first: Level) -> list[Level]:
    """Return the levels, coarsest first."""
    found = [first]
    while (min(*found[-1].a.shape[1:], *found[-1].b.shape[1:]) + 1) // 2 >= LEAST:
        found.append(Level(*map(halved, found[-1])))
    return found[::-1]


def filled(
    level: Level,
    coarser: tuple[Level, Tensor] | None,
    kappa: float,
    window: int,
    k: int,
    rng: torch.Generator,
) -> Tensor:
    """Return the pixel of A that each of B' is copied from, ``row << 16 | column`` ``(H, W)``.

    Args:
        level: of B'.
        coarser: the next level, and its pixels.
        kappa: how much worse what is coherent may be, relatively.
        window: N.
        k: pixels offered.
        rng: of PatchMatch.
    """
    from ._analogy_kernels import fill

    known = [_known(level.a, None), _known(level.b, None)]
    guess = torch.full(level.b.shape[1:], -1, dtype=torch.int32)
    if coarser is not None:
        before, place = coarser
        known[0] = _known(level.a, before.a_prime)
        known[1] = _known(level.b, _copied(before.a_prime, place))
        guess = _doubled(place, level)
    a, b = (_bordered(x, window // 2) for x in known)
    offered = torch.empty(*guess.shape, 0, dtype=torch.int32)
    if coarser is not None or guess.numel() * level.a[0].numel() > DENSE:
        rows, cols = patchmatch(b, a, patch=window, k=k, rng=rng).place.cpu().unbind(-1)
        offered = torch.where(rows < 0, -1, rows << 16 | cols).permute(1, 2, 0).contiguous()
    place = torch.full_like(guess, -1)
    arrays = (x.numpy() for x in (offered, guess, place))
    fill(_task(level, a, b, window), kappa, *arrays)
    return place


def _task(level: Level, a: Tensor, b: Tensor, window: int) -> Task:
    """Return a level as the kernels take it, of what is known of A and B, bordered."""
    at = np.arange(window) - window // 2
    line = np.exp(-np.square(at) / (2 * (window / SPREAD) ** 2))
    weight = np.outer(line, line) / line.sum() ** 2
    made = _bordered(_shared(level.a_prime), window // 2)
    high, wide = level.a.shape[1:]
    return Task(
        pixels(a.cpu()),
        pixels(b.cpu()),
        pixels(made.cpu()),
        weight.astype(np.float32),
        high,
        wide,
        len(a),
        len(made),
        window,
    )


def _known(x: Tensor, coarse: Tensor | None) -> Tensor:
    """Return the channels of an image, and those of one at the next coarser level."""
    if coarse is None:
        return _shared(x)
    up = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, : x.shape[1], : x.shape[2]]
    return torch.cat([_shared(x), _shared(up)])


def _shared(x: Tensor) -> Tensor:
    """Return channels such that their squares add up to a mean."""
    return x / len(x) ** 0.5


def _bordered(x: Tensor, r: int) -> Tensor:
    return F.pad(x[None], (r, r, r, r), mode="replicate")[0]


def _doubled(place: Tensor, level: Level) -> Tensor:
    """Return the pixels of the next coarser level at this one."""
    (h, w), (high, wide) = level.b.shape[1:], level.a.shape[1:]
    y, x = torch.arange(h), torch.arange(w)
    coarse = place[y // 2][:, x // 2]
    rows = (2 * (coarse >> 16) + (y % 2)[:, None]).clamp(max=high - 1)
    cols = (2 * (coarse & 0xFFFF) + x % 2).clamp(max=wide - 1)
    return (rows << 16 | cols).to(torch.int32).contiguous()


def _copied(source: Tensor, place: Tensor) -> Tensor:
    """Return the pixels ``(C, H, W)`` at places."""
    at = place.to(source.device)
    return source[:, at >> 16, at & 0xFFFF]
