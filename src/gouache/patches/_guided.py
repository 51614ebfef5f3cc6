"""The guided filter: around each pixel the result is a linear function of the guide.

Notation: ``p`` the noisy image, ``I`` the guide ``(G, H, W)``, ``k`` a window of ``2 r + 1`` pixels
a side, cut at the border; ``mu_k`` and ``Sigma_k`` the mean and covariance of I in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gouache import check
from gouache.registry import method

from ._guide import guide_of
from ._image import batched, kept, like, sigma_of

BAND, TINY, FACTOR = 512, 1e-12, 4.0


@method("denoise")
def guided(
    image: Tensor,
    sigma: float | Tensor | None = None,
    *,
    guide: Tensor | None = None,
    radius: int = 2,
    eps: float | None = None,
) -> Tensor:
    """Denoise by the guided filter, in a time that does not depend on the radius.

    In each window the image is fitted by ``a_k . I + b_k`` with a penalty ``eps |a_k|^2``:

    ``a_k = (Sigma_k + eps)^-1 (mean_k(I p) - mu_k mean_k(p))``, ``b_k = mean_k(p) - a_k . mu_k``

    and a pixel becomes ``mean(a) . I + mean(b)`` over the windows that it lies in. A guide of G
    channels has a G x G matrix a window. By default the image is its own guide: windows whose
    variance is well below eps become their means, those well above it stay. The result has a
    gradient for the image and the guide.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1, not clipped.
        sigma: noise in units of the pixel range: a number, one an image, or a map ``(H, W)``, whose
            value at the centre of a window counts, and where it is 0 the pixel stays; None
            estimates it. With ``eps`` only its zeros count.
        guide: of the image's height and width and any channels; None is the image itself.
        radius: r in pixels.
        eps: the penalty, a variance; None is ``4 sigma^2``.

    Raises:
        InputError: an image or guide that is none, sigma on another scale, a guide of another size.

    Reference:
        K. He, J. Sun, X. Tang, "Guided image filtering", 2010 and 2013.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0, 1, 32).expand(1, 32, 32)
        >>> noisy = clean + 0.1 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> error = (patches.guided(noisy, 0.1) - clean).square().mean()
        >>> bool(error < 0.3 * (noisy - clean).square().mean())
        True
    """
    r = check.count(radius, "radius", 0)
    check.between(1.0 if eps is None else eps, "eps", 0)
    p = batched(image)
    level = sigma_of(1.0 if sigma is None and eps is not None else sigma, p)
    penalty = FACTOR * level.double() ** 2 if eps is None else eps * (level > 0).double()
    out = [
        a if not e.any() else _one(a, g, e.expand(1, *a.shape[1:]), r)
        for a, g, e in zip(p, guide_of(guide, p), penalty, strict=True)
    ]
    return like(kept(torch.stack(out), p, level), image)


def _one(p: Tensor, guide: Tensor, eps: Tensor, r: int) -> Tensor:
    """Filter one image, some rows at a time with the ``2 r`` rows around that they depend on."""
    bands = []
    for top in range(0, p.shape[1], BAND):
        first, last = max(0, top - 2 * r), top + BAND + 2 * r
        image, inner, penalty = (a[:, first:last].double() for a in (p, guide, eps))
        bands.append(_band(image, inner, penalty, r)[:, top - first : top - first + BAND])
    return torch.cat(bands, 1).float()


def _band(p: Tensor, guide: Tensor, eps: Tensor, r: int) -> Tensor:
    count = box_sums(torch.ones_like(eps), r)

    def mean(x: Tensor) -> Tensor:
        return box_sums(x, r) / count

    size, mu, p_mean = len(guide), mean(guide), mean(p)
    sigma = [mean(guide * guide[i]) - mu * mu[i] for i in range(size)]
    matrix = [[sigma[i][j] + eps[0] * (i == j) for j in range(size)] for i in range(size)]
    a = _solved(matrix, [mean(guide[i] * p) - mu[i] * p_mean for i in range(size)])
    b = mean(p_mean - sum((a[i] * mu[i] for i in range(size)), torch.zeros_like(p)))
    return sum((mean(a[i]) * guide[i] for i in range(size)), b)


def box_sums(x: Tensor, r: int) -> Tensor:
    """Return the sums over the windows around each pixel, cut at the border, from running sums."""
    for dim in (-2, -1):
        n, sums = x.shape[dim], x.cumsum(dim)
        before = torch.zeros_like(sums.narrow(dim, 0, 1))
        after = sums.narrow(dim, n - 1, 1)
        sums = torch.cat([*[before] * (r + 1), sums, *[after] * r], dim)
        x = sums.narrow(dim, 2 * r + 1, n) - sums.narrow(dim, 0, n)
    return x


def _solved(matrix: list[list[Tensor]], right: list[Tensor]) -> list[Tensor]:
    """Solve at every pixel a symmetric system of a few unknowns, by eliminating its upper half."""
    rows, right = [list(row) for row in matrix], list(right)
    size = len(rows)
    for k in range(size):
        pivot = rows[k][k].clamp(min=TINY)
        for i in range(k + 1, size):
            ratio = rows[k][i] / pivot
            for j in range(i, size):
                rows[i][j] = rows[i][j] - ratio * rows[k][j]
            right[i] = right[i] - ratio * right[k]
    for k in reversed(range(size)):
        for j in range(k + 1, size):
            right[k] = right[k] - rows[k][j] * right[j]
        right[k] = right[k] / rows[k][k].clamp(min=TINY)
    return right
