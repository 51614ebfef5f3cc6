"""A step of BM3D: match a block, filter the stack in a 3-D transform, put it back.

Notation: blocks of 8 x 8 pixels; a *reference* block every few pixels; its *stack* the K nearest
blocks, K a power of two, a block a row of 64; ``T`` an 8 x 8 transform of rows and columns, ``S``
its inverse; along the stack a Haar transform, orthonormal.

The rows of references are cut into strips. A strip adds its blocks up in memory of its own, and
the strips are summed in order: the result does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from ._lanes import as_bits, as_float, below, load8, load16, lowest, store, total, zeros8, zeros16

N = 8
ROWS = 12  # of references in a strip
WIDE = 48  # blocks of a row of the window, compared at once


@kernel()
def collaborate(
    images, guide, sigma, variance, rows, cols, bases, window, search, factor, top, acc, norm
):
    """Filter the stacks of one strip, and add up their blocks and the weights of these.

    Args:
        images: channels ``(1, C, H, W)``, noisy, for hard thresholding at ``factor`` sigma; with
            the basic estimate behind them ``(2, C, H, W)`` for its empirical Wiener factors.
        guide: what blocks are compared in, longer by what :func:`near` reads ``(H, W + WIDE)``.
        sigma: the noise at each reference ``(R, C, Q)``.
        variance: of the noise, mean over each block ``(H - 7, W - 7)``, above 0.
        rows: where the references of the strip begin ``(R,)``.
        cols: likewise ``(Q,)``.
        bases: the forward transform, its transpose, the backward one, its transpose ``(4, 8, 8)``.
        window: weights within a block ``(8, 8)``.
        search: radius of the window, most blocks of a stack, largest distance of a block.
        factor: of the threshold.
        top: the row of the image that is the first of ``acc``.
        acc: ``(C, reach, W)``, zero.
        norm: likewise.
    """
    radius, most, tau = search
    T, Tt, S, St = bases[0], bases[1], bases[2], bases[3]
    row, far = np.empty(WIDE, np.float32), np.empty(most, np.int64)
    ys, xs = np.empty(most, np.int32), np.empty(most, np.int32)
    stacks, half = np.empty((2, most, N * N), np.float32), np.empty((N, N), np.float32)
    stack = stacks[0]
    reference, block = np.empty(N * N, np.float32), np.empty((N, N), np.float32)
    for r in range(len(rows)):
        for q in range(len(cols)):
            found = match(guide, rows[r], cols[q], radius, most, tau, reference, row, far)
            size = power_of_two(found)
            places(far, size, guide.shape[1], ys, xs)
            noisier = louder(variance, ys, xs, size)
            for c in range(images.shape[1]):
                level = sigma[r, c, q] * noisier
                kept = attenuate(images, c, ys, xs, size, T, Tt, level, factor, half, stacks)
                haar(stack, size, True)
                weight = np.float32(1) / (level * level * kept)
                put(stack, size, ys, xs, top, S, St, half, block, window, weight, acc[c], norm[c])


@kernel()
def matches(guide, rows, cols, search, found, distances, ys, xs):
    """Set, for each of some references, how many blocks are found, how far off, and where.

    Args:
        guide: as in :func:`collaborate`.
        rows: where the references begin ``(R,)``.
        cols: likewise ``(R,)``.
        search: as in :func:`collaborate`.
        found: ``(R,)``.
        distances: sums of squares ``(R, most)``, ascending, the block itself with -1.
        ys: ``(R, most)``.
        xs: likewise.
    """
    radius, most, tau = search
    row, reference = np.empty(WIDE, np.float32), np.empty(N * N, np.float32)
    far = np.empty(most, np.int64)
    for r in range(len(rows)):
        found[r] = match(guide, rows[r], cols[r], radius, most, tau, reference, row, far)
        places(far, found[r], guide.shape[1], ys[r], xs[r])
        for k in range(found[r]):
            distances[r, k] = as_float(far[k] >> 32)


@kernel()
def spectrum(images, c, ys, xs, size, bases, level, factor, stacks):
    """Set ``stacks[0]`` to the attenuated coefficients of one stack; return what of it is kept.

    Args:
        images: as in :func:`collaborate`.
        c: the channel.
        ys: where the blocks begin, as many as :func:`matches` has room for.
        xs: likewise.
        size: blocks of the stack.
        bases: as in :func:`collaborate`.
        level: the noise.
        factor: of the threshold.
        stacks: ``(2, most, 64)``; ``stacks[1]`` is set to the coefficients of the basic estimate.
    """
    half = np.empty((N, N), np.float32)
    return attenuate(images, c, ys, xs, size, bases[0], bases[1], level, factor, half, stacks)


@kernel(inline=True)
def attenuate(images, c, ys, xs, size, T, Tt, level, factor, half, stacks):
    """Transform a stack of channel c, and threshold or shrink it; return how much is kept."""
    for k in range(len(images)):
        forward(images[k, c], ys, xs, size, T, Tt, half, stacks[k])
        haar(stacks[k], size, False)
    if len(images) == 1:
        return threshold(stacks[0], size, factor * level)
    return shrink(stacks[0], stacks[1], size, level * level)


@kernel(inline=True)
def match(guide, y, x, radius, most, tau, reference, row, far):
    """Fill ``far`` with the nearest blocks, the block itself first; return how many.

    The distance is the sum of squares over a block; blocks beyond ``tau`` do not count. An entry
    is the bits of the distance, which are ordered as it is, and behind them the block's place.
    Rows are taken from the middle outwards, where what is near is found soon.
    """
    height, wide = guide.shape
    width = wide - WIDE
    top, bottom = max(0, y - radius), min(height - N, y + radius)
    left, right = max(0, x - radius), min(width - N, x + radius)
    inside = (np.int64(1) << (right - left + 1)) - 1
    for i in range(N):
        store(reference, i * N, load8(guide, (y + i, x)))
    found = 0
    limit = tau
    for t in range(2 * radius + 1):
        v = y + (t + 1) // 2 if t % 2 else y - t // 2
        if v < top or v > bottom:
            continue
        near_ones = near(guide, reference, v, left, limit, row) & inside
        if v == y:
            near_ones |= np.int64(1) << (x - left)
            row[x - left] = np.float32(-1)
        while near_ones:
            k = lowest(near_ones)
            near_ones &= near_ones - 1
            if row[k] < limit:
                entry = (as_bits(row[k]) << 32) + v * wide + left + k
                at = found if found < most else most - 1
                while at > 0 and far[at - 1] > entry:
                    far[at] = far[at - 1]
                    at -= 1
                far[at] = entry
                if found < most:
                    found += 1
                if found == most:
                    limit = as_float(far[most - 1] >> 32)
    return found


@kernel(inline=True)
def places(far, n, wide, ys, xs):
    """Set ``ys, xs`` to where the first n blocks of ``far`` begin."""
    for k in range(n):
        at = far[k] & 0xFFFFFFFF
        ys[k] = at // wide
        xs[k] = at % wide


@kernel(inline=True)
def louder(variance, ys, xs, size):
    """Return the noise of a stack, its mean variance's root, over that of its reference.

    Blocks that are noisier than the reference would else pass as clean as it is.
    """
    own, more = variance[ys[0], xs[0]], np.float32(0)
    for k in range(1, size):
        more += variance[ys[k], xs[k]] - own
    return np.sqrt((own + more / np.float32(size)) / own)


@kernel(inline=True)
def near(guide, reference, y, x, limit, row):
    """Return which of the blocks at ``(y, x + k)``, k < WIDE, are nearer than ``limit``, as bits.

    Their distances are in ``row``. Once none can be near, the rest is left out.
    """
    a, b, c = zeros16(), zeros16(), zeros16()
    found = np.int64(0)
    for i in range(N):
        for j in range(N):
            r = reference[i * N + j]
            e = load16(guide, (y + i, x + j)) - r
            a = a + e * e
            e = load16(guide, (y + i, x + j + 16)) - r
            b = b + e * e
            e = load16(guide, (y + i, x + j + 32)) - r
            c = c + e * e
        if i % 2:
            found = below(a, limit) | (below(b, limit) << 16) | (below(c, limit) << 32)
            if found == 0:
                return found
    store(row, 0, a)
    store(row, 16, b)
    store(row, 32, c)
    return found


@kernel(inline=True)
def power_of_two(n):
    """Return the largest power of two that is no larger than n."""
    size = 1
    while 2 * size <= n:
        size *= 2
    return size


@kernel(inline=True)
def combine(s, i, v, y, x):
    """Return row i of ``s b``, b being the block of v at ``(y, x)``."""
    found = zeros8()
    for m in range(N):
        found = found + load8(v, (y + m, x)) * s[i, m]
    return found


@kernel(inline=True)
def forward(z, ys, xs, size, T, Tt, half, stack):
    """Set ``stack[k]`` to ``T b T^T``, b the block of z at ``ys[k], xs[k]``, by way of ``half``."""
    for k in range(size):
        y, x = np.int64(ys[k]), np.int64(xs[k])
        for i in range(N):
            store(half, (i, 0), combine(T, i, z, y, x))
        for i in range(N):
            store(stack, (k, i * N), combine(half, i, Tt, 0, 0))


@kernel(inline=True)
def haar(stack, size, back):
    """Transform a stack along its first axis, in place, or back.

    The coefficients stay where they arise: sums at multiples of 2, 4, 8, ..., differences between.
    """
    root = np.float32(0.7071067811865476)
    step = size // 2 if back else 1
    while 0 < step < size:
        for k in range(0, size, 2 * step):
            for at in range(0, N * N, 16):
                a, b = load16(stack, (k, at)), load16(stack, (k + step, at))
                store(stack, (k, at), (a + b) * root)
                store(stack, (k + step, at), (a - b) * root)
        step = step // 2 if back else 2 * step


@kernel(inline=True)
def threshold(stack, size, limit):
    """Set small coefficients but the mean to 0; return 1 and how many are left."""
    kept, mean = 1, stack[0, 0]
    for k in range(size):
        for at in range(N * N):
            value = stack[k, at]
            large = abs(value) > limit
            kept += large
            stack[k, at] = value if large else np.float32(0)
    stack[0, 0] = mean
    return np.float32(kept)


@kernel(inline=True)
def shrink(stack, pilot, size, variance):
    """Multiply all coefficients but the mean by Wiener's factors; return the sum of squares."""
    energy, mean = zeros16(), stack[0, 0]
    for k in range(size):
        for at in range(0, N * N, 16):
            p = load16(pilot, (k, at))
            power = p * p
            wiener = power / (power + variance)
            store(stack, (k, at), load16(stack, (k, at)) * wiener)
            energy = energy + wiener * wiener
    stack[0, 0] = mean
    return max(total(energy), np.float32(1e-6))


@kernel(inline=True)
def put(stack, size, ys, xs, top, S, St, half, block, window, weight, acc, norm):
    """Add the stack's blocks ``S b S^T``, weighted, to ``acc`` and their weights to ``norm``."""
    for k in range(size):
        for i in range(N):
            store(block, (i, 0), load8(stack, (k, i * N)))
        for i in range(N):
            store(half, (i, 0), combine(S, i, block, 0, 0))
        y, x = ys[k] - top, xs[k]
        for i in range(N):
            w = load8(window, (i, 0)) * weight
            store(acc, (y + i, x), load8(acc, (y + i, x)) + w * combine(half, i, St, 0, 0))
            store(norm, (y + i, x), load8(norm, (y + i, x)) + w)
