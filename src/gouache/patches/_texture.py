"""What every method of texture synthesis takes and returns.

Notation: exemplars u_1, u_2, ...; an *atlas* holds them side by side, with a column between that no
patch may touch, so that one search looks through them all. The *origin* of a pixel is the exemplar,
the row and the column that it was copied from.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gouache import check, image
from gouache.check import InputError

from ._patchmatch import patchmatch

COPY, NEAR, SWEEPS, SEED = 13, 0.02, 8, 0


@dataclass(frozen=True)
class Texture:
    """A texture, and where it is from.

    Attributes:
        image: ``(C, H, W)`` in [0, 1].
        origin: exemplar, row and column ``(3, H, W)`` int32; -1 where a pixel is no copy of one.
        exemplars: what it was made from.
    """

    image: Tensor
    origin: Tensor
    exemplars: tuple[Tensor, ...]

    @cached_property
    def copy_rate(self) -> float:
        """How much of it stands in the exemplars word for word; see `copy_rate`."""
        return copy_rate(self.image, self.exemplars)


def copy_rate(
    picture: Tensor,
    exemplars: Tensor | Sequence[Tensor],
    *,
    patch: int = COPY,
    near: float = NEAR,
) -> float:
    """Return the share of patches of a picture that an exemplar has nearly alike.

    A patch counts if the root mean squared difference to the nearest patch found (by PatchMatch,
    eight sweeps, the seed fixed; so the share is a lower bound) is less than ``near``.

    Args:
        picture: ``(C, H, W)`` in [0, 1].
        exemplars: one or several ``(C, h, w)``.
        patch: side; a smaller one where a picture has no room for it.
        near: in units of the pixel range.

    Raises:
        InputError: no images, or channels that differ.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 40, 40)
        >>> patches.copy_rate(image[:, 10:30, 5:25], image), patches.copy_rate(1 - image, image)
        (1.0, 0.0)
    """
    made = atlas(_exemplars(exemplars))
    check.images(picture, "picture", batched=False)
    if len(picture) != len(made.image):
        raise InputError(f"picture has {len(picture)} channels, the exemplar {len(made.image)}")
    patch = min(check.count(patch, "patch"), *picture.shape[1:], made.side)
    rng = torch.Generator().manual_seed(SEED)
    given = {"patch": patch, "source_mask": made.free, "iterations": SWEEPS, "rng": rng}
    field = patchmatch(picture, made.image, **given)
    mean = field.distance / (patch**2 * len(picture))
    return float((mean < near**2).float().mean())


@dataclass(frozen=True)
class Wanted:
    """What a user asks of a method, checked.

    Attributes:
        exemplars: each ``(C, h, w)`` float32.
        size: rows and columns of the texture.
        tileable: whether it is to go on at its left where it ends at its right, and so upwards.
        guides: for each exemplar ``(G, h, w)``, and for the texture ``(G, H, W)``; or None.
    """

    exemplars: tuple[Tensor, ...]
    size: tuple[int, int]
    tileable: bool
    guides: tuple[tuple[Tensor, ...], Tensor] | None

    @cached_property
    def atlas(self) -> Atlas:
        """The exemplars side by side."""
        return atlas(self.exemplars)

    @cached_property
    def atlas_guide(self) -> Tensor | None:
        """Their guides, laid out likewise."""
        return None if self.guides is None else atlas(self.guides[0]).image


@dataclass(frozen=True)
class Atlas:
    """Exemplars side by side.

    Attributes:
        image: ``(C, H, W)``, 0 where there is none.
        free: which pixels are an exemplar's ``(H, W)``; the `source_mask` of a matcher.
        lefts: first column of each exemplar.
        side: the largest patch that fits into each of them.
    """

    image: Tensor
    free: Tensor
    lefts: tuple[int, ...]
    side: int

    def origin(self, rows: Tensor, cols: Tensor) -> Tensor:
        """Return ``(3, ...)`` int32 of places in the atlas; -1 where a row is negative."""
        lefts = torch.tensor(self.lefts, device=cols.device)
        number = torch.searchsorted(lefts, cols.clamp(min=0).contiguous(), right=True) - 1
        found = torch.stack([number, rows, cols - lefts[number]])
        return torch.where(rows < 0, -1, found).to(torch.int32)


def atlas(exemplars: Sequence[Tensor]) -> Atlas:
    """Lay exemplars side by side, a column between."""
    wide = sum(u.shape[2] + 1 for u in exemplars) - 1
    first, high = exemplars[0], max(u.shape[1] for u in exemplars)
    picture = first.new_zeros(len(first), high, wide)
    free = torch.zeros(high, wide, dtype=torch.bool, device=first.device)
    lefts, left = list[int](), 0
    for u in exemplars:
        picture[:, : u.shape[1], left : left + u.shape[2]] = u
        free[: u.shape[1], left : left + u.shape[2]] = True
        lefts.append(left)
        left += u.shape[2] + 1
    return Atlas(picture, free, tuple(lefts), min(min(u.shape[1:]) for u in exemplars))


def wanted(
    exemplar: Tensor | Sequence[Tensor],
    size: int | tuple[int, int] | None,
    tileable: bool,
    guides: tuple[Tensor | Sequence[Tensor], Tensor] | None,
    *,
    patch: int = 1,
) -> Wanted:
    """Check what is asked of a method of texture synthesis.

    Args:
        exemplar: one ``(C, h, w)`` in [0, 1], or several with the same channels.
        size: rows and columns, or one number for both; None is the first exemplar's.
        tileable: see ``Wanted``.
        guides: for the exemplars, one each, and for the texture; or None.
        patch: side of the largest patch that the method takes from an exemplar.

    Raises:
        InputError: no images, no size, a patch or guides that do not fit.
    """
    found = _exemplars(exemplar)
    rows, cols = (int(n) for n in found[0].shape[1:]) if size is None else image.size_pair(size)
    check.count(rows, "size")
    check.count(cols, "size")
    least = min(min(u.shape[1:]) for u in found)
    if check.count(patch, "patch") > least:
        raise InputError(
            f"patch must be at most the sides of the exemplar, got {patch} for {least} pixels; "
            "take a smaller patch or a larger exemplar"
        )
    if guides is None:
        return Wanted(found, (rows, cols), bool(tileable), None)
    return Wanted(found, (rows, cols), bool(tileable), _guides(guides, found, (rows, cols)))


def _exemplars(exemplar: Tensor | Sequence[Tensor]) -> tuple[Tensor, ...]:
    several = [exemplar] if isinstance(exemplar, Tensor) else list(exemplar)
    if not several:
        raise InputError("there is no exemplar; pass one image (C, H, W), or several")
    found = tuple(check.images(u, "exemplar", batched=False).detach().float() for u in several)
    if len({(len(u), u.device) for u in found}) > 1:
        told = ", ".join(f"{tuple(u.shape)} on {u.device}" for u in found)
        raise InputError(f"exemplars must have the same channels and device, got {told}")
    return found


def _guides(
    guides: tuple[Tensor | Sequence[Tensor], Tensor],
    exemplars: tuple[Tensor, ...],
    size: tuple[int, int],
) -> tuple[tuple[Tensor, ...], Tensor]:
    ours, theirs = guides
    each = (ours,) if isinstance(ours, Tensor) else tuple(ours)
    if len(each) != len(exemplars):
        raise InputError(f"guides must be one for each exemplar, got {len(each)} of them")
    for guide, (height, width) in zip(
        (*each, theirs), [*(u.shape[1:] for u in exemplars), size], strict=True
    ):
        fits = guide.ndim == 3 and len(guide) == len(theirs)
        if not fits or tuple(guide.shape[1:]) != (height, width):
            raise InputError(
                f"a guide must be ({len(theirs)}, {height}, {width}), as large as what it guides, "
                f"got {tuple(guide.shape)}"
            )
        check.finite(guide, "guide")
    return tuple(g.detach().float() for g in each), theirs.detach().float()
