"""Plug-and-play restoration: any denoiser as the prior."""

from __future__ import annotations

import torch
from torch import Tensor

from gouache.check import InputError
from gouache.contracts import Denoiser, Operator
from gouache.patches import FilterDenoiser
from gouache.registry import method

from ._problem import Progress
from ._splitting import Schedule, restored


@method("restore")
@torch.no_grad()
def hqs(
    observed: Tensor,
    operator: Operator,
    sigma: float | Tensor | None = None,
    *,
    denoiser: str | Denoiser = "bm3d",
    steps: int = 8,
    first: float = 49 / 255,
    last: float | None = None,
    weight: float = 0.23,
    progress: Progress | None = None,
) -> Tensor:
    """Restore by half-quadratic splitting with a denoiser plugged in.

    ``x_k = argmin |A x - y|^2 + rho_k |x - z_(k-1)|^2``, ``rho_k = weight sigma^2 / s_k^2``, and
    ``z_k = D(x_k, s_k)``, with levels s_k falling evenly in their logarithm. The first equation is
    solved in closed form by Fourier transforms, or pixel by pixel, where the operator allows, else
    by conjugate gradients. z_0 is :func:`tikhonov`'s, the result the last z_k. The parameters are
    those published for deblurring; other operators take the same. Gradients do not flow through.

    Args:
        observed: y ``(C, h, w)`` or ``(B, C, h, w)``, pixel range 1, not clipped.
        operator: A.
        sigma: noise in units of the pixel range: a number, or one an image; None estimates it. At
            least .5/255 is assumed, as images of 8 bits have rounding errors.
        denoiser: D, or a name of the role ``denoise``.
        steps: how many levels; 1 is the last one alone.
        first: s_1, in units of the pixel range.
        last: the last level; None is sigma, as published.
        weight: lambda of the paper.
        progress: called with (steps done, steps in all), over all images.

    Raises:
        InputError: an image that is no image, sigma on another scale, an operator for another size,
            an unknown denoiser.

    Reference:
        K. Zhang, Y. Li, W. Zuo, L. Zhang, L. Van Gool, R. Timofte, "Plug-and-play image restoration
        with deep denoiser prior", 2021.

    Example:
        >>> import torch
        >>> from gouache import restore
        >>> clean = torch.zeros(1, 24, 24)
        >>> clean[:, 8:16, 8:16] = 1
        >>> blur = restore.Blur(1.0)
        >>> error = (restore.hqs(blur(clean), blur, sigma=0) - clean).square().mean()
        >>> bool(error < 0.3 * (blur(clean) - clean).square().mean())
        True
    """
    schedule = Schedule(steps, first, last, weight)
    return restored(observed, operator, sigma, _denoiser(denoiser), schedule, progress)


def _denoiser(denoiser: str | Denoiser) -> Denoiser:
    if isinstance(denoiser, str):
        return FilterDenoiser(denoiser)
    if not isinstance(denoiser, Denoiser):
        raise InputError(
            "denoiser must be a name of the role denoise, such as bm3d, or a "
            f"gouache.contracts.Denoiser, got {type(denoiser).__name__}"
        )
    return denoiser
