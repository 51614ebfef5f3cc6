"""The search of the onion peel.

Notation of ``_onion_peel.py``; the image is flat, a pixel's channels side by side.
"""

from __future__ import annotations

import numpy as np

from ._criminisi_kernels import apart
from ._jit import kernel


@kernel(allocates=False)
def nearest(number, u, known, queries, sources, p, channels, place, cost):
    """Find, among some patches, the one that differs least from a query where that is known.

    Args:
        number: of the query.
        u: the image, flat.
        known: ``(H, W)``.
        queries: row and column of each ``(n, 2)``.
        sources: row and column of each patch that may be copied ``(m, 2)``.
        p: side of a patch.
        channels: C.
        place: row and column of the nearest ``(n, 2)``.
        cost: its sum of squares ``(n,)``.
    """
    y, x = queries[number]
    cost[number] = np.inf
    for k in range(len(sources)):
        v, w = sources[k]
        d = apart(u, known, y, x, v, w, p, channels, cost[number])
        if d < cost[number]:
            cost[number] = d
            place[number, 0], place[number, 1] = v, w
