"""PatchMatch against one source again and again, as methods do that optimise an image of patches.

Notation of ``_match.py``.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from gouache import check, random
from gouache.check import InputError

from ._match import Field, Problem, image_of, looked_of, problem
from ._match_tree import Codes, Tree, coded, coding, grown
from ._patchmatch import (
    checked_sides,
    first_places,
    listed_of,
    patchmatch,
    pixels,
    sweeps,
    task_of,
    unpacked,
)
from ._vote import (
    matched_variance,
    variance_by_kernels,
    vote_by_kernels,
    vote_by_tensors,
    weights_of,
)


class Matcher:
    """What `patchmatch` learns of a source, kept: its codes, and a few trees used in turn.

    On a GPU nothing is kept.

    Args:
        source: image ``(C, H', W')`` whose patches are found.
        patch: side P.
        source_mask: which of its pixels may be copied ``(H', W')``; None is all.
        trees: that are grown, one a sweep until there are as many.
        rng: of the seed; None draws from torch's global generator.

    Raises:
        InputError: no image, a patch that does not fit, a mask that leaves nothing.

    Reference:
        K. He, J. Sun, "Computing nearest-neighbor fields via propagation-assisted kd-trees", 2012.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 30, 30)
        >>> matcher = patches.Matcher(image, patch=5)
        >>> matcher(image[:, 4:]).place[0, 0, 0].tolist()
        [4, 0]
    """

    def __init__(
        self,
        source: Tensor,
        *,
        patch: int = 7,
        source_mask: Tensor | None = None,
        trees: int = 4,
        rng: torch.Generator | None = None,
    ) -> None:
        self.asked = problem(source, source, patch, 1, (None, source_mask), None, 0, None)
        checked_sides(self.asked)
        self.mask, self.seed = source_mask, random.draw_seed(rng)
        self.trees, self.sweeps = check.count(trees, "trees"), 0
        self.grown: dict[int, Tree] = {}
        if not self.asked.source.is_cuda:
            self.flat, self.listed = pixels(self.asked.source), listed_of(self.asked)
            self.coding = coding(self.asked, self.listed)
            self.codes = coded(self.flat, self.asked.source_shape, self.asked, self.coding)

    def __call__(
        self,
        query: Tensor,
        *,
        query_mask: Tensor | None = None,
        k: int = 1,
        iterations: int = 2,
        start: Field | None = None,
        first: int | None = None,
    ) -> Field:
        """Match every patch of ``query (C, H, W)`` with k near ones of the source.

        Args:
            query: with the source's channels.
            query_mask: as in `patchmatch`.
            k: see there.
            iterations: see there.
            start: see there.
            first: number of the first sweep, on which trees and chance depend; None goes on from
                the last call's, so that it should be given where threads share a matcher.

        Raises:
            InputError: images, masks or a start that do not fit each other, counts below 0.
        """
        check.count(iterations, "iterations", 0)
        asked = self._asked(query, query_mask, k)
        before = self.sweeps if first is None else check.count(first, "first", 0)
        self.sweeps, seed = before + iterations, random.derive(self.seed, before)
        if self.asked.source.is_cuda:
            given = {"k": k, "iterations": iterations, "start": start, "query_mask": query_mask}
            given |= {"source_mask": self.mask, "rng": random.generator(seed)}
            return patchmatch(query, self.asked.source, patch=self.asked.patch, **given)
        a = pixels(asked.query)
        known = Codes(coded(a, asked.shape, asked, self.coding), self.codes, self.coding.weight)
        task, place = task_of(asked, a, self.flat, known), first_places(start, asked)
        trees = (iterations, lambda known, number: self._tree(known, before + number - 1))
        return unpacked(*sweeps(asked, task, self.listed, place, trees, seed), asked)

    def vote(self, field: Field, *, weight: Tensor | None = None) -> Tensor:
        """Build an image of matched patches of the source, as `vote` does."""
        source = self.asked.source
        given = weights_of(field, tuple(source.shape), weight)
        if source.is_cuda:
            return vote_by_tensors(field, source, given)
        return vote_by_kernels(field, self.flat, tuple(source.shape), given)

    def variance(self, field: Field, channels: int) -> Tensor:
        """Return the variance of matched patches of the source, mean over its first channels.

        It is ``(k, h, w)``, and 0 where there is no match.
        """
        source = self.asked.source
        if source.is_cuda:
            return matched_variance(field, source[:channels])
        return variance_by_kernels(field, self.flat, tuple(source.shape), channels)

    def _asked(self, query: Tensor, query_mask: Tensor | None, k: int) -> Problem:
        """Return what is matched in one call."""
        a, patch = image_of(query, "query"), self.asked.patch
        source = self.asked.source
        if len(a) != len(source) or a.device != source.device or min(a.shape[1:]) < patch:
            raise InputError(
                f"query must have {len(source)} channels and at least {patch} pixels a side, on "
                f"{source.device}, got {tuple(a.shape)} on {a.device}"
            )
        looked = looked_of(query_mask, a, patch)
        return checked_sides(replace(self.asked, query=a, k=check.count(k, "k"), looked=looked))

    def _tree(self, known: Codes, number: int) -> Tree:
        """Return the tree of a sweep, counted over all calls."""
        at = number % self.trees
        if at not in self.grown:
            self.grown[at] = grown(known, self.listed, random.derive(self.seed, 1, at))
        return self.grown[at]
