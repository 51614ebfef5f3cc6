"""Components of patches, and the trees made of them; the notation is that of ``_match_tree.py``."""

from __future__ import annotations

import numpy as np

from ._jit import kernel
from ._lanes import load16, store, zeros16

SAMPLE = 16  # patches of a node that say where it is cut


@kernel()
def codes(band, rows, a, shape, p, channels, basis, offset, scale, out):
    """Set ``out (h w, m)`` to the components of every patch in a band, each in 256 levels.

    Args:
        band: of ``rows`` rows.
        rows: see there.
        a: an image, flat, a pixel's channels side by side.
        shape: h and w.
        p: side of a patch.
        channels: C.
        basis: components ``(P P C, 16)``.
        offset: where the first level of each begins ``(16,)``.
        scale: levels a unit ``(16,)``; what is beyond the ends counts to them.
        out: uint8.
    """
    height, width = shape
    found = np.empty(16, np.float32)
    for y in range(band * rows, min(height, (band + 1) * rows)):
        for x in range(width):
            total, j = zeros16(), 0
            for r in range(p):
                i = ((y + r) * (width + p - 1) + x) * channels
                for t in range(p * channels):
                    total = total + load16(basis, (j, 0)) * a[i + t]
                    j += 1
            store(found, 0, total)
            for k in range(out.shape[1]):
                level = max(np.float32(0), (found[k] - offset[k]) * scale[k])
                out[y * width + x, k] = np.uint8(min(np.float32(255), level))


@kernel()
def grow(root, bottom, code, weight, order, cuts, starts, depth):
    """Cut a node, and those below it, down to a level of the tree.

    Args:
        root: the node.
        bottom: the level, the root of the whole tree having 0, whose nodes are not cut any more.
        code: ``(n, m)`` uint8.
        weight: of a component's variance, by level ``(depth + 1, 16)``.
        order: patches, sorted into the nodes.
        cuts: of all nodes.
        starts: of all leaves; those that begin a node are known when it is cut.
        depth: level of the leaves.
    """
    some = np.empty(SAMPLE, np.uint8)
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
        for t in range(SAMPLE):
            e = np.float32(code[order[low + (high - low) * t // SAMPLE], k])
            one += e
            two += e * e
        spread = (two * SAMPLE - one * one) * weight[level, k]
        if spread > most:
            most, component = spread, np.int64(k)
    for t in range(SAMPLE):
        e = code[order[low + (high - low) * t // SAMPLE], component]
        i = t
        while i > 0 and some[i - 1] > e:
            some[i] = some[i - 1]
            i -= 1
        some[i] = e
    i = SAMPLE // 2
    while i < SAMPLE - 1 and some[i] == some[0]:
        i += 1
    return component, np.int64(some[i])
