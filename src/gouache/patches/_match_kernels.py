"""PatchMatch sweeps: what a neighbour found, moved along, and a random search around it.

Notation of ``_match.py``; an image is flat, a pixel's channels side by side, so that a row of a
patch is contiguous: pixel (y, x) begins at ``(y W + x) C``. Indices into images are unsigned: what
numba has to wrap around does not vectorise. A list holds the k best matches of a place, nearest
first: ``place`` has ``row << 16 | column``, or -1, and ``far`` the distance.

``sums`` are a patch's values summed, over the root of their number: by Cauchy and Schwarz,
``d(p, q) >= (sums(p) - sums(q))^2``, which spares most of the distances.

The rows of places are cut into bands, each worked on by one thread. A sweep does every other band,
then the rest: within a band places are visited in order, across bands only those are read that are
at rest. So the field does not depend on the number of threads, and what is random is a hash of
(seed, sweep, place, draw).
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

BAND = 32  # rows of places
DRAWS = 8  # patches of the same key that a sweep tries at every place
NEAR = 16  # pixels around a match that are searched at random where there are keys


@kernel(inline=True)
def hashed(seed, sweep, at, draw):
    """Return a 32-bit hash of four numbers."""
    x = np.uint64(seed) ^ (np.uint64(sweep) << np.uint64(48)) ^ (np.uint64(draw) << np.uint64(40))
    x = (x ^ np.uint64(at)) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((x ^ (x >> np.uint64(31))) & np.uint64(0xFFFFFFFF))


@kernel(inline=True, reassociate=True)
def ssd(a, b, y, x, v, u, p, channels, wide_a, wide_b, limit):
    """Return the sum of squares of patches (y, x) and (v, u), or anything above ``limit``."""
    n = np.uint64(p * channels)
    i, j = np.uint64((y * wide_a + x) * channels), np.uint64((v * wide_b + u) * channels)
    total = np.float32(0)
    for _ in range(p):
        for t in range(n):
            e = a[i + t] - b[j + t]
            total += e * e
        if total > limit:
            return total
        i += np.uint64(wide_a * channels)
        j += np.uint64(wide_b * channels)
    return total


@kernel(inline=True)
def weighted(a, b, weight, y, x, v, u, p, channels, wide_a, wide_b, limit):
    """Return the sum of squares, weighted by ``weight (H W,)`` of the pixels of ``a``."""
    total = np.float32(0)
    for r in range(p):
        for s in range(p):
            i, j = (y + r) * wide_a + x + s, (v + r) * wide_b + u + s
            here = np.float32(0)
            for c in range(channels):
                e = a[i * channels + c] - b[j * channels + c]
                here += e * e
            total += weight[i] * here
        if total > limit:
            return total
    return total


@kernel(inline=True)
def offer(task, y, x, v, u, place, far):
    """Take the source patch (v, u) into the list ``place, far`` of (y, x) if it belongs there."""
    a, b, sums_a, sums_b, weight, allowed, exclusion, p, channels = task
    high, wide = sums_b.shape
    if v < 0 or u < 0 or v >= high or u >= wide:
        return
    if max(abs(v - y), abs(u - x)) < exclusion or (len(allowed) and not allowed[v * wide + u]):
        return
    k = len(far)
    limit, packed = far[k - 1], np.int32(v << 16 | u)
    if len(weight):
        for i in range(k):
            if place[i] == packed:
                return
        sides = (sums_a.shape[1] + p - 1, wide + p - 1)
        d = weighted(a, b, weight, y, x, v, u, p, channels, *sides, limit)
    else:
        e = sums_a[y, x] - sums_b[v, u]
        if e * e >= limit:
            return
        for i in range(k):
            if place[i] == packed:
                return
        sides = (sums_a.shape[1] + p - 1, wide + p - 1)
        d = ssd(a, b, y, x, v, u, p, channels, sides[0], sides[1], limit)
    if d < limit:
        at = k - 1
        while at > 0 and far[at - 1] > d:
            far[at] = far[at - 1]
            place[at] = place[at - 1]
            at -= 1
        far[at] = d
        place[at] = packed


@kernel()
def codes(band, a, shape, p, channels, filters, offset, scale, out):
    """Set ``out (h w, m)`` to the components of every patch, each in 256 levels.

    Args:
        band: of rows.
        a: an image, flat.
        shape: h and w.
        p: side of a patch.
        channels: C.
        filters: components ``(m, P P C)``.
        offset: where the first level of each begins ``(m,)``.
        scale: levels a unit ``(m,)``; what is beyond the ends counts to them.
        out: uint8.
    """
    height, width = shape
    for y in range(band * BAND, min(height, (band + 1) * BAND)):
        for x in range(width):
            for k in range(len(filters)):
                total = dot(a, filters, y, x, p, channels, width + p - 1, k)
                level = max(np.float32(0), (total - offset[k]) * scale[k])
                out[y * width + x, k] = np.uint8(min(np.float32(255), level))


@kernel()
def keys(code, start, bits, out):
    """Set ``out (n,)`` to a key of every patch: its components in bins, their numbers side by side.

    Args:
        code: levels of the components ``(n, m)`` uint8.
        start: levels by which the bins of each begin early ``(m,)``.
        bits: of each bin's number ``(m,)``.
        out: int32.
    """
    for i in range(len(out)):
        word = np.int64(0)
        for k in range(len(bits)):
            at = (np.int64(code[i, k]) + start[k]) >> (8 - bits[k])
            word = word << bits[k] | min((np.int64(1) << bits[k]) - 1, at)
        out[i] = word


@kernel(inline=True, reassociate=True)
def dot(a, filters, y, x, p, channels, wide, k):
    """Return component k of the patch (y, x)."""
    n = np.uint64(p * channels)
    i, j, f = np.uint64((y * wide + x) * channels), np.uint64(0), np.uint64(k)
    total = np.float32(0)
    for _ in range(p):
        for t in range(n):
            total += a[i + t] * filters[f, j + t]
        i += np.uint64(wide * channels)
        j += n
    return total


@kernel()
def buckets(key, allowed, starts, order):
    """Sort places by key: those of key c are ``order[starts[c]:starts[c + 1]]``."""
    for i in range(len(key)):
        if not len(allowed) or allowed[i]:
            starts[key[i] + 2] += 1
    for c in range(2, len(starts)):
        starts[c] += starts[c - 1]
    for i in range(len(key)):
        if not len(allowed) or allowed[i]:
            order[starts[key[i] + 1]] = i
            starts[key[i] + 1] += 1


@kernel()
def begin(band, task, looked, listed, seed, place, far):
    """Fill the lists of a band with random patches; what they hold is kept.

    Args:
        band: of rows.
        task: query and source, flat; ``sums`` of both ``(h, w)`` and ``(h', w')``; the weight of
            the query's pixels, flat; which patches may be taken, flat; the exclusion; P; C. What is
            not asked for has length 0.
        looked: which places are looked up, flat, or of length 0.
        listed: the linear places that may be taken, or of length 0.
        seed: of the hash.
        place: ``(h, w, k)``, -1 or a first guess.
        far: ``(h, w, k)``, infinite.
    """
    height, width, k = far.shape
    high, wide = task[3].shape
    count = len(listed) if len(listed) else high * wide
    guess = np.empty(k, np.int32)
    for y in range(band * BAND, min(height, (band + 1) * BAND)):
        for x in range(width):
            guess[:] = place[y, x]
            place[y, x] = -1
            if len(looked) and not looked[y * width + x]:
                continue
            for i in range(5 * k + 16):
                if i < k:
                    v, u = np.int64(guess[i] >> 16), np.int64(guess[i] & 0xFFFF)
                else:
                    if place[y, x, k - 1] >= 0:
                        break
                    at = hashed(seed, 0, y * width + x, i) * count >> 32
                    at = np.int64(listed[at]) if len(listed) else at
                    v, u = at // wide, at % wide
                offer(task, y, x, v, u, place[y, x], far[y, x])


@kernel()
def sweep(band, task, looked, hashes, seed, number, place, far):
    """Improve the lists of a band of rows, forwards or, in odd sweeps, backwards.

    Args:
        band: of rows.
        task: as in ``begin``.
        looked: see there.
        hashes: keys of the query's places, ``starts`` and ``order`` of the source's; or no keys.
        seed: see there.
        number: of the sweep, from 1.
        place: ``(h, w, k)``.
        far: ``(h, w, k)``.
    """
    height, width, k = far.shape
    high, wide = task[3].shape
    step = -1 if number & 1 else 1
    key, starts, order = hashes
    draws = DRAWS if len(key) else 0
    reach, levels = min(NEAR, max(high, wide)) if draws else max(high, wide), 1
    while reach >> levels:
        levels += 1
    first = band * BAND
    last = min(first + BAND, height) - 1
    for m in range(last - first + 1):
        y = first + m if step > 0 else last - m
        for n in range(width):
            x = n if step > 0 else width - 1 - n
            if len(looked) and not looked[y * width + x]:
                continue
            near, cv, cu = 2 * k + draws, np.int64(0), np.int64(0)
            for i in range(near + levels):
                if i < draws:
                    c = key[y * width + x]
                    size = np.int64(starts[c + 1]) - starts[c]
                    if i >= size:
                        continue
                    at = i
                    if size > draws:
                        at = hashed(seed, number, y * width + x, i) * size >> 32
                    at = np.int64(order[starts[c] + at])
                    v, u = at // wide, at % wide
                elif i < near:
                    py, px = (y, x - step) if i - draws < k else (y - step, x)
                    if not (0 <= py < height and 0 <= px < width):
                        continue
                    packed = place[py, px, (i - draws) % k]
                    if packed < 0:
                        continue
                    v, u = (packed >> 16) + y - py, (packed & 0xFFFF) + x - px
                else:
                    if i == near:
                        packed = place[y, x, 0]
                        if packed < 0:
                            break
                        cv, cu = np.int64(packed >> 16), np.int64(packed & 0xFFFF)
                    radius = reach >> (i - near)
                    up, left = max(0, cv - radius), max(0, cu - radius)
                    rows = min(high - 1, cv + radius) - up + 1
                    cols = min(wide - 1, cu + radius) - left + 1
                    word = hashed(seed, number, y * width + x, i)
                    v = up + ((word & 0xFFFF) * rows >> 16)
                    u = left + ((word >> 16) * cols >> 16)
                offer(task, y, x, v, u, place[y, x], far[y, x])
