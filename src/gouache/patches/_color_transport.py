"""Optimal transport of colours, extended smoothly to every pixel.

Notation of ``_palette.py``.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gouache import check
from gouache.registry import method

from ._palette import clusters, extended, pair

DEPTH = 10


@method("recolor")
def color_transport(
    image: Tensor,
    palette: Tensor,
    *,
    strength: float = 1.0,
    smooth: float = 0.06,
    grain: float = 0.02,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Give an image the colours of another by optimal transport, smoothly.

    The colours of either image become 1024 clusters of equal mass, with means c_i and d_j, and
    what is solved exactly is the transport between those:

    ``min over permutations s of sum_i |c_i - d_s(i)|^2``

    To all other colours it is extended by affine functions fitted locally to ``d_s(i) - c_i``, a
    smooth map: gradients keep no bands, but the palette is met up to the fit and to what the
    clusters leave out, not exactly. Values beyond [0, 1] are clipped.

    Args:
        image: ``(C, H, W)`` in [0, 1]; grey counts as three equal channels.
        palette: likewise, of any size.
        strength: share of the way that each colour goes; 0 leaves the image as it is.
        smooth: how far around a colour the plan is averaged, a standard deviation in units of the
            pixel range.
        grain: standard deviation of what counts as grain, which is left as strong as it was;
            0 moves it with the colours.
        rng: not used: nothing is random.
        progress: hears of (steps done, steps in all).

    Returns:
        ``(3, H, W)`` in [0, 1].

    Raises:
        InputError: no images, or an option out of its range.

    Reference:
        J. Rabin, S. Ferradans, N. Papadakis, "Adaptive color transfer with relaxed optimal
        transport", 2014; S. Ferradans, N. Papadakis, G. Peyre, J.-F. Aujol, "Regularized discrete
        optimal transport", 2014 (who regularise the plan itself); J. Rabin, J. Delon, Y. Gousseau,
        "Removing artefacts from color and contrast modifications", 2011.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(3, 40, 40, generator=torch.Generator().manual_seed(0))
        >>> warm = torch.tensor([0.9, 0.6, 0.4])[:, None, None] * image
        >>> bool((patches.color_transport(image, warm, grain=0) - warm).abs().mean() < 0.02)
        True
    """
    options(smooth, grain)
    a, b = pair(image, palette, strength)
    tell = progress or (lambda done, total: None)
    points, targets = clusters(a, DEPTH), clusters(b, DEPTH)
    tell(1, 3)
    moves = targets[plan(points, targets)] - points
    tell(2, 3)
    found = extended(a, points, moves, strength=strength, smooth=smooth, grain=grain)
    tell(3, 3)
    return found


def options(smooth: float, grain: float) -> None:
    """Check what the methods that go by a table share."""
    check.between(smooth, "smooth", 0.01, 10)
    check.between(grain, "grain", 0, 1)


def plan(points: Tensor, targets: Tensor) -> Tensor:
    """Return which target each point gets ``(n,)``, the sum of squared distances being least."""
    from scipy.optimize import linear_sum_assignment

    cost = torch.cdist(points, targets).square().numpy()
    return torch.from_numpy(linear_sum_assignment(cost)[1])
