"""The order in which a hole is filled, and the search for what fills it.

Notation of ``_criminisi.py``; the image is flat, a pixel's channels side by side.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

BAND = 32  # rows of the source's patches
DATA = 1e-3  # of the data term, so that flat parts are filled by confidence alone


@kernel(allocates=False)
def foremost(grey, known, sure, p, at):
    """Set ``at`` to the row and column of the pixel of the front with the highest priority.

    Args:
        grey: ``(H, W)``, what is filled so far.
        known: which pixels are ``(H, W)``.
        sure: C of each ``(H, W)``, 0 where it is not known.
        p: side of a patch.
        at: ``(2,)``; -1 if nothing is left.
    """
    high, wide = grey.shape
    best = -1.0
    at[0] = at[1] = -1
    for y in range(high):
        for x in range(wide):
            if known[y, x] or not beside(known, y, x):
                continue
            confidence = 0.0
            top, left = start(y, p, high), start(x, p, wide)
            for r in range(top, top + p):
                for s in range(left, left + p):
                    confidence += sure[r, s]
            priority = confidence / (p * p) * (DATA + data(grey, known, p, y, x))
            if priority > best:
                best = priority
                at[0], at[1] = y, x


@kernel(inline=True, allocates=False)
def start(at, p, n):
    """Return where, along a side of n pixels, the patch around a pixel begins."""
    return min(max(0, at - p // 2), n - p)


@kernel(inline=True, allocates=False)
def beside(known, y, x):
    """Return whether one of the four neighbours is known."""
    high, wide = known.shape
    return (
        (y > 0 and known[y - 1, x])
        or (y + 1 < high and known[y + 1, x])
        or (x > 0 and known[y, x - 1])
        or (x + 1 < wide and known[y, x + 1])
    )


@kernel(inline=True, allocates=False)
def data(grey, known, p, y, x):
    """Return how strong an edge runs into the front at (y, x), the strongest within its patch."""
    high, wide = grey.shape
    ny, nx = 0.0, 0.0
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            if 0 <= y + dy < high and 0 <= x + dx < wide and known[y + dy, x + dx]:
                ny -= dy
                nx -= dx
    norm = np.sqrt(ny * ny + nx * nx)
    strongest, found = 0.0, 0.0
    top, left = start(y, p, high), start(x, p, wide)
    for r in range(max(1, top), min(high - 1, top + p)):
        for s in range(max(1, left), min(wide - 1, left + p)):
            if not (known[r, s] and known[r - 1, s] and known[r + 1, s]):
                continue
            if not (known[r, s - 1] and known[r, s + 1]):
                continue
            gy, gx = (grey[r + 1, s] - grey[r - 1, s]) / 2, (grey[r, s + 1] - grey[r, s - 1]) / 2
            if gy * gy + gx * gx > strongest:
                strongest = gy * gy + gx * gx
                found = abs(gx * ny - gy * nx)
    return found / norm if norm > 0 else np.sqrt(strongest)


@kernel(allocates=False)
def nearest(band, u, known, allowed, y, x, p, channels, cost, place):
    """Find the patch in a band of rows that differs least from (y, x) where that is known.

    Args:
        band: of the source's patches.
        u: the image, flat.
        known: ``(H, W)``.
        allowed: which patches may be copied ``(h, w)``.
        y: first row of the patch to be filled.
        x: first column.
        p: its side.
        channels: C.
        cost: of the nearest, one a band.
        place: its linear place, one a band.
    """
    high, wide = allowed.shape
    cost[band], place[band] = np.inf, -1
    for v in range(band * BAND, min(high, (band + 1) * BAND)):
        for w in range(wide):
            if allowed[v, w]:
                d = apart(u, known, y, x, v, w, p, channels, cost[band])
                if d < cost[band]:
                    cost[band], place[band] = d, v * wide + w


@kernel(allocates=False)
def nearest_of(number, u, known, queries, sources, p, channels, place, cost):
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


@kernel(inline=True, allocates=False)
def apart(u, known, y, x, v, w, p, channels, limit):
    """Return the sum of squares of two patches where the first is known, or more than a limit."""
    wide, total = known.shape[1], np.float32(0)
    for r in range(p):
        i, j = ((y + r) * wide + x) * channels, ((v + r) * wide + w) * channels
        for s in range(p):
            if known[y + r, x + s]:
                for c in range(channels):
                    e = u[i + s * channels + c] - u[j + s * channels + c]
                    total += e * e
        if total >= limit:
            break
    return total
