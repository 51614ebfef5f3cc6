"""The image itself as its features."""

from __future__ import annotations

from torch import Tensor

from gouache.check import images as check_images
from gouache.contracts import Features
from gouache.registry import method


@method("features")
class Pixels(Features):
    """The pixels as one vector, ``f(x) = scale * flatten(x)``.

    Distances grow with ``scale`` and squared distances (the Fréchet distance) with its square;
    ``scale=16`` gives scikit-learn's digits their published levels 0..16.

    Args:
        scale: factor on pixels in [0, 1].

    Reference:
        M. Heusel, H. Ramsauer, T. Unterthiner, B. Nessler, S. Hochreiter, "GANs Trained by a Two
        Time-Scale Update Rule Converge to a Local Nash Equilibrium", 2017 (distances in features).

    Example:
        >>> import torch
        >>> Pixels()(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 64])
    """

    def __init__(self, *, scale: float = 1.0) -> None:
        self.scale = scale
        self.name = "pixels" if scale == 1 else f"pixels x{scale:g}"

    def __call__(self, images: Tensor) -> Tensor:
        """Return ``(B, C H W)``."""
        return check_images(images).flatten(1) * self.scale

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the image as its only map, ``(B, C, H, W)``."""
        return [check_images(images) * self.scale]
