"""White noise over a fractal: the level of the one, from the spectrum of both.

Notation: f is a frequency, 1 at that of every other pixel along an axis; S(f) = sigma^2 + A f^-beta
the power expected there. A Brownian surface of roughness 0 < H < 1 has beta = 2 + 2 H. A *ring*
holds the frequencies of about one length; z is the relative misfit of a ring's mean power.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[np.float64]
LEAST, MOST, WIDTH, SIDE, ORDER = 96, 512, 1 / 32, 8, 4
TURNS, TINY = 30, 1e-12
# A weak prior: the mean of beta; 1 / variance of ln sigma^2, ln A (at f = PIVOT), beta and bend.
BETA, SHARPNESS, PIVOT = 3.0, (0.01, 0.01, 1.0, 1.0), 0.25
# Limits: of the exponent and the relative error; of three tests, in standard errors. Fractals
# seldom go beyond, photographs and textures mostly do (measured).
FLATTEST, LOOSEST, MISFIT, BEND, DISPERSION = 2.0, 0.5, 5.0, 2.5, 5.0


@dataclass(frozen=True)
class Rings:
    """The spectrum of an image, by rings.

    Attributes:
        f: mean length of the frequencies ``(K,)``.
        power: mean square of the coefficients ``(K,)``.
        count: how many there are ``(K,)``.
    """

    f: Array
    power: Array
    count: Array


@dataclass(frozen=True)
class Fractal:
    """The model fitted to rings, and how it fits.

    Attributes:
        level: sigma^2.
        error: its relative standard error.
        beta: the exponent.
        misfit: of the rings, in standard errors.
        bend: how far the power bends down from its law, in standard errors.
    """

    level: float
    error: float
    beta: float
    misfit: float
    bend: float

    @property
    def holds(self) -> bool:
        """Tell whether the model describes the image, and the noise is seen in it."""
        fits = self.misfit < MISFIT and self.bend < BEND
        return fits and self.beta > FLATTEST and self.error < LOOSEST


def fractal_level(picture: Array) -> float | None:
    """Return sigma^2 of ``(C, H, W)``, mean over channels; None if one is no noise over a fractal.

    The middle of each channel, 512 pixels a side at most, must look like a stationary Gaussian
    field with the model's spectrum. The energy of its blocks varies as chance has it: edges would
    stand out. The rings fit, and their power does not bend down from its law: that of a texture
    with a finest scale does, and what it falls short of would be taken off the noise. Images of
    fewer than 96 pixels a side show too little of this.
    """
    top, left = (max(0, side - MOST) // 2 for side in picture.shape[1:])
    tiles = picture[:, top : top + MOST, left : left + MOST]
    if min(tiles.shape[1:]) < LEAST or any(_dispersion(tile) > DISPERSION for tile in tiles):
        return None
    spectra = [rings_of(tile) for tile in tiles]
    if any(rings.power.min() < TINY for rings in spectra):
        return None
    fits = [fitted(rings) for rings in spectra]
    return float(np.mean([fit.level for fit in fits])) if all(fit.holds for fit in fits) else None


def rings_of(channel: Array) -> Rings:
    """Return the spectrum of ``(H, W)``, but for the lowest frequencies."""
    f = np.hypot(*np.ix_(*(np.arange(side) / side for side in channel.shape))).ravel()
    ring = (f / WIDTH).astype(np.int64)
    count = np.bincount(ring)[1:].astype(np.float64)
    length, power = (np.bincount(ring, x)[1:] for x in (f, cosine_power(channel).ravel()))
    return Rings(length / count, power / count, count)


def fitted(rings: Rings) -> Fractal:
    """Fit the model to rings by Whittle's likelihood: Fisher scoring under a weak Gaussian prior.

    The bend is the score of one more term of ln S, in the square of ln f.
    """
    x, high = np.log(rings.f / PIVOT), float(rings.power[rings.f > 0.9].mean())
    low = max(float(np.interp(PIVOT, rings.f, rings.power)) - high, 0.01 * high)
    start = np.array([math.log(high), math.log(low), BETA, 0.0])
    theta = start.copy()
    for _ in range(TURNS):
        score, information, _ = _scored(rings, x, theta, start)
        theta[:3] += np.linalg.solve(information[:3, :3], score[:3]).clip(-1, 1)
    score, information, z = _scored(rings, x, theta, start)
    error = math.sqrt(np.linalg.inv(information[:3, :3])[0, 0])
    covariance, free = np.linalg.inv(information), len(x) - 3
    bend = float(covariance[3] @ score) / math.sqrt(covariance[3, 3])
    misfit = (float(rings.count @ z**2) / 2 - free) / math.sqrt(2 * free)
    return Fractal(math.exp(theta[0]), error, float(theta[2]), misfit, bend)


def cosine_power(channel: Array) -> Array:
    """Return the squares of the orthonormal cosine coefficients of ``(H, W)``.

    They are those of the Fourier transform of the image and its reflections.
    """
    height, width = channel.shape
    mirrored = np.pad(channel, ((0, height), (0, width)), mode="symmetric")
    power = np.square(np.abs(np.fft.rfft2(mirrored)[:height, :width])) / (4 * height * width)
    power[0] /= 2
    power[:, 0] /= 2
    return power


def cosines(n: int) -> Array:
    """Return the matrix of the orthonormal cosine transform of n values, frequencies by rows."""
    k, x = np.ogrid[:n, :n]
    rows = np.cos(math.pi * (2 * x + 1) * k / (2 * n)) * math.sqrt(2 / n)
    rows[0] /= math.sqrt(2)
    return rows


def _scored(rings: Rings, x: Array, theta: Array, start: Array) -> tuple[Array, Array, Array]:
    """Return score ``(4,)`` and Fisher information ``(4, 4)`` of theta, and z ``(K,)``."""
    noise, fractal = np.exp(theta[0]), np.exp(theta[1] - theta[2] * x - theta[3] * x**2)
    S = noise + fractal
    share, z, weight = fractal / S, rings.power / S - 1, rings.count / 2
    slopes = np.stack([noise / S, share, -share * x, -share * x**2])
    score = slopes @ (weight * z) - np.multiply(SHARPNESS, theta - start)
    return score, (slopes * weight) @ slopes.T + np.diag(SHARPNESS), z


def _dispersion(channel: Array) -> float:
    """Tell how much more the blocks of ``(H, W)`` vary in energy than a Gaussian field's would.

    In standard errors. Each frequency counts alike; the sum of m squares of normal numbers has a
    variance of 2 m.
    """
    blocks = np.lib.stride_tricks.sliding_window_view(channel, (SIDE, SIDE))[::SIDE, ::SIDE]
    order, D = np.add.outer(np.arange(SIDE), np.arange(SIDE)), cosines(SIDE)
    squares = np.square(D @ blocks @ D.T)[:, :, (order > 0) & (order <= ORDER)]
    energy = (squares / squares.mean((0, 1)).clip(TINY)).sum(2)
    return float((energy.var() / (2 * squares.shape[2]) - 1) / math.sqrt(3 / energy.size))
