"""A picture made of a style's patches, led by the luminance of another.

Notation: x the picture that is made, P its patches' side, x_p the patch at place p of C channels,
z_p the style's patch matched with it; l the luminance of the content, matched to the style's, m.
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
from ._texture import wanted
from ._texture_optimization import EXPONENT, power
from ._texture_scales import Scale, doubled, scales
from ._uniform import uniform
from ._vote import vote

FLOOR = 1e-5  # e a value of a patch: differences below are not told apart
MORE = 2  # rounds that every coarser scale has more
LEAST = 3  # sides of the coarsest style, in patches
FIRST = 4  # sweeps of PatchMatch before the first round


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

    ``E(x, z) = sum_p (|x_p - z_p|^2 + lead C |l_p - m(z_p)|^2 + e)^0.4`` falls with every match (z
    given x and l) and every vote (x the mean of the patches under weights ``(d_p + e)^-0.6``). The
    content's luminance l has the distribution of the style's, so that all of the style is wanted
    somewhere; and a match costs more, the more others hold the same pixels, as else smooth patches
    are taken everywhere.

    Args:
        content: ``(C, H, W)`` in [0, 1]; if either is colour, grey counts as three equal channels.
        style: likewise, of any size; its strokes or grains keep their size in pixels.
        lead: how firmly the content leads: at 0 only where x begins; at 2 its details are seen.
        keep_colors: whether only luminance is made, and the content's colours are kept. The
            style's luminance then gets the distribution of the content's.
        patch: side P; where the style is smaller, its side. Larger ones show more of the style.
        rounds: of matching and voting at the finest scale; each coarser one has two more.
        uniformity: price of a match where the style is used evenly, in units of the mean distance;
            0 lets a patch be taken as often as it fits.
        rng: of the search.
        progress: called with (rounds done, rounds in all).

    Returns:
        ``(C, H, W)`` in [0, 1].

    Raises:
        InputError: no images, counts below 1, negative weights.

    Reference:
        M. Elad, P. Milanfar, "Style transfer via texture synthesis", 2017; A. Kaspar, B. Neubert,
        D. Lischinski, M. Pauly, J. Kopf, "Self tuning texture optimization", 2015 (uniformity);
        A. Hertzmann, C. Jacobs, N. Oliver, B. Curless, D. Salesin, "Image analogies", 2001
        (luminance that leads).

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
    start, shown, guides = begun(u, v, keep_colors)
    asked = wanted(shown, (u.shape[1], u.shape[2]), False, guides)
    side = min(check.count(patch, "patch"), asked.atlas.side)
    levels = scales(asked, side, LEAST * side, lead * len(shown))
    counts = [check.count(rounds, "rounds") + MORE * k for k in reversed(range(len(levels)))]
    made, _ = optimised(start, levels, counts, uniformity, rng, progress)
    made = made[:, : u.shape[1], : u.shape[2]].clamp(0, 1)
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
) -> tuple[Tensor, Field]:
    """Return x and z at the finest scale.

    Args:
        start: ``(C, H, W)``, of any size.
        levels: coarsest first.
        counts: rounds at each.
        uniformity: see ``patch_stylize``.
        rng: of the search.
        progress: see there.
    """
    rng, done = random.generator(random.draw_seed(rng)), 0
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
        for _ in range(counts[k]):
            query = torch.cat([x, scale.guides.wish])
            field = uniform(matcher, query, field, uniformity, rng)
            floor = FLOOR * len(query) * scale.patch**2
            x = vote(
                field, scale.atlas.image, weight=power(field.distance + floor, EXPONENT / 2 - 1)
            )
            done += 1
            if progress is not None:
                progress(done, sum(counts))
    assert field is not None
    return x, field


def _at(place: Tensor, patch: int) -> Field:
    """Return a field of places ``(1, h, w, 2)`` whose distances nobody asks for."""
    return Field(place, torch.zeros(place.shape[:3], device=place.device), patch)


def _resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x[None], size, mode="bilinear", antialias=True)[0]
