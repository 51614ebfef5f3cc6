"""The bilateral filter, a row at a time.

Notation: ``u`` the image ``(C, H, W)``, ``g`` the guide ``(G, H, W)``; p a pixel of row y, q = p +
(dy, dx). A strip of rows is one thread's work.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from ._rows import exp_minus, squares

STRIP = 16


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
                here, weight = scale[y, x0 : x0 + n], near[r + dy, r + dx]
                for i in range(n):
                    k[i] *= here[i]
                exp_minus(k, n, bits, powers)
                sums = total[x0 : x0 + n]
                for i in range(n):
                    k[i] *= weight
                    sums[i] += k[i]
                for c in range(channels):
                    row, q = out[c, y, x0 : x0 + n], u[c, y + dy, x0 + dx : x0 + dx + n]
                    for i in range(n):
                        row[i] += k[i] * q[i]
        for c in range(channels):
            row = out[c, y]
            for i in range(width):
                row[i] /= total[i]
