"""The bilateral filter, a row at a time.

Notation: ``u`` the image ``(C, H, W)``, ``g`` the guide ``(G, H, W)``; p a pixel of row y, q = p +
(dy, dx). Rows are cut out before a loop over them, whose index is then known not to be negative:
what numba has to wrap around it does not vectorise. A strip of rows is one thread's work.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

STRIP = 16
_LOG2E = np.float32(1.4426950408889634)
_C1 = np.float32(0.6931471805599453)
_C2 = np.float32(0.2402265069591007)
_C3 = np.float32(0.05550410866482158)
_C4 = np.float32(0.009618129107628477)
_C5 = np.float32(0.0013333558146428443)
_C6 = np.float32(0.00015403530393381608)


@kernel(inline=True)
def weigh(x, scale, near, n, bits, powers):
    """Replace ``x[:n]`` by ``near exp(-x scale)``, to 3e-7 of its value; below 2^-120 it is that.

    ``exp(-t) = 2^-k 2^-r`` with k whole and |r| <= 1/2: the first factor is made of bits,
    ``powers`` being the same memory as ``bits``, the second is a polynomial.
    """
    for i in range(n):
        t = x[i] * scale[i] * _LOG2E
        t = t if t < np.float32(120) else np.float32(120)
        k = np.int32(t + np.float32(0.5))
        bits[i] = (np.int32(127) - k) << np.int32(23)
        x[i] = np.float32(k) - t
    for i in range(n):
        r = x[i]
        e = _C5 + r * _C6
        e = _C4 + r * e
        e = _C3 + r * e
        e = _C2 + r * e
        e = _C1 + r * e
        x[i] = near * ((np.float32(1) + r * e) * powers[i])


@kernel(inline=True)
def squares(g, y, dy, dx, x0, n, out):
    """Set ``out[:n]`` to the sum over channels of ``(g(p) - g(q))^2``, p from (y, x0) on."""
    for c in range(g.shape[0]):
        p, q = g[c, y, x0 : x0 + n], g[c, y + dy, x0 + dx : x0 + dx + n]
        if c == 0:
            for i in range(n):
                e = p[i] - q[i]
                out[i] = e * e
        else:
            for i in range(n):
                e = p[i] - q[i]
                out[i] += e * e


@kernel()
def bilateral(s, u, g, scale, near, out):
    """Set one strip of ``out`` to the means of ``u`` under ``near exp(-scale |g(p) - g(q)|^2)``.

    Args:
        s: the strip.
        u: ``(C, H, W)``.
        g: ``(G, H, W)``.
        scale: ``(H, W)``, of p.
        near: weights of distance ``(2 r + 1, 2 r + 1)``.
        out: ``(C, H, W)``.
    """
    channels, height, width = u.shape
    r = near.shape[0] // 2
    k, bits = np.empty(width, np.float32), np.empty(width, np.int32)
    total, powers = np.empty(width, np.float32), bits.view(np.float32)
    for y in range(s * STRIP, min((s + 1) * STRIP, height)):
        total[:] = np.float32(0)
        for c in range(channels):
            out[c, y, :] = 0
        for dy in range(max(-r, -y), min(r, height - 1 - y) + 1):
            for dx in range(-r, r + 1):
                x0, n = max(0, -dx), width - abs(dx)
                if n <= 0:
                    continue
                squares(g, y, dy, dx, x0, n, k)
                weigh(k, scale[y, x0 : x0 + n], near[r + dy, r + dx], n, bits, powers)
                sums = total[x0 : x0 + n]
                for i in range(n):
                    sums[i] += k[i]
                for c in range(channels):
                    row, q = out[c, y, x0 : x0 + n], u[c, y + dy, x0 + dx : x0 + dx + n]
                    for i in range(n):
                        row[i] += k[i] * q[i]
        for c in range(channels):
            row = out[c, y]
            for i in range(width):
                row[i] /= total[i]
