"""EPLL in a fraction of its time: fewer patches, fewer Gaussians tried, fewer directions each.

Notation: p the side of a patch, ``D = p^2``; ``S_k`` the covariance of component k, its *leading*
directions those of the greatest variances, which hold a share of its trace; the others, its tail,
are given their mean variance.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check
from gouache.random import derive, derive_keys, keyed_uniform
from gouache.registry import method

from ._epll import BETAS, Noise, chosen, split
from ._prior import PatchPrior
from ._prior_filter import cosine
from ._strips import Array, mean_of_strips


@method("denoise")
def fepll(
    image: Tensor,
    sigma: float | Tensor | None = None,
    *,
    prior: PatchPrior | None = None,
    betas: Sequence[float] = BETAS,
    stride: int = 4,
    energy: float = 0.99,
    beam: int = 2,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Denoise by the expected patch log likelihood, fast and approximately.

    As ``epll``, but in each iteration one patch a ``stride x stride`` cell is estimated, at a
    random place in it such that every pixel is in a patch; a covariance is its leading directions,
    which hold ``energy`` of the trace, and a flat tail; and the component is found by going down a
    binary tree, whose nodes are the Gaussians of the two below together, from the ``beam``
    likeliest of each level. As published: stride 6, energy 0.95 and beam 1,
    which is faster and loses more. It computes on the CPU, and gradients do not flow through it.

    Args:
        image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1, not clipped.
        sigma: noise in units of the pixel range: a number, one an image, or a map ``(H, W)``, of
            which the root mean square over a patch counts, to within 5 %; None estimates it.
        prior: of patches; None is the one that ships.
        betas: the weights b of ``epll``, one an iteration, above 0.
        stride: side of a cell, at most the side of a patch.
        energy: share of the trace in the leading directions; 1 takes all of them.
        beam: nodes that are gone down from on each level; as many as components try all of them.
        seed: of the places.
        progress: called with (iterations done, iterations in all).

    Raises:
        InputError: an image that is no image, sigma on another scale, or a parameter out of range.

    Reference:
        S. Parameswaran, C.-A. Deledalle, L. Denis, T. Q. Nguyen, "Accelerating GMM-based patch
        priors for image restoration: three ingredients for a 100x speed-up", 2018.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> clean = torch.linspace(0, 1, 32).expand(1, 32, 32)
        >>> noisy = clean + 0.1 * torch.randn(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> error = (patches.fepll(noisy, 0.1) - clean).square().mean()
        >>> bool(error < 0.1 * (noisy - clean).square().mean())
        True
    """
    mixture = chosen(prior)
    p = mixture.config.patch
    check.count(stride, "stride", 1, p)
    check.between(energy, "energy", 0, 1)
    check.count(beam, "beam")
    tree = tree_of(mixture, energy)

    def estimate(plane: Tensor, noise: Noise, number: int) -> Tensor:
        place = places(plane.shape, p, stride, derive(seed, number))
        return _estimate(plane, noise, place, tree, beam)

    return split(image, sigma, p, betas, estimate, progress)


@dataclass(frozen=True)
class Tree:
    """Gaussians with flat tails, the components first, then those of pairs, level by level.

    Attributes:
        basis: leading directions ``(n, R, D)``, zeros beyond the rank.
        rank: how many a node has ``(n,)``.
        leading: their variances ``(n, R)``.
        tail: the variance of the other directions ``(n,)``.
        weight: the probability of a node ``(n,)``.
        child: the nodes below ``(n, 2)``, -1 for none.
        tops: the nodes of the uppermost level.
        components: how many leaves there are.
    """

    basis: Array
    rank: NDArray[np.int32]
    leading: NDArray[np.float64]
    tail: NDArray[np.float64]
    weight: NDArray[np.float64]
    child: NDArray[np.int32]
    tops: NDArray[np.int32]
    components: int


@dataclass(frozen=True)
class _Kept:
    """The tree of a prior, and what it was made of."""

    weight: Tensor
    covariance: Tensor
    energy: float
    tree: Tree

    def serves(self, weight: Tensor, covariance: Tensor, energy: float) -> bool:
        """Return whether a tree made of these would be the same."""
        same = torch.equal(weight, self.weight) and torch.equal(covariance, self.covariance)
        return same and energy == self.energy


_KEPT: WeakKeyDictionary[PatchPrior, _Kept] = WeakKeyDictionary()


def tree_of(prior: PatchPrior, energy: float) -> Tree:
    """Return the tree of a prior's components; the last one of a prior is kept until it changes."""
    weight, covariance = (t.detach().cpu().double() for t in (prior.weight, prior.covariance))
    kept = _KEPT.get(prior)
    if kept is None or not kept.serves(weight, covariance, energy):
        tree = _tree(weight, covariance, prior.config.patch, energy)
        _KEPT[prior] = kept = _Kept(weight.clone(), covariance.clone(), energy, tree)
    return kept.tree


def _tree(weight: Tensor, covariance: Tensor, p: int, energy: float) -> Tree:
    """Return the tree of components ``(K,)`` and ``(K, d, d)``, float64."""
    components = nodes = len(weight)
    child = [(-1, -1)] * nodes
    level = list(range(nodes))
    while len(level) > 1:
        pairs = _pairs(covariance[level])
        below = [tuple(level[k] for k in pair) for pair in pairs]
        for pair in below:
            share = weight[list(pair)]
            mean = (share[:, None, None] * covariance[list(pair)]).sum(0) / share.sum()
            covariance = torch.cat([covariance, mean[None]])
            weight = torch.cat([weight, share.sum()[None]])
            child.append((pair[0], pair[1] if len(pair) == 2 else -1))
        level = list(range(len(child) - len(below), len(child)))
    basis, rank, leading, tail = _flattened(covariance, energy)
    pixels = torch.einsum("nij,id->njd", basis, cosine(p))
    return Tree(
        pixels.float().contiguous().numpy(), rank.int().numpy(), leading.numpy(), tail.numpy(),
        weight.numpy(), np.array(child, np.int32), np.array(level, np.int32), components,
    )  # fmt: skip


def _pairs(covariance: Tensor) -> list[tuple[int, ...]]:
    """Pair Gaussians ``(n, d, d)`` up, the nearest two first; of an odd number one stays alone.

    Near is by ``tr(S_a^-1 S_b) + tr(S_b^-1 S_a)``, the symmetric divergence but for a constant.
    """
    n = len(covariance)
    cross = torch.linalg.inv(covariance).flatten(1) @ covariance.flatten(1).T
    far = cross + cross.T
    left, pairs = [True] * n, []
    for place in far.flatten().argsort(stable=True).tolist():
        a, b = divmod(place, n)
        if a < b and left[a] and left[b]:
            left[a] = left[b] = False
            pairs.append((a, b))
    return sorted(pairs + [(k,) for k in range(n) if left[k]])


def _flattened(covariance: Tensor, energy: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return leading directions ``(n, d, R)``, ranks, their variances and those of the tails."""
    values, vectors = (t.flip(-1) for t in torch.linalg.eigh(covariance))
    d = values.shape[1]
    share = values.cumsum(1) / values.sum(1, keepdim=True)
    rank = (share < energy - 1e-12).sum(1).add(1).clamp(max=d)
    leads = torch.arange(d) < rank[:, None]
    rest = values.masked_fill(leads, 0).sum(1)
    tail = torch.where(rank < d, rest / (d - rank).clamp(min=1), values[:, -1])
    most = int(rank.max())
    return (vectors * leads[:, None])[:, :, :most], rank, values[:, :most], tail


def places(shape: torch.Size, p: int, stride: int, seed: int) -> NDArray[np.int32]:
    """Return one place of a patch a cell ``(A, B, 2)``, such that every pixel is in a patch.

    Cell (a, b) has its patch at ``(a stride + i, b stride + j)`` with whole i and j drawn below
    ``stride`` and up to ``p - stride``; along the image's borders patches touch them.
    """
    counts = [-(-(n - p) // stride) + 1 for n in shape]
    drawn = keyed_uniform(derive_keys(seed, torch.arange(1)), (*counts, 2))[0]
    offset = (drawn * min(stride, p - stride + 1)).long()
    corner = torch.cartesian_prod(*(torch.arange(n) * stride for n in counts))
    place = corner.view(*counts, 2) + offset
    for axis in range(2):
        ends = place.select(2, axis).movedim(axis, 0)
        ends[0], ends[-1] = 0, shape[axis] - p
        ends.clamp_(max=shape[axis] - p)
    return place.int().contiguous().numpy()


def _estimate(
    plane: Tensor, noise: Noise, place: NDArray[np.int32], tree: Tree, beam: int
) -> Tensor:
    """Return the mean of the estimates of the patches at these places."""
    from . import _fepll_kernels as kernels

    x = np.ascontiguousarray(plane.cpu().numpy())
    p = x.shape[0] - noise.index.shape[0] + 1
    level = noise.index.cpu().numpy()[place[..., 0], place[..., 1]].astype(np.int32)
    strips = range(0, len(place), kernels.LINES)
    first = np.array([place[a : a + kernels.LINES, :, 0].min() for a in strips], np.int32)
    last = np.array([place[a : a + kernels.LINES, :, 0].max() for a in strips])
    reach = int((last - first).max()) + p
    sigma = np.array(noise.levels)
    weight = ((sigma[0] / sigma) ** 2).astype(np.float32)
    nodes = (tree.basis, tree.rank, *_tables(tree, sigma**2, tree.basis.shape[2] - 1))

    def strip(k: int) -> tuple[Array, Array]:
        acc = np.zeros((reach, x.shape[1]), np.float32)
        norm = np.zeros_like(acc)
        head = (k, x, place, level, weight)
        kernels.estimate(*head, *nodes, tree.tops, beam, p, int(first[k]), acc, norm)
        return acc, norm

    return torch.from_numpy(mean_of_strips(strip, first, x.shape)).to(plane.device)


def _tables(tree: Tree, s: NDArray[np.float64], d: int) -> tuple[NDArray[np.generic], ...]:
    """Return gain, tail, offset, child, shrink and rest of the kernel, at noise variances s."""
    s = s[:, None]
    u, v = tree.tail + s, tree.leading + s[..., None]
    leads = np.arange(v.shape[2]) < tree.rank[:, None]
    logdet = np.where(leads, np.log(v), 0).sum(2) + (d - tree.rank) * np.log(u)
    gain = np.where(leads, 1 / v - 1 / u[..., None], 0)
    rest = tree.tail / u
    shrink = np.where(leads, tree.leading / v - rest[..., None], 0)
    K = tree.components
    found = (gain, 1 / u, logdet - 2 * np.log(tree.weight))
    last = (shrink[:, :K], rest[:, :K])
    floats = [np.ascontiguousarray(t, np.float32) for t in (*found, *last)]
    return (*floats[:3], tree.child, *floats[3:])
