"""The two steps of NL-Bayes: take similar patches, and estimate each from their Gaussian.

Notation: patches of p x p pixels; the *group* of a reference patch are the patches most like it in
a guide; ``x`` its noisy patches ``(n, d)``, ``m`` their mean, ``C`` a covariance.

The rows of references are cut into strips. A strip adds its patches up in memory of its own, which
reaches as far as its windows, and the strips are summed in order: the result does not depend on
the number of threads.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

ROWS = 16  # of references in a strip


@kernel(inline=True)
def similar(guide, y, x, p, radius, most, tau, far, ys, xs):
    """Fill ``ys, xs`` with the ``most`` nearest patches, and all up to ``tau``; return how many.

    The distance is the sum of squares over a patch of ``guide`` ``(C, H, W)``.
    """
    channels, height, width = guide.shape
    top, bottom = max(0, y - radius), min(height - p, y + radius)
    left, right = max(0, x - radius), min(width - p, x + radius)
    n, m = right - left + 1, 0
    for v in range(top, bottom + 1):
        row = far[m : m + n]
        for k in range(n):
            row[k] = np.float32(0)
        for c in range(channels):
            for i in range(p):
                for j in range(p):
                    r = guide[c, y + i, x + j]
                    others = guide[c, v + i, left + j : left + j + n]
                    for k in range(n):
                        e = others[k] - r
                        row[k] += e * e
        m += n
    limit = np.float32(np.inf)
    if m > most:
        limit = max(tau, np.partition(far[:m], most - 1)[most - 1])
    found = 0
    for k in range(m):
        if far[k] <= limit:
            ys[found] = top + k // n
            xs[found] = left + k % n
            found += 1
    return found


@kernel(inline=True)
def take(z, c, p, ys, xs, n, at, group):
    """Copy channel c of the patches to ``group[:n, at : at + p p]``."""
    for k in range(n):
        for i in range(p):
            line = z[c, ys[k] + i, xs[k] : xs[k] + p]
            for j in range(p):
                group[k, at + i * p + j] = line[j]


@kernel(inline=True)
def spread(group, n, at, size):
    """Return the mean and the variance of all pixels of a channel."""
    total = 0.0
    for k in range(n):
        for j in range(size):
            total += group[k, at + j]
    mean, squares = total / (n * size), 0.0
    for k in range(n):
        for j in range(size):
            e = group[k, at + j] - mean
            squares += e * e
    return mean, squares / max(1, n * size - 1)


@kernel(inline=True)
def moments(group, n, d, mean, C):
    """Set ``mean[:d]`` and the upper triangle of the covariance ``C[:d, :d]``."""
    for i in range(d):
        mean[i] = 0.0
        for j in range(i, d):
            C[i, j] = 0.0
    for k in range(n):
        for i in range(d):
            mean[i] += group[k, i]
    for i in range(d):
        mean[i] /= n
    line = np.empty(d)
    for k in range(n):
        for i in range(d):
            line[i] = group[k, i] - mean[i]
        for i in range(d):
            e = line[i]
            for j in range(i, d):
                C[i, j] += e * line[j]
    for i in range(d):
        for j in range(i, d):
            C[i, j] /= max(1, n - 1)


@kernel(inline=True)
def factor(C, d):
    """Replace the upper triangle of C by U, ``U^T U = C``; return whether C is definite."""
    for j in range(d):
        diagonal = C[j, j]
        if not diagonal > 1e-12:
            return False
        root = np.sqrt(diagonal)
        for i in range(j, d):
            C[j, i] /= root
        for i in range(j + 1, d):
            e = C[j, i]
            for k in range(i, d):
                C[i, k] -= e * C[j, k]
    return True


@kernel(inline=True)
def solve(U, B, d, n):
    """Replace ``B[:d, :n]`` by ``(U^T U)^-1 B``."""
    for i in range(d):
        for k in range(n):
            B[i, k] /= U[i, i]
        for j in range(i + 1, d):
            e = U[i, j]
            for k in range(n):
                B[j, k] -= e * B[i, k]
    for i in range(d - 1, -1, -1):
        for j in range(i + 1, d):
            e = U[i, j]
            for k in range(n):
                B[i, k] -= e * B[j, k]
        for k in range(n):
            B[i, k] /= U[i, i]


@kernel(inline=True)
def bayes(x, pilot, n, d, level, second, mean, C, B):
    """Replace a group by its Bayes estimate, ``x - s M^-1 (x - m)``, s being ``level``.

    In the first step M is the covariance of x; in the second M is that of ``pilot`` plus ``s I``,
    and m the mean of ``pilot``. An M that is not definite leaves x alone.
    """
    if second:
        moments(pilot, n, d, mean, C)
        for i in range(d):
            C[i, i] += level
    else:
        moments(x, n, d, mean, C)
    if not factor(C, d):
        return
    for i in range(d):
        for k in range(n):
            B[i, k] = x[k, i] - mean[i]
    solve(C, B, d, n)
    for k in range(n):
        for i in range(d):
            x[k, i] -= np.float32(level * B[i, k])


@kernel()
def estimate(
    s, z, basic, guide, noise, rows, cols, p, radius, most, tau, beta, gamma, second, first, acc,
    norm,
):  # fmt: skip
    """Estimate every group of a strip, and add its patches up.

    A reference that was in a group before, or beside a patch that was, is passed over.

    Args:
        s: the strip.
        z: the noisy channels ``(C, H, W)``.
        basic: the result of the first step; in that step anything of this shape.
        guide: patches are compared in it ``(G, H, W)``.
        noise: sigma^2 of the patch at each place ``(H - p + 1, W - p + 1)``.
        rows: where references begin ``(R,)``.
        cols: likewise ``(Q,)``.
        p: side of a patch.
        radius: of the search window.
        most: patches in a group.
        tau: patches as near as that are in the group too.
        beta: factor of sigma^2.
        gamma: a group whose variance is at most that many sigma^2 is flat.
        second: whether it is the second step: channels together, the Gaussian of ``basic``.
        first: the first row that the strip reaches.
        acc: ``(C, reach, W)``, zero.
        norm: ``(reach, W)``, zero.
    """
    channels, _, width = z.shape
    size, side = p * p, 2 * radius + 1
    parts = 1 if second else channels
    d = size * channels // parts
    far = np.empty(side * side, np.float32)
    ys, xs = np.empty(side * side, np.int32), np.empty(side * side, np.int32)
    x, pilot = np.empty((side * side, d), np.float32), np.empty((side * side, d), np.float32)
    mean, C, B = np.empty(d), np.empty((d, d)), np.empty((d, side * side))
    means = np.empty(channels)
    done = np.zeros((acc.shape[1], width), np.uint8)
    for r in range(s * ROWS, min((s + 1) * ROWS, len(rows))):
        for q in range(len(cols)):
            row, col = rows[r], cols[q]
            edge = r == 0 or q == 0 or r == len(rows) - 1 or q == len(cols) - 1
            if done[row - first, col] > (1 if edge else 0):
                continue
            n = similar(guide, row, col, p, radius, most, tau, far, ys, xs)
            variance = noise[row, col]
            total = 0.0
            for c in range(channels):
                take(z, c, p, ys, xs, n, 0, x)
                means[c], one = spread(x, n, 0, size)
                total += one
                if second:
                    take(basic, c, p, ys, xs, n, 0, pilot)
                    means[c], one = spread(pilot, n, 0, size)
            flat = total <= gamma * variance * channels
            for part in range(parts):
                for c in range(channels // parts):
                    take(z, part + c, p, ys, xs, n, c * size, x)
                    if second:
                        take(basic, part + c, p, ys, xs, n, c * size, pilot)
                if not flat:
                    bayes(x, pilot, n, d, beta * variance, second, mean, C, B)
                for c in range(channels // parts):
                    for k in range(n):
                        for i in range(p):
                            out = acc[part + c, ys[k] + i - first, xs[k] : xs[k] + p]
                            for j in range(p):
                                value = x[k, c * size + i * p + j]
                                out[j] += np.float32(means[part + c]) if flat else value
            for k in range(n):
                v, u = ys[k] - first, xs[k]
                for i in range(p):
                    for j in range(p):
                        norm[v + i, u + j] += np.float32(1)
                done[v, u] = 2
                if v > 0:
                    done[v - 1, u] = max(done[v - 1, u], 1)
                if u > 0:
                    done[v, u - 1] = max(done[v, u - 1], 1)
                if v + 1 < done.shape[0]:
                    done[v + 1, u] = max(done[v + 1, u], 1)
                if u + 1 < width:
                    done[v, u + 1] = max(done[v, u + 1], 1)


@kernel()
def stack(x, pilot, level, second):
    """Replace one group ``(n, d)`` by its Bayes estimate; see :func:`bayes`."""
    n, d = x.shape
    bayes(x, pilot, n, d, level, second, np.empty(d), np.empty((d, d)), np.empty((d, n)))
