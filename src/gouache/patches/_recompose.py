"""An image put together from copied pixels such that their joints do not show.

Notation: D the pixels to be set, u the image, known outside D; pixel p of D is copied from o(p) in
the source v.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

SCREEN, ENOUGH, REACH, BEYOND = 0.03, 1e-8, 2, 0.02


def recompose(
    u: Tensor,
    inside: Tensor,
    source: Tensor,
    seen: Tensor,
    origin: Tensor,
    *,
    screen: float = SCREEN,
    beyond: float = BEYOND,
    rounds: int = 100,
) -> Tensor:
    """Set the pixels of D to what has the copies' gradients and meets the known ones.

    ``min_x sum_p screen |x(p) - v(o(p))|^2 + sum_{p~q} |x(p) - x(q) - g(p, q)|^2``, where ``g(p,
    q)`` is the larger of the steps ``v(o(p)) - v(o(p) + q - p)`` and ``v(o(q) + p - q) - v(o(q))``
    that the copies of either side have there, or the one that there is, 0 if there is none. It is
    solved by conjugate gradients. Where an edge ends at a joint, the step would bleed into what is
    flat: so x is kept within the range of the copies and the known pixels around.

    Args:
        u: ``(C, H, W)``; what is in D has no influence.
        inside: D ``(H, W)``.
        source: v ``(C, H', W')``.
        seen: which of its pixels there are ``(H', W')``.
        origin: row and column of o ``(2, H, W)`` in it.
        screen: how firmly colours are kept; differences of colour at the border fade over some
            ``screen ** -0.5`` pixels.
        beyond: how far x may leave the range of the 5 x 5 pixels around.
        rounds: of conjugate gradients, at most.

    Reference:
        P. Perez, M. Gangnet, A. Blake, "Poisson image editing", 2003 (mixed gradients); P. Bhat,
        B. Curless, M. Cohen, C. Zitnick, "Fourier analysis of the 2D screened Poisson equation for
        gradient domain problems", 2008. The range is ours.
    """
    from . import _recompose_kernels as kernels
    from ._jit import spread

    if u.is_cuda:
        given = (x.cpu() for x in (u, inside, source, seen, origin))
        return recompose(*given, screen=screen, beyond=beyond, rounds=rounds).to(u.device)
    at = inside.nonzero().to(torch.int32)
    number = torch.full(inside.shape, -1, dtype=torch.int32)
    number[inside] = torch.arange(len(at), dtype=torch.int32)
    images, origins = (u.contiguous().numpy(), source.contiguous().numpy()), origin[:, inside]
    given = (seen.numpy(), at.numpy(), origins.T.contiguous().to(torch.int32).numpy())

    def one(c: int) -> Tensor:
        copied, target, weight, *room = np.empty((6, len(at)), np.float32)
        links = np.empty((len(at), 4), np.int32)
        system = (copied, target, weight, links)
        kernels.system(images[0][c], images[1][c], *given, number.numpy(), screen, *system)
        kernels.solve(*system, np.stack(room), rounds, ENOUGH)
        return torch.from_numpy(copied)

    out, (rows, cols) = u.clone(), origins.long()
    found = torch.stack(list(spread(one, len(u))))
    out[:, inside] = source[:, rows, cols]
    low, high = (f(out)[:, inside] for f in (lambda x: -_largest(-x), _largest))
    out[:, inside] = found.clamp(low - beyond, high + beyond)
    return out


def _largest(x: Tensor) -> Tensor:
    """Return the largest value around each pixel."""
    return max_pool2d(x, 2 * REACH + 1, 1, REACH)
