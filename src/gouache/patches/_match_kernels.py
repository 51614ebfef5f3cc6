"""PatchMatch sweeps: what a neighbour found, moved along, and a random search around it.

Notation of ``_match.py``; an image is flat, a pixel's channels side by side, so that a row of a
patch is contiguous: pixel (y, x) begins at ``(y W + x) C``. Indices into images are unsigned: what
numba has to wrap around does not vectorise. A list holds the k best matches of a place, nearest
first: ``place`` has ``row << 16 | column``, or -1, and ``far`` the distance.

Codes are the bytes of ``_match_tree.py``. Components are orthonormal, so that the squares of the
levels between two codes add up to no more than the distance, but for rounding; that spares most of
the distances.

The rows of places are cut into bands, each worked on by one thread. A sweep does every other band,
then the rest: within a band places are visited in order, across bands only those are read that are
at rest. So the field does not depend on the number of threads, and what is random is a hash of
(seed, sweep, place, draw).
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from ._lanes import between16, load16, total

BAND = 32  # rows of places
SCAN = 192  # patches of a leaf whose codes are looked at
TRIED = 2  # of them, and one more for each of the k, are tried
NEAR = 4  # pixels around a match that are searched at random; all where there are weights


@kernel(inline=True, allocates=False)
def hashed(seed, sweep, at, draw):
    """Return a 32-bit hash of four numbers."""
    x = np.uint64(seed) ^ (np.uint64(sweep) << np.uint64(48)) ^ (np.uint64(draw) << np.uint64(40))
    x = (x ^ np.uint64(at)) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.int64((x ^ (x >> np.uint64(31))) & np.uint64(0xFFFFFFFF))


@kernel(inline=True, reassociate=True, allocates=False)
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


@kernel(inline=True, allocates=False)
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


@kernel(inline=True, allocates=False)
def bound(codes, at, to):
    """Return a lower bound, up to rounding, of the distance of patches at linear places."""
    apart = between16(codes.query, (at, 0), codes.source, (to, 0))
    return total(apart * apart * load16(codes.weight, 0))


@kernel(inline=True, allocates=False)
def free(task, y, x, v, u):
    """Return whether (y, x) may have the source patch (v, u)."""
    if max(abs(v - y), abs(u - x)) < task.exclusion:
        return False
    return not len(task.allowed) or task.allowed[v * task.wide + u]


@kernel(inline=True, allocates=False)
def offer(task, y, x, v, u, place, far):
    """Take the source patch (v, u) into the list ``place, far`` of (y, x) if it belongs there."""
    if v < 0 or u < 0 or v >= task.high or u >= task.wide or not free(task, y, x, v, u):
        return
    k, width, wide, p = len(far), task.width, task.wide, task.patch
    limit, packed = far[k - 1], np.int32(v << 16 | u)
    if not len(task.weight) and bound(task.codes, y * width + x, v * wide + u) >= limit:
        return
    for i in range(k):
        if place[i] == packed:
            return
    given = (y, x, v, u, p, task.channels, width + p - 1, wide + p - 1, limit)
    if len(task.weight):
        d = weighted(task.query, task.source, task.weight, *given)
    else:
        d = ssd(task.query, task.source, *given)
    if d < limit:
        at = k - 1
        while at > 0 and far[at - 1] > d:
            far[at] = far[at - 1]
            place[at] = place[at - 1]
            at -= 1
        far[at] = d
        place[at] = packed


@kernel(allocates=False)
def begin(band, task, looked, listed, lists, seed, place, far):
    """Fill the lists of a band with random patches; what they hold is kept.

    Args:
        band: of rows.
        task: see ``_patchmatch.Task``.
        looked: which places are looked up, flat, or of length 0.
        listed: the linear places that may be taken, or of length 0.
        lists: room for ``k + TRIED`` places and distances a band.
        seed: of the hash.
        place: ``(h, w, k)``, -1 or a first guess.
        far: ``(h, w, k)``, infinite.
    """
    height, width, k = far.shape
    wide = task.wide
    count = len(listed) if len(listed) else task.high * wide
    guess = lists[0][band, :k]
    for y in range(band * BAND, min(height, (band + 1) * BAND)):
        for x in range(width):
            for i in range(k):
                guess[i] = place[y, x, i]
                place[y, x, i] = -1
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


@kernel(allocates=False)
def sweep(band, task, looked, tree, lists, seed, number, place, far):
    """Improve the lists of a band of rows, forwards or, in odd sweeps, backwards.

    Args:
        band: of rows.
        task: as in ``begin``.
        looked: see there.
        tree: see ``_match_tree.Tree``.
        lists: as in ``begin``.
        seed: see there.
        number: of the sweep, from 1.
        place: ``(h, w, k)``.
        far: ``(h, w, k)``.
    """
    height, width, k = far.shape
    step = -1 if number & 1 else 1
    alike, bounds = lists[0][band, : k + TRIED], lists[1][band, : k + TRIED]
    first = band * BAND
    last = min(first + BAND, height) - 1
    for m in range(last - first + 1):
        y = first + m if step > 0 else last - m
        for n in range(width):
            x = n if step > 0 else width - 1 - n
            if len(looked) and not looked[y * width + x]:
                continue
            hand_on(task, y, x, y, x - step, place, far)
            hand_on(task, y, x, y - step, x, place, far)
            word = hashed(seed, number, y * width + x, 0)
            for i in range(leaf(task, y, x, tree, word, far[y, x, k - 1], alike, bounds)):
                v, u = np.int64(alike[i]) // task.wide, np.int64(alike[i]) % task.wide
                offer(task, y, x, v, u, place[y, x], far[y, x])
            search(task, y, x, seed, number, place, far)


@kernel(inline=True, allocates=False)
def hand_on(task, y, x, py, px, place, far):
    """Offer the place (y, x) the matches of its neighbour (py, px), moved along."""
    height, width, k = far.shape
    if 0 <= py < height and 0 <= px < width:
        for i in range(k):
            packed = place[py, px, i]
            if packed >= 0:
                v, u = (packed >> 16) + y - py, (packed & 0xFFFF) + x - px
                offer(task, y, x, v, u, place[y, x], far[y, x])


@kernel(inline=True, allocates=False)
def search(task, y, x, seed, number, place, far):
    """Offer a place random ones around its best match, in windows that halve."""
    width, high, wide = task.width, task.high, task.wide
    packed = place[y, x, 0]
    if packed < 0:
        return
    v, u = np.int64(packed >> 16), np.int64(packed & 0xFFFF)
    radius = max(high, wide) if len(task.weight) else min(NEAR, max(high, wide))
    draw = 1
    while radius > 0:
        up, left = max(0, v - radius), max(0, u - radius)
        rows = min(high - 1, v + radius) - up + 1
        cols = min(wide - 1, u + radius) - left + 1
        word = hashed(seed, number, y * width + x, draw)
        row, col = up + ((word & 0xFFFF) * rows >> 16), left + ((word >> 16) * cols >> 16)
        offer(task, y, x, row, col, place[y, x], far[y, x])
        radius, draw = radius >> 1, draw + 1


@kernel(inline=True, allocates=False)
def leaf(task, y, x, tree, word, limit, alike, bounds):
    """Set ``alike`` to the patches of the place's leaf that look most like it; return how many.

    Args:
        task: as in ``begin``.
        y: row of the place.
        x: column.
        tree: see ``_match_tree.Tree``.
        word: a random number; it decides what is looked at where the leaf is large.
        limit: distance from which on patches do not count, if there are no weights.
        alike: linear places.
        bounds: of their distances, ascending.
    """
    cuts, starts, order = tree
    query, source, unit = task.codes.query, task.codes.source, load16(task.codes.weight, 0)
    at, wide, node, leaves = y * task.width + x, task.wide, 1, len(starts) - 1
    while node < leaves:
        cut = cuts[node]
        node = 2 * node + (query[at, cut >> 8] >= (cut & 255))
    first, last = np.int64(starts[node - leaves]), np.int64(starts[node - leaves + 1])
    if last - first > SCAN:
        first += word * (last - first - SCAN + 1) >> 32
        last = first + SCAN
    found, most = 0, len(alike)
    bounds[:] = np.inf if len(task.weight) else limit
    for j in range(first, last):
        to = np.int64(order[j])
        apart = between16(query, (at, 0), source, (to, 0))
        d = total(apart * apart * unit)
        if d < bounds[most - 1] and free(task, y, x, to // wide, to % wide):
            i, found = most - 1, min(most, found + 1)
            while i > 0 and bounds[i - 1] > d:
                bounds[i], alike[i] = bounds[i - 1], alike[i - 1]
                i -= 1
            bounds[i], alike[i] = d, to
    return found
