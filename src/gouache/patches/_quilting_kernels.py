"""Cuts of least error through the overlap of two images.

Notation: ``e (n, v)`` the squared differences in a strip, its n lines running along the cut; a path
has one place per line, and from line to line moves by at most one. ``to_end[i, j]`` is the least
sum over paths from (i, j) to the last line.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel


@kernel(inline=True)
def onward(to_end, i, j):
    """Return the place of line i + 1 that the best path goes to from (i, j)."""
    best = j
    for k in range(max(0, j - 1), min(to_end.shape[1], j + 2)):
        if to_end[i + 1, k] < to_end[i + 1, best]:
            best = k
    return best


@kernel(inline=True)
def accumulate(e):
    """Return ``to_end``."""
    to_end = e.copy()
    for i in range(e.shape[0] - 2, -1, -1):
        for j in range(e.shape[1]):
            to_end[i, j] += to_end[i + 1, onward(to_end, i, j)]
    return to_end


@kernel(inline=True)
def trace(to_end, i, j, path):
    """Set ``path`` from line i, place j on; above, the path keeps to j."""
    path[: i + 1] = j
    while i < len(path) - 1:
        j = onward(to_end, i, j)
        i += 1
        path[i] = j


@kernel()
def straight(e, path):
    """Set ``path (n,)`` to the path of least sum along the whole strip; return the sum."""
    to_end, best = accumulate(e), 0
    for j in range(e.shape[1]):
        if to_end[0, j] < to_end[0, best]:
            best = j
    trace(to_end, 0, best, path)
    return to_end[0, best]


@kernel()
def corner(left, top, path, other):
    """Set two paths that meet where both strips are to those of least sum; return the sum.

    A path comes up the left strip ``(h, a)``, another along the top strip ``(w, b)`` from the
    right; they meet at one pixel of the b x a corner, which counts once.

    Args:
        left: e of the left strip.
        top: e of the top strip, transposed, so that its lines are columns.
        path: ``(h,)``; above the meeting point, its column.
        other: ``(w,)``; left of the meeting point, its row.
    """
    up, along = accumulate(left), accumulate(top)
    least, y, x = np.float32(np.inf), 0, 0
    for i in range(top.shape[1]):
        for j in range(left.shape[1]):
            total = up[i, j] + along[j, i] - left[i, j]
            if total < least:
                least, y, x = total, i, j
    trace(up, y, x, path)
    trace(along, x, y, other)
    return least
