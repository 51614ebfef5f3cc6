"""Non-local means as a filter on a graph: pixels are nodes, and weights join those that look alike.

Notation: as in non-local means; N pixels, row by row; ``W`` the symmetric matrix of the weights
``w(p, q)``, ``D`` the diagonal matrix of its row sums; the filter is ``D^-1 W``.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError

from ._image import batched, sigma_of
from ._nlmeans import Job, arrays, job_of, odd

BYTES = 8  # of a weight: a column and a value
BUILT = 120  # bytes of an edge that is kept, while both its ends are put in order
MOST = 1 << 32  # bytes of a graph
BAND = 1 << 23  # bytes of the windows of some rows


def nlmeans_graph(
    image: Tensor,
    sigma: float | Tensor | None = None,
    *,
    patch: int | None = None,
    window: int | None = None,
    h: float | None = None,
    keep: int | None = None,
) -> Tensor:
    """Return the weights W of non-local means as a sparse matrix ``(N, N)``, float32, CSR.

    With ``W = nlmeans_graph(image, ...)`` and ``D = W.sum(1)``, the filter is ``D^-1 W``: applied
    to the pixels of the image, it gives ``nlmeans(image, ..., aggregate="pixel")``. W is symmetric,
    a pixel's own weight is 1, and the eigenvalues of ``D^-1 W`` lie in (-1, 1]; that of 1 belongs
    to constants, so that ``D - W`` is the Laplacian of the graph.

    Memory is 8 bytes a weight, at most ``8 N window^2``, and some 300 MB beside it. With ``keep``
    it is at most ``8 N (2 keep + 1)``, and ``120 N (keep + 1)`` while it is built. What takes more
    than 4 GiB is refused.

    Args:
        image: one image ``(C, H, W)``, pixel range 1.
        sigma: noise in units of the pixel range: a number, or a map ``(H, W)``; None estimates it.
        patch: side of a patch, odd; None and the next two: as in ``nlmeans``.
        window: side of the search window, odd.
        h: decay of the weights in sigmas.
        keep: an edge stays if it is among the ``keep`` strongest of one of its two pixels (of equal
            ones any); None keeps all.

    Raises:
        InputError: not one image, sigma on another scale, an even side, or a graph too large.

    Reference:
        A. Buades, B. Coll, J.-M. Morel, "A non-local algorithm for image denoising", 2005;
        G. Gilboa, S. Osher, "Nonlocal operators with applications to image processing", 2008.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 12, 10, generator=torch.Generator().manual_seed(0))
        >>> W = patches.nlmeans_graph(image, 0.2, patch=3, window=5)
        >>> filtered = (W @ image.reshape(-1, 1)) / (W @ torch.ones(120, 1))
        >>> expected = patches.nlmeans(image, 0.2, patch=3, window=5, aggregate="pixel")
        >>> torch.allclose(filtered.view(1, 12, 10), expected, atol=1e-5)
        True
    """
    u = batched(image)
    if len(u) > 1:
        raise InputError(f"a graph is of one image (C, H, W), got a batch of {len(u)}")
    given = (odd(patch, "patch"), odd(window, "window"), h)
    check.between(1.0 if h is None else h, "h", 1e-6)
    level = sigma_of(sigma, u)[0]
    job = job_of(u[0].detach().cpu(), level.cpu(), given, False)
    if not level.any():
        job = job_of(u[0].detach().cpu(), level.cpu() + 1, (1, 1, 1.0), False)
    if keep is not None:
        check.count(keep, "keep")
    _check_size(job, keep)
    return (_whole(job) if keep is None else _strongest(job, keep)).to(image.device)


def windows(job: Job, first: int, last: int) -> Tensor:
    """Return the weights of the pixels of some rows and their windows ``(rows, W, window^2)``."""
    from . import _nlmeans_kernels as kernels

    u, noise2, h2 = arrays(job)
    out = torch.empty(last - first, noise2.shape[1], (2 * job.half + 1) ** 2)
    kernels.windows(u, job.f, job.half, noise2, h2, first, out.numpy())
    return out


def _check_size(job: Job, keep: int | None) -> None:
    """Refuse a graph that takes more than ``MOST`` bytes."""
    height, width = job.noise2.shape
    edges = int(_spans(height, job.half).sum() * _spans(width, job.half).sum())
    size = BYTES * edges if keep is None else BUILT * height * width * (keep + 1)
    if size > MOST:
        kept = f"window of {2 * job.half + 1}" if keep is None else f"keep of {keep}"
        raise InputError(
            f"the graph of {width}x{height} pixels with a {kept} takes {size / 2**30:.1f} GiB, and "
            f"the most is {MOST >> 30} GiB; pass a smaller image, "
            + ("a smaller window, or keep=16" if keep is None else "or fewer")
        )


def _spans(length: int, half: int) -> Tensor:
    """Return how many places along an axis each window has within the image."""
    at = torch.arange(length)
    return (at + half).clamp(max=length - 1) - (at - half).clamp(min=0) + 1


def _bands(job: Job) -> list[tuple[int, int]]:
    """Return first and last row of each part of the image that is worked on at once."""
    height, width = job.noise2.shape
    rows = max(1, BAND // (4 * width * (2 * job.half + 1) ** 2))
    return [(y, min(y + rows, height)) for y in range(0, height, rows)]


def _neighbours(job: Job) -> Tensor:
    """Return how far on each place of a window is in the row of all pixels ``(window^2,)``."""
    step = torch.arange(-job.half, job.half + 1)
    return (step[:, None] * job.noise2.shape[1] + step).reshape(-1)


def _whole(job: Job) -> Tensor:
    """Return the matrix with every weight; its entries come in order of rows and columns."""
    from ._jit import spread

    height, width = job.noise2.shape
    counts = (_spans(height, job.half)[:, None] * _spans(width, job.half)).reshape(-1)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    columns = torch.empty(int(starts[-1]), dtype=torch.int32)
    values, bands, steps = torch.empty(len(columns)), _bands(job), _neighbours(job).int()
    found = spread(lambda k: windows(job, *bands[k]), len(bands))
    for (first, last), weights in zip(bands, found, strict=True):
        pixels = torch.arange(first * width, last * width, dtype=torch.int32)
        weights = weights.reshape(len(pixels), -1)
        inside, mine = weights > 0, slice(starts[first * width], starts[last * width])
        values[mine] = weights[inside]
        columns[mine] = (pixels[:, None] + steps)[inside]
    return _matrix(starts, columns, values)


def _strongest(job: Job, keep: int) -> Tensor:
    """Return the matrix of the strongest edges of every pixel."""
    from ._jit import spread

    height, width = job.noise2.shape
    bands, steps = _bands(job), _neighbours(job)
    keys, values = list[Tensor](), list[Tensor]()
    found = spread(lambda k: _top(windows(job, *bands[k]), keep), len(bands))
    for (first, last), (weights, places) in zip(bands, found, strict=True):
        pixels = torch.arange(first * width, last * width)[:, None]
        inside = weights > 0
        others = (pixels + steps[places])[inside]
        pixels = pixels.expand_as(places)[inside]
        keys += [pixels * height * width + others, others * height * width + pixels]
        values += [weights[inside]] * 2
    ordered, place = torch.cat(keys).sort()
    fresh = torch.ones_like(ordered, dtype=torch.bool)
    fresh[1:] = ordered[1:] != ordered[:-1]
    ordered, value = ordered[fresh], torch.cat(values)[place[fresh]]
    counts = torch.bincount(ordered // (height * width), minlength=height * width)
    starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    return _matrix(starts, (ordered % (height * width)).int(), value)


def _top(weights: Tensor, keep: int) -> tuple[Tensor, Tensor]:
    """Return each pixel itself and its strongest neighbours, weights and places ``(n, keep + 1)``.

    Where there are fewer, weights are 0.
    """
    weights = weights.reshape(-1, weights.shape[-1])
    own = weights.shape[1] // 2
    weights[:, own] = 2
    values, places = weights.topk(min(keep + 1, weights.shape[1]), sorted=False)
    return values.clamp(max=1), places


def _matrix(starts: Tensor, columns: Tensor, values: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support is in beta")
        n = len(starts) - 1
        return torch.sparse_csr_tensor(
            starts.int(), columns, values, (n, n), check_invariants=False
        )
