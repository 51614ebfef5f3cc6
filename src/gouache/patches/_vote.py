"""Images built of matched patches.

Notation of ``_match.py``.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache.check import InputError

from ._match import Field, image_of


def vote(field: Field, source: Tensor, *, weight: Tensor | None = None) -> Tensor:
    """Build an image of the matched patches: every pixel is the mean of the patches that hold it.

    ``x(r) = sum_p w(p) source(q(p) + r - p) / sum_p w(p)``, over the k patches of all places p; a
    pixel that no matched patch holds is NaN.

    Args:
        field: for every place of the image that is built, patches of ``source``.
        source: ``(C, H', W')``.
        weight: of every match ``(k, h, w)``, at least 0; None is 1.

    Raises:
        InputError: a source or weights that do not fit the field.

    Reference:
        Y. Wexler, E. Shechtman, M. Irani, "Space-time completion of video", 2007.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(3, 12, 12)
        >>> field = patches.brute_force(image, image, patch=5)
        >>> torch.allclose(patches.vote(field, image), image)
        True
    """
    source = image_of(source, "source")
    weights = weights_of(field, tuple(source.shape), weight)
    if source.is_cuda:
        return vote_by_tensors(field, source, weights)
    flat = source.permute(1, 2, 0).contiguous().view(-1).numpy()
    return vote_by_kernels(field, flat, tuple(source.shape), weights)


def vote_best(field: Field, *, cost: Tensor | None = None) -> Tensor:
    """Return where every pixel is copied from if it is the patch of least cost that holds it.

    Args:
        field: as in `vote`.
        cost: of every match ``(k, h, w)``; None is its distance.

    Returns:
        Row and column in the source ``(2, H, W)`` int32; -1 where no matched patch holds a pixel.

    Raises:
        InputError: costs that do not fit the field.

    Reference:
        Y. Wexler, E. Shechtman, M. Irani, "Space-time completion of video", 2007 (at the end the
        mean of the patches gives way to the best).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(3, 12, 12)
        >>> rows, cols = patches.vote_best(patches.brute_force(image[:, 2:], image, patch=5))
        >>> torch.equal(image[:, rows, cols], image[:, 2:])
        True
    """
    from . import _vote_kernels as kernels

    place, price = _arrays(field, _of_matches(field, cost, field.distance, "cost"))
    found = np.full((*_size(field), 2), -1, np.int32)
    least = np.full(found.shape[:2], np.inf, np.float32)
    _by_bands(kernels.best, place, price, field.patch, found, least)
    return torch.from_numpy(found).permute(2, 0, 1).to(field.place.device)


def weights_of(field: Field, shape: tuple[int, ...], weight: Tensor | None) -> Tensor:
    """Return what the matches of a field count, and check that it fits a source of this shape."""
    last = [int(field.place[..., axis].max()) + field.patch for axis in (0, 1)]
    if last[0] > shape[1] or last[1] > shape[2]:
        raise InputError(f"source {shape} is smaller than what the field points to")
    return _of_matches(field, weight, torch.ones_like(field.distance), "weight")


def vote_by_tensors(field: Field, source: Tensor, weight: Tensor) -> Tensor:
    """Do what `vote` does, on any device."""
    (k, h, w), p = field.distance.shape, field.patch
    weight = torch.where(field.place[..., 0] >= 0, weight, 0)
    total = source.new_zeros(len(source), h + p - 1, w + p - 1)
    norm = source.new_zeros(h + p - 1, w + p - 1)
    rows, cols = field.place.long().clamp(min=0).unbind(-1)
    for i, j, n in itertools.product(range(p), range(p), range(k)):
        total[:, i : i + h, j : j + w] += weight[n] * source[:, rows[n] + i, cols[n] + j]
        norm[i : i + h, j : j + w] += weight[n]
    return total / norm


def vote_by_kernels(
    field: Field, source: NDArray[np.float32], shape: tuple[int, ...], weight: Tensor
) -> Tensor:
    """Do what `vote` does, with the source flat, a pixel's channels side by side."""
    from . import _vote_kernels as kernels

    (channels, _, wide), (high, width) = shape, _size(field)
    place, weights = _arrays(field, weight)
    total = np.zeros((high, width * channels), np.float32)
    norm = np.zeros((high, width), np.float32)
    _by_bands(kernels.total, place, weights, source, wide, channels, field.patch, total, norm)
    found = torch.from_numpy(total).view(high, width, channels) / torch.from_numpy(norm)[..., None]
    return found.permute(2, 0, 1).contiguous()


def matched_variance(field: Field, source: Tensor) -> Tensor:
    """Return the variance of every matched patch of ``source (C, H', W')``, mean over channels.

    It is ``(k, h, w)``, and 0 where there is no match.
    """
    flat = source.permute(1, 2, 0).contiguous().view(-1).cpu().numpy()
    return variance_by_kernels(field, flat, tuple(source.shape), len(source))


def variance_by_kernels(
    field: Field, source: NDArray[np.float32], shape: tuple[int, ...], counted: int
) -> Tensor:
    """Do what `matched_variance` does over some channels, with the source flat."""
    from . import _vote_kernels as kernels
    from ._jit import spread

    found = np.empty(field.distance.shape, np.float32)
    given = (field.place.cpu().contiguous().numpy(), source, shape[2], shape[0], counted)
    rows = spread(lambda row: kernels.variances(row, *given, field.patch, found), found.shape[1])
    deque(rows, 0)
    return torch.from_numpy(found).to(field.place.device)


def _by_bands(kernel: Callable[..., None], *given: Any) -> None:
    """Run a kernel on all bands of rows of the last array."""
    from ._jit import spread
    from ._vote_kernels import BAND

    deque(spread(lambda band: kernel(band, *given), -(-len(given[-1]) // BAND)), 0)


def _size(field: Field) -> tuple[int, int]:
    """Return the rows and columns of the image that is built."""
    (_, h, w), p = field.distance.shape, field.patch
    return h + p - 1, w + p - 1


def _arrays(field: Field, values: Tensor) -> tuple[np.ndarray, np.ndarray]:
    return field.place.cpu().contiguous().numpy(), values.cpu().contiguous().numpy()


def _of_matches(field: Field, given: Tensor | None, usual: Tensor, name: str) -> Tensor:
    """Return what is given of every match, or what is usual."""
    values = usual if given is None else given
    if values.shape != field.distance.shape:
        raise InputError(
            f"{name} must be {tuple(field.distance.shape)}, one a match, got {tuple(values.shape)}"
        )
    return values.detach().float()
