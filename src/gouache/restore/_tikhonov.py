"""The linear baseline: least squares with small differences of neighbours."""

from __future__ import annotations

import torch
from torch import Tensor

from gouache import check
from gouache.contracts import Operator
from gouache.patches._image import like
from gouache.registry import method

from ._least_squares import conjugate_gradients
from ._problem import Counter, Problem, Progress, problems

# Where much is unknown the least curvature is 1e-6 of the greatest; above this, holes stay black.
TOLERANCE = 1e-8


@method("restore")
@torch.no_grad()
def tikhonov(
    observed: Tensor,
    operator: Operator,
    sigma: float | Tensor | None = None,
    *,
    gradient: float = 0.05,
    progress: Progress | None = None,
) -> Tensor:
    """Restore by the linear estimate of an image whose neighbours differ little.

    ``x = argmin |A x - y|^2 + (sigma / gradient)^2 |D x|^2``, D being all differences between
    neighbours: the posterior mean under a Gaussian prior whose spectrum falls as 1 / frequency^2.
    It is the start of the other methods, and fills what is unknown smoothly. Gradients do not flow
    through it, nor through the others.

    Args:
        observed: y ``(C, h, w)`` or ``(B, C, h, w)``, pixel range 1, not clipped.
        operator: A.
        sigma: noise in units of the pixel range: a number, or one an image; None estimates it; at
            least .5/255 is assumed.
        gradient: the usual difference of neighbours in the image, in units of the pixel range.
        progress: called with (images done, images in all).

    Raises:
        InputError: an image that is no image, sigma on another scale, an operator for another size.

    Reference:
        A. N. Tikhonov, "Solution of incorrectly formulated problems and the regularization method",
        1963.

    Example:
        >>> import torch
        >>> from gouache import restore
        >>> clean = torch.linspace(0, 1, 16).expand(1, 16, 16)
        >>> known = torch.rand(16, 16, generator=torch.Generator().manual_seed(0)) < 0.5
        >>> filled = restore.tikhonov(clean * known, restore.Mask(known), sigma=0)
        >>> bool((filled - clean).abs().mean() < 0.02)
        True
    """
    check.between(gradient, "gradient", 1e-4, 1)
    given = problems(observed, operator, sigma)
    done, found = Counter(len(given), progress), []
    for problem in given:
        found.append(smooth(problem, operator, gradient))
        done()
    return like(torch.stack(found), observed)


def smooth(problem: Problem, operator: Operator, gradient: float = 0.05) -> Tensor:
    """Return the estimate for one image ``(C, H, W)``."""
    mu = (problem.sigma / gradient) ** 2
    return conjugate_gradients(
        lambda x: operator.adjoint(operator(x)) + mu * roughness(x),
        operator.adjoint(problem.y),
        tolerance=TOLERANCE,
    )


def roughness(x: Tensor) -> Tensor:
    """Return ``D^T D x``: four times a pixel less its neighbours, at the border those there are."""
    out = torch.zeros_like(x)
    for axis in (-2, -1):
        step = x.diff(dim=axis)
        n = step.shape[axis]
        out.narrow(axis, 0, n).sub_(step)
        out.narrow(axis, 1, n).add_(step)
    return out
