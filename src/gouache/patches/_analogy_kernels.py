"""Pixels copied one after the other to where what is known around them is alike.

Notation of ``_image_analogy.py``. Images are flat, a pixel's channels side by side, with a border
of r pixels around: the window of pixel (y, x) begins at (y, x).
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

INF = np.float32(np.inf)


@kernel(inline=True, allocates=False)
def distance(task, place, y, x, v, u, limit):
    """Return d of pixels (y, x) of B and (v, u) of A, or anything above ``limit``."""
    n, c, cs, r = task.side, task.channels, task.made, task.side // 2
    width, wide = place.shape[1], task.wide
    total, weights = np.float32(0), np.float32(0)
    for dy in range(n):
        i = ((y + dy) * (width + 2 * r) + x) * c
        j = ((v + dy) * (wide + 2 * r) + u) * c
        for dx in range(n):
            part = np.float32(0)
            for t in range(c):
                e = task.b[i + t] - task.a[j + t]
                part += e * e
            total += task.weight[dy, dx] * part
            i, j = i + c, j + c
        if total > limit:
            return total
    part = np.float32(0)
    for k in range(n * n // 2):
        dy, dx = k // n - r, k % n - r
        if y + dy >= 0 and 0 <= x + dx < width:
            packed, here = place[y + dy, x + dx], np.float32(0)
            i = (((packed >> 16) + r) * (wide + 2 * r) + (packed & 0xFFFF) + r) * cs
            j = ((v + dy + r) * (wide + 2 * r) + u + dx + r) * cs
            for t in range(cs):
                e = task.a_prime[i + t] - task.a_prime[j + t]
                here += e * e
            part += task.weight[dy + r, dx + r] * here
            weights += task.weight[dy + r, dx + r]
    return total + part / weights if weights > 0 else total


@kernel(inline=True, allocates=False)
def nearest(task, place, y, x, offered, guess):
    """Return the least d of what is offered (everything, if nothing is), and its place."""
    best, at = INF, np.int64(guess)
    count = len(offered) if len(offered) else task.high * task.wide
    if guess >= 0:
        best = distance(task, place, y, x, guess >> 16, guess & 0xFFFF, INF)
    for k in range(count):
        packed = np.int64(offered[k]) if len(offered) else k // task.wide << 16 | k % task.wide
        if packed >= 0:
            d = distance(task, place, y, x, packed >> 16, packed & 0xFFFF, best)
            if d < best:
                best, at = d, packed
    return best, at


@kernel(inline=True, allocates=False)
def coherent(task, place, y, x):
    """Return the least d of what goes on with a copy nearby, and its place, or -1."""
    best, at, n, r = INF, np.int64(-1), task.side, task.side // 2
    for k in range(n * n // 2):
        dy, dx = k // n - r, k % n - r
        if y + dy >= 0 and 0 <= x + dx < place.shape[1]:
            packed = np.int64(place[y + dy, x + dx])
            v, u = (packed >> 16) - dy, (packed & 0xFFFF) - dx
            if 0 <= v < task.high and 0 <= u < task.wide:
                d = distance(task, place, y, x, v, u, best)
                if d < best:
                    best, at = d, v << 16 | u
    return best, at


@kernel(allocates=False)
def fill(task, kappa, offered, guess, place):
    """Copy all pixels of B' in order.

    Args:
        task: see ``_image_analogy.Task``.
        kappa: how much worse what is coherent may be, relatively.
        offered: pixels of A for each, ``row << 16 | column``, ``(H, W, k)``; with k = 0 all are.
        guess: one more ``(H, W)``, or -1.
        place: the pixel that each is copied from ``(H, W)``, to be set.
    """
    for y in range(place.shape[0]):
        for x in range(place.shape[1]):
            far, at = nearest(task, place, y, x, offered[y, x], guess[y, x])
            d, near = coherent(task, place, y, x)
            place[y, x] = near if near >= 0 and d <= far * (1 + kappa) else at
