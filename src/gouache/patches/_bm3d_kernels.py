"""The two steps of BM3D: match a block, filter the stack in a 3-D transform, put it back.

Notation: blocks of 8 x 8 pixels; a *reference* block every ``step`` pixels; its *stack* the K
nearest blocks, K a power of two; ``T`` an 8 x 8 transform of rows and columns, ``S`` its inverse;
along the stack a Haar transform, orthonormal.

The rows of references are cut into strips. A strip adds its blocks up in memory of its own, which
reaches as far as its windows, and the strips are summed in order: the result does not depend on
the number of threads.
"""

from __future__ import annotations

import numpy as np
from numba import prange

from ._jit import kernel

N = 8
ROWS = 12  # of references in a strip


@kernel(inline=True)
def match(guide, y, x, radius, most, tau, row, far, ys, xs):
    """Fill ``ys, xs`` with the nearest blocks, the block itself first; return how many, 2^k.

    The distance is the sum of squares over a block of ``guide`` ``(H, W)``; blocks beyond ``tau``
    do not count.
    """
    height, width = guide.shape
    top, bottom = max(0, y - radius), min(height - N, y + radius)
    left, right = max(0, x - radius), min(width - N, x + radius)
    n = right - left + 1
    row = row[:n]
    found = 0
    limit = tau
    for v in range(top, bottom + 1):
        for k in range(n):
            row[k] = np.float32(0)
        for i in range(N):
            for j in range(N):
                r = guide[y + i, x + j]
                others = guide[v + i, left + j : left + j + n]
                for k in range(n):
                    e = others[k] - r
                    row[k] += e * e
        if v == y:
            row[x - left] = np.float32(-1)
        for k in range(n):
            d = row[k]
            if d < limit:
                at = found if found < most else most - 1
                while at > 0 and far[at - 1] > d:
                    far[at] = far[at - 1]
                    ys[at] = ys[at - 1]
                    xs[at] = xs[at - 1]
                    at -= 1
                far[at] = d
                ys[at] = v
                xs[at] = left + k
                if found < most:
                    found += 1
                if found == most:
                    limit = far[most - 1]
    size = 1
    while 2 * size <= found:
        size *= 2
    return size


@kernel(inline=True)
def blocks(z, ys, xs, size, T, Tt, half, out):
    """Set ``out[k]`` to ``T b T^T``, b the block of z at ``ys[k], xs[k]``; ``half`` is scratch."""
    for k in range(size):
        y, x = ys[k], xs[k]
        for i in range(N):
            for j in range(N):
                half[i, j] = np.float32(0)
        for m in range(N):
            line = z[y + m, x : x + N]
            for i in range(N):
                t = T[i, m]
                for j in range(N):
                    half[i, j] += t * line[j]
        columns(half, Tt, out[k])


@kernel(inline=True)
def columns(half, Tt, out):
    """Set ``out = half Tt``."""
    for i in range(N):
        for j in range(N):
            out[i, j] = np.float32(0)
        for m in range(N):
            h = half[i, m]
            for j in range(N):
                out[i, j] += h * Tt[m, j]


@kernel(inline=True)
def haar(stack, size, scratch):
    """Transform a stack ``(size, 8, 8)`` along its first axis, in place."""
    root = np.float32(0.7071067811865476)
    n = size
    while n > 1:
        h = n // 2
        for k in range(h):
            for i in range(N):
                for j in range(N):
                    a, b = stack[2 * k, i, j], stack[2 * k + 1, i, j]
                    scratch[k, i, j] = (a + b) * root
                    scratch[h + k, i, j] = (a - b) * root
        for k in range(n):
            for i in range(N):
                for j in range(N):
                    stack[k, i, j] = scratch[k, i, j]
        n = h


@kernel(inline=True)
def haar_back(stack, size, scratch):
    """Undo :func:`haar`."""
    root = np.float32(0.7071067811865476)
    n = 2
    while n <= size:
        h = n // 2
        for k in range(h):
            for i in range(N):
                for j in range(N):
                    a, b = stack[k, i, j], stack[h + k, i, j]
                    scratch[2 * k, i, j] = (a + b) * root
                    scratch[2 * k + 1, i, j] = (a - b) * root
        for k in range(n):
            for i in range(N):
                for j in range(N):
                    stack[k, i, j] = scratch[k, i, j]
        n *= 2


@kernel(inline=True)
def put(stack, size, ys, xs, first, S, St, half, block, window, weight, acc, norm):
    """Add the stack's blocks ``S b S^T``, weighted, to ``acc`` and their weights to ``norm``."""
    for k in range(size):
        for i in range(N):
            for j in range(N):
                half[i, j] = np.float32(0)
            for m in range(N):
                t = S[i, m]
                for j in range(N):
                    half[i, j] += t * stack[k, m, j]
        columns(half, St, block)
        y, x = ys[k] - first, xs[k]
        for i in range(N):
            top, below = acc[y + i, x : x + N], norm[y + i, x : x + N]
            for j in range(N):
                w = weight * window[i, j]
                top[j] += w * block[i, j]
                below[j] += w


@kernel(parallel=True)
def hard(z, guide, sigma, rows, cols, bases, window, radius, most, tau, factor, acc, norm):
    """Filter every stack by hard thresholding at ``factor`` sigma.

    Args:
        z: the noisy channels ``(C, H, W)``.
        guide: blocks are compared in it ``(H, W)``.
        sigma: the noise of each channel at each reference ``(C, R, Q)``.
        rows: where references begin ``(R,)``.
        cols: likewise ``(Q,)``.
        bases: the forward transform, its transpose, the backward one, its transpose ``(4, 8, 8)``.
        window: weights within a block ``(8, 8)``.
        radius: of the search window.
        most: blocks in a stack.
        tau: largest distance of a block.
        factor: of the threshold.
        acc: ``(strips, C, reach, W)``, zero.
        norm: likewise.
    """
    channels = len(z)
    T, Tt, S, St = bases[0], bases[1], bases[2], bases[3]
    for s in prange(acc.shape[0]):
        row, far = np.empty(2 * radius + 1, np.float32), np.empty(most, np.float32)
        ys, xs = np.empty(most, np.int32), np.empty(most, np.int32)
        stack, scratch = np.empty((most, N, N), np.float32), np.empty((most, N, N), np.float32)
        half, block = np.empty((N, N), np.float32), np.empty((N, N), np.float32)
        first = max(0, rows[s * ROWS] - radius)
        for r in range(s * ROWS, min((s + 1) * ROWS, len(rows))):
            for q in range(len(cols)):
                size = match(guide, rows[r], cols[q], radius, most, tau, row, far, ys, xs)
                for c in range(channels):
                    level = sigma[c, r, q]
                    blocks(z[c], ys, xs, size, T, Tt, half, stack)
                    haar(stack, size, scratch)
                    limit = factor * level
                    kept, mean = 1, stack[0, 0, 0]
                    for k in range(size):
                        for i in range(N):
                            for j in range(N):
                                if abs(stack[k, i, j]) > limit:
                                    kept += 1
                                else:
                                    stack[k, i, j] = np.float32(0)
                    stack[0, 0, 0] = mean
                    haar_back(stack, size, scratch)
                    weight = np.float32(1) / (level * level * np.float32(kept))
                    put(stack, size, ys, xs, first, S, St, half, block, window, weight,
                        acc[s, c], norm[s, c])  # fmt: skip


@kernel(parallel=True)
def wiener(z, basic, guide, sigma, rows, cols, bases, window, radius, most, tau, acc, norm):
    """Filter every stack by the empirical Wiener factors of the basic estimate.

    Args:
        z: the noisy channels ``(C, H, W)``.
        basic: the result of the first step.
        guide: blocks are compared in it ``(H, W)``.
        sigma: the noise of each channel at each reference ``(C, R, Q)``.
        rows: where references begin ``(R,)``.
        cols: likewise ``(Q,)``.
        bases: the forward transform, its transpose, the backward one, its transpose ``(4, 8, 8)``.
        window: weights within a block ``(8, 8)``.
        radius: of the search window.
        most: blocks in a stack.
        tau: largest distance of a block.
        acc: ``(strips, C, reach, W)``, zero.
        norm: likewise.
    """
    channels = len(z)
    T, Tt, S, St = bases[0], bases[1], bases[2], bases[3]
    for s in prange(acc.shape[0]):
        row, far = np.empty(2 * radius + 1, np.float32), np.empty(most, np.float32)
        ys, xs = np.empty(most, np.int32), np.empty(most, np.int32)
        stack, scratch = np.empty((most, N, N), np.float32), np.empty((most, N, N), np.float32)
        pilot = np.empty((most, N, N), np.float32)
        half, block = np.empty((N, N), np.float32), np.empty((N, N), np.float32)
        first = max(0, rows[s * ROWS] - radius)
        for r in range(s * ROWS, min((s + 1) * ROWS, len(rows))):
            for q in range(len(cols)):
                size = match(guide, rows[r], cols[q], radius, most, tau, row, far, ys, xs)
                for c in range(channels):
                    variance = sigma[c, r, q] * sigma[c, r, q]
                    blocks(z[c], ys, xs, size, T, Tt, half, stack)
                    haar(stack, size, scratch)
                    blocks(basic[c], ys, xs, size, T, Tt, half, pilot)
                    haar(pilot, size, scratch)
                    energy, mean = np.float32(0), stack[0, 0, 0]
                    for k in range(size):
                        for i in range(N):
                            for j in range(N):
                                power = pilot[k, i, j] * pilot[k, i, j]
                                factor = power / (power + variance)
                                stack[k, i, j] *= factor
                                energy += factor * factor
                    stack[0, 0, 0] = mean
                    haar_back(stack, size, scratch)
                    weight = np.float32(1) / (variance * max(energy, np.float32(1e-6)))
                    put(stack, size, ys, xs, first, S, St, half, block, window, weight,
                        acc[s, c], norm[s, c])  # fmt: skip


@kernel(parallel=True)
def gather(acc, norm, tops, out):
    """Sum the strips in order and divide; strip s begins at row ``tops[s]``."""
    channels, height, width = out.shape
    for y in prange(height):
        top, below = np.empty(width, np.float32), np.empty(width, np.float32)
        for c in range(channels):
            for x in range(width):
                top[x] = np.float32(0)
                below[x] = np.float32(0)
            for s in range(acc.shape[0]):
                at = y - tops[s]
                if 0 <= at < acc.shape[2]:
                    for x in range(width):
                        top[x] += acc[s, c, at, x]
                        below[x] += norm[s, c, at, x]
            for x in range(width):
                out[c, y, x] = top[x] / below[x]
