"""Patches estimated by a tree of Gaussians with flat tails.

Notation: patches of p x p pixels, ``D = p^2``; a node's Gaussian has r leading directions, the
others share one variance; *strips* of patches add up in memory of their own, and are summed in
order, so that the result does not depend on the number of threads.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

LINES = 4  # of the grid of patches in a strip


@kernel(inline=True, reassociate=True)
def project(y, basis, rank, c):
    """Set ``c[:rank]`` to the coefficients of y in the leading directions ``basis (R, D)``."""
    for j in range(rank):
        line, e = basis[j], np.float32(0)
        for i in range(len(y)):
            e += y[i] * line[i]
        c[j] = e


@kernel(inline=True)
def cost(y, energy, basis, rank, gain, tail, offset, c):
    """Return ``y^T S^-1 y + log det S - 2 log pi`` of one node."""
    project(y, basis, rank, c)
    found = tail * energy + offset
    for j in range(rank):
        found += c[j] * c[j] * gain[j]
    return found


@kernel(inline=True)
def descend(y, energy, basis, rank, gain, tail, offset, child, beam, tops, width, c, best, far):
    """Return the likeliest leaf under the best ``beam`` nodes of each level.

    ``best (2 width,)`` and ``far`` are scratch; the tree's top nodes are ``tops``.
    """
    found = 0
    for k in range(len(tops)):
        n = tops[k]
        e = cost(y, energy, basis[n], rank[n], gain[n], tail[n], offset[n], c)
        found = keep(n, e, found, beam, best, far)
    while child[best[0], 0] >= 0:
        parents = found
        for k in range(parents):
            best[width + k] = best[k]
        found = 0
        for k in range(parents):
            for side in range(2):
                n = child[best[width + k], side]
                if n >= 0:
                    e = cost(y, energy, basis[n], rank[n], gain[n], tail[n], offset[n], c)
                    found = keep(n, e, found, beam, best, far)
    return best[0]


@kernel(inline=True)
def keep(n, e, found, beam, best, far):
    """Put node n of cost e into the sorted list of the ``beam`` best; return how many there are."""
    if found == beam and e >= far[beam - 1]:
        return found
    at = found if found < beam else beam - 1
    while at > 0 and far[at - 1] > e:
        far[at] = far[at - 1]
        best[at] = best[at - 1]
        at -= 1
    far[at] = e
    best[at] = n
    return found + 1 if found < beam else found


@kernel()
def estimate(
    s, x, place, level, weight, basis, rank, gain, tail, offset, child, shrink, rest, tops, beam, p,
    first, acc, norm,
):  # fmt: skip
    """Estimate the patches of a strip and add them up.

    Args:
        s: the strip.
        x: one channel ``(H, W)``.
        place: row and column of every patch of the grid ``(A, B, 2)``.
        level: the noise level of every patch ``(A, B)``.
        weight: of an estimate at each level ``(L,)``.
        basis: leading directions of each node ``(n, R, D)``.
        rank: how many there are ``(n,)``.
        gain: ``1 / (v_j + s) - 1 / (u + s)`` at each level, v_j being the leading variances, u
            that of the tail and s the noise's ``(L, n, R)``.
        tail: ``1 / (u + s)`` ``(L, n)``.
        offset: ``log det - 2 log pi`` ``(L, n)``.
        child: the children of a node ``(n, 2)``, -1 for none; leaves come first.
        shrink: ``v_j / (v_j + s) - u / (u + s)`` of the leaves ``(L, K, R)``.
        rest: ``u / (u + s)`` ``(L, K)``.
        tops: the nodes to begin with.
        beam: nodes kept on each level.
        p: side of a patch.
        first: the first row that the strip reaches.
        acc: ``(reach, W)``, zero.
        norm: likewise.
    """
    D, width = p * p, min(beam, len(rank))
    y, out = np.empty(D, np.float32), np.empty(D, np.float32)
    c = np.empty(basis.shape[1], np.float32)
    best, far = np.empty(2 * width + 1, np.int32), np.empty(width + 1, np.float32)
    for a in range(s * LINES, min((s + 1) * LINES, len(place))):
        for b in range(place.shape[1]):
            v, u, at = place[a, b, 0], place[a, b, 1], level[a, b]
            mean, energy = np.float32(0), np.float32(0)
            for i in range(p):
                for j in range(p):
                    mean += x[v + i, u + j]
            mean /= np.float32(D)
            for i in range(p):
                for j in range(p):
                    e = x[v + i, u + j] - mean
                    y[i * p + j] = e
                    energy += e * e
            k = descend(y, energy, basis, rank, gain[at], tail[at], offset[at], child,
                        width, tops, width, c, best, far)  # fmt: skip
            project(y, basis[k], rank[k], c)
            for j in range(rank[k]):
                c[j] *= shrink[at, k, j]
            flat = rest[at, k]
            for i in range(D):
                out[i] = mean + flat * y[i]
            for j in range(rank[k]):
                e, direction = c[j], basis[k, j]
                for i in range(D):
                    out[i] += e * direction[i]
            w = weight[at]
            for i in range(p):
                top, below = acc[v - first + i], norm[v - first + i]
                for j in range(p):
                    top[u + j] += w * out[i * p + j]
                    below[u + j] += w
