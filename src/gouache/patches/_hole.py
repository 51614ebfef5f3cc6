"""What every method of inpainting takes: an image, a hole, and what may be copied into it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError

from ._image import batched
from ._match import whole

Progress: TypeAlias = Callable[[int, int], None]


@dataclass(frozen=True)
class Hole:
    """An image with a hole, of which something is known.

    Attributes:
        image: ``(C, H, W)`` float32, 0 in the hole.
        inside: the hole ``(H, W)``.
        free: pixels that may be copied ``(H, W)``, none of them in the hole.
        patch: side of the patches, such that a whole one is free.
    """

    image: Tensor
    inside: Tensor
    free: Tensor
    patch: int


def filled(
    image: Tensor,
    mask: Tensor,
    source: Tensor | None,
    patch: int,
    progress: Progress | None,
    fill: Callable[[Hole, Progress], Tensor],
) -> Tensor:
    """Fill the hole of every image; the arguments are those of `inpaint`.

    Args:
        image: see there.
        mask: see there.
        source: see there.
        patch: see there.
        progress: see there.
        fill: what fills a hole and tells how far it is, all of ``(C, H, W)`` being returned.

    Raises:
        InputError: no image, a mask of another shape or range, nothing to copy.
    """
    check.count(patch, "patch")
    batched(torch.zeros_like(image) if isinstance(image, Tensor) else image)
    pictures = image if image.ndim == 4 else image[None]
    opacity = _planes(mask, "mask", pictures)
    free = torch.ones_like(opacity) if source is None else _planes(source, "source", pictures)
    m = opacity[:, None].to(pictures.dtype)
    shown = torch.where(m == 1, 0, pictures)
    u = batched(shown).detach()
    found = list[Tensor]()
    for i, (x, o, f) in enumerate(zip(u, opacity, free, strict=True)):
        told = _telling(progress, i, len(u))
        if o.any():
            found.append(fill(_hole(x, o > 0, f > 0.5, patch), told))
        else:
            found.append(x)
            told(1, 1)
    mixed = (1 - m) * shown + m * torch.stack(found).to(pictures.dtype)
    return torch.where(m == 0, pictures, mixed).reshape(image.shape)


def _telling(progress: Progress | None, image: int, images: int) -> Progress:
    """Return what tells how far a batch is, from how far one of its images is."""
    if progress is None:
        return lambda done, total: None
    return lambda done, total: progress(image * total + done, images * total)


def _hole(u: Tensor, inside: Tensor, free: Tensor, patch: int) -> Hole:
    free = free & ~inside
    if not free.any():
        raise InputError(
            "there is nothing to copy: the mask, or what source leaves out, covers the image; "
            "a mask is true where the image is to be filled"
        )
    side = min(patch, *u.shape[1:])
    while not whole(free, side).any():
        side -= 1
    return Hole(torch.where(inside, 0, u), inside, free, side)


def _planes(mask: Tensor, name: str, image: Tensor) -> Tensor:
    """Return a mask as ``(B, H, W)`` float32 in [0, 1]."""
    b, _, h, w = image.shape
    shapes = ((h, w), (1, h, w), (b, h, w), (1, 1, h, w), (b, 1, h, w))
    if not isinstance(mask, Tensor) or tuple(mask.shape) not in shapes:
        what = tuple(mask.shape) if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"{name} must be ({h}, {w}) or ({b}, 1, {h}, {w}), got {what}")
    if mask.dtype != torch.bool:
        if not mask.is_floating_point():
            raise InputError(f"{name} must be bool or float in [0, 1], got {mask.dtype}")
        check.unit_range(check.finite(mask, name), name)
    return mask.detach().float().clamp(0, 1).reshape(-1, h, w).expand(b, h, w).to(image.device)
