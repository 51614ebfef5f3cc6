"""Rows of floats in kernels: what non-local means and the bilateral filter do with each.

Rows are cut before a loop over them, whose index is then known not to be negative: what numba has
to wrap around does not vectorise.
"""

from __future__ import annotations

import numpy as np

from ._jit import kernel

_LOG2E = np.float32(1.4426950408889634)
_C1 = np.float32(0.6931471805599453)
_C2 = np.float32(0.2402265069591007)
_C3 = np.float32(0.05550410866482158)
_C4 = np.float32(0.009618129107628477)
_C5 = np.float32(0.0013333558146428443)
_C6 = np.float32(0.00015403530393381608)


@kernel(inline=True)
def exp_minus(x, n, bits, powers):
    """Replace ``x[:n]`` >= 0 by exp(-x), to 3e-7 of its value; below 2^-120 it is that.

    ``exp(-x) = 2^-k 2^-r`` with k whole and |r| <= 1/2: the first factor is made of bits,
    ``powers`` being the same memory as ``bits``, the second is a polynomial.
    """
    for i in range(n):
        t = x[i] * _LOG2E
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
        x[i] = (np.float32(1) + r * e) * powers[i]


@kernel(inline=True)
def squares(u, y, dy, dx, x0, n, out):
    """Set ``out[:n]`` to the sum over channels of ``(u(y, x0 + i) - u(y + dy, x0 + dx + i))^2``."""
    for c in range(u.shape[0]):
        p, q = u[c, y, x0 : x0 + n], u[c, y + dy, x0 + dx : x0 + dx + n]
        if c == 0:
            for i in range(n):
                e = p[i] - q[i]
                out[i] = e * e
        else:
            for i in range(n):
                e = p[i] - q[i]
                out[i] += e * e
