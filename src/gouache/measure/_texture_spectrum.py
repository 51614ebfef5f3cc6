"""Distance between the power spectra of two textures.

Notation: a window has N x N pixels; F its discrete Fourier transform, ``P = |F|^2 / N^2`` its
power, so that white noise of variance s^2 has P = s^2 in the mean.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from gouache import check
from gouache.patches._random_phase import periodic_component
from gouache.registry import method

from ._texture_score import TextureScore, scored

ROUNDING = 255**-2 / 12  # variance of what rounding to 8 bits adds


@method("texture_score")
def spectrum_distance(
    picture: Tensor,
    exemplar: Tensor,
    *,
    rng: torch.Generator | None = None,
    window: int = 32,
) -> TextureScore:
    """Measure how far the power spectrum of a texture is from the exemplar's, in decibels.

    ``d = sqrt(mean_f (10 lg (P(f) / Q(f)))^2)`` over the frequencies of a window but 0, P and Q
    being the powers, with that of rounding to 8 bits, averaged over windows that overlap by half.
    Every window loses its mean and keeps its periodic component alone, so that no power comes from
    its borders.

    Args:
        picture: ``(C, H, W)`` in [0, 1].
        exemplar: ``(C, h, w)``.
        rng: unused; here for the common signature.
        window: side N; a larger one tells frequencies better apart, and is noisier.

    Raises:
        InputError: no images, channels that differ, a side smaller than the window.

    Reference:
        P. Welch, "The use of fast Fourier transform for the estimation of power spectra", 1967;
        A. Gray, J. Markel, "Distance measures for speech processing", 1976 (the distance);
        L. Moisan, "Periodic plus smooth image decomposition", 2011.

    Example:
        >>> import torch
        >>> from gouache import measure
        >>> image = torch.rand(1, 64, 64)
        >>> round(measure.spectrum_distance(image / 10, image).value)
        20
    """
    check.count(window, "window", 4)

    def distance(a: Tensor, b: Tensor, _: torch.Generator) -> tuple[float, ...]:
        levels = [10 * (power(x, window) + ROUNDING).log10() for x in (a, b)]
        squares = (levels[0] - levels[1]).square().flatten(1)[:, 1:]
        return (float(squares.mean().sqrt()),)

    return scored("spectrum_distance", distance, picture, exemplar, window, rng, "dB")


def power(x: Tensor, n: int) -> Tensor:
    """Return the mean power ``(C, N, N)`` of windows of an image ``(C, H, W)``."""
    tops, lefts = (torch.tensor(_starts(side, n), device=x.device) for side in x.shape[1:])
    view = x.unfold(1, n, 1)[:, tops].unfold(2, n, 1)[:, :, lefts]  # C, down, across, N, N
    total = sum(periodic(row.double()).abs().square().sum(1) for row in view.unbind(1))
    return torch.as_tensor(total) / (len(tops) * len(lefts) * n * n)


def _starts(side: int, n: int) -> list[int]:
    """Return where windows begin, spread evenly, half of one apart or less."""
    steps = math.ceil((side - n) / (n // 2))
    return [round((side - n) * k / steps) for k in range(steps)] + [side - n]


def periodic(x: Tensor) -> Tensor:
    """Return the Fourier transform of the periodic component ``(..., H, W)``, 0 for its mean."""
    found = torch.fft.fft2(periodic_component(x))
    found[..., 0, 0] = 0
    return found
