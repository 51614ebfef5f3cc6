"""Texture as the image all of whose patches are near patches of the exemplar.

Notation: x the texture, P its patches' side, x_p the patch at place p, z_p the exemplar's patch
matched with it, ``d_p = |x_p - z_p|^2``. The energy ``E(x, z) = sum_p (d_p + e)^(r / 2)`` falls
with every match (z given x) and every vote (x given z, reweighted least squares).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from gouache import check, random
from gouache.registry import method

from ._match import Field
from ._patchmatch import patchmatch
from ._texture import Texture, Wanted, wanted
from ._texture_scales import LEAST, Scale, doubled, floor, scales
from ._vote import vote, vote_best

EXPONENT = 0.8  # r of the robust energy
MORE = 10  # rounds that every coarser scale has more


@method("texture")
def texture_optimization(
    exemplar: Tensor | Sequence[Tensor],
    size: int | tuple[int, int] | None = None,
    *,
    tileable: bool = False,
    guides: tuple[Tensor | Sequence[Tensor], Tensor] | None = None,
    patch: int = 8,
    rounds: int = 3,
    uniformity: float = 0.05,
    guide_weight: float = 1.0,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Texture:
    """Make a texture by minimising how much its patches differ from the exemplar's.

    ``E(x, z) = sum_p (|x_p - z_p|^2 + e)^0.4`` over the patches of all places, from coarse scales
    to fine: z by PatchMatch, then x as the mean of the patches under weights ``(d_p + e)^-0.6``. To
    keep a few patches from being taken everywhere, a match costs in addition ``uniformity`` times
    the mean d times how often its pixels are used, in units of what is usual. At last every pixel
    is copied from the best patch that holds it, so that nothing is averaged.

    Args:
        exemplar: ``(C, h, w)`` in [0, 1], or several.
        size: rows and columns, or one number for both; None is the exemplar's.
        tileable: whether the texture goes on around a torus.
        guides: for the exemplars ``(G, h, w)`` and for the texture ``(G, H, W)``: channels whose
            squared differences are added to d.
        patch: side P; where an exemplar is smaller, its side.
        rounds: of matching and voting at the finest scale; each coarser one has ten more.
        uniformity: 0 lets a patch be taken as often as it fits; far above 0.1 it blurs brick.
        guide_weight: of the guides' differences against the pixels'.
        rng: of the start and of PatchMatch.
        progress: called with (rounds done, rounds in all).

    Raises:
        InputError: no images, no size, guides that do not fit, counts below 1, negative weights.

    Reference:
        V. Kwatra, I. Essa, A. Bobick, N. Kwatra, "Texture optimization for example-based
        synthesis", 2005; A. Kaspar, B. Neubert, D. Lischinski, M. Pauly, J. Kopf, "Self tuning
        texture optimization", 2015 (uniform use of the exemplar).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(3, 32, 32)
        >>> made = patches.texture_optimization(image, (20, 60), tileable=True)
        >>> number, row, col = made.origin.long()
        >>> torch.equal(made.image, image[:, row, col])
        True
    """
    check.count(rounds, "rounds")
    check.between(uniformity, "uniformity", 0)
    check.between(guide_weight, "guide_weight", 0)
    asked = wanted(exemplar, size, tileable, guides)
    side = min(check.count(patch, "patch"), asked.atlas.side)
    levels = scales(asked, side, LEAST * side, guide_weight)
    counts = [rounds + MORE * k for k in reversed(range(len(levels)))]
    rng, done = random.generator(random.draw_seed(rng)), 0
    state = begun(_start(levels[0], rng), levels[0])
    for k, scale in enumerate(levels):
        state = begun(doubled(state.field, levels[k - 1], scale), scale) if k else state
        for _ in range(counts[k]):
            state = improved(state, scale, uniformity, rng)
            done += 1
            if progress is not None:
                progress(done, sum(counts))
    return _copied(state.field, levels[-1], asked)


@dataclass(frozen=True)
class State:
    """How far the optimisation is at one scale.

    Attributes:
        image: x ``(C, H, W)``.
        field: z and d.
        use: how often each pixel of the atlas is used, 1 being usual; a running mean ``(H', W')``.
    """

    image: Tensor
    field: Field
    use: Tensor


def begun(place: Tensor, scale: Scale) -> State:
    """Build x of matches at places ``(1, h, w, 2)``."""
    field = Field(place, torch.zeros(place.shape[:3], device=place.device), scale.patch)
    image = _voted(field, scale, torch.ones_like(field.distance))
    return State(image, _matched(image, field, scale, None, 0, None), _usage(field, scale))


def improved(state: State, scale: Scale, uniformity: float, rng: torch.Generator) -> State:
    """Match and vote once."""
    image, field, use = state.image, state.field, state.use
    if not uniformity:
        field = _matched(image, field, scale, None, 1, rng)
    else:
        price = uniformity * float(np.mean(field.distance.cpu().numpy())) / scale.patch**2
        field = _matched(image, field, scale, price * use, 1, rng)
        field = _matched(image, field, scale, None, 0, None)  # its d without the price
        use = (use + _usage(field, scale)) / 2
    weight = power(field.distance + floor(image, scale.patch), EXPONENT / 2 - 1)
    return State(_voted(field, scale, weight), field, use)


def power(x: Tensor, exponent: float) -> Tensor:
    """Return ``x ** exponent`` by NumPy: torch's powers depend on the number of threads."""
    return torch.from_numpy(x.cpu().numpy() ** np.float32(exponent)).to(x.device)


def energy(state: State, scale: Scale) -> float:
    """Return ``E(x, z)`` of x and the z that it was built of."""
    distance = _matched(state.image, state.field, scale, None, 0, None).distance.double()
    return float((distance + floor(state.image, scale.patch)).pow(EXPONENT / 2).sum())


def _matched(
    image: Tensor,
    start: Field,
    scale: Scale,
    price: Tensor | None,
    sweeps: int,
    rng: torch.Generator | None,
) -> Field:
    """Improve the matches of an image; ``price (H', W')`` is added for every pixel taken."""
    known = scale.atlas
    wish, theirs = scale.guides or (image[:0], known.image[:0])
    if price is not None:  # the squared difference of a channel that is 0 all over the texture
        wish = torch.cat([wish, torch.zeros_like(image[:1])])
        theirs = torch.cat([theirs, price.sqrt()[None]])
    guides = (scale.query(wish), theirs) if len(wish) else None
    given = {"patch": scale.patch, "source_mask": known.free, "guides": guides, "rng": rng}
    return patchmatch(scale.query(image), known.image, iterations=sweeps, start=start, **given)


def _voted(field: Field, scale: Scale, weight: Tensor) -> Tensor:
    """Return x, the mean of the matches under weights of places ``(1, h, w)``."""
    return scale.cut(vote(scale.field(field), scale.atlas.image, weight=scale.covering(weight)))


def _usage(field: Field, scale: Scale) -> Tensor:
    """Return how many matches hold each pixel of the atlas, over the mean ``(H', W')``."""
    (high, wide), p = scale.atlas.free.shape, scale.patch
    place = (field.place[..., 0].long() * wide + field.place[..., 1]).flatten()
    count = torch.bincount(place, minlength=high * wide).view(1, high, wide).float()
    held = F.avg_pool2d(F.pad(count, (p - 1, 0, p - 1, 0)), p, 1)[0]
    return held * (scale.atlas.free.sum() / len(place))


def _start(scale: Scale, rng: torch.Generator) -> Tensor:
    """Return random places ``(1, h, w, 2)``: the texture is cut into exemplars' patches."""
    (h, w), p = scale.places, scale.patch
    shape = (1, -(-h // p), -(-w // p))
    number = torch.randint(len(scale.exemplars), shape, generator=rng)
    corner = torch.rand(*shape, 2, generator=rng) * (scale.sides[number] - 2 * p + 2).clamp(min=1)
    blocks = torch.cat([number[..., None], corner.long()], -1).repeat_interleave(p, 1)
    number, row, col = blocks.repeat_interleave(p, 2)[:, :h, :w].unbind(-1)
    place = scale.clamped(number, row + (torch.arange(h) % p)[:, None], col + torch.arange(w) % p)
    return place.to(scale.atlas.image.device)


def _copied(field: Field, scale: Scale, asked: Wanted) -> Texture:
    """Copy every pixel from the best patch that holds it."""
    height, width = asked.size
    rows, cols = scale.cut(vote_best(scale.field(field)))[:, :height, :width].long()
    return Texture(
        scale.atlas.image[:, rows, cols], scale.atlas.origin(rows, cols), asked.exemplars
    )
