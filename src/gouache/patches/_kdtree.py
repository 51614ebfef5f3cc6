"""Nearest-neighbour fields by a k-d tree of principal components.

Notation of ``_match.py``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from gouache import check
from gouache.check import InputError
from gouache.registry import method

from ._extract import bands
from ._match import Field, Problem, distances, problem, result

if TYPE_CHECKING:
    from scipy.spatial import KDTree


@method("match")
def kdtree(
    query: Tensor,
    source: Tensor | None = None,
    *,
    patch: int = 7,
    k: int = 1,
    query_mask: Tensor | None = None,
    source_mask: Tensor | None = None,
    weight: Tensor | None = None,
    exclusion: int | None = None,
    guides: tuple[Tensor, Tensor] | None = None,
    components: int = 24,
    slack: float = 1.0,
) -> Field:
    """Match every patch with k near ones by a k-d tree in the source patches' main components.

    The tree returns patches whose distance in the components is at most ``1 + slack`` times that
    of the nearest ones; their d is then computed from all values.

    Args:
        query: and the next eight: as in ``brute_force``; ``weight`` is refused, since components
            of weighted patches are others for every patch.
        source: see there.
        patch: see there.
        k: see there.
        query_mask: see there.
        source_mask: see there.
        weight: see there.
        exclusion: see there.
        guides: see there.
        components: how many principal components are kept, at most C P P.
        slack: 0 searches the components exactly.

    Raises:
        InputError: images, masks or guides that do not fit each other, or weights.

    Reference:
        A. Hertzmann, C. Jacobs, N. Oliver, B. Curless, D. Salesin, "Image analogies", 2001 (nearest
        neighbours of patches in a tree); J. Bentley, "Multidimensional binary search trees used for
        associative searching", 1975.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(3, 20, 20)
        >>> patches.kdtree(image[:, 4:], image).place[0, 0, 0].tolist()
        [4, 0]
    """
    from scipy.spatial import KDTree

    if weight is not None:
        raise InputError("kdtree takes no weights; use brute_force or patchmatch")
    check.count(components, "components")
    check.between(slack, "slack", 0)
    masks = (query_mask, source_mask)
    asked = problem(query, source, patch, k, masks, None, exclusion, guides)
    mean, basis = _principal(asked.source, patch, components)
    taken = _chosen(asked.allowed, asked.source_shape)
    wanted = _chosen(asked.looked, asked.shape)
    tree = KDTree(_projected(asked.source, patch, mean, basis)[taken].numpy())
    sought = _projected(asked.query, patch, mean, basis)[wanted]
    place = torch.full((asked.shape[0] * asked.shape[1], k), -1)
    place[wanted] = _found(tree, sought, wanted, taken, asked, slack)
    place, distance = place.to(query.device), torch.full(place.shape, torch.inf)
    distance = distance.to(query.device)
    at = wanted.to(query.device)
    distance[at] = distances(asked, at, place[at])
    return result(place, distance, asked)


def _chosen(mask: Tensor | None, shape: tuple[int, int]) -> Tensor:
    """Return the linear places of patches."""
    every = torch.arange(shape[0] * shape[1])
    return every if mask is None else every[mask.cpu().flatten()]


def _principal(image: Tensor, p: int, count: int) -> tuple[Tensor, Tensor]:
    """Return the mean ``(D,)`` and the main components ``(D, count)`` of an image's patches."""
    total, moment, n = torch.zeros(()), torch.zeros(()), 0
    for band in bands(image.cpu(), p):
        a = band.patches.double()
        total, moment, n = total + a.sum(0), moment + a.T @ a, n + len(a)
    mean = total / n
    basis = torch.linalg.eigh(moment / n - mean.outer(mean)).eigenvectors.flip(1)
    return mean.float(), basis[:, :count].float()


def _projected(image: Tensor, p: int, mean: Tensor, basis: Tensor) -> Tensor:
    parts = [(band.patches - mean) @ basis for band in bands(image.cpu(), p)]
    return torch.cat(parts)


def _found(
    tree: KDTree, sought: Tensor, at: Tensor, taken: Tensor, asked: Problem, slack: float
) -> Tensor:
    """Return linear places ``(n, k)``; where too many are excluded, more are asked for."""
    place = torch.full((len(at), asked.k), -1)
    left, near = torch.arange(len(at)), asked.k + min(1, asked.exclusion) * 9
    linear = torch.cat([taken, torch.tensor([-1])])  # the tree says n where there is none
    while len(left):
        some = list(range(1, min(near, tree.n) + 1))
        workers = torch.get_num_threads()
        _, index = tree.query(sought[left].numpy(), k=some, eps=slack, workers=workers)  # pyright: ignore[reportArgumentType]
        place[left] = _kept(linear[torch.from_numpy(index).long()], at[left], asked)
        left = left[(place[left] < 0).any(1)] if near < tree.n else left[:0]
        near *= 4
    return place


def _kept(place: Tensor, at: Tensor, asked: Problem) -> Tensor:
    """Return the first k places ``(n, k)`` that are not excluded, or -1."""
    w, wide = asked.shape[1], asked.source_shape[1]
    rows, cols = (
        (place // wide - (at // w)[:, None]).abs(),
        (place % wide - (at % w)[:, None]).abs(),
    )
    free = (torch.maximum(rows, cols) >= asked.exclusion) & (place >= 0)
    order = (~free).long().argsort(dim=1, stable=True)[:, : asked.k]
    kept = place.gather(1, order).where(free.gather(1, order), -1)
    return F.pad(kept, (0, asked.k - kept.shape[1]), value=-1)
