"""Exact nearest neighbours, a block of rows at a time.

A block of squared distances comes from one matrix product in float64 on centred features,
``|x|^2 - 2 x.y + |y|^2``, which is fast and off by about 1e-15 of the squared norms: enough to
rank, not enough to tell a copy from a near copy. So whatever decides a result (the winners, and
comparisons within rounding) is computed again as ``sum (x - y)^2``, which is exactly 0 for copies.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError

_ENTRIES, _ROWS = 1 << 17, 32
_SPARE = 4


def nearest(
    images: Tensor, reference: Tensor, k: int = 1, *, exclude_self: bool = False
) -> tuple[Tensor, Tensor]:
    """Return the distances and indices of each image's ``k`` nearest in ``reference``.

    ``d_ij = |x_i - y_j|`` over flattened pixels (or given features), exact in float64; memory is
    O(block x N), never O(N^2).

    Args:
        images: ``(N, ...)``.
        reference: ``(M, ...)`` of the same shape apart from M.
        k: how many neighbours.
        exclude_self: the two sets are one, in one order; leave out ``d_ii``.

    Returns:
        Distances ``(N, k)`` float64, increasing, and indices ``(N, k)`` into ``reference``.

    Raises:
        InputError: shapes that differ, entries that are not finite, fewer than k references.

    Reference:
        C. Meehan, K. Chaudhuri, S. Dasgupta, "A Non-Parametric Test to Detect Data-Copying in
        Generative Models", 2020.

    Example:
        >>> import torch
        >>> x = torch.tensor([[0.0], [1.0], [3.0]])
        >>> nearest(x, x, exclude_self=True)[1].flatten().tolist()
        [1, 0, 1]
    """
    if images.shape[1:] != reference.shape[1:]:
        raise InputError(
            f"images and reference must match apart from their number, got {tuple(images.shape)} "
            f"and {tuple(reference.shape)}; resize one of them"
        )
    if exclude_self and len(images) != len(reference):
        raise InputError("exclude_self needs one and the same set twice; drop it for two sets")
    check.count(k, "k", high=len(reference) - exclude_self)
    x = check.finite(images, "images").flatten(1).double()
    y = check.finite(reference, "reference").flatten(1).double()
    squares, indices = winners(x, y, k, exclude_self=exclude_self)
    return squares.sqrt(), indices


def winners(x: Tensor, y: Tensor, k: int, *, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """Return the exact squared distances and indices ``(N, k)`` of :func:`nearest`."""
    squares = torch.empty(len(x), k, dtype=torch.float64, device=x.device)
    indices = torch.empty(len(x), k, dtype=torch.int64, device=x.device)
    for rows, d2 in blocks(x, y, exclude_self=exclude_self):
        squares[rows], indices[rows] = _rank(x, y, rows, d2, k)
    return squares, indices


def blocks(x: Tensor, y: Tensor, *, exclude_self: bool = False) -> Iterator[tuple[slice, Tensor]]:
    """Yield ``(rows, d2)``: squared distances ``(rows, M)`` of float64 x ``(N, D)`` to y.

    Every block is written over the one before: one buffer, made once, keeps the allocator from
    scattering the results among blocks, which would triple the memory held.
    """
    shift = y.mean(0)
    y = y - shift
    y_norms = (y * y).sum(1)
    size = min(len(x), max(_ROWS, _ENTRIES // len(y)))
    buffer = torch.empty(size, len(y), dtype=torch.float64, device=x.device)
    for start in range(0, len(x), size):
        rows = slice(start, min(start + size, len(x)))
        a = x[rows] - shift
        d2 = torch.mm(a, y.T, out=buffer[: len(a)]).mul_(-2).add_(y_norms)
        d2.add_((a * a).sum(1, keepdim=True)).clamp_(min=0)
        if exclude_self:
            own = torch.arange(rows.start, rows.stop, device=x.device)
            d2[torch.arange(len(own), device=x.device), own] = torch.inf
        yield rows, d2


def exact(x: Tensor, y: Tensor, i: Tensor, j: Tensor) -> Tensor:
    """Return ``|x_i - y_j|^2`` by differences, for pairs of indices ``(P,)``."""
    size = max(1, 4 * _ENTRIES // x.shape[1])
    pairs = zip(i.split(size), j.split(size), strict=True)
    return torch.cat([(x[a] - y[b]).square().sum(1) for a, b in pairs])


def _rank(x: Tensor, y: Tensor, rows: slice, d2: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the k nearest of a block, ranked by exact distance, ties by index."""
    wide = min(k + _SPARE, d2.shape[1])
    rough, j = d2.topk(wide, largest=False)
    j, order = j.sort(1)
    i = torch.arange(rows.start, rows.stop, device=x.device)[:, None].expand(-1, wide)
    sharp = exact(x, y, i.reshape(-1), j.reshape(-1)).view_as(j)
    sharp[rough.gather(1, order).isinf()] = torch.inf
    sharp, order = torch.sort(sharp, dim=1, stable=True)
    return sharp[:, :k], j.gather(1, order)[:, :k]
