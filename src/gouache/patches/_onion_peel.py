"""A hole filled from its border inwards, layer by layer: what an optimisation then begins with.

Notation: u the image; a *layer* is the pixels not yet known beside known ones; queries are the
patches that meet the layer, and each finds, among the *sources*, the patch nearest to what is known
of it.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import avg_pool2d, max_pool2d

from ._match import Field, whole
from ._vote import vote

QUARTILE, LEAST, SURE = 0.75, 1e-12, 4
MOST = 2**24  # pairs of a query and a source that are looked at


def onion_peel(u: Tensor, known: Tensor, free: Tensor, patch: int) -> Tensor:
    """Fill what is not known of an image, layer by layer.

    A pixel of the layer becomes the mean of what the patches that hold it have there, weighted by
    ``s^4 exp(-d / 2 q)``, with s the share of the query that is known, d the distance over what is
    known, and q its upper quartile. Every n-th source is looked at where they are too many.

    Args:
        u: ``(C, H, W)``; what is not known has no influence.
        known: ``(H, W)``, at least one pixel.
        free: pixels that may be copied ``(H, W)``, all known, at least one patch.
        patch: side P.

    Reference:
        A. Newson, A. Almansa, Y. Gousseau, P. Perez, "Non-local patch-based image inpainting",
        2017 (initialisation).
    """
    source = torch.where(known, u, 0)
    x, sources, most = source.clone(), whole(free, patch).nonzero(), MOST // max(1, depth(known))
    while not known.all():
        layer = _around(known, 3) & ~known
        field, share = _nearest(x, known, _around(layer, patch, 0), sources, patch, most)
        some = field.distance[field.place[..., 0] >= 0]
        scale = max(2 * float(np.quantile(some.numpy(), QUARTILE)), LEAST)
        weight = share**SURE * np.exp(-field.distance.numpy() / scale)
        found = vote(field, source, weight=torch.from_numpy(weight.clip(LEAST)).float())
        x = torch.where(layer, found, x)
        known = known | layer
    return x


def depth(known: Tensor) -> int:
    """Return how many layers what is not known has."""
    if not known.any():
        return 0
    steps: Any = ndimage.distance_transform_cdt(~known.cpu().numpy(), "chessboard")
    return int(steps.max())


def _around(mask: Tensor, side: int, margin: int = 1) -> Tensor:
    """Return which windows of some side meet a mask, the mask being extended by a margin."""
    return max_pool2d(mask[None].float(), side, 1, margin)[0] > 0


def _nearest(
    x: Tensor, known: Tensor, asked: Tensor, sources: Tensor, patch: int, most: int
) -> tuple[Field, NDArray[np.float32]]:
    """Return the nearest source of every patch that is asked for, and how much of it is known."""
    from . import _criminisi_kernels as kernels
    from ._jit import spread

    queries = asked.nonzero()
    some = sources[:: 1 + len(queries) * len(sources) // most].contiguous().numpy()
    at, cost = np.empty((len(queries), 2), np.int32), np.empty(len(queries), np.float32)
    flat = x.permute(1, 2, 0).contiguous().view(-1).numpy()
    given = (flat, known.numpy(), queries.numpy(), some, patch, len(x), at, cost)
    deque(spread(lambda number: kernels.nearest_of(number, *given), len(queries)), 0)
    place, distance = (
        torch.full((*asked.shape, 2), -1, dtype=torch.int32),
        torch.full(asked.shape, torch.inf),
    )
    place[asked], distance[asked] = torch.from_numpy(at), torch.from_numpy(cost)
    share = avg_pool2d(known[None].float(), patch, 1)
    return Field(place[None], distance[None], patch), share.numpy()
