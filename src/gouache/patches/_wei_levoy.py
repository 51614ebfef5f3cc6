"""Textures copied pixel by pixel in the order of a page, from coarse to fine.

Notation of ``_neighbourhood_kernels.py``; levels as in ``_wei_levoy_levels.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.random import derive, draw_seed, generator
from gouache.registry import method

from ._copies import Places, texture
from ._neighbourhood import Task, inner, offsets, unseen
from ._patchmatch import patchmatch
from ._texture import Texture, wanted
from ._wei_levoy_levels import Level, children, doubled, stack_of

LEVELS, ROWS = 4, 16  # most levels of themselves; rows between two reports
KAPPA = 3.0  # how much worse than others a place may be that goes on with a copy, relatively


@method("texture")
def wei_levoy(
    exemplar: Tensor | Sequence[Tensor],
    size: int | tuple[int, int] | None = None,
    *,
    window: int = 9,
    levels: int | None = None,
    coherence: int | None = 5,
    coarse_weight: float = 4.0,
    guide_weight: float = 1.0,
    tileable: bool = False,
    guides: tuple[Tensor | Sequence[Tensor], Tensor] | None = None,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Texture:
    """Copy a texture pixel by pixel from coarse to fine, by what comes before and what is coarser.

    Each level of a Gaussian pyramid begins as noise, pixels of the exemplar, and is passed over row
    by row. A pixel p becomes the one of the exemplar's level with the least ``d(q) = sum_k
    |u(q + k) - x(p + k)|^2 + coarse_weight sum_l |u'(q/2 + l) - x'(p/2 + l)|^2``, over the pixels k
    of the window above and to the left, which go round the ends, and over a window half as wide of
    the coarser level u', x', less detail in which weighs more than in the paper, or contrast fades
    from level to level. A tileable texture's pixels near its ends are then copied anew, by their
    whole windows. Below the coarsest level only such places are tried as go on with a neighbour's
    or the parent's copy, or with one of the ``coherence`` places most like the neighbour's; what
    goes on with a neighbour's copy itself is taken unless another has less than a quarter of its d.
    Without that the plainest places win, whose distances are small everywhere, and detail fades.
    What goes on with a copy is copied more, word for word: the copy rates of grass and of gravel,
    256 x 256 pixels, are .6 and .5 with it and .1 without. Hertzmann et al. let this factor, their
    1 + kappa, shrink at coarser levels; here kappa is 3 at all of them.
    Where all are tried, the time grows as the product of the texture's pixels and the exemplar's.

    Args:
        exemplar: one ``(C, h, w)`` in [0, 1], or several.
        size: rows and columns, or one number for both; None is the first exemplar's.
        window: side, odd, at least 5.
        levels: of the pyramid; None is up to 4, while the coarsest exemplar has two windows a side.
        coherence: how many like places, at least 1; None tries all places, as in the first paper.
        coarse_weight: of the coarser level; 1 is the paper's.
        guide_weight: of the guides.
        tileable: whether it is to go on at its left where it ends at its right, and so upwards.
        guides: of the exemplars ``(G, h, w)`` and of the texture ``(G, H, W)``: what belongs where.
        rng: of the seed.
        progress: called with (pixels done, pixels in all), of all levels.

    Raises:
        InputError: no images, a window that is even or does not fit into the coarsest level, guides
            that do not fit.

    Reference:
        L.-Y. Wei, M. Levoy, "Fast texture synthesis using tree-structured vector quantization",
        2000; M. Ashikhmin, "Synthesizing natural textures", 2001, and X. Tong, J. Zhang, L. Liu,
        X. Wang, B. Guo, H.-Y. Shum, "Synthesis of bidirectional texture functions on arbitrary
        surfaces", 2002 (coherence); A. Hertzmann, C. Jacobs, N. Oliver, B. Curless, D. Salesin,
        "Image analogies", 2001 (copies that hang together).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> warm = torch.rand(1, 24, 24) * torch.tensor([1.0, 0.5, 0.2])[:, None, None]
        >>> made = patches.wei_levoy(warm, 20, rng=torch.Generator().manual_seed(0))
        >>> number, row, col = made.origin.long()
        >>> torch.equal(made.image, warm[:, row, col])
        True
    """
    if check.count(window, "window", 5) % 2 == 0:
        raise InputError(f"window must be odd, so that it has a centre, got {window}")
    asked = wanted(exemplar, size, tileable, guides, patch=window, name="window")
    check.between(coarse_weight, "coarse_weight", 0)
    check.between(guide_weight, "guide_weight", 0)
    k = 0 if coherence is None else check.count(coherence, "coherence", 1)
    stack = stack_of(asked, _levels(asked.atlas.side, window, levels))
    seed = draw_seed(rng)
    options = Options(window, k, coarse_weight, guide_weight, asked.tileable, seed)
    place = _descend(stack, options, progress)
    return texture(asked, place)


def _levels(side: int, window: int, levels: int | None) -> int:
    """Return how many levels there are, and check that the window fits into the coarsest."""
    if levels is None:
        return 1 + sum(side >> level >= 2 * window for level in range(1, LEVELS))
    coarsest = -(-side // 2 ** (check.count(levels, "levels", 1, 16) - 1))
    if coarsest < window:
        raise InputError(
            f"levels must leave room for the window, got {levels}, which makes an exemplar of "
            f"{side} pixels one of {coarsest} for a window of {window}; take fewer"
        )
    return levels


class Options(NamedTuple):
    """What `wei_levoy` is asked, ``k`` being 0 for an exhaustive search."""

    window: int
    k: int
    coarse_weight: float
    guide_weight: float
    wraps: bool
    seed: int


def _descend(
    stack: list[Level], options: Options, progress: Callable[[int, int], None] | None
) -> Places:
    """Return the places of the finest level."""
    total, done = sum(level.size[0] * level.size[1] for level in stack), 0
    place, above = np.empty((0, 0), np.int32), None
    for number, level in enumerate(stack):
        seen, hint = torch.empty(0, *level.size), None
        if above is not None:
            values = above.atlas.image.flatten(1)[:, torch.from_numpy(place).long()]
            seen = doubled(values, (0, *level.size))
            hint = children(above, level, place) if options.k else None
        run = _Pass(level, seen, hint, options, derive(options.seed, number))
        place = run.noise()
        for pixels in run.order():
            run(pixels, place)
            done += len(pixels)
            if progress is not None:
                progress(done, total)
        if options.wraps:
            run.close(place)
        above = level
    return place


class _Pass:
    """The copying of one level, from noise on.

    Args:
        level: the level.
        seen: the coarser level of the texture, every pixel doubled ``(C, h, w)``, or no channels.
        hint: a place to be tried for each pixel, if places that cohere are all that is tried.
        options: see there.
        seed: of what is random.
    """

    def __init__(
        self, level: Level, seen: Tensor, hint: Places | None, options: Options, seed: int
    ) -> None:
        self.level, self.seen, self.hint = level, seen, hint
        self.options, self.seed = options, seed
        self.radius = options.window // 2
        self.allowed = inner(level.atlas.free.numpy(), self.radius)
        every = offsets(self.radius)
        before = (every[:, 0] < 0) | ((every[:, 0] == 0) & (every[:, 1] < 0))
        self.causal, self.full = self._task(every[before]), self._task(every[1:])
        self.alike = None if hint is None else self._alike()

    def noise(self) -> Places:
        """Return random places."""
        rng = np.random.default_rng(self.seed & (1 << 64) - 1)
        return rng.choice(np.flatnonzero(self.allowed), self.level.size).astype(np.int32)

    def order(self) -> Iterator[Places]:
        """Yield the pixels row by row, some rows at once."""
        height, width = self.level.size
        every = np.arange(height * width, dtype=np.int32)
        yield from np.split(every, range(ROWS * width, len(every), ROWS * width))

    def close(self, place: Places) -> None:
        """Copy the pixels near the ends anew, which the pass found next to noise."""
        near = np.ones(self.level.size, bool)
        near[self.radius : -self.radius, self.radius : -self.radius] = False
        self(np.flatnonzero(near).astype(np.int32), place, whole=True)

    def __call__(self, pixels: Places, place: Places, whole: bool = False) -> None:
        """Copy pixels by their causal windows, or by whole ones."""
        from . import _neighbourhood_kernels as kernels

        task = self.full if whole else self.causal
        if self.hint is None:
            kernels.grow(pixels, task, place)
        else:
            kernels.cohere(pixels, task, self.alike, self.hint, place)

    def _task(self, near: NDArray[np.int32]) -> Task:
        level, far = self.level, 2 * offsets(self.options.window // 4)
        share = np.full(len(self.seen) + len(level.wish), self.options.guide_weight, np.float32)
        even = len(far) / len(near)  # which would count every pixel alike
        share[: len(self.seen)] = self.options.coarse_weight * even
        planes = torch.cat([level.atlas.image, level.coarse, level.guide])
        return Task(
            planes.flatten().numpy(),
            len(level.atlas.image),
            self.allowed,
            self.radius,
            near,
            np.ones(len(near), np.float32),
            torch.cat([self.seen, level.wish]).contiguous().numpy(),
            far.astype(np.int32),
            np.ones(len(far), np.float32),
            share,
            np.float32(0 if self.hint is None else KAPPA),
            unseen(len(level.atlas.image), share),
            True,
            self.seed,
        )

    def _alike(self) -> Places:
        """Return the places most like each, itself first ``(H W, 1 + k)``."""
        made, r = self.level.atlas, self.radius
        rng = generator(derive(self.seed, 1))
        given = {"patch": 2 * r + 1, "k": self.options.k, "rng": rng}
        field = patchmatch(made.image, query_mask=made.free, source_mask=made.free, **given)
        high, wide = made.free.shape
        out = torch.full((1 + self.options.k, high, wide), -1, dtype=torch.int32)
        out[0] = torch.arange(high * wide, dtype=torch.int32).view(high, wide)
        found = (field.place[..., 0] + r) * wide + field.place[..., 1] + r
        out[1:, r : high - r, r : wide - r] = found.where(field.place[..., 0] >= 0, -1)
        return out.flatten(1).T.contiguous().numpy()
