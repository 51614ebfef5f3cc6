"""Nearest-neighbour fields: for every patch of one image, its nearest patches in another.

Notation: p, q places (row and column of a patch's first pixel) in the query and in the source; a
patch has P x P pixels and C channels; ``d(p, q) = sum_i w_i |query(p + i) - source(q + i)|^2`` over
its pixels, summed over channels, the weights w_i being 1 or those of the query's pixels p + i.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError

LARGEST = 1e15


@dataclass(frozen=True)
class Field:
    """What a matcher found, nearest first.

    Attributes:
        place: row and column of the source patch ``(k, h, w, 2)`` int32; -1 where none was sought
            or fewer than k exist. ``h = H - P + 1``, ``w = W - P + 1``.
        distance: d of it ``(k, h, w)`` float32, infinite there.
        patch: side P.

    Reference:
        C. Barnes, E. Shechtman, A. Finkelstein, D. Goldman, "PatchMatch: a randomized
        correspondence algorithm for structural image editing", 2009.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 12, 12)
        >>> patches.brute_force(image[:, 2:], image, patch=5).place[0, 0, 0].tolist()
        [2, 0]
    """

    place: Tensor
    distance: Tensor
    patch: int


@dataclass(frozen=True)
class Problem:
    """Two images, their guides among the channels, and which patches are to be matched.

    Attributes:
        query: ``(C, H, W)`` float32, contiguous.
        source: ``(C, H', W')``; the query itself in a self-match.
        patch: side P.
        k: neighbours wanted.
        looked: which patches of the query are looked up ``(h, w)``.
        allowed: which patches of the source may be taken ``(h', w')``.
        weight: of the query's pixels ``(H, W)``.
        exclusion: patches whose place is nearer than this to the query's own, in the larger of
            the two directions, are not taken; 0 takes all.
    """

    query: Tensor
    source: Tensor
    patch: int
    k: int
    looked: Tensor | None
    allowed: Tensor | None
    weight: Tensor | None
    exclusion: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the query's patches."""
        return _fitting(self.query, self.patch)

    @property
    def source_shape(self) -> tuple[int, int]:
        """Rows and columns of the source's patches."""
        return _fitting(self.source, self.patch)


def problem(
    query: Tensor,
    source: Tensor | None,
    patch: int,
    k: int,
    masks: tuple[Tensor | None, Tensor | None],
    weight: Tensor | None,
    exclusion: int | None,
    guides: tuple[Tensor, Tensor] | None,
) -> Problem:
    """Check what the user brings, and put the guides among the channels.

    Raises:
        InputError: no images, channels that differ, a patch that does not fit, a mask of another
            shape or that leaves no patch to copy, a negative weight.
    """
    a = image_of(query, "query")
    b = a if source is None else image_of(source, "source")
    if a.shape[0] != b.shape[0] or a.device != b.device:
        raise InputError(
            f"query and source must have the same channels and device, got {tuple(a.shape)} on "
            f"{a.device} and {tuple(b.shape)} on {b.device}"
        )
    fitting(patch, (*a.shape[1:], *b.shape[1:]), "query and source")
    apart = int(source is None) if exclusion is None else check.count(exclusion, "exclusion", 0)
    if guides is not None:
        a, b = _guided(a, b, guides)
    return Problem(
        a,
        b,
        patch,
        check.count(k, "k"),
        looked_of(masks[0], a, patch),
        _allowed(masks[1], b, patch),
        _weight(weight, a),
        apart,
    )


def result(place: Tensor, distance: Tensor, asked: Problem) -> Field:
    """Return a field of ``place (n, k)``, linear or -1, and ``distance (n, k)``, sorted."""
    h, w = asked.shape
    found = place >= 0
    distance = torch.where(found, distance, math.inf)
    if asked.k > 1:
        order = distance.argsort(dim=1, stable=True)
        place, distance = place.gather(1, order), distance.gather(1, order)
    wide = asked.source_shape[1]
    row = torch.where(place >= 0, place.div(wide, rounding_mode="floor"), -1)
    col = torch.where(place >= 0, place % wide, -1)
    pair = torch.stack([row, col], -1).to(torch.int32)
    k = asked.k
    return Field(
        pair.reshape(h, w, k, 2).permute(2, 0, 1, 3).contiguous(),
        distance.float().reshape(h, w, k).permute(2, 0, 1).contiguous(),
        asked.patch,
    )


def distances(asked: Problem, at: Tensor, place: Tensor, most: int = 16384) -> Tensor:
    """Return d of query patches ``at (n,)`` and source patches ``place (n, k)``, both linear.

    Differences are squared directly, so that nothing cancels; where ``place`` is -1 it is infinite.
    """
    p, out = asked.patch, torch.empty(place.shape, device=place.device)
    for some in torch.arange(len(at), device=at.device).split(most):
        here = patches_at(asked.query, at[some], p)
        weight = None if asked.weight is None else patches_at(asked.weight[None], at[some], p)
        for j in range(place.shape[1]):
            e = (here - patches_at(asked.source, place[some, j].clamp(min=0), p)).square()
            out[some, j] = (e if weight is None else e * weight).sum((0, 2))
    return torch.where(place >= 0, out, math.inf)


def patches_at(image: Tensor, place: Tensor, p: int) -> Tensor:
    """Return patches ``(C, n, p p)`` of an image ``(C, H, W)`` at linear places ``(n,)``."""
    wide, step = image.shape[2] - p + 1, torch.arange(p, device=image.device)
    y = (place[:, None, None] // wide + step[:, None]).expand(-1, p, p)
    x = (place[:, None, None] % wide + step).expand(-1, p, p)
    return image.flatten(1)[:, (y * image.shape[2] + x).flatten(1)]


def _fitting(image: Tensor, patch: int) -> tuple[int, int]:
    return image.shape[1] - patch + 1, image.shape[2] - patch + 1


def fitting(patch: int, sides: Iterable[int], what: str, name: str = "patch") -> int:
    """Return the side of a patch, checked to fit into images of some sides.

    Args:
        patch: its side.
        sides: of the images.
        what: the images are, in words.
        name: of the side.

    Raises:
        InputError: no whole number from 1 to the least of the sides.
    """
    least = min(sides)
    if check.count(patch, name) > least:
        raise InputError(
            f"{name} must be at most the sides of {what}, got {patch} for {least} pixels; take a "
            f"smaller {name} or a larger image"
        )
    return patch


def image_of(image: Tensor, name: str) -> Tensor:
    """Return an image ``(C, H, W)`` float32, contiguous, without gradient, and check it."""
    if not isinstance(image, Tensor) or image.ndim != 3 or 0 in image.shape:
        what = tuple(image.shape) if isinstance(image, Tensor) else type(image).__name__
        raise InputError(f"{name} must be a tensor (C, H, W), not empty, got {what}")
    if not image.is_floating_point():
        raise InputError(f"{name} must be float, got {image.dtype}; divide 8-bit levels by 255")
    found = check.finite(image, name).detach().float().contiguous()
    if float(found.abs().max()) > LARGEST:
        raise InputError(
            f"{name} must lie within {LARGEST:g}, as squares are summed in float32, got values up "
            f"to {float(image.detach().abs().max()):g}; scale both images"
        )
    return found


def _guided(a: Tensor, b: Tensor, guides: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    for guide, image in zip(guides, (a, b), strict=True):
        if image_of(guide, "guide").shape[1:] != image.shape[1:]:
            raise InputError(
                f"a guide must be as large as its image {tuple(image.shape[1:])}, "
                f"got {tuple(guide.shape[1:])}"
            )
    first, second = (image_of(guide, "guide") for guide in guides)
    if len(first) != len(second):
        raise InputError(f"guides must have the same channels, got {len(first)} and {len(second)}")
    return torch.cat([a, first]), torch.cat([b, second])


def _mask(mask: Tensor, name: str, image: Tensor) -> Tensor:
    if mask.dtype != torch.bool or mask.shape != image.shape[1:]:
        raise InputError(
            f"{name} must be bool {tuple(image.shape[1:])}, got {mask.dtype} {tuple(mask.shape)}"
        )
    return mask.to(image.device)


def whole(free: Tensor, height: int, width: int | None = None) -> Tensor:
    """Return which patches hold nothing but free pixels, by their first pixel ``(h, w)``.

    Args:
        free: ``(H, W)`` bool.
        height: of a patch, at most H.
        width: of a patch, at most W; None is the height.
    """
    width = height if width is None else width
    sums = torch.nn.functional.pad(free.cumsum(0).cumsum(1), (1, 0, 1, 0))
    above, below = sums[:-height], sums[height:]
    inside = below[:, width:] - below[:, :-width] - above[:, width:] + above[:, :-width]
    return inside == height * width


def looked_of(mask: Tensor | None, image: Tensor, p: int) -> Tensor | None:
    """Return which patches of a query are looked up, by their first pixel ``(h, w)``; None: all."""
    if mask is None:
        return None
    h, w = _fitting(image, p)
    return _mask(mask, "query_mask", image)[p // 2 : p // 2 + h, p // 2 : p // 2 + w].contiguous()


def _allowed(mask: Tensor | None, image: Tensor, p: int) -> Tensor | None:
    if mask is None:
        return None
    allowed = whole(_mask(mask, "source_mask", image), p)
    if not allowed.any():
        raise InputError(
            f"source_mask leaves no patch of {p} x {p} pixels to copy from; "
            "free more pixels or take a smaller patch"
        )
    return allowed


def _weight(weight: Tensor | None, image: Tensor) -> Tensor | None:
    if weight is None:
        return None
    if weight.shape != image.shape[1:]:
        raise InputError(
            f"weight must be {tuple(image.shape[1:])}, got {tuple(weight.shape)}; "
            "one a pixel of the query"
        )
    weight = check.finite(weight.detach().float(), "weight")
    if float(weight.min()) < 0:
        raise InputError(f"weight must not be negative, got {float(weight.min()):g}")
    return weight.to(image.device).contiguous()
