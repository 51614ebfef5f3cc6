"""The posterior mean of patches drawn from an image.

Notation: y a noisy image, s its noise level; p_j the patches of the exemplars, j = 1 to M. At
*scale* f a patch is known by the means of its f x f blocks, whose noise is s / f.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.contracts import Condition, Denoiser

from ._extract import places
from ._match import image_of, whole
from ._matcher import Matcher
from ._posterior_sums import Region, add, blocks, crossing, posterior_mean, regions
from ._texture import atlas, several

QUERIES, BLOCK = 1024, 2048  # patches of y and of the exemplars in one product of matrices
NUMBERS = 1 << 22  # at most, in patches of either side of it
SWEEPS = 5
SHARP = 1e-6  # a noise level over the exemplars' range below which the nearest patch is all


@final
class PatchPosterior(Denoiser):
    """The posterior mean of every patch, were it drawn from an exemplar's; overlaps are averaged.

    ``E[p | y_P] = sum_j p_j w_j,   w_j proportional to exp(-|y_P - p_j|^2 / (2 s^2))``

    for each patch y_P of y. A pixel is the mean of the answers of those patches that have it in
    their middle, the *core*: all that hold it, or (core 1) the one around it. The latter is the
    score of the best model that sees P x P pixels and is the same at every place. Where a border
    leaves no room, the patch is the nearest within the image, and its core reaches the border.

    At scale f a patch has ``f P x f P`` pixels and only the means of its ``f x f`` blocks decide,
    ``E[p | means of y_P]``: as good where noise drowns the rest, and f^2 times cheaper, as every
    f-th patch of y is asked.

    Weights are exact but for float32: two patches may be confused whose squared distances differ by
    less than 1e-6 of their squared norms.

    Args:
        exemplar: one ``(C, h, w)`` of finite floats, or several with the same channels.
        patch: side P, in blocks.
        scale: f.
        core: side of the middle that is kept, in blocks; ``patch - core`` is even. None is all.
        periodic: whether y is a torus.
        most: of the exemplars' patches this many are used, drawn by ``rng``; None uses all.
        nearest: how many nearest patches the sum has where sigma is at most ``below``, found by
            PatchMatch; None sums all. At scale 1 only.
        below: a noise level, in the unit of y.
        rng: of what is drawn.

    Raises:
        InputError: no images, channels that differ, a patch that does not fit, numbers out of
            range.

    Reference:
        M. Kamb, S. Ganguli, "An analytic theory of creativity in convolutional diffusion models",
        2025 (the core of 1); M. Niedoba, B. Zwartsenberg, K. Murphy, F. Wood, "Towards a
        mechanistic explanation of diffusion model generalization", 2025 (the mean of overlaps);
        D. Zoran, Y. Weiss, "From learning models of natural image patches to whole image
        restoration", 2011.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 16, 16)
        >>> denoiser = patches.PatchPosterior(image, patch=5)
        >>> bool((denoiser(image[None], 0.01) - image).abs().max() < 1e-3)
        True
    """

    def __init__(
        self,
        exemplar: Tensor | Sequence[Tensor],
        patch: int = 7,
        *,
        scale: int = 1,
        core: int | None = None,
        periodic: bool = False,
        most: int | None = None,
        nearest: int | None = None,
        below: float = 0.1,
        rng: torch.Generator | None = None,
    ) -> None:
        images = several(exemplar, image_of)
        made = atlas(images)
        self.patch, self.scale = check.count(patch, "patch"), check.count(scale, "scale")
        self.side = check.count(patch * scale, "patch times scale", 1, made.side)
        core = check.count(patch if core is None else core, "core", 1, patch)
        if (patch - core) % 2:
            raise InputError(f"patch - core must be even, got {patch} - {core}")
        self.margin, self.periodic = scale * (patch - core) // 2, periodic
        self.mean = torch.cat([u.flatten(1) for u in images], 1).mean(1)[:, None, None]
        self.image = torch.where(made.free, made.image - self.mean, 0)
        self.least = max(SHARP * float(self.image.abs().max()), SHARP**2)
        self.known, self.view = blocks(self.image, patch, scale), blocks(self.image, self.side, 1)
        self.place = _drawn(whole(made.free, self.side).nonzero(), most, rng)
        self.nearest, self.below = nearest, check.between(below, "below", 0)
        self.matcher = None
        if nearest is not None:
            check.count(nearest, "nearest")
            if scale != 1:
                raise InputError(f"nearest patches are found at scale 1 only, got scale {scale}")
            self.matcher = Matcher(self.image, patch=patch, source_mask=made.free, rng=rng)

    def __call__(self, y: Tensor, sigma: Tensor | float, condition: Condition = None) -> Tensor:
        """Return the mean of the patches' answers, in the shape, type and device of ``y``.

        Args:
            y: noisy images ``(B, C, H, W)``.
            sigma: a number, ``(B,)``, or a map that broadcasts against ``y``.
            condition: must be None.

        Raises:
            InputError: images of other channels or smaller than a patch, sigma not positive or of
                a shape that does not fit, or a condition.
        """
        if condition is not None:
            raise InputError("patches take no condition, got one; pass condition=None")
        self._check(y)
        wide = y.to(torch.promote_types(y.dtype, torch.float32))
        mean, levels = self.mean.to(wide), levels_of(sigma, wide)
        made = [self._mean(u - mean, s) for u, s in zip(wide, levels, strict=True)]
        return (mean + torch.stack(made)).to(y.dtype)

    def fits(self, y: Tensor) -> bool:
        """Tell whether images ``(B, C, H, W)`` have room for a patch."""
        return self.periodic or min(y.shape[2:]) >= self.side

    def _mean(self, y: Tensor, sigma: Tensor) -> Tensor:
        """Return the answer for one image, the exemplars' mean taken off."""
        wide, sigma = self._wrapped(y), sigma.clamp(min=self.least)
        weight = self.scale**2 / (2 * sigma.square())
        if weight.ndim:  # the variance of a block's mean is the mean of the variances, over f^2
            variance = blocks(self._wrapped(sigma.square()), self.patch, self.scale)
            weight = self.scale**2 / (2 * variance)
        query, near = blocks(wide, self.patch, self.scale), self._near(wide, sigma)
        total, count = torch.zeros_like(y), torch.zeros_like(y[0])
        for region in regions(self._grid(y), self.side, self.margin, not self.periodic):
            for band in region.bands(self._most(QUERIES, 1 if near is None else len(near))):
                at = (band.rows, band.cols)
                a, w = crossing(query, *at), crossing(weight, *at) if weight.ndim else weight
                if near is None:
                    answers = posterior_mean(a, w, self._patches(a, band))
                else:
                    place = near[:, band.rows[:, None], band.cols].flatten(1, 2)
                    answers = self._of_near(a, w, place, band)
                add(total, count, answers, band)
        return total / count

    def _check(self, y: Tensor) -> None:
        channels = len(self.image)
        if not isinstance(y, Tensor) or not y.is_floating_point():
            what = y.dtype if isinstance(y, Tensor) else type(y).__name__
            raise InputError(f"y must be a float tensor, got {what}")
        if 0 in y.shape or y.ndim != 4 or y.shape[1] != channels or not self.fits(y):
            raise InputError(
                f"y must be (B, {channels}, H, W) with sides of at least {self.side} pixels, got "
                f"{tuple(y.shape)}"
            )
        check.finite(y, "y")

    def _patches(self, like: Tensor, region: Region) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all patches of the exemplars in blocks: what they are known by, what is kept."""
        kept = self._kept(region)
        for row, col in (some.unbind(1) for some in self.place.split(self._most(BLOCK))):
            b = self.known[:, row, col].transpose(0, 1).flatten(1).to(like)
            whole = kept.shape == self.known.shape
            yield b, b if whole else kept[:, row, col].transpose(0, 1).flatten(1).to(like)

    def _of_near(self, a: Tensor, weight: Tensor, place: Tensor, region: Region) -> Tensor:
        """Return the mean of the patches at ``place (k, n, 2)``, weighted likewise."""
        row, col = place.clamp(min=0).long().unbind(-1)
        b = self.known[:, row, col].permute(1, 2, 0, 3, 4).flatten(2).to(a)
        exponent = -weight * (a - b).square().sum(2)
        likely = exponent.masked_fill(place[..., 0] < 0, -torch.inf).softmax(0)
        kept = self._kept(region)[:, row, col].permute(1, 2, 0, 3, 4).flatten(2)
        return (likely[:, :, None] * kept.to(a)).sum(0)

    def _near(self, y: Tensor, sigma: Tensor) -> Tensor | None:
        """Return the places ``(k, h, w, 2)`` of the nearest patches, where they are to do."""
        if self.matcher is None or sigma.ndim or float(sigma.detach()) > self.below:
            return None
        assert self.nearest is not None
        query = y.detach().float()  # first: no call has a history
        return self.matcher(query, k=self.nearest, iterations=SWEEPS, first=0).place

    def _most(self, usual: int, each: int = 1) -> int:
        """Return how many patches there is room for, ``each`` times: the usual number, or less."""
        return max(1, min(usual, NUMBERS // (each * len(self.image) * self.side**2)))

    def _kept(self, region: Region) -> Tensor:
        """Return the patches' rectangles ``(C, h, w, rows, columns)``."""
        return self.view[..., slice(*region.high), slice(*region.wide)]

    def _grid(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows and columns of the patches that are asked: every f-th, and the last."""
        rows, cols = (
            torch.arange(0, n, self.scale) if self.periodic else places(n, self.side, self.scale)
            for n in y.shape[1:]
        )
        return rows.to(y.device), cols.to(y.device)

    def _wrapped(self, y: Tensor) -> Tensor:
        """Return a torus with what follows its last row and column."""
        if not self.periodic:
            return y
        rows, cols = (torch.arange(n + self.side - 1, device=y.device) % n for n in y.shape[1:])
        return y[:, rows][:, :, cols]


def _drawn(place: Tensor, most: int | None, rng: torch.Generator | None) -> Tensor:
    """Return places, no more than ``most``, in order."""
    if most is None or check.count(most, "most") >= len(place):
        return place
    order = torch.randperm(len(place), generator=rng)[:most].sort().values
    return place[order.to(place.device)]


def levels_of(sigma: Tensor | float, y: Tensor) -> list[Tensor]:
    """Return the noise level of each image, a number or a map ``(C, H, W)``."""
    level = check.finite(torch.as_tensor(sigma).to(y), "sigma")
    low = float(level.detach().min())
    if low <= 0:
        raise InputError(f"sigma must be positive, got {low:g}")
    if level.numel() == 1:
        return [level.reshape(())] * len(y)
    if level.numel() == len(level) == len(y):
        return list(level.reshape(-1))
    try:
        return list(level.expand(y.shape))
    except RuntimeError:
        raise InputError(
            f"sigma must be a number, ({len(y)},) or a map that broadcasts against "
            f"{tuple(y.shape)}, got {tuple(level.shape)}"
        ) from None
