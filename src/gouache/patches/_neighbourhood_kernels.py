"""Textures grown pixel by pixel: each is copied from where its surroundings look most alike.

Notation: ``u (C, H, W)`` the atlas with its guides, flat; a *term* k of a pixel is something known
nearby: what it is, how much it counts, and how far along u its counterpart lies from a candidate's
own pixel. ``d(q) = sum_k weight_k (u(q + shift_k) - value_k)^2``.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

LANES = 32  # candidates looked at side by side
TERMS = 8  # added to all of them before they are given up
INF = np.float32(np.inf)


@kernel(inline=True, allocates=False)
def hashed(seed, at):
    """Return a 32-bit hash of two numbers."""
    x = np.uint64(seed) + np.uint64(at) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((x ^ (x >> np.uint64(31))) & np.uint64(0xFFFFFFFF))


@kernel(inline=True, allocates=False)
def beside(n, i, wraps):
    """Return the row or column i of n, round the end if ``wraps``; -1 if it is outside."""
    if 0 <= i < n:
        return i
    return (i + n) % n if wraps else -1


@kernel(inline=True, allocates=False)
def collect(task, y, x, place, shift, value, weight):
    """Set the terms of pixel (y, x), the nearest first; return how many there are."""
    height, width = place.shape
    area, wide = task.allowed.size, task.allowed.shape[1]
    n, known, total = 0, np.float32(0), np.float32(0)
    for k in range(len(task.near)):
        i = beside(height, y + task.near[k, 0], task.wraps)
        j = beside(width, x + task.near[k, 1], task.wraps)
        if i >= 0 and j >= 0 and place[i, j] >= 0:
            known += task.near_weight[k]
            for c in range(task.channels):
                shift[n] = c * area + task.near[k, 0] * wide + task.near[k, 1]
                value[n] = task.u[c * area + place[i, j]]
                weight[n] = task.near_weight[k]
                n += 1
    first = n
    for k in range(first):
        weight[k] /= known
    for k in range(len(task.far)):
        i = beside(height, y + task.far[k, 0], task.wraps)
        j = beside(width, x + task.far[k, 1], task.wraps)
        if i >= 0 and j >= 0:
            total += task.far_weight[k]
            for c in range(len(task.share)):
                at = (task.channels + c) * area
                shift[n] = at + task.far[k, 0] * wide + task.far[k, 1]
                value[n] = task.wish[c, i, j]
                weight[n] = task.far_weight[k] * task.share[c]
                n += 1
    for k in range(first, n):
        weight[k] /= total
    return n


@kernel(inline=True, allocates=False)
def distance(u, q, shift, value, weight, n):
    """Return d(q), its terms added in their order."""
    total = np.float32(0)
    for k in range(n):
        e = u[q + shift[k]] - value[k]
        total += weight[k] * e * e
    return total


@kernel(inline=True, allocates=False)
def guess(task, y, x, place, shift, value, weight, n):
    """Return the least d among the places that go on with a neighbour's copy."""
    height, width = place.shape
    high, wide = task.allowed.shape
    best = INF
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            i, j = beside(height, y + dy, task.wraps), beside(width, x + dx, task.wraps)
            if i >= 0 and j >= 0 and place[i, j] >= 0:
                row, col = place[i, j] // wide - dy, place[i, j] % wide - dx
                if 0 <= row < high and 0 <= col < wide and task.allowed[row, col]:
                    best = min(best, distance(task.u, row * wide + col, shift, value, weight, n))
    return best


@kernel(inline=True, allocates=False)
def scan(task, shift, value, weight, n, best, lanes, far):
    """Set ``far (H W,)`` to d, infinite where it is beyond the limit; return the limit."""
    u, allowed = task.u, task.allowed
    high, wide = allowed.shape
    limit = best * (1 + task.tolerance) + task.unseen
    for y in range(task.margin, high - task.margin):
        for x in range(task.margin, wide - task.margin, LANES):
            m, q, k, low = min(LANES, wide - task.margin - x), y * wide + x, 0, np.float32(0)
            for i in range(LANES):
                lanes[i] = np.float32(0)
            while k < n and low <= limit:
                for t in range(k, min(k + TERMS, n)):
                    v, w, at = value[t], weight[t], np.uint64(q + shift[t])
                    for i in range(np.uint64(m)):
                        e = u[at + i] - v
                        lanes[i] += w * e * e
                k, low = k + TERMS, INF
                for i in range(m):
                    low = min(low, lanes[i])
            for i in range(m):
                taken = low <= limit and allowed[y, x + i] and lanes[i] <= limit
                far[q + i] = lanes[i] if taken else INF
                if taken and lanes[i] < best:
                    best = lanes[i]
            limit = best * (1 + task.tolerance) + task.unseen
    return limit


@kernel(inline=True, allocates=False)
def drawn(far, limit, word):
    """Return one of the places whose d is within the limit."""
    count = 0
    for q in range(len(far)):
        count += far[q] <= limit
    left = word * count >> 32
    for q in range(len(far)):
        if far[q] <= limit:
            if left == 0:
                return q
            left -= 1
    return -1


@kernel()
def grow(pixels, task, place):
    """Copy pixels one after the other.

    Args:
        pixels: row x width + column of each ``(n,)``.
        task: a ``Task``.
        place: the texture so far ``(H, W)``, -1 where it is not yet known.
    """
    most = len(task.near) * task.channels + len(task.far) * len(task.share)
    shift, value = np.empty(most, np.int64), np.empty(most, np.float32)
    weight, lanes = np.empty(most, np.float32), np.empty(LANES, np.float32)
    far, width = np.full(task.allowed.size, INF), place.shape[1]
    for p in range(len(pixels)):
        y, x = pixels[p] // width, pixels[p] % width
        n = collect(task, y, x, place, shift, value, weight)
        best = guess(task, y, x, place, shift, value, weight, n)
        limit = scan(task, shift, value, weight, n, best, lanes, far)
        place[y, x] = drawn(far, limit, hashed(task.seed, pixels[p]))


@kernel(inline=True, allocates=False)
def nearer(task, q, price, shift, value, weight, n, best, at):
    """Return the lesser cost and its place, of q, ``price d(q)``, and of the best one so far."""
    wide = task.allowed.shape[1]
    if q < 0 or q >= task.allowed.size or not task.allowed[q // wide, q % wide]:
        return best, at
    d = price * distance(task.u, q, shift, value, weight, n)
    return (d, np.int64(q)) if d < best else (best, at)


@kernel()
def cohere(pixels, task, alike, hint, place):
    """Copy pixels one after the other, from places that go on with what is near, or like that.

    What is only alike, or from the coarser level, must be nearer by ``1 + tolerance``.

    Args:
        pixels: row x width + column of each ``(n,)``.
        task: a ``Task``.
        alike: the places most like each, itself first ``(H W, k)``; -1 where there is none.
        hint: a place to be tried for each pixel ``(h, w)``.
        place: the texture so far ``(h, w)``, -1 where it is not yet known.
    """
    height, width = place.shape
    wide = task.allowed.shape[1]
    most = len(task.near) * task.channels + len(task.far) * len(task.share)
    shift, value, weight = (
        np.empty(most, np.int64),
        np.empty(most, np.float32),
        np.empty(most, np.float32),
    )
    price = np.float32(1) + task.tolerance
    for p in range(len(pixels)):
        y, x = pixels[p] // width, pixels[p] % width
        n = collect(task, y, x, place, shift, value, weight)
        best, at = nearer(task, hint[y, x], price, shift, value, weight, n, INF, np.int64(-1))
        for k in range(len(task.near)):
            dy, dx = task.near[k, 0], task.near[k, 1]
            i, j = beside(height, y + dy, task.wraps), beside(width, x + dx, task.wraps)
            if i >= 0 and j >= 0 and place[i, j] >= 0:
                for s in range(alike.shape[1]):
                    q = alike[place[i, j], s]
                    if q >= 0 and 0 <= q % wide - dx < wide:
                        q -= dy * wide + dx
                        cost = price if s else np.float32(1)
                        best, at = nearer(task, q, cost, shift, value, weight, n, best, at)
        place[y, x] = at if at >= 0 else place[y, x]
