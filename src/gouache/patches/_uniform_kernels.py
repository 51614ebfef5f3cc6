"""A sweep that gives every place a patch which is like it and not yet used too often.

Notation of ``_uniform.py``. Images are flat, a pixel's channels side by side; a patch of the source
is ``row << 16 | column``.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel


@kernel(inline=True, reassociate=True, allocates=False)
def distance(a, b, i, j, rows, row_a, row_b, n, limit):
    """Return the sum of squares of patches that begin at i and j, or anything above ``limit``."""
    total = np.float32(0)
    for _ in range(rows):
        for t in range(np.uint64(n)):
            e = a[np.uint64(i) + t] - b[np.uint64(j) + t]
            total += e * e
        if total > limit:
            break
        i, j = i + row_a, j + row_b
    return total


@kernel(inline=True, allocates=False)
def used(use, v, u, p):
    """Return how many matches hold the pixels of a patch, summed over them."""
    total = 0
    for r in range(v, v + p):
        for s in range(u, u + p):
            total += use[r, s]
    return total


@kernel(inline=True, allocates=False)
def count(use, v, u, p, by):
    """Add ``by`` to how many matches hold each pixel of a patch."""
    for r in range(v, v + p):
        for s in range(u, u + p):
            use[r, s] += by


@kernel(allocates=False)
def sweep(query, source, channels, p, price, back, offered, place, far, use):
    """Let every place, one after the other, take the patch of least cost, and keep the books.

    Args:
        query: ``(H W C,)``.
        source: ``(H' W' C,)``.
        channels: C.
        p: side of a patch.
        price: of a pixel of the source for every match that holds it.
        back: whether the last place comes first.
        offered: patches to be tried beside its own and its neighbours', ``(h, w, k)``, or -1.
        place: patch of every place ``(h, w)``.
        far: its d ``(h, w)``.
        use: how many matches hold each pixel of the source ``(H', W')``.
    """
    (height, width, k), (high, wide) = offered.shape, use.shape
    row_a, row_b, n, step = (width + p - 1) * channels, wide * channels, p * channels, 1
    step = -1 if back else 1
    for m in range(height * width):
        at = height * width - 1 - m if back else m
        y, x = at // width, at % width
        i = y * row_a + x * channels
        v, u = np.int64(place[y, x] >> 16), np.int64(place[y, x] & 0xFFFF)
        count(use, v, u, p, -1)
        d = distance(query, source, i, v * row_b + u * channels, p, row_a, row_b, n, np.inf)
        best = d + price * used(use, v, u, p)
        for c in range(k + 2):
            if c < k:
                packed, dy, dx = offered[y, x, c], 0, 0
            else:
                dy, dx = (step, 0) if c == k else (0, step)
                if not (0 <= y - dy < height and 0 <= x - dx < width):
                    continue
                packed = place[y - dy, x - dx]
            row, col = np.int64(packed >> 16) + dy, np.int64(packed & 0xFFFF) + dx
            if packed < 0 or not (0 <= row <= high - p and 0 <= col <= wide - p):
                continue
            j = row * row_b + col * channels
            e = distance(query, source, i, j, p, row_a, row_b, n, best)
            if e < best:
                cost = e + price * used(use, row, col, p)
                if cost < best:
                    best, d, v, u = cost, e, row, col
        count(use, v, u, p, 1)
        place[y, x], far[y, x] = v << 16 | u, d
