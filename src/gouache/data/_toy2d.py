"""Densities in the plane, for models that are too small or too new for images.

Notation: ``x`` are points ``(n, 2)``; every set lies within about [-4, 4] in both directions.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gouache import check


def toy2d(name: str, n: int, rng: torch.Generator | None = None) -> Tensor:
    """Draw points ``(n, 2)`` of a density in the plane.

    * ``ring``: eight Gaussians of standard deviation 0.1 on the unit circle.
    * ``moons``: two half circles of radius 2 that interlock, with noise of 0.1.
    * ``checkerboard``: uniform on every second of 4x4 squares of side 2, area 32.
    * ``spiral``: two arms, one turn and a half each, radius up to 3.8, with noise of 0.1.
    * ``pinwheel``: five blades, bent by an angle that grows as exp(radius) / 4.

    Args:
        name: one of the above.
        n: how many points.
        rng: source of randomness.

    Raises:
        InputError: an unknown name, an impossible n.

    Reference:
        W. Grathwohl and others, "FFJORD: free-form continuous dynamics for scalable reversible
        generative models", 2019 (all but the moons); M. Johnson and others, "Composing graphical
        models with neural networks", 2016 (the pinwheel).

    Example:
        >>> import torch
        >>> toy2d("ring", 1000, torch.Generator().manual_seed(0)).norm(dim=1).mean().round()
        tensor(1.)
    """
    check.choice(name, "toy density", TOYS)
    return TOYS[name](check.count(n, "n"), rng)


def _ring(n: int, rng: torch.Generator | None) -> Tensor:
    angle = torch.randint(8, (n,), generator=rng) * (math.pi / 4)
    return _polar(angle) + 0.1 * torch.randn(n, 2, generator=rng)


def _moons(n: int, rng: torch.Generator | None) -> Tensor:
    angle = math.pi * torch.rand(n, generator=rng)
    lower = torch.randint(2, (n, 1), generator=rng)
    arc = _polar(angle) - torch.tensor([0.5, 0.25])
    return 2 * torch.where(lower == 1, -arc, arc) + 0.1 * torch.randn(n, 2, generator=rng)


def _checkerboard(n: int, rng: torch.Generator | None) -> Tensor:
    column = torch.randint(4, (n,), generator=rng)
    row = 2 * torch.randint(2, (n,), generator=rng) + column % 2
    corner = torch.stack([column, row], dim=1) - 2
    return 2 * (corner + torch.rand(n, 2, generator=rng))


def _spiral(n: int, rng: torch.Generator | None) -> Tensor:
    angle = 3 * math.pi * torch.rand(n, generator=rng).sqrt()
    arm = 1 - 2 * torch.randint(2, (n, 1), generator=rng)
    turn = _polar(angle) * angle[:, None] * (3.8 / (3 * math.pi))
    return arm * turn + 0.1 * torch.randn(n, 2, generator=rng)


def _pinwheel(n: int, rng: torch.Generator | None) -> Tensor:
    blade = torch.randint(5, (n,), generator=rng) * (2 * math.pi / 5)
    out = torch.randn(n, 2, generator=rng) * torch.tensor([0.3, 0.1]) + torch.tensor([1.0, 0.0])
    angle = blade + 0.25 * out[:, 0].exp()
    cos, sin = angle.cos(), angle.sin()
    return 2 * torch.stack(
        [cos * out[:, 0] - sin * out[:, 1], sin * out[:, 0] + cos * out[:, 1]], dim=1
    )


def _polar(angle: Tensor) -> Tensor:
    return torch.stack([angle.cos(), angle.sin()], dim=1)


TOYS: dict[str, Callable[[int, torch.Generator | None], Tensor]] = {
    "ring": _ring,
    "moons": _moons,
    "checkerboard": _checkerboard,
    "spiral": _spiral,
    "pinwheel": _pinwheel,
}
