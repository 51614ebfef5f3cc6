"""Sliced Wasserstein distance between the patches of two textures."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from gouache import check
from gouache.patches._texture_scales import halved
from gouache.registry import method

from ._texture_score import TextureScore, scored


@method("texture_score")
def patch_sliced_wasserstein(
    picture: Tensor,
    exemplar: Tensor,
    *,
    rng: torch.Generator | None = None,
    patch: int = 7,
    scales: int = 3,
    patches: int = 12_000,
    directions: int = 256,
) -> TextureScore:
    """Measure how far the patches of a texture are from the exemplar's, as distributions.

    ``SW^2 = mean_theta mean_i (x_(i) - y_(i))^2`` for x, y the products of random patches of either
    image with a random direction theta of length 1, sorted: the squared Wasserstein distance of
    the two sets on a line, averaged over lines. Scales are dyadic, after a blur of five binomial
    taps. It does not see where patches lie; and the mean of a copy is 0 but for sampling.

    Args:
        picture: ``(C, H, W)`` in [0, 1].
        exemplar: ``(C, h, w)``.
        rng: of the patches and of the directions.
        patch: side, in pixels of every scale.
        scales: how many, the finest first.
        patches: drawn from either image at every scale, with replacement.
        directions: how many.

    Raises:
        InputError: no images, channels that differ, a side too small for the coarsest scale.

    Reference:
        J. Rabin, G. Peyré, J. Delon, M. Bernot, "Wasserstein barycenter and its application to
        texture mixing", 2011.

    Example:
        >>> import torch
        >>> from gouache import measure
        >>> image = torch.rand(1, 64, 64)
        >>> score = measure.patch_sliced_wasserstein(image, image)
        >>> score.value < 1e-3 < measure.patch_sliced_wasserstein(image.sqrt(), image).value
        True
    """
    check.count(patch, "patch")
    check.count(scales, "scales")
    check.count(patches, "patches", 2)
    check.count(directions, "directions")

    def distance(a: Tensor, b: Tensor, rng: torch.Generator) -> tuple[float, ...]:
        found = list[float]()
        for scale in range(scales):
            a, b = (halved(a), halved(b)) if scale else (a, b)
            theta = torch.randn(directions, len(a) * patch**2, generator=rng).to(a)
            theta = torch.nn.functional.normalize(theta)
            x, y = ((theta @ _drawn(u, patch, patches, rng).T).cpu().numpy() for u in (a, b))
            found.append(float(np.square(np.sort(x) - np.sort(y)).mean()))
        return tuple(found)

    least = (max(patch, 3) - 1) * 2 ** (scales - 1) + 1  # three pixels, lest a mirror be missing
    return scored("patch_sliced_wasserstein", distance, picture, exemplar, least, rng)


def _drawn(x: Tensor, patch: int, count: int, rng: torch.Generator) -> Tensor:
    """Return random patches ``(count, C P P)``."""
    view = x.unfold(1, patch, 1).unfold(2, patch, 1)
    rows, cols = (torch.randint(n, (count,), generator=rng).to(x.device) for n in view.shape[1:3])
    return view[:, rows, cols].transpose(0, 1).flatten(1)
