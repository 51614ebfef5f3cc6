"""Distance of two textures by the joint statistics of their wavelet coefficients."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.patches._random_phase import periodic_component
from gouache.registry import method

from ._texture_score import TextureScore, scored
from ._texture_statistics import Statistics, checked, texture_statistics

MOST = 4  # scales, where they are not given
WIDE = 4  # windows along the exemplar's shorter side, at least, for more scales than 2
NARROW = 1.5  # and for any number of scales: 2 x 2 windows that overlap by half
SHARE = 0.01  # of a statistic, which its spread is taken to be at least
UNSEEN = 1e-3  # added to all spreads: a quarter of an 8-bit level
AT_ONCE = 16  # windows, which bounds the memory


@method("texture_score")
def portilla_simoncelli_distance(
    picture: Tensor,
    exemplar: Tensor,
    *,
    rng: torch.Generator | None = None,
    scales: int | None = None,
    orientations: int = 4,
    neighbourhood: int = 7,
) -> TextureScore:
    """Measure how far a texture's wavelet statistics are from the exemplar's, in their own spread.

    ``d_s = sqrt(mean_kind mean_i ((p_i - q_i) / sigma_i)^2)`` over the statistics of a scale, every
    kind (see :func:`texture_statistics`) counting alike. p and q are means over windows
    of ``2^scales (neighbourhood + 1)`` pixels that overlap by half, of the picture and of the
    exemplar, and sigma is the standard deviation over the windows of the exemplar: so all are in
    one unit, what such a window differs from another by. A sigma below a hundredth of ``|p_i|`` or
    ``|q_i|`` is taken to be that, and to every one 0.001 is added (squares to squares): so what
    does not vary within the exemplar has a say, yet a finite one, and a flat exemplar is at most
    some 100 from anything. Two pictures of one texture, with m and n windows side by side, are
    about ``sqrt(1 / m + 1 / n)`` apart: compare pictures of one size. Of every window the periodic
    component is taken, for the pyramid is that of a torus.

    The finest scales tell a texture from a random field of the same spectrum, which has neither
    contours nor grains: these are what the statistics of magnitudes and of phases see.

    Args:
        picture: ``(C, H, W)`` in [0, 1].
        exemplar: ``(C, h, w)``, at least a window and a half high and wide: four windows, without
            which there is no spread.
        rng: unused; here for the common signature.
        scales: of the pyramid, which are those of the score; None is 4, or fewer, down to 2, where
            the exemplar is less than four windows high or wide, or the picture less than one; and
            1 where 2 are too many for either.
        orientations: 2 or more.
        neighbourhood: side of the autocorrelations, odd, in pixels of every scale.

    Raises:
        InputError: no images, channels that differ, a side of the exemplar smaller than a window
            and a half, or of the picture than a window or ``3 (neighbourhood + 1)``.

    Reference:
        J. Portilla, E. P. Simoncelli, "A parametric texture model based on joint statistics of
        complex wavelet coefficients", 2000; C. M. Ziemba, E. P. Simoncelli, "Opposing effects of
        selectivity and invariance in peripheral vision", 2021 (in units of the spread over
        windows, there of many photographs); J. Vacher, T. Briand, "The Portilla-Simoncelli texture
        model: towards understanding the early visual cortex", 2021 (periodic component).

    Example:
        >>> import torch
        >>> from gouache import measure
        >>> image = torch.rand(1, 64, 64)
        >>> measure.portilla_simoncelli_distance(image, image).value
        0.0
        >>> measure.portilla_simoncelli_distance(image.sqrt(), image).value > 1
        True
    """
    here, there = (
        min(check.images(x, told, batched=False).shape[1:])
        for x, told in ((picture, "picture"), (exemplar, "exemplar"))
    )
    checked(orientations, neighbourhood)
    unit = neighbourhood + 1
    depth = _depth(here, there, unit) if scales is None else check.count(scales, "scales", high=20)
    _enough(exemplar, unit, depth)
    window = unit * 2**depth
    describe = functools.partial(
        _described, window=window, scales=depth, orientations=orientations, m=neighbourhood
    )
    known = functools.cache(lambda: describe(exemplar.detach().float()))

    def distance(a: Tensor, b: Tensor, _: torch.Generator) -> tuple[float, ...]:
        q = known() if b.shape == exemplar.shape else describe(b)  # else b is one of its halves
        return tuple(map(_apart, describe(a), q, known()))

    least = max(window, int(NARROW * 2 * unit))  # no smaller than the least exemplar
    return scored("portilla_simoncelli_distance", distance, picture, exemplar, least, rng)


def _depth(picture: int, exemplar: int, unit: int) -> int:
    """Return how many scales the shorter sides of a picture and its exemplar allow."""
    for scales in range(MOST, 1, -1):
        window = unit * 2**scales
        if picture >= window and exemplar >= window * (WIDE if scales > 2 else NARROW):
            return scales
    return 1


def _enough(exemplar: Tensor, unit: int, scales: int) -> None:
    """Check that an exemplar has four windows."""
    least = NARROW * unit
    side = min(exemplar.shape[1:])
    if side < least * 2**scales:
        most = int(math.log2(max(side / least, 1)))
        fewer = f", or ask for at most {most} scales" if most else ""
        raise InputError(
            f"exemplar must have sides of at least {int(least * 2**scales)} pixels for the four "
            f"windows of {scales} scales, got {tuple(exemplar.shape[1:])}; make it larger{fewer}"
        )


def _described(x: Tensor, *, window: int, scales: int, orientations: int, m: int) -> Statistics:
    """Return the statistics of the windows of ``(C, H, W)``, spread evenly."""
    for axis in (1, 2):
        room = x.shape[axis] - window
        x = x.unfold(axis, window, max(1, room // max(1, -(-2 * room // window))))
    parts = list[Statistics]()
    for part in x.permute(1, 2, 0, 3, 4).flatten(0, 1).split(AT_ONCE):
        u = periodic_component(part.double())
        parts.append(
            texture_statistics(u, scales=scales, orientations=orientations, neighbourhood=m)
        )
    return [
        {kind: torch.cat([level[kind] for level in levels]) for kind in levels[0]}
        for levels in zip(*parts, strict=True)
    ]


def _apart(a: dict[str, Tensor], b: dict[str, Tensor], known: dict[str, Tensor]) -> float:
    """Return the distance of two textures at one scale, of the windows of the exemplar."""
    kinds = list[Tensor]()
    for kind, windows in known.items():
        p, q = a[kind].mean(0), b[kind].mean(0)
        least = (SHARE * torch.maximum(p.abs(), q.abs())).square()
        variance = torch.maximum(windows.var(0, correction=0), least) + UNSEEN**2
        kinds.append(((p - q).square() / variance).mean())
    return float(torch.stack(kinds).mean().sqrt())
