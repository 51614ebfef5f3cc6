"""Holes filled with patches of the rest of the image, from coarse to fine.

Notation: u the image, D its hole; patches of P x P pixels of the fill x are matched with patches
that are free, in colour and in *texture*: how much u changes around a pixel, to the right and
downwards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d, pad

from gouache import random
from gouache.registry import method

from ._guided import box_sums
from ._hole import Hole, filled
from ._match import Field, whole
from ._matcher import Matcher
from ._onion_peel import depth, onion_peel
from ._recompose import recompose
from ._scales import halved, smooth_fill, upsampled
from ._vote import vote_best

WINDOW, TEXTURE = 8, 20.0  # of pixels to either side, and what a unit of texture counts
FADE, FAINT, QUANTILE = 1.3, 1e-20, 0.75
SMOOTH, SHARP, LAST, SWEEPS, STILL = 4, 2, 3, 1, 1e-3  # rounds, and what ends them
ROWS = 512
SAMPLE, LEAST = 100_000, 1e-12  # distances for the quartile; weight of a match
PLAIN = 1e-3  # variance below which all patches are equally plain


@method("inpaint")
def inpaint(
    image: Tensor,
    mask: Tensor,
    *,
    source: Tensor | None = None,
    patch: int = 7,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Fill a hole with patches of the rest of the image, matched and averaged from coarse to fine.

    At every scale, in turn: each patch that meets D takes its nearest free patch q, and a pixel
    of D becomes the mean of what the patches that hold it have there,

    ``x(r) = sum_p w(p) u(q(p) + r - p) / sum_p w(p)``
    ``w(p) = c(p) (v(p) + e)^(1/2) exp(-d(p) / 2 s^2)``

    with d the distance, s^2 its upper quartile, v the variance of q(p), e = .001, and c(p) the mean
    of ``1.3^-depth`` over the patch, depth being how far in D a pixel lies. A mean blurs, and what
    is blurred matches what is smooth: so texture counts too, plain patches, which are near to
    everything, count less, and in the last rounds of a scale every pixel is copied from the patch
    with the least ``d / c (v + e)`` alone. In the end the copies are put together by their
    gradients, so that neither they nor the border of D show.

    Args:
        image: ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1; what it holds where the mask
            is 1 has no influence and may be NaN. Pixels outside D are returned bit by bit.
        mask: true in D, ``(H, W)`` or one an image ``(B, 1, H, W)``; or, in [0, 1], how much of the
            fill is seen: D is where it is above 0.
        source: true where pixels may be copied, in a mask's shape; None is all outside D.
        patch: side P; less where no whole patch is free.
        rng: of the seed; the fill depends on it, not on the number of threads.
        progress: is told of (rounds done, rounds in all).

    Raises:
        InputError: no image, a mask of another shape or range, nothing to copy.

    Reference:
        Y. Wexler, E. Shechtman, M. Irani, "Space-time completion of video", 2007; A. Newson,
        A. Almansa, Y. Gousseau, P. Perez, "Non-local patch-based image inpainting", 2017 (texture
        features); S. Darabi, E. Shechtman, C. Barnes, D. Goldman, P. Sen, "Image melding: combining
        inconsistent images using patch-based synthesis", 2012 (gradients). The sharp rounds are
        ours.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> stripes = (torch.arange(48) % 8 < 4).float().expand(1, 48, 48)
        >>> mask = torch.zeros(48, 48, dtype=torch.bool)
        >>> mask[18:30, 16:33] = True
        >>> filled = patches.inpaint(stripes.masked_fill(mask, torch.nan), mask)
        >>> bool((filled - stripes).abs().max() < 0.01)
        True
    """
    seed = random.draw_seed(rng)
    given = (image, mask, source, patch, progress)
    return filled(*given, lambda hole, told: _filled(hole, seed, told))


class Level(NamedTuple):
    """A scale of the image.

    Attributes:
        image: colour and texture ``(C + 2, H, W)``.
        known: pixels outside D ``(H, W)``.
        free: pixels that may be copied ``(H, W)``.
    """

    image: Tensor
    known: Tensor
    free: Tensor


def _filled(hole: Hole, seed: int, progress: Callable[[int, int], None]) -> Tensor:
    """Return the image with its hole filled."""
    levels = _levels(hole)
    each = [SMOOTH + SHARP] * (len(levels) - 1) + [LAST + SHARP]
    work: _Work | None = None
    for number, level in reversed(list(enumerate(levels))):
        coarser, work = work, _Work(level, hole.patch, random.derive(seed, number))
        work.begin(coarser)
        work.improve(SMOOTH if number else LAST)
        progress(sum(each[: len(levels) - number]), sum(each))
    assert work is not None
    return work.composed(hole.image)


def _levels(hole: Hole) -> list[Level]:
    """Return the scales, the finest first, until D is no thicker than a patch."""
    known = ~hole.inside
    whole_image = torch.cat([hole.image, TEXTURE * texture(hole.image, known)])
    levels = [Level(torch.where(known, whole_image, 0), known, hole.free)]
    while depth(levels[-1].known) > max(1, hole.patch // 2):  # what is thinner may vanish
        u, k = halved(*levels[-1][:2])
        free = k & (
            max_pool2d((~levels[-1].free)[None, None].float(), 2, ceil_mode=True)[0, 0] == 0
        )
        if min(u.shape[1:]) < 3 * hole.patch or not whole(free, hole.patch).any():
            break
        levels.append(Level(u, k, free))
    return levels


class _Work:
    """A level's fill as it comes to be, within a box around D."""

    def __init__(self, level: Level, patch: int, seed: int) -> None:
        self.level, self.patch = level, patch
        rows, cols = (_around(~level.known, axis, patch) for axis in (1, 0))
        self.box = (slice(None), rows, cols)
        self.image, self.known = level.image[self.box], level.known[rows, cols]
        self.inside = ~self.known
        reach = 2 * (patch // 2) + 1
        self.met = max_pool2d(self.inside[None].float(), reach, 1, patch // 2)[0] > 0
        faded = np.maximum(FADE ** -_depth(self.known), FAINT)  # 0 would have no mean
        self.trust = avg_pool2d(torch.from_numpy(faded).to(self.known.device)[None], patch, 1)
        rng = random.generator(seed)
        self.matcher = Matcher(level.image, patch=patch, source_mask=level.free, rng=rng)
        self.field: Field | None = None
        self.x = self.image

    def begin(self, coarser: _Work | None) -> None:
        """Begin with the matches of the coarser scale, or with an onion peel."""
        if coarser is None or coarser.field is None:
            u, known, free = (x.cpu() for x in self.level)
            x = onion_peel(u, known, free, self.patch) if self.patch > 1 else smooth_fill(u, known)
            self.x = x.to(self.x)[self.box]
            return
        corner, theirs = ((w.box[1].start, w.box[2].start) for w in (self, coarser))
        shape = (self.known.shape[0] - self.patch + 1, self.known.shape[1] - self.patch + 1)
        limit = torch.tensor(self.level.known.shape) - self.patch + 1
        self.field = upsampled(coarser.field, theirs, corner, shape, limit)
        x = self.matcher.vote(self.field)
        if x[:, self.inside].isnan().any():  # parts of D that the coarser scale has not
            smooth = smooth_fill(self.level.image, self.level.known)[self.box]
            x = torch.where(x.isnan(), smooth, x)
        self.x = self._set(x)

    def improve(self, smooth: int) -> None:
        """Match and vote some rounds, fewer if nothing moves, and then copy some rounds."""
        for _ in range(smooth):
            field = self._match()
            before, self.x = self.x, self._set(self.matcher.vote(field, weight=self._weight(field)))
            if np.mean((self.x - before)[:, self.inside].abs().cpu().numpy()) < STILL:
                break
        for _ in range(SHARP):
            rows, cols = self._origin(self._match())
            self.x = self._set(self.level.image[:, rows, cols])

    def composed(self, image: Tensor) -> Tensor:
        """Return the whole image, D put together from copies."""
        origin = self._origin(self._match())
        given = (image[self.box], self.inside, image, self.level.free, origin)
        found = recompose(*given)
        out = image.clone()
        known = image[:, self.level.known]
        out[self.box] = torch.where(
            self.inside, found.clamp(known.min(), known.max()), out[self.box]
        )
        return out

    def _match(self) -> Field:
        given = {"query_mask": self.met, "iterations": SWEEPS, "start": self.field}
        self.field = self.matcher(self.x, **given)
        return self.field

    def _weight(self, field: Field) -> Tensor:
        """Return what the matches count."""
        d, found = field.distance, field.place[..., 0] >= 0
        some = d[found][:: int(found.sum()) // SAMPLE + 1]
        scale = 2 * torch.quantile(some, QUANTILE).clamp(min=1e-8)
        weight = np.exp(-(d / scale).cpu().numpy())  # torch's depends on the number of threads
        weight = torch.from_numpy(weight).to(d).clamp(min=LEAST)
        return torch.where(found, weight, 0) * self.trust * self._busy(field).sqrt()

    def _origin(self, field: Field) -> Tensor:
        cost = field.distance / (self.trust * self._busy(field))
        return vote_best(field, cost=cost).long()

    def _busy(self, field: Field) -> Tensor:
        """Return ``v + e`` of the matches."""
        return self.matcher.variance(field, len(self.image) - 2) + PLAIN

    def _set(self, x: Tensor) -> Tensor:
        return torch.where(self.known, self.image, x)


def texture(u: Tensor, known: Tensor) -> Tensor:
    """Return the mean absolute steps of a grey ``u`` around each pixel ``(2, H, W)``.

    They are those of pixels that are known, to the right and downwards, in windows of 17 x 17.
    """
    found, height = u.new_empty(2, *u.shape[1:]), u.shape[1]
    for top in range(0, height, ROWS):  # running sums are in double precision
        first, last = max(0, top - WINDOW), min(height, top + ROWS + WINDOW + 1)
        some = _texture(u[:, first:last].mean(0), known[first:last].float())
        found[:, top : top + ROWS] = some[:, top - first : top - first + ROWS]
    return found


def _texture(grey: Tensor, known: Tensor) -> Tensor:
    found = list[Tensor]()
    for axis, rim in ((1, (0, 1, 0, 0)), (0, (0, 0, 0, 1))):
        n = grey.shape[axis] - 1
        both = known.narrow(axis, 0, n) * known.narrow(axis, 1, n)
        steps = torch.stack([grey.diff(dim=axis).abs() * both, both])
        total, count = box_sums(pad(steps, rim).double(), WINDOW).float()
        found.append(total / count.clamp(min=1))
    return torch.stack(found)


def _around(inside: Tensor, axis: int, patch: int) -> slice:
    """Return the rows (axis 1) or columns (axis 0) of D, and a patch more on either side."""
    hit = torch.nonzero(inside.any(axis))[:, 0]
    n = inside.shape[1 - axis]
    return slice(max(0, int(hit[0]) - patch), min(n, int(hit[-1]) + 1 + patch))


def _depth(known: Tensor) -> NDArray[np.float32]:
    """Return how far from a known pixel each one is ``(H, W)``."""
    return np.asarray(ndimage.distance_transform_edt(~known.cpu().numpy()), np.float32)
