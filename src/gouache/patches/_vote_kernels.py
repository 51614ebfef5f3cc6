"""Votes of matched patches.

Notation of ``_match.py``. Images are flat, a pixel's channels side by side; a band of rows of the
image that is built is worked on by one thread, which visits the places whose patches reach into it
in order: sums do not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

BAND = 32  # rows


@kernel(allocates=False)
def total(band, place, weight, source, wide, channels, p, out, norm):
    """Add the weighted patches that reach into a band.

    Args:
        band: of rows of ``out``.
        place: ``(k, h, w, 2)`` int32, -1 where there is none.
        weight: ``(k, h, w)``.
        source: ``(H' W' C,)``.
        wide: columns of the source.
        channels: C.
        p: side of a patch.
        out: ``(H, W C)``, 0.
        norm: ``(H, W)``, 0.
    """
    k, height, width, _ = place.shape
    first, last = band * BAND, min((band + 1) * BAND, len(out))
    for n in range(k):
        for y in range(max(0, first - p + 1), min(height, last)):
            top, below = max(y, first), min(y + p, last)
            for x in range(width):
                v, u, w = place[n, y, x, 0], place[n, y, x, 1], weight[n, y, x]
                if v < 0 or w == 0:
                    continue
                for r in range(top, below):
                    line, sums = out[r], norm[r]
                    start, at = x * channels, ((v + r - y) * wide + u) * channels
                    for t in range(p * channels):
                        line[start + t] += w * source[at + t]
                    for s in range(p):
                        sums[x + s] += w


@kernel(allocates=False)
def best(band, place, cost, p, found, least):
    """Set every pixel of a band to its origin by the patch of least cost that holds it.

    Args:
        band: of rows of ``least``.
        place: as in ``total``.
        cost: ``(k, h, w)``.
        p: as in ``total``.
        found: row and column in the source ``(H, W, 2)``, -1.
        least: the cost that won ``(H, W)``, infinite.
    """
    k, height, width, _ = place.shape
    first, last = band * BAND, min((band + 1) * BAND, len(least))
    for n in range(k):
        for y in range(max(0, first - p + 1), min(height, last)):
            for x in range(width):
                v, u, price = place[n, y, x, 0], place[n, y, x, 1], cost[n, y, x]
                for r in range(max(y, first), min(y + p, last) if v >= 0 else 0):
                    for s in range(x, x + p):
                        if price < least[r, s]:
                            least[r, s] = price
                            found[r, s, 0] = v + r - y
                            found[r, s, 1] = u + s - x


@kernel(allocates=False)
def variances(row, place, source, wide, channels, counted, p, out):
    """Set a row of ``out (k, h, w)`` to the variance of the patches that are pointed to.

    Args:
        row: of places.
        place: as in ``total``.
        source: as in ``total``.
        wide: as in ``total``.
        channels: C.
        counted: how many of them are, from the first.
        p: as in ``total``.
        out: the mean over these channels; 0 where there is no patch.
    """
    for n in range(len(place)):
        for x in range(place.shape[2]):
            v, u = place[n, row, x, 0], place[n, row, x, 1]
            found = np.float32(0)
            for c in range(counted if v >= 0 else 0):
                found += variance(source, (v * wide + u) * channels + c, wide, channels, p)
            out[n, row, x] = found / counted


@kernel(inline=True, allocates=False)
def variance(source, first, wide, channels, p):
    """Return the variance of a channel of a patch, whose first value is at ``first``."""
    mean, found = np.float32(0), np.float32(0)
    for r in range(p):
        for s in range(p):
            mean += source[first + (r * wide + s) * channels]
    mean /= p * p
    for r in range(p):
        for s in range(p):
            e = source[first + (r * wide + s) * channels] - mean
            found += e * e
    return found / (p * p)
