"""Diffusion from one image, without training: the score is that of its patches.

Notation: s the noise level in the unit of pixels, std the standard deviation of the exemplars. A
*rung* ``(above, patch, scale)`` is the denoiser for ``s >= above std``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from typing import TypeAlias, final

import torch
from torch import Tensor

from gouache import check, diffuse, random, registry
from gouache.check import InputError
from gouache.contracts import (
    Condition,
    Denoiser,
    GenerativeModel,
    HasDenoiser,
    HasTrajectory,
    SampleOptions,
)
from gouache.patches import PatchPosterior
from gouache.patches._patch_posterior import levels_of
from gouache.patches._texture import several

Rung: TypeAlias = tuple[float, int, int]
RUNGS: tuple[Rung, ...] = ((1.5, 7, 8), (0.5, 9, 4), (0.2, 9, 2), (0.0, 9, 1))
SIGMA_MIN, SIGMA_MAX = 0.05, 20.0  # of a grid, in units of std
SAMPLER, STEPS = "edm_stochastic", 12


@final
class LocalScore(GenerativeModel, HasDenoiser, HasTrajectory):
    """Images that look like an exemplar from near by, of any size: diffusion without a network.

    A sampler of ``gouache.diffuse`` goes from noise to an image through

    ``D(y, s)(r) = sum_j w_j p_j(r),   w_j proportional to exp(-|y_P - p_j|^2 / (2 s^2))``

    for the patch y_P around pixel r and all patches p_j of the exemplars (`PatchPosterior`). Of all
    models that see no further than a patch and are the same at every place, this one has the least
    error on the exemplars: what a network with such a field of view would learn. Patches are large
    and coarse where noise is high, where they settle the layout, and small and fine where it is
    low.

    No two samples are alike, but each is a mosaic of pieces of the exemplars, the longer the larger
    the patches; those of a whole image return it. What is wider than the widest patch is lost, so
    that lines end and rows shift where two pieces meet; where no patch fits, dull ones win. With
    overlaps averaged (``core=None``) such places blur. Work grows with the pixels of the exemplars
    times those of the sample.

    Args:
        exemplar: one ``(C, h, w)`` in [0, 1], or several with the same channels.
        rungs: ``(above, patch, scale)`` of each, falling in ``above`` down to 0, a multiple of the
            exemplars' standard deviation; ``patch`` and ``scale`` as in `PatchPosterior`. Where a
            sample has no room for a patch, the next rung serves. None is (1.5, 7, 8), (0.5, 9, 4),
            (0.2, 9, 2), (0, 9, 1), less those with patches wider than half an exemplar.
        core: see `PatchPosterior`; 1 is sharp, more is smoother, None blurs.
        periodic: whether samples go on at the left where they end at the right, and so upwards.
        most: see there.
        nearest: see there; it concerns rungs of scale 1.
        below: the noise level, a multiple of the exemplars' standard deviation, up to which it
            does.
        rng: of what is drawn now; samples have their own.

    Raises:
        InputError: no images, rungs out of order or without room, numbers out of range.

    Reference:
        M. Kamb, S. Ganguli, "An analytic theory of creativity in convolutional diffusion models",
        2025; M. Niedoba, B. Zwartsenberg, K. Murphy, F. Wood, "Towards a mechanistic explanation of
        diffusion model generalization", 2025.

    Example:
        >>> import torch
        >>> from gouache import generate, random
        >>> stripes = torch.linspace(0, 20, 24).sin().abs().expand(1, 24, 24)
        >>> model = generate.LocalScore(stripes, [(0.0, 5, 1)])
        >>> model.sample(2, rng=random.generator(0)).shape
        torch.Size([2, 1, 24, 24])
    """

    def __init__(
        self,
        exemplar: Tensor | Sequence[Tensor],
        rungs: Sequence[Rung] | None = None,
        *,
        core: int | None = 1,
        periodic: bool = False,
        most: int | None = None,
        nearest: int | None = None,
        below: float = 0.5,
        rng: torch.Generator | None = None,
    ) -> None:
        images = several(exemplar)
        chosen = _usual(min(min(u.shape[1:]) for u in images)) if rungs is None else _fall(rungs)
        pixels = torch.cat([u.flatten(1) for u in images], 1)
        self.mean = pixels.mean(1)[:, None, None]
        self.std = max(float((pixels.T - self.mean.flatten()).square().mean().sqrt()), 1e-3)
        self.size = (int(images[0].shape[1]), int(images[0].shape[2]))
        shared = {"core": core, "periodic": periodic, "most": most, "rng": rng}
        near = {"nearest": nearest, "below": below * self.std}
        made = [
            PatchPosterior(images, patch, scale=scale, **shared, **(near if scale == 1 else {}))
            for _, patch, scale in chosen
        ]
        self.rungs = _Rungs([above * self.std for above, _, _ in chosen], made)

    def denoiser(self) -> Denoiser:
        """Return D(y, s) of images in pixels, each rung where it serves."""
        return self.rungs

    def sample(
        self,
        n: int,
        *,
        condition: Condition = None,
        rng: torch.Generator | None = None,
        options: SampleOptions | None = None,
    ) -> Tensor:
        """Return ``n`` images ``(n, C, H, W)`` in [0, 1], by default of the first exemplar's size.

        Sample i depends on (one draw of ``rng``, i) alone.

        Raises:
            InputError: an unknown sampler, a size below the last rung's patch, a condition or
                guidance.
        """
        options = options or SampleOptions()
        keys = random.keys(rng, check.count(n, "n"))
        chunks = keys.split(check.count(options.chunk, "chunk"))
        parts = [self._walk(some, condition, options).clamp(0, 1).cpu() for some in chunks]
        return torch.cat(parts)

    def trajectory(
        self,
        n: int,
        *,
        condition: Condition = None,
        rng: torch.Generator | None = None,
        options: SampleOptions | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return ``x_t`` and the estimate of ``x0`` after every step, ``(steps, n, C, H, W)``."""
        seen: list[tuple[Tensor, Tensor]] = []
        keys = random.keys(rng, check.count(n, "n"))
        options = options or SampleOptions()
        self._walk(keys, condition, options, lambda _, x, x0: seen.append((x, x0)))
        x_t, x0 = (torch.stack(column).cpu() for column in zip(*seen, strict=True))
        return x_t, x0

    @torch.no_grad()
    def _walk(
        self,
        keys: Tensor,
        condition: Condition,
        options: SampleOptions,
        on_step: Callable[[int, Tensor, Tensor], None] | None = None,
    ) -> Tensor:
        """Sample one chunk."""
        if condition is not None or options.guidance != 1:
            raise InputError("a LocalScore takes no condition and no guidance; pass none, and 1")
        sampler = registry.find("sampler", options.sampler or SAMPLER)
        schedule = diffuse.VE(SIGMA_MIN * self.std, SIGMA_MAX * self.std)
        spacing = partial(diffuse.angular, sigma_data=self.std)
        grid = schedule.grid(options.steps or STEPS, spacing)
        size = options.size or self.size
        like, noise = self.mean.new_empty(len(keys), len(self.mean), *size), random.Noise(keys)
        x = self.mean + options.temperature * diffuse.start(grid, like, noise)
        return sampler(self.rungs, x, grid, noise=noise, on_step=on_step)


@final
class _Rungs(Denoiser):
    """Of several denoisers the one for the noise, and whose patches have room."""

    def __init__(self, levels: Sequence[float], denoisers: Sequence[PatchPosterior]) -> None:
        self.levels, self.denoisers = levels, denoisers

    def __call__(self, y: Tensor, sigma: Tensor | float, condition: Condition = None) -> Tensor:
        """Return the answer of each image's rung; of a map of levels the mean variance decides."""
        made = [
            self._rung(u, float(s.square().mean().sqrt()))(u, s, condition)
            for u, s in zip(y.split(1), levels_of(sigma, y), strict=True)
        ]
        return torch.cat(made)

    def _rung(self, y: Tensor, sigma: float) -> PatchPosterior:
        """Return the first that serves, else the last."""
        for level, denoiser in zip(self.levels, self.denoisers, strict=True):
            if sigma >= level and denoiser.fits(y):
                return denoiser
        return self.denoisers[-1]


def _usual(side: int) -> Sequence[Rung]:
    """Return the rungs for exemplars of a side: wider patches would return these as they are."""
    found = [rung for rung in RUNGS if 2 * rung[1] * rung[2] <= side]
    return found or [(0.0, max(1, side // 4 * 2 - 1), 1)]


def _fall(rungs: Sequence[Rung]) -> Sequence[Rung]:
    """Check that levels fall to 0."""
    levels = [check.between(above, "above", 0) for above, _, _ in rungs]
    if not levels or levels[-1] != 0 or any(a <= b for a, b in pairwise(levels)):
        raise InputError(f"rungs must fall in their levels, down to 0, got levels {levels}")
    return rungs
