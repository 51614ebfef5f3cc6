"""Texture whose patches have the exemplar's law, by optimal transport of patches at every scale.

Notation of ``_semidual.py``: x the texture's patches as vectors, y_j patches of the exemplar, nu_j
their masses. P is the side of a patch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from gouache import check, random
from gouache.registry import method

from ._match import Field
from ._random_phase import gaussian_field, torus_of
from ._semidual import semidual
from ._texture import Texture, wanted
from ._texture_scales import Scale, doubled, scales
from ._vote import vote

LEAST = 8  # sides of the coarsest exemplars, in patches
RATE = 0.01  # of the ascent; patches lie far nearer to some points than to the mean one
ROWS = 16  # rows of patches transported at a time
SAMPLES = 2048  # guides of the texture that decide the masses
SHARP = 0.01  # of the guides' variance: differences beyond this share no mass


class Points(NamedTuple):
    """Patches of the exemplars.

    Attributes:
        place: in the atlas ``(J, 2)``.
        vector: y ``(J, D)``, guides after the channels.
        mass: nu ``(J,)``, or None where all are equal.
    """

    place: Tensor
    vector: Tensor
    mass: Tensor | None


@method("texture")
def patch_transport(
    exemplar: Tensor | Sequence[Tensor],
    size: int | tuple[int, int] | None = None,
    *,
    tileable: bool = False,
    guides: tuple[Tensor | Sequence[Tensor], Tensor] | None = None,
    patch: int = 3,
    points: int = 2000,
    rounds: int = 2,
    steps: int = 150,
    guide_weight: float = 1.0,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Texture:
    """Make a texture by carrying its patches to the exemplar's, each taken as often as it occurs.

    The coarsest scale begins with a Gaussian texture (`adsn`). In a round every patch x becomes
    ``argmin over y_j of |x - y_j|^2 - psi_j``, psi being the potential (`semidual`) under which
    every y_j is taken by its share nu_j of the patches; a pixel is the mean of the patches that
    hold it. A finer scale begins with the same patches there. Means are no copies: nothing has an
    origin.

    Args:
        exemplar: ``(C, h, w)`` in [0, 1]; of several, one gives the start, all give patches.
        size: rows and columns, or one number for both; None is the exemplar's.
        tileable: whether the texture goes on around a torus.
        guides: for the exemplars ``(G, h, w)`` and for the texture ``(G, H, W)``: more entries of
            x and y. nu_j is then the share of the texture that is guided like y_j.
        patch: side P; where an exemplar is smaller, its side.
        points: J, drawn at random at each scale.
        rounds: at each scale.
        steps: of the ascent for psi.
        guide_weight: of the guides' differences against the pixels'.
        rng: of the start, the points and the ascent.
        progress: called with (rounds done, rounds in all).

    Raises:
        InputError: no images, no size, guides that do not fit, counts below 1, a negative weight.

    Reference:
        B. Galerne, A. Leclaire, J. Rabin, "A texture synthesis model based on semi-discrete optimal
        transport in patch space", 2018; A. Houdard, A. Leclaire, N. Papadakis, J. Rabin,
        "Wasserstein generative models for patch-based texture synthesis", 2021 (all scales).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = (torch.rand(1, 24, 24) > 0.7).float()
        >>> made = patches.patch_transport(image, 32, points=200, steps=50)
        >>> abs(float(made.image.mean() - image.mean())) < 0.1
        True
    """
    check.count(points, "points")
    check.count(rounds, "rounds")
    check.count(steps, "steps")
    check.between(guide_weight, "guide_weight", 0)
    asked = wanted(exemplar, size, tileable, guides)
    side = min(check.count(patch, "patch"), asked.atlas.side)
    levels = scales(asked, side, LEAST * side, guide_weight)
    rng, done = random.generator(random.draw_seed(rng)), 0
    image, field = _gaussian(levels[0], rng), None
    for k, scale in enumerate(levels):
        if field is not None:
            image = _mean(_at(doubled(field, levels[k - 1], scale), side), scale)
        known = _points(scale, points, rng)
        for _ in range(rounds):
            field = _transported(image, scale, known, steps, rng)
            image = _mean(field, scale)
            done += 1
            if progress is not None:
                progress(done, rounds * len(levels))
    height, width = asked.size
    nowhere = torch.full((3, height, width), -1, dtype=torch.int32, device=image.device)
    made = image[:, :height, :width].clamp(0, 1).contiguous()
    return Texture(made, nowhere, asked.exemplars)


def _gaussian(scale: Scale, rng: torch.Generator) -> Tensor:
    """Return a Gaussian texture."""
    u = scale.exemplars[int(torch.randint(len(scale.exemplars), (), generator=rng))]
    (height, width), torus = scale.size, torus_of(u, scale.size, scale.tileable)
    return u.mean((1, 2), keepdim=True) + gaussian_field(u, torus, rng)[:, :height, :width]


def _at(place: Tensor, patch: int) -> Field:
    """Return a field of places ``(1, h, w, 2)``, whose distances nobody asks for."""
    return Field(place, torch.zeros(place.shape[:3], device=place.device), patch)


def _mean(field: Field, scale: Scale) -> Tensor:
    """Return the image whose pixels are the means of the patches that hold them."""
    return scale.cut(vote(scale.field(field), scale.atlas.image))


def _patches(image: Tensor, guide: Tensor | None, patch: int) -> Tensor:
    """Return a view of all patches ``(h, w, C + G, P, P)``."""
    whole = image if guide is None else torch.cat([image, guide])
    return whole.unfold(1, patch, 1).unfold(2, patch, 1).permute(1, 2, 0, 3, 4)


def _points(scale: Scale, count: int, rng: torch.Generator) -> Points:
    """Draw patches of the exemplars."""
    known, guides = scale.atlas, scale.guides
    beyond = F.max_pool2d((~known.free)[None].float(), scale.patch, 1)[0]
    places = (beyond == 0).nonzero()
    place = places[torch.randperm(len(places), generator=rng)[:count].to(places.device)]
    every = _patches(known.image, None if guides is None else guides.atlas, scale.patch)
    drawn = every[place[:, 0], place[:, 1]]
    mass = None if guides is None else _masses(drawn[:, -len(guides.wish) :], scale, rng)
    return Points(place, drawn.flatten(1), mass)


def _masses(theirs: Tensor, scale: Scale, rng: torch.Generator) -> Tensor:
    """Return nu: every place of the texture divides its mass among the points guided most like it.

    Args:
        theirs: guides of the points ``(J, G, P, P)``.
        scale: of which the texture's guides are taken, at random places.
        rng: of the places.
    """
    assert scale.guides is not None
    ours = _patches(scale.query(scale.guides.wish), None, scale.patch)
    wish = _drawn(ours, SAMPLES, rng).view(-1, *theirs.shape[1:]).mean((2, 3))
    theirs = theirs.mean((2, 3))
    spread = theirs.var(0, correction=0).sum().clamp(min=1e-12)
    return (-torch.cdist(wish, theirs).square() / (SHARP * spread)).softmax(1).mean(0)


def _drawn(every: Tensor, count: int, rng: torch.Generator) -> Tensor:
    """Draw patches as vectors ``(count, D)``."""
    h, w = every.shape[:2]
    at = torch.randint(h * w, (count,), generator=rng).to(every.device)
    return every[at // w, at % w].flatten(1)


def _transported(
    image: Tensor, scale: Scale, known: Points, steps: int, rng: torch.Generator
) -> Field:
    """Match every patch of an image with the point to which it is carried."""
    guide = None if scale.guides is None else scale.query(scale.guides.wish)
    every = _patches(scale.query(image), guide, scale.patch)
    given = {"steps": steps, "rate": RATE, "rng": rng}
    found = semidual(lambda n, g: _drawn(every, n, g), known.vector, known.mass, **given)
    number = torch.cat([found.nearest(some.flatten(0, 1).flatten(1)) for some in every.split(ROWS)])
    place = known.place[number].view(1, *every.shape[:2], 2).to(torch.int32)
    return _at(place, scale.patch)
