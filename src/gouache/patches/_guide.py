"""What the filters with a guide ask of it."""

from __future__ import annotations

from torch import Tensor

from gouache.check import InputError

from ._image import batched


def guide_of(guide: Tensor | None, image: Tensor) -> Tensor:
    """Return the guide of a batch ``(B, C, H, W)`` as ``(B, G, H, W)``; None is the image itself.

    Raises:
        InputError: a guide that is no image, or of another height, width or number of images.
    """
    if guide is None:
        return image
    g = batched(guide, "guide").to(image.device)
    if g.shape[-2:] != image.shape[-2:] or len(g) not in (1, len(image)):
        wanted = f"(G, {image.shape[-2]}, {image.shape[-1]})"
        raise InputError(
            f"guide must be {wanted} or one such for each of the {len(image)} images, "
            f"got {tuple(guide.shape)}"
        )
    return g.expand(len(image), *g.shape[1:])
