"""Non-local means by offsets: row by row, every weight used for both of its pixels.

Notation: ``u`` the image ``(C, H, W)``, padded by f pixels; an offset ``t = (dy, dx)`` of the half
window pairs p with q = p + t; ``d2`` the mean square difference of the patches at p and q.

The rows are cut into strips of fixed height. A strip owns the pairs whose p lies in it and adds
them up in memory of its own, ``half`` rows longer, since q may lie below; the strips are summed in
order at the end. So the result does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from ._rows import exp_minus, squares

STRIP = 32


@kernel(inline=True)
def box(rows, side, column, out):
    """Set ``out[x]`` to the sum of columns x .. x + side - 1 of ``rows``, whose first is x = 0."""
    n, wide = len(out), len(column)
    first = rows[0, :wide]
    for i in range(wide):
        column[i] = first[i]
    for j in range(1, side):
        row = rows[j, :wide]
        for i in range(wide):
            column[i] += row[i]
    for i in range(n):
        out[i] = column[i]
    for j in range(1, side):
        shifted = column[j : j + n]
        for i in range(n):
            out[i] += shifted[i]


@kernel(inline=True)
def row_weights(u, f, y, fresh, dy, dx, x0, n, forgiven, h2, rows, column, w, bits, scale):
    """Set ``w[:n]`` to the weights of the pairs (p, q) of row y whose p begin at x0.

    ``rows`` holds the squares of rows y .. y + 2f of ``u``, row j in place j mod (2f + 1); all are
    computed if ``fresh``, else the last one alone, the others being there from row y - 1.
    """
    side = 2 * f + 1
    for j in range(0 if fresh else 2 * f, side):
        squares(u, y + j, dy, dx, x0, n + 2 * f, rows[(y + j) % side])
    box(rows, side, column[: n + 2 * f], w[:n])
    per_value = np.float32(1.0 / (u.shape[0] * side * side))
    x1 = x0 + dx
    p, q = forgiven[y, x0 : x0 + n], forgiven[y + dy, x1 : x1 + n]
    hp, hq = h2[y, x0 : x0 + n], h2[y + dy, x1 : x1 + n]
    for i in range(n):
        d = w[i] * per_value - (p[i] + q[i])
        d = d if d > np.float32(0) else np.float32(0)
        w[i] = np.float32(2) * d / (hp[i] + hq[i])
    exp_minus(w, n, bits, scale)


@kernel()
def pixelwise(s, u, f, half, forgiven, h2, acc, norm):
    """Add up the weighted pixels ``acc`` and the weights ``norm`` of all pairs of one strip.

    Args:
        s: the strip.
        u: ``(C, H + 2f, W + 2f)``.
        f: radius of a patch.
        half: radius of the window.
        forgiven: ``(H, W)``; the two pixels' are added and taken from d2.
        h2: ``(H, W)``; d2 is measured in the mean of the two pixels'.
        acc: ``(strips, C, STRIP + half, W)``, zero.
        norm: ``(strips, STRIP + half, W)``, zero.
    """
    channels, height, width = u.shape[0], u.shape[1] - 2 * f, u.shape[2] - 2 * f
    rows, column = (
        np.empty((2 * f + 1, width + 2 * f), np.float32),
        np.empty(width + 2 * f, np.float32),
    )
    w, bits = np.empty(width, np.float32), np.empty(width, np.int32)
    scale = bits.view(np.float32)
    first = s * STRIP
    for dy in range(half + 1):
        for dx in range(-half if dy else 1, half + 1):
            x0, n = max(0, -dx), width - abs(dx)
            if n <= 0:
                continue
            for y in range(first, min(first + STRIP, height - dy)):
                row_weights(
                    u, f, y, y == first, dy, dx, x0, n, forgiven, h2, rows, column, w, bits, scale
                )
                a, b, x1 = y - first, y - first + dy, x0 + dx
                add(norm[s, a, x0 : x0 + n], w)
                add(norm[s, b, x1 : x1 + n], w)
                for c in range(channels):
                    p, q = u[c, y + f, x0 + f :], u[c, y + dy + f, x1 + f :]
                    add_product(acc[s, c, a, x0 : x0 + n], w, q)
                    add_product(acc[s, c, b, x1 : x1 + n], w, p)


@kernel()
def windows(u, f, half, forgiven, h2, first, out):
    """Set ``out[r, x, t]`` to the weight of the pixel ``(first + r, x)`` and its t-th neighbour.

    A window is read row by row, ``out`` being ``(rows, W, (2 half + 1)^2)``. Where a neighbour is
    beyond the border the weight is 0; elsewhere it is above 0, and a pixel's own is 1. A pair is
    worked out from its upper pixel, so that both find the same bits.
    """
    height, width, side = u.shape[1] - 2 * f, u.shape[2] - 2 * f, 2 * half + 1
    rows = np.empty((2 * f + 1, width + 2 * f), np.float32)
    column, w = np.empty(width + 2 * f, np.float32), np.empty(width, np.float32)
    bits = np.empty(width, np.int32)
    scale = bits.view(np.float32)
    out[:] = np.float32(0)
    for r in range(out.shape[0]):
        y = first + r
        for dy in range(max(-half, -y), min(half, height - 1 - y) + 1):
            for dx in range(-min(half, width - 1), min(half, width - 1) + 1):
                x0, n, t = max(0, -dx), width - abs(dx), (dy + half) * side + dx + half
                if dy == 0 and dx == 0:
                    w[:] = np.float32(1)
                else:
                    above = dy < 0 or (dy == 0 and dx < 0)
                    ty, tx = (-dy, -dx) if above else (dy, dx)
                    y1, x1 = (y + dy, x0 + dx) if above else (y, x0)
                    row_weights(
                        u, f, y1, True, ty, tx, x1, n, forgiven, h2, rows, column, w, bits, scale
                    )
                for i in range(n):
                    out[r, x0 + i, t] = w[i]


@kernel(inline=True)
def add(out, w):
    """Add ``w`` to ``out``."""
    for i in range(len(out)):
        out[i] += w[i]


@kernel(inline=True)
def add_product(out, w, v):
    """Add ``w v`` to ``out``."""
    for i in range(len(out)):
        out[i] += w[i] * v[i]


@kernel(inline=True)
def divide(out, w, v):
    """Set ``out = w / v``."""
    for i in range(len(out)):
        out[i] = w[i] / v[i]


@kernel()
def total(s, norm, half, out):
    """Set ``out`` ``(H, W)``, for one strip, to the weights of a pixel, its own of 1 included."""
    height, width = out.shape
    for y in range(s * STRIP, min((s + 1) * STRIP, height)):
        for x in range(width):
            out[y, x] = np.float32(1)
        for k in range(max(0, (y - half) // STRIP - 1), y // STRIP + 1):
            row = y - k * STRIP
            if row < STRIP + half:
                for x in range(width):
                    out[y, x] += norm[k, row, x]


@kernel()
def patchwise(s, u, f, half, forgiven, h2, norm, acc):
    """Add up what every pixel gets from the patches of one strip that it lies in.

    The patch around p gives its pixel p + d the value ``u(q + d)`` with weight
    ``w(p, q) / norm(p)``: a pixel r gets ``u(r + t)`` with the sum of these over the patches that
    hold it, beyond the border too. Arguments as in :func:`pixelwise`; ``norm`` ``(H, W)`` is what
    :func:`total` gives.
    """
    channels, height, width = u.shape[0], u.shape[1] - 2 * f, u.shape[2] - 2 * f
    side, wide = 2 * f + 1, width + 4 * f
    rows, column = (
        np.empty((side, width + 2 * f), np.float32),
        np.empty(width + 2 * f, np.float32),
    )
    w, bits = np.empty(width, np.float32), np.empty(width, np.int32)
    scale = bits.view(np.float32)
    vp, vq = np.zeros((side, wide), np.float32), np.zeros((side, wide), np.float32)
    cp, cq = np.empty(width + 2 * f, np.float32), np.empty(width + 2 * f, np.float32)
    across = np.empty(wide, np.float32)
    first = s * STRIP
    begin, end = first if s else -f, min(first + STRIP, height)
    for dy in range(half + 1):
        for dx in range(-half if dy else 1, half + 1):
            x0, n = max(0, -dx), width - abs(dx)
            if n <= 0:
                continue
            vp[:] = np.float32(0)
            vq[:] = np.float32(0)
            fresh = True
            for y in range(begin - f, end + f):
                slot = (y + 2 * side) % side
                if 0 <= y < height - dy:
                    row_weights(
                        u, f, y, fresh, dy, dx, x0, n, forgiven, h2, rows, column, w, bits, scale
                    )
                    fresh = False
                    divide(vp[slot, 2 * f + x0 : 2 * f + x0 + n], w, norm[y, x0:])
                    divide(
                        vq[slot, 2 * f + x0 : 2 * f + x0 + n],
                        w,
                        norm[y + dy, x0 + dx :],
                    )
                else:
                    vp[slot] = np.float32(0)
                    vq[slot] = np.float32(0)
                r = y - f
                if r < begin:
                    continue
                box(vp, side, across, cp)
                box(vq, side, across, cq)
                if 0 <= r < height + f - dy:
                    a = max(0, -dx - f)
                    m = min(width, width - dx + f) - a
                    for c in range(channels):
                        source = u[c, r + dy + f, a + dx + f :]
                        add_product(acc[s, c, r - first, a : a + m], cp[f + a :], source)
                if 0 <= r + dy < height:
                    a = max(-f, -dx)
                    m = min(width + f, width - dx) - a
                    for c in range(channels):
                        target = acc[s, c, r + dy - first, a + dx : a + dx + m]
                        add_product(target, cq[f + a :], u[c, r + f, a + f :])


@kernel()
def gather(s, u, f, half, acc, norm, whole, out):
    """For pixels of one strip, sum all strips in order, add the pixel's own part, and divide."""
    channels, height, width = out.shape
    for y in range(s * STRIP, min((s + 1) * STRIP, height)):
        for x in range(width):
            own, among = np.float32(1), norm[y, x]
            if whole:
                own, count = np.float32(0), 0
                for i in range(max(0, y - f), min(height, y + f + 1)):
                    for j in range(max(0, x - f), min(width, x + f + 1)):
                        own += np.float32(1) / norm[i, j]
                        count += 1
                among = np.float32(count)
            for c in range(channels):
                value = own * u[c, y + f, x + f]
                for k in range(max(0, (y - half) // STRIP - 1), y // STRIP + 1):
                    row = y - k * STRIP
                    if row < STRIP + half:
                        value += acc[k, c, row, x]
                out[c, y, x] = value / among
