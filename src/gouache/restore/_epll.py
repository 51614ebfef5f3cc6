"""Restoration by the expected patch log likelihood of a Gaussian mixture.

Notation: y the observation, z the mean of the estimates of all patches of x, at noise s_k.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gouache.contracts import Denoiser, Operator
from gouache.patches import FilterDenoiser, PatchPrior
from gouache.patches._epll import chosen
from gouache.patches._image import opponent
from gouache.registry import method

from ._problem import Progress
from ._splitting import Schedule, restored


@method("restore")
@torch.no_grad()
def epll(
    observed: Tensor,
    operator: Operator,
    sigma: float | Tensor | None = None,
    *,
    prior: PatchPrior | None = None,
    steps: int = 7,
    first: float = 0.14,
    last: float | None = None,
    weight: float = 0.5,
    progress: Progress | None = None,
) -> Tensor:
    """Restore the image all of whose patches are likely under a mixture of Gaussians.

    ``min_x p^2 |A x - y|^2 / (2 sigma^2) - sum_i log p(P_i x)`` over images, ``P_i x`` being patch
    i of p x p pixels, by half-quadratic splitting: z_k is the mean of the estimates of all patches
    of x_(k-1) at noise s_k, and ``x_k = argmin |A x - y|^2 + rho_k |x - z_k|^2`` with
    ``rho_k = weight sigma^2 / s_k^2``. The levels s_k fall evenly in their logarithm, x_0 is
    :func:`tikhonov`'s, and the result is the last x_k. Patches of three channels are estimated in
    an opponent space. Gradients do not flow through.

    Args:
        observed: y ``(C, h, w)`` or ``(B, C, h, w)``, pixel range 1, not clipped.
        operator: A.
        sigma: noise in units of the pixel range: a number, or one an image; None estimates it; at
            least .5/255 is assumed.
        prior: of patches; None is the one that ships.
        steps: how many levels; 1 is the last one alone.
        first: s_1, in units of the pixel range.
        last: the last level; None is sigma.
        weight: of the patches; 1 is the paper's, .5 was better on five photographs.
        progress: called with (steps done, steps in all), over all images.

    Raises:
        InputError: an image that is no image, sigma on another scale, an operator for another size,
            a prior that is no PatchPrior.

    Reference:
        D. Zoran, Y. Weiss, "From learning models of natural image patches to whole image
        restoration", 2011.

    Example:
        >>> import torch
        >>> from gouache import restore
        >>> clean = torch.zeros(1, 24, 24)
        >>> clean[:, 8:16, 8:16] = 1
        >>> blur = restore.Blur(1.0)
        >>> error = (restore.epll(blur(clean), blur, sigma=0) - clean).square().mean()
        >>> bool(error < 0.3 * (blur(clean) - clean).square().mean())
        True
    """
    denoiser, schedule = _patchwise(chosen(prior)), Schedule(steps, first, last, weight)
    return restored(observed, operator, sigma, denoiser, schedule, progress, solved=True)


def _patchwise(prior: PatchPrior) -> Denoiser:
    """Return the mean of the estimates of all patches, as a denoiser."""

    def smoothed(image: Tensor, sigma: Tensor) -> Tensor:
        found = [_estimated(prior, x, float(s)) for x, s in zip(image, sigma, strict=True)]
        return torch.stack(found)

    return FilterDenoiser(smoothed)


def _estimated(prior: PatchPrior, x: Tensor, s: float) -> Tensor:
    """Return the estimate of one image ``(C, H, W)``, three channels in an opponent space."""
    turn = opponent(len(x)).to(x)
    turned = torch.einsum("dc,chw->dhw", turn, x)
    scales = turn.norm(dim=1).tolist()
    parts = [prior.smooth(c[None], k * s) for c, k in zip(turned, scales, strict=True)]
    return torch.einsum("cd,dhw->chw", torch.linalg.inv(turn), torch.cat(parts))
