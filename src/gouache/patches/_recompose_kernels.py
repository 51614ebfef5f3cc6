"""The system of equations of ``_recompose.py``, whose notation this is, and its solution.

The n pixels of D are numbered row by row; a channel is worked on by one thread.
"""

from __future__ import annotations

from ._jit import kernel

STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))


@kernel(allocates=False)
def system(u, source, seen, at, origin, number, screen, copied, target, weight, links):
    """Set up ``weight x(p) - sum_q x(q) = target`` of a channel.

    Args:
        u: the image ``(H, W)``.
        source: v ``(H', W')``.
        seen: which of its pixels there are, likewise.
        at: row and column of every pixel of D ``(n, 2)``.
        origin: likewise in the source.
        number: of the pixels of D ``(H, W)``, -1 outside.
        screen: see there.
        copied: is set to ``v(o(p))`` ``(n,)``.
        target: is set ``(n,)``.
        weight: likewise.
        links: is set to the numbers of the neighbours in D ``(n, 4)``, -1 where there is none.
    """
    for i in range(len(at)):
        copied[i] = source[origin[i, 0], origin[i, 1]]
    for i in range(len(at)):
        (y, x), total, count = at[i], screen * copied[i], screen
        for k in range(4):
            dy, dx = STEPS[k]
            links[i, k] = -1
            if not (0 <= y + dy < len(u) and 0 <= x + dx < u.shape[1]):
                continue
            j = number[y + dy, x + dx]
            links[i, k] = j
            guide = 0.0
            v, w = origin[i, 0] + dy, origin[i, 1] + dx
            if inside(seen, v, w):
                guide = copied[i] - source[v, w]
            if j >= 0:
                v, w = origin[j, 0] - dy, origin[j, 1] - dx
                if inside(seen, v, w):
                    other = source[v, w] - copied[j]
                    if abs(other) > abs(guide) or (abs(other) == abs(guide) and j < i):
                        guide = other  # of two as large both ends of the link take the same
            else:
                total += u[y + dy, x + dx]
            total += guide
            count += 1
        target[i], weight[i] = total, count


@kernel(inline=True, allocates=False)
def inside(seen, v, w):
    """Return whether there is a pixel (v, w)."""
    return 0 <= v < len(seen) and 0 <= w < seen.shape[1] and seen[v, w]


@kernel(allocates=False)
def solve(x, target, weight, links, room, rounds, enough):
    """Solve the system from ``x (n,)`` on by conjugate gradients, scaled by the diagonal.

    Args:
        x: the start, and the solution.
        target: see ``system``.
        weight: see there.
        links: see there.
        room: ``(3, n)``.
        rounds: at most.
        enough: the part of the first error, squared, that ends it.
    """
    rest, along, moved = room[0], room[1], room[2]
    apply(x, weight, links, moved)
    square = 0.0
    for i in range(len(x)):
        rest[i] = target[i] - moved[i]
        along[i] = rest[i] / weight[i]
        square += rest[i] * along[i]
    least = enough * square
    for _ in range(rounds):
        if square <= least:
            break
        apply(along, weight, links, moved)
        inner, before = 0.0, square
        for i in range(len(x)):
            inner += along[i] * moved[i]
        pace, square = square / inner, 0.0
        for i in range(len(x)):
            x[i] += pace * along[i]
            rest[i] -= pace * moved[i]
            square += rest[i] * rest[i] / weight[i]
        for i in range(len(x)):
            along[i] = rest[i] / weight[i] + square / before * along[i]


@kernel(inline=True, allocates=False)
def apply(x, weight, links, out):
    """Set ``out`` to the left side of the system."""
    for i in range(len(x)):
        total = weight[i] * x[i]
        for k in range(4):
            if links[i, k] >= 0:
                total -= x[links[i, k]]
        out[i] = total
