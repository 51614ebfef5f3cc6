"""Least squares in an operator A: closed forms where there are any, else conjugate gradients.

All of it rests on ``(A A^T + rho)^-1``, which acts on observations:
``argmin_x |A x - y|^2 + rho |x - z|^2 = z + A^T (A A^T + rho)^-1 (y - A z)``, the limit of which at
rho = 0 and z = 0 is ``A^+ y``.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor

from gouache.contracts import Operator

MOST = 2000  # iterations of conjugate gradients; what is reached by then is returned


class HasGramInverse(Operator):
    """An operator that inverts ``A A^T + rho`` at once, or nearly."""

    @abstractmethod
    def exact(self, y: Tensor) -> bool:
        """Return whether ``gram_inverse`` is exact for an observation of this shape."""

    @abstractmethod
    def gram_inverse(self, r: Tensor, rho: float) -> Tensor:
        """Return ``(A A^T + rho)^-1 r``, the pseudo-inverse at rho = 0.

        Where it is not exact it is a preconditioner: near it, symmetric and positive definite.
        """


def nearest(
    operator: Operator,
    y: Tensor,
    z: Tensor,
    rho: float,
    *,
    start: Tensor | None = None,
    tolerance: float = 1e-4,
) -> tuple[Tensor, Tensor]:
    """Return ``x = argmin |A x - y|^2 + rho |x - z|^2``, and u with ``x = z + A^T u``.

    Args:
        operator: A.
        y: the observation.
        z: where x should be near.
        rho: > 0.
        start: u of a problem that is near this one.
        tolerance: of conjugate gradients, relative to the residual of z.

    Reference:
        N. Zhao, Q. Wei, A. Basarab, N. Dobigeon, D. Kouamé, J.-Y. Tourneret, "Fast single image
        super-resolution using a new analytical solution for l2-l2 problems", 2016 (the closed
        form of downsampling, there without the observation's own side of the identity).
    """
    r = y - operator(z)
    known = operator if isinstance(operator, HasGramInverse) else None
    if known is not None and known.exact(y):
        u = known.gram_inverse(r, rho)
    else:
        u = conjugate_gradients(
            lambda v: operator(operator.adjoint(v)) + rho * v,
            r,
            start=start,
            precondition=None if known is None else lambda v: known.gram_inverse(v, rho),
            tolerance=tolerance,
        )
    return z + operator.adjoint(u), u


def pseudo_inverse(operator: HasGramInverse, y: Tensor) -> Tensor:
    """Return ``A^+ y``.

    ``A^T (A A^T)^+ y`` where that is known, singular values near the rounding taken for zero; else
    by :func:`least_norm`, iterations stopped early.
    """
    if operator.exact(y):
        return operator.adjoint(operator.gram_inverse(y, 0.0))
    return least_norm(operator, y)


def conjugate_gradients(
    apply: Callable[[Tensor], Tensor],
    b: Tensor,
    *,
    start: Tensor | None = None,
    precondition: Callable[[Tensor], Tensor] | None = None,
    tolerance: float = 1e-5,
) -> Tensor:
    """Solve ``M x = b`` for a positive definite M, to a residual of ``tolerance |b|``.

    After 2000 iterations it returns what there is.

    Reference:
        M. R. Hestenes, E. Stiefel, "Methods of conjugate gradients for solving linear systems",
        1952.
    """
    towards = precondition or (lambda v: v)
    x = torch.zeros_like(b) if start is None else start
    r = b - apply(x)
    step = towards(r)
    energy, goal = _dot(r, step), tolerance * b.norm()
    for _ in range(MOST):
        if r.norm() <= goal:
            break
        image = apply(step)
        length = energy / _dot(step, image)
        x, r = x + length * step, r - length * image
        turned = towards(r)
        before, energy = energy, _dot(r, turned)
        step = turned + (energy / before) * step
    return x


def least_norm(operator: Operator, y: Tensor) -> Tensor:
    """Return ``A^+ y`` by conjugate gradients on the normal equations (CGLS), from 0.

    They stop where ``|A^T (y - A x)|`` has fallen to ``eps^0.8`` of ``A^T y``, or after 2000
    iterations. Stopping early damps the directions in which A nearly vanishes, the more the smaller
    its singular value; no singular value is taken for zero.

    Reference:
        M. R. Hestenes, E. Stiefel, "Methods of conjugate gradients for solving linear systems",
        1952.
    """
    r, x = y, torch.zeros_like(s := operator.adjoint(y))
    step, energy = s, _dot(s, s)
    goal = energy * torch.finfo(s.dtype).eps ** 1.6
    for _ in range(MOST):
        if energy <= goal:
            break
        image = operator(step)
        length = energy / _dot(image, image)
        x, r = x + length * step, r - length * image
        s = operator.adjoint(r)
        before, energy = energy, _dot(s, s)
        step = s + (energy / before) * step
    return x


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum()
