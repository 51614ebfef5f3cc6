"""What every method of texture synthesis takes and returns.

Notation: exemplars u_1, u_2, ...; an *atlas* holds them side by side, with a column between that no
patch may touch, so that one search looks through them all. The *origin* of a pixel is the exemplar,
the row and the column that it was copied from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gouache import check, image
from gouache.check import InputError

from ._match import fitting
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
        InputError: no images, channels that differ, or ``near`` below 0.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 40, 40)
        >>> patches.copy_rate(image[:, 10:30, 5:25], image), patches.copy_rate(1 - image, image)
        (1.0, 0.0)
    """
    made = atlas(several(exemplars))
    check.images(picture, "picture", batched=False)
    if len(picture) != len(made.image):
        raise InputError(f"picture has {len(picture)} channels, the exemplar {len(made.image)}")
    patch = min(check.count(patch, "patch"), *picture.shape[1:], made.side)
    check.between(near, "near", 0)
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
    name: str = "patch",
) -> Wanted:
    """Check what is asked of a method of texture synthesis.

    Args:
        exemplar: one ``(C, h, w)`` in [0, 1], or several with the same channels.
        size: rows and columns, or one number for both; None is the first exemplar's.
        tileable: see ``Wanted``.
        guides: for the exemplars, one each, and for the texture; or None.
        patch: side of the largest patch that the method takes from an exemplar.
        name: under which the user gives it.

    Raises:
        InputError: no images, no size, a patch or guides that do not fit.
    """
    found = several(exemplar)
    rows, cols = (int(n) for n in found[0].shape[1:]) if size is None else image.size_pair(size)
    fitting(patch, (side for u in found for side in u.shape[1:]), "the exemplar", name)
    if guides is None:
        return Wanted(found, (rows, cols), bool(tileable), None)
    return Wanted(found, (rows, cols), bool(tileable), _guides(guides, found, (rows, cols)))


def _picture(u: Tensor, name: str) -> Tensor:
    """Return an image ``(C, H, W)`` in [0, 1] as float32, without gradient, and check it."""
    return check.images(u, name, batched=False).detach().float()


def several(
    exemplar: Tensor | Sequence[Tensor], checked: Callable[[Tensor, str], Tensor] = _picture
) -> tuple[Tensor, ...]:
    """Return one exemplar or several, each checked, alike in channels and device.

    Args:
        exemplar: one ``(C, h, w)``, or several.
        checked: what checks one of a name, and returns it.

    Raises:
        InputError: no tensor nor a sequence, none, no images, or such as differ.
    """
    each = [exemplar] if isinstance(exemplar, Tensor) else exemplar
    if not isinstance(each, Sequence):
        raise InputError(
            "exemplar must be a torch tensor (C, H, W), or a list of them, got "
            f"{type(each).__name__}; gouache.image.as_tensor converts NumPy and PIL images"
        )
    if not each:
        raise InputError("there is no exemplar; pass one image (C, H, W), or several")
    found = tuple(checked(u, "exemplar") for u in each)
    if len({(len(u), u.device) for u in found}) > 1:
        told = ", ".join(f"{tuple(u.shape)} on {u.device}" for u in found)
        raise InputError(f"exemplars must have the same channels and device, got {told}")
    return found


def _guides(
    guides: tuple[Tensor | Sequence[Tensor], Tensor],
    exemplars: tuple[Tensor, ...],
    size: tuple[int, int],
) -> tuple[tuple[Tensor, ...], Tensor]:
    if not isinstance(guides, Sequence) or len(guides) != 2:
        raise InputError("guides must be two: those of the exemplars, and that of the texture")
    ours, theirs = guides
    each = tuple(ours) if isinstance(ours, Sequence) else (ours,)
    if len(each) != len(exemplars):
        raise InputError(f"guides must be one for each exemplar, got {len(each)} of them")
    for guide, (height, width) in zip(
        (theirs, *each), [size, *(u.shape[1:] for u in exemplars)], strict=True
    ):
        if not isinstance(guide, Tensor):
            raise InputError(f"a guide must be a torch tensor, got {type(guide).__name__}")
        shape = (*theirs.shape[:1], height, width)
        if tuple(guide.shape) != shape:
            raise InputError(
                f"a guide must be {shape}, as large as what it guides, got {tuple(guide.shape)}"
            )
        check.finite(guide, "guide")
    return tuple(g.detach().float() for g in each), theirs.detach().float()
