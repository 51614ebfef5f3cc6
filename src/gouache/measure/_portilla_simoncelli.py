"""Distance of two textures by the joint statistics of their wavelet coefficients."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

from gouache import check
from gouache.patches._random_phase import periodic_component
from gouache.registry import method

from ._texture_score import TextureScore, scored
from ._texture_statistics import Statistics, texture_statistics, whole

MOST, LEAST = 4, 2  # scales, where they are not given
WINDOWS = 4  # along the exemplar's shorter side, at least, before a scale is added
UNMOVED = 1e-3  # a spread below this one counts for nothing
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
    one unit, what such a window differs from another by. Two pictures of one texture, with m and n
    windows side by side, are about ``sqrt(1 / m + 1 / n)`` apart: compare pictures of one size. Of
    every window the periodic component is taken, for the pyramid is that of a torus.

    The finest scales tell a texture from a random field of the same spectrum, which has neither
    contours nor grains: these are what the statistics of magnitudes and of phases see.

    Args:
        picture: ``(C, H, W)`` in [0, 1].
        exemplar: ``(C, h, w)``.
        rng: unused; here for the common signature.
        scales: of the pyramid, which are those of the score; None is 4, or fewer, down to 2, where
            the exemplar is less than four windows high or wide, or the picture less than one.
        orientations: 2 or more.
        neighbourhood: side of the autocorrelations, odd, in pixels of every scale.

    Raises:
        InputError: no images, channels that differ, a side smaller than a window.

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
    sides = [
        min(check.images(x, told, batched=False).shape[1:])
        for x, told in ((picture, "picture"), (exemplar, "exemplar"))
    ]
    whole(orientations, neighbourhood)
    side = neighbourhood + 1
    depth = (
        check.count(scales, "scales", high=20)
        if scales is not None
        else _depth(min(sides[0], sides[1] // WINDOWS), side)
    )
    window = side * 2**depth
    describe = functools.partial(
        _described, window=window, scales=depth, orientations=orientations, m=neighbourhood
    )

    @functools.cache
    def spreads() -> Statistics:
        """Return the variances over the exemplar's windows."""
        known = describe(exemplar.detach().float())
        return [{kind: x.var(0, correction=0) for kind, x in level.items()} for level in known]

    def distance(a: Tensor, b: Tensor, _: torch.Generator) -> tuple[float, ...]:
        return tuple(map(_apart, describe(a), describe(b), spreads()))

    return scored("portilla_simoncelli_distance", distance, picture, exemplar, window, rng)


def _depth(side: int, unit: int) -> int:
    """Return how many scales a window of at most a side allows."""
    return max(LEAST, min(MOST, int(math.log2(max(side, unit) / unit))))


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


def _apart(p: dict[str, Tensor], q: dict[str, Tensor], variance: dict[str, Tensor]) -> float:
    """Return the distance of two textures at one scale."""
    squares = [
        ((p[kind].mean(0) - q[kind].mean(0)).square() / (variance[kind] + UNMOVED**2)).mean()
        for kind in variance
    ]
    return float(torch.stack(squares).mean().sqrt())
