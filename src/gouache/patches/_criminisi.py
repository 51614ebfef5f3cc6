"""Holes filled patch by patch from their border inwards, edges first.

Notation: u the image, D what is still to be filled, its front the pixels of D beside known ones;
Psi_p the patch around p; C(p) how sure p is: 1 outside the hole, 0 in D.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gouache.registry import method

from ._hole import Hole, filled
from ._match import whole


@method("inpaint")
def criminisi(
    image: Tensor,
    mask: Tensor,
    *,
    source: Tensor | None = None,
    patch: int = 9,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Fill a hole patch by patch from its border inwards, the ends of edges first.

    In turn: the pixel p of the front with the highest priority ``C(Psi_p) D(p)`` is taken, ``C``
    being the mean of C over its patch and ``D`` the strongest edge there that runs into the front,
    ``|grad u^perp . n|``; of all free patches the one nearest to what is known of Psi_p fills the
    rest of it, and what is filled is as sure as ``C(Psi_p)``. Nothing filled is looked at again,
    so that structure goes on well and large textures less so. In float32, without Lab colours.

    Args:
        image: and the next two: as in `inpaint`.
        mask: see there.
        source: see there.
        patch: side of Psi; less where no whole patch is free.
        rng: nothing is drawn.
        progress: is told of (pixels filled, pixels in all).

    Raises:
        InputError: no image, a mask of another shape, nothing to copy.

    Reference:
        A. Criminisi, P. Perez, K. Toyama, "Region filling and object removal by exemplar-based
        image inpainting", 2004.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> stripes = (torch.arange(48) % 8 < 4).float().expand(1, 48, 48)
        >>> mask = torch.zeros(48, 48, dtype=torch.bool)
        >>> mask[18:30, 16:33] = True
        >>> torch.equal(patches.criminisi(stripes * ~mask, mask), stripes)
        True
    """
    del rng
    return filled(image, mask, source, patch, progress, _filled)


def _filled(hole: Hole, progress: Callable[[int, int], None]) -> Tensor:
    """Return the image with its hole filled."""
    from . import _criminisi_kernels as kernels

    p, at = hole.patch, np.empty(2, np.int64)
    u = hole.image.permute(1, 2, 0).contiguous().cpu().numpy()
    known, grey = (~hole.inside).cpu().numpy(), np.ascontiguousarray(u.mean(2))
    sure, allowed = known.astype(np.float32), whole(hole.free, p).cpu().numpy()
    total, done = int((~known).sum()), 0
    while True:
        kernels.foremost(grey, known, sure, p, at)
        if at[0] < 0:
            break
        y, x = (min(max(0, int(c) - p // 2), n - p) for c, n in zip(at, known.shape, strict=True))
        v, w = _nearest(u, known, allowed, (y, x), p)
        here, there = (slice(y, y + p), slice(x, x + p)), (slice(v, v + p), slice(w, w + p))
        new = ~known[here]
        u[here][new], grey[here][new] = u[there][new], grey[there][new]
        sure[here][new] = sure[here].mean()
        known[here] = True
        done += int(new.sum())
        progress(done, total)
    return torch.from_numpy(u).permute(2, 0, 1).contiguous().to(hole.image.device)


def _nearest(
    u: np.ndarray, known: np.ndarray, allowed: np.ndarray, at: tuple[int, int], p: int
) -> tuple[int, int]:
    """Return the free patch that is nearest to what is known of another."""
    from . import _criminisi_kernels as kernels
    from ._jit import spread

    bands = -(-len(allowed) // kernels.BAND)
    cost, place = np.empty(bands, np.float32), np.empty(bands, np.int64)
    given = (u.reshape(-1), known, allowed, *at, p, u.shape[2], cost, place)
    deque(spread(lambda band: kernels.nearest(band, *given), bands), 0)
    v, w = divmod(int(place[np.argmin(cost)]), allowed.shape[1])
    return v, w
