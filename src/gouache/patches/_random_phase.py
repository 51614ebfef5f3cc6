"""Textures without edges: the spectrum of an exemplar with random phases, or with a random noise.

Notation: u the exemplar, m its mean, F the Fourier transform over a torus, W white noise. The
*spot* is u - m, smoothed at its border by taking the periodic component, laid on a torus of the
texture's size and divided by the root of its pixels, so that its energy is u's variance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gouache import random
from gouache.check import InputError
from gouache.registry import method

from ._texture import Texture, Wanted, wanted

TAPER = 0.2  # of the spot's sides, over which it fades where it does not go on around the torus


@method("texture")
def random_phase(
    exemplar: Tensor | Sequence[Tensor],
    size: int | tuple[int, int] | None = None,
    *,
    tileable: bool = False,
    guides: tuple[Tensor | Sequence[Tensor], Tensor] | None = None,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Texture:
    """Make a texture with the moduli of the exemplar's spectrum and random phases.

    ``F(x) = F(m + sqrt(N) spot) exp(i theta)``, N being the torus's pixels, theta uniform and odd,
    one and the same for all channels, so that colours stay together; 0 for the mean. Where the
    texture is as large as the exemplar, the spot is its periodic component, and the moduli are kept
    exactly; a larger torus holds the spot faded to 0 at its sides, a smaller one the spot folded.
    Edges and objects are lost; the result is clipped to [0, 1].

    Args:
        exemplar: ``(C, h, w)`` in [0, 1]; of several, one is drawn, for spectra do not mix.
        size: rows and columns, or one number for both; None is the exemplar's.
        tileable: whether the torus is of the texture's size even where the exemplar is larger;
            else the texture is cut from one of the exemplar's.
        guides: refused, for phases have no place.
        rng: of the phases and of the choice among exemplars.
        progress: called with (done, total).

    Raises:
        InputError: no images, no size, or guides.

    Reference:
        B. Galerne, Y. Gousseau, J.-M. Morel, "Random phase textures: theory and synthesis", 2011;
        L. Moisan, "Periodic plus smooth image decomposition", 2011.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> patches.random_phase(torch.rand(3, 16, 16), 24, tileable=True).image.shape
        torch.Size([3, 24, 24])
    """
    return _made(wanted(exemplar, size, tileable, _none(guides)), True, rng, progress)


@method("texture")
def adsn(
    exemplar: Tensor | Sequence[Tensor],
    size: int | tuple[int, int] | None = None,
    *,
    tileable: bool = False,
    guides: tuple[Tensor | Sequence[Tensor], Tensor] | None = None,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Texture:
    """Make a Gaussian texture with the exemplar's mean and autocorrelation.

    ``x = m + spot * W``, around the torus: the limit of many spots thrown at random (asymptotic
    discrete spot noise). The covariance of two pixels at distance t is the sum over r of
    ``spot(r) spot(r + t)``, also between channels, which share W. The spot, the size and what is
    clipped are those of `random_phase`; the moduli vary here.

    Args:
        exemplar: and the rest: as in `random_phase`.
        size: see there.
        tileable: see there.
        guides: refused, for noise has no place.
        rng: of the noise and of the choice among exemplars.
        progress: called with (done, total).

    Raises:
        InputError: no images, no size, or guides.

    Reference:
        B. Galerne, Y. Gousseau, J.-M. Morel, "Random phase textures: theory and synthesis", 2011;
        J. van Wijk, "Spot noise: texture synthesis for data visualization", 1991.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 32, 32, generator=torch.Generator().manual_seed(0))
        >>> abs(float(patches.adsn(image).image.std() / image.std()) - 1) < 0.2
        True
    """
    return _made(wanted(exemplar, size, tileable, _none(guides)), False, rng, progress)


def _none(guides: object) -> None:
    """Refuse guides."""
    if guides is not None:
        raise InputError(
            "a stationary texture cannot follow guides; leave them out, or take a method of "
            "patches such as texture_optimization"
        )


def _made(
    asked: Wanted,
    moduli: bool,
    rng: torch.Generator | None,
    progress: Callable[[int, int], None] | None,
) -> Texture:
    """Make a texture of one exemplar, with its moduli or with those that noise gives it."""
    drawn = random.generator(random.draw_seed(rng))
    exemplars, (height, width) = asked.exemplars, asked.size
    u = exemplars[int(torch.randint(len(exemplars), (), generator=drawn))]
    field = gaussian_field(u, torus_of(u, asked.size, asked.tileable), drawn, moduli=moduli)
    image = (u.mean((1, 2), keepdim=True) + field[:, :height, :width]).clamp(0, 1)
    if progress is not None:
        progress(1, 1)
    nowhere = torch.full((3, height, width), -1, dtype=torch.int32, device=u.device)
    return Texture(image.contiguous(), nowhere, exemplars)


def torus_of(u: Tensor, size: tuple[int, int], tileable: bool) -> tuple[int, int]:
    """Return rows and columns of the torus on which a texture is made."""
    height, width = size
    return size if tileable else (max(height, u.shape[1]), max(width, u.shape[2]))


def gaussian_field(
    u: Tensor, torus: tuple[int, int], drawn: torch.Generator, *, moduli: bool = False
) -> Tensor:
    """Return a random field ``(C, *torus)`` of mean 0, not clipped; ``moduli`` fixes them."""
    noise = torch.fft.rfft2(torch.randn(torus, generator=drawn, dtype=torch.float64))
    if moduli:  # the phases of noise are uniform and odd
        noise = noise.sgn() * math.sqrt(math.prod(torus))
    spectrum = torch.fft.rfft2(spot(u.double(), torus))
    spectrum[:, 0, 0] = 0
    return torch.fft.irfft2(spectrum * noise.to(u.device), s=torus).float()


def spot(u: Tensor, torus: tuple[int, int]) -> Tensor:
    """Return the spot ``(C, *torus)`` of an exemplar ``(C, h, w)``."""
    centred = periodic_component(u) - u.mean((1, 2), keepdim=True)
    sides = tuple(zip(u.shape[1:], torus, strict=True))
    rows, cols = (_taper(n, n != whole).to(u) for n, whole in sides)
    window = rows[:, None] * cols
    faded = centred * window / window.square().sum().sqrt()
    more = [-n % whole for n, whole in sides]
    tiles = torch.nn.functional.pad(faded, (0, more[1], 0, more[0]))
    return tiles.unflatten(2, (-1, torus[1])).unflatten(1, (-1, torus[0])).sum((1, 3))


def _taper(length: int, fades: bool) -> Tensor:
    """Return a window along one axis: 1, or rising from 0 as a squared sine."""
    if not fades:
        return torch.ones(length, dtype=torch.float64)
    inside = torch.arange(length, dtype=torch.float64) + 0.5
    share = torch.minimum(inside, length - inside) / (TAPER * length)
    return (share.clamp(max=1) * math.pi / 2).sin().square()


def periodic_component(u: Tensor) -> Tensor:
    """Return the periodic component ``(..., H, W)``: u without the smooth part of its jumps.

    The smooth part s has mean 0, and its Laplacian around the torus is v, which holds the jumps
    between opposite sides of u: ``(2 cos(2 pi k / H) + 2 cos(2 pi l / W) - 4) F(s) = F(v)``.
    """
    jumps = torch.zeros_like(u)
    down, right = u[..., -1, :] - u[..., 0, :], u[..., -1] - u[..., 0]
    jumps[..., 0, :] += down
    jumps[..., -1, :] -= down
    jumps[..., 0] += right
    jumps[..., -1] -= right
    height, width = u.shape[-2:]
    rows, cols = torch.fft.fftfreq(height).to(u), torch.fft.rfftfreq(width).to(u)
    laplace = 2 * (2 * math.pi * rows).cos()[:, None] + 2 * (2 * math.pi * cols).cos() - 4
    laplace[0, 0] = 1  # there F(v) is 0
    return u - torch.fft.irfft2(torch.fft.rfft2(jumps) / laplace, s=(height, width))
