"""Components of patches, and the trees made of them; the notation is that of ``_match_tree.py``."""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from ._lanes import load16, store, zeros16

ASKED = 16  # patches of a node that say where it is cut


@kernel()
def iterate(x, rounds, main, spread):
    """Turn ``main (D, 16)`` towards the largest eigenvectors of ``x^T x``, and make it orthonormal.

    Args:
        x: rows ``(n, D)``, centred.
        rounds: of the iteration.
        main: where it begins; columns that there are not are 0 in the end.
        spread: is set to the standard deviations of ``x`` along them ``(16,)``.
    """
    n, D = x.shape
    moved, squares = np.empty_like(main), zeros16()
    for r in range(rounds + 1):
        orthonormalise(main)
        moved[:] = 0
        squares = zeros16()
        for i in range(n):
            along = zeros16()
            for j in range(D):
                along = along + load16(main, (j, 0)) * x[i, j]
            squares = squares + along * along
            for j in range(D):
                store(moved, (j, 0), load16(moved, (j, 0)) + along * x[i, j])
        if r < rounds:
            main[:] = moved
    store(spread, 0, squares)
    for k in range(len(spread)):
        spread[k] = np.sqrt(spread[k] / n)


@kernel(inline=True)
def orthonormalise(main):
    """Make the columns of ``main (D, 16)`` orthonormal, in order; 0 where there is nothing left."""
    D, count = main.shape
    for k in range(count):
        before, after = 0.0, 0.0
        for turn in range(2):  # the second turn takes what the first one's rounding has left
            before = after
            for c in range(k):
                inner = 0.0
                for j in range(D):
                    inner += np.float64(main[j, c]) * main[j, k]
                for j in range(D):
                    main[j, k] -= np.float32(inner * main[j, c])
            after = 0.0
            for j in range(D):
                after += np.float64(main[j, k]) * main[j, k]
            if turn == 0 and after > 0:
                root = np.sqrt(after)
                for j in range(D):
                    main[j, k] = np.float32(main[j, k] / root)
                after = 1.0
        factor = 1 / np.sqrt(after) if after > 0.5 * before else 0.0
        for j in range(D):
            main[j, k] = np.float32(main[j, k] * factor)


@kernel()
def codes(band, rows, a, shape, p, channels, basis, scale, out):
    """Set ``out (h w, m)`` to the components of every patch in a band, each in 256 levels.

    Args:
        band: of ``rows`` rows.
        rows: see there.
        a: an image, flat, a pixel's channels side by side.
        shape: h and w.
        p: side of a patch.
        channels: C.
        basis: mean and components.
        scale: levels a unit ``(16,)``; the mean has level 128, and what is beyond the ends counts
            to them.
        out: uint8.
    """
    height, width = shape
    mean, main = basis.mean, basis.main
    found = np.empty(16, np.float32)
    for y in range(band * rows, min(height, (band + 1) * rows)):
        for x in range(width):
            total, j = zeros16(), 0
            for r in range(p):
                i = ((y + r) * (width + p - 1) + x) * channels
                for t in range(p * channels):
                    total = total + load16(main, (j, 0)) * (a[i + t] - mean[j])
                    j += 1
            store(found, 0, total)
            for k in range(out.shape[1]):
                level = max(np.float32(0), found[k] * scale[k] + np.float32(128))
                out[y * width + x, k] = np.uint8(min(np.float32(255), level))


@kernel()
def grow(root, bottom, code, weight, tree, depth):
    """Cut a node, and those below it, down to a level of the tree.

    Args:
        root: the node.
        bottom: the level, the root of the whole tree having 0, whose nodes are not cut any more.
        code: ``(n, m)`` uint8.
        weight: of a component's variance, by level ``(depth + 1, 16)``.
        tree: of its ``starts`` those that begin a node are known when the node is cut.
        depth: level of the leaves.
    """
    cuts, starts, order = tree
    some = np.empty(ASKED, np.uint8)
    level, first, last = 0, root, root + 1
    while root >> (level + 1):
        level += 1
    while level < bottom:
        for node in range(first, last):
            wide = 1 << (depth - level)  # leaves below the node
            leaf = (node - (1 << level)) * wide
            low, high = np.int64(starts[leaf]), np.int64(starts[leaf + wide])
            component, cut = np.int64(0), np.int64(0)
            if high > low:
                component, cut = choose(code, weight, order, low, high, level, some)
            cuts[node] = component << 8 | cut
            while low < high:
                at = order[low]
                if code[at, component] < cut:
                    low += 1
                else:
                    high -= 1
                    order[low] = order[high]
                    order[high] = at
            starts[leaf + wide // 2] = low
        level, first, last = level + 1, 2 * first, 2 * last


@kernel(inline=True)
def choose(code, weight, order, low, high, level, some):
    """Return the component in which ``order[low:high]`` differ most, and its median, by a sample.

    If the median is also the smallest, it is the next that is larger.
    """
    most, component = np.float32(-1), np.int64(0)
    for k in range(code.shape[1]):
        one = two = np.float32(0)
        for t in range(ASKED):
            e = np.float32(code[order[low + (high - low) * t // ASKED], k])
            one += e
            two += e * e
        spread = (two * ASKED - one * one) * weight[level, k]
        if spread > most:
            most, component = spread, np.int64(k)
    for t in range(ASKED):
        e = code[order[low + (high - low) * t // ASKED], component]
        i = t
        while i > 0 and some[i - 1] > e:
            some[i] = some[i - 1]
            i -= 1
        some[i] = e
    i = ASKED // 2
    while i < ASKED - 1 and some[i] == some[0]:
        i += 1
    return component, np.int64(some[i])
