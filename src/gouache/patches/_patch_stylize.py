"""A picture made of a style's patches, led by the luminance of another.

Notation: x the picture that is made, P its patches' side, x_p the patch at place p of C channels,
z_p the style's patch matched with it, ``d_p`` their distance; l the luminance of the content,
matched to the style's, m, and l', m' the two blurred.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from gouache import check, image, random
from gouache.registry import method

from ._linear_color import linear_color_transfer
from ._luminance import as_alike, equalised, with_luminance
from ._match import Field
from ._matcher import Matcher
from ._recompose import recompose
from ._texture import wanted
from ._texture_optimization import EXPONENT, power
from ._texture_scales import LEAST, Scale, blurred, doubled, floor, scales
from ._uniform import uniform
from ._vote import matched_variance, vote, vote_best

MORE = 2  # rounds that every coarser scale has more
SHARP, LAST = 2, 4  # rounds that copy, at every coarser scale and at the finest
PLAIN = 1e-4  # the variance of a patch without detail
FIRST = 4  # sweeps of PatchMatch before the first round
SCREEN = 0.3  # see `_recompose.py`: only joints are to fade, not light and shade


@method("stylize")
def patch_stylize(
    content: Tensor,
    style: Tensor,
    *,
    lead: float = 0.5,
    keep_colors: bool = False,
    patch: int = 6,
    rounds: int = 3,
    uniformity: float = 1.0,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Show a content in patches of a style, found from coarse scales to fine.

    ``E(x, z) = sum_p (|x_p - z_p|^2 + 4 lead C |l'_p - m'(z_p)|^2 + e)^0.4`` falls with every match
    (z given x and l') and every vote (x the mean of the patches under weights ``(d_p + e)^-0.6``).
    A mean has less detail than what it is of: so in the last rounds of a scale every pixel is
    copied, from the patch with the least ``d_p / (var(z_p) + e')`` that holds it, for the nearest
    patches are the plainest. In the end the copies are joined by their gradients.

    The content's luminance has the distribution of the style's, so that all of the style is wanted
    somewhere; and a match costs more, the more others hold the same pixels, as else smooth patches
    are taken everywhere. It leads blurred, as grain is the style's to give.

    Args:
        content: ``(C, H, W)`` in [0, 1]; if either is colour, grey counts as three equal channels.
        style: likewise, of any size; its strokes or grains keep their size in pixels.
        lead: how firmly the content leads: at 0 only where x begins; at 2 its details are seen.
        keep_colors: whether only luminance is made, and the content's colours are kept. The
            style's luminance then gets the distribution of the content's.
        patch: side P; where the style is smaller, its side. Larger ones show more of the style.
        rounds: of matching and voting at the finest scale, before four that copy; each coarser one
            has two more, and two that copy.
        uniformity: price of a match where the style is used evenly, in units of the mean distance;
            0 lets a patch be taken as often as it fits.
        rng: of the search.
        progress: called with (rounds done, rounds in all).

    Returns:
        ``(C, H, W)`` in [0, 1].

    Raises:
        InputError: no images, counts below 1, negative weights.

    Reference:
        M. Elad, P. Milanfar, "Style transfer via texture synthesis", 2017; O. Jamriska, J. Fiser,
        P. Asente, J. Lu, E. Shechtman, D. Sykora, "LazyFluids: appearance transfer for fluid
        animations", 2015 (even use); J. Fiser, O. Jamriska, M. Lukac, E. Shechtman, P. Asente,
        J. Lu, D. Sykora, "StyLit: illumination-guided example-based stylization of 3D renderings",
        2016 (guides that are smooth); S. Darabi, E. Shechtman, C. Barnes, D. Goldman, P. Sen,
        "Image melding: combining inconsistent images using patch-based synthesis", 2012
        (gradients). The choice of what is copied is ours.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(3, 24, 30)
        >>> found = patches.patch_stylize(image, image)
        >>> bool((found - image).abs().mean() < 0.01)
        True
    """
    check.between(lead, "lead", 0)
    check.between(uniformity, "uniformity", 0)
    u, v = as_alike(("content", content), ("style", style))
    grey = image.as_channels(u, 1)
    start, shown, (theirs, led) = begun(u, v, keep_colors)
    guides = (blurred(theirs), blurred(led))
    asked = wanted(shown, (u.shape[1], u.shape[2]), False, guides)
    side = min(check.count(patch, "patch"), asked.atlas.side)
    levels = scales(asked, side, LEAST * side, 4 * lead * len(shown))
    counts = [check.count(rounds, "rounds") + MORE * k for k in reversed(range(len(levels)))]
    field = optimised(start, levels, counts, uniformity, rng, progress)
    made = joined(field, levels[-1])[:, : u.shape[1], : u.shape[2]].clamp(0, 1)
    return with_luminance(u, made, grey) if keep_colors else made


def begun(u: Tensor, v: Tensor, keep_colors: bool) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor]]:
    """Return what x begins with, what patches are taken from, and m and l."""
    grey, theirs = (image.as_channels(x, 1) for x in (u, v))
    if keep_colors:
        shown = equalised(theirs, grey)
        return grey, shown, (shown, grey)
    led = equalised(grey, theirs)
    return (linear_color_transfer(u, v) if len(u) == 3 else led), v, (theirs, led)


def optimised(
    start: Tensor,
    levels: list[Scale],
    counts: list[int],
    uniformity: float,
    rng: torch.Generator | None,
    progress: Callable[[int, int], None] | None = None,
) -> Field:
    """Return z at the finest scale.

    Args:
        start: what x begins with ``(C, H, W)``, of any size.
        levels: coarsest first.
        counts: rounds at each that vote.
        uniformity: see ``patch_stylize``.
        rng: of the search.
        progress: see there.
    """
    rng, done, sharp = random.generator(random.draw_seed(rng)), 0, SHARP * len(levels[1:]) + LAST
    x, field = _resized(start, levels[0].size), None
    for k, scale in enumerate(levels):
        assert scale.guides is not None
        source = torch.cat([scale.atlas.image, scale.guides.atlas])
        matcher = Matcher(source, patch=scale.patch, rng=rng)
        if field is None:
            field = matcher(torch.cat([x, scale.guides.wish]), iterations=FIRST)
        else:
            field = _at(doubled(field, levels[k - 1], scale), scale.patch)
            x = vote(field, scale.atlas.image)
        for n in range(counts[k] + (SHARP if scale is not levels[-1] else LAST)):
            query = torch.cat([x, scale.guides.wish])
            field = uniform(matcher, query, field, uniformity, rng)
            x = _voted(field, scale) if n < counts[k] else _copied(field, scale)
            done += 1
            if progress is not None:
                progress(done, sum(counts) + sharp)
    assert field is not None
    return field


def joined(field: Field, scale: Scale) -> Tensor:
    """Return x, copied and joined by gradients."""
    source, origin = scale.atlas.image, _origin(field, scale)
    every = torch.ones(scale.size, dtype=torch.bool, device=source.device)
    empty = source.new_zeros(len(source), *scale.size)
    return recompose(empty, every, source, scale.atlas.free, origin, screen=SCREEN)


def _voted(field: Field, scale: Scale) -> Tensor:
    """Return x, the mean of the matches."""
    assert scale.guides is not None
    source = scale.atlas.image
    unseen = floor(source, scale.patch) + floor(scale.guides.atlas, scale.patch)
    return vote(field, source, weight=power(field.distance + unseen, EXPONENT / 2 - 1))


def _copied(field: Field, scale: Scale) -> Tensor:
    """Return x, every pixel from one match."""
    rows, cols = _origin(field, scale)
    return scale.atlas.image[:, rows, cols]


def _origin(field: Field, scale: Scale) -> Tensor:
    """Return where every pixel is copied from ``(2, H, W)``."""
    variance = matched_variance(field, scale.atlas.image)
    return vote_best(field, cost=field.distance / (variance + PLAIN)).long()


def _at(place: Tensor, patch: int) -> Field:
    """Return a field of places ``(1, h, w, 2)`` whose distances nobody asks for."""
    return Field(place, torch.zeros(place.shape[:3], device=place.device), patch)


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x[None], size, mode="bilinear", antialias=True)[0]
