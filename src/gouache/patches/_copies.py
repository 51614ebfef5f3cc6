"""What the methods that copy an exemplar's pixels share: the map of places, and errors over all.

Notation: ``u`` the atlas of the exemplars, its places q linear (row x width + column); the texture
is a map of places; ``m`` the mask of what is known of a patch ``t``, ``g`` and ``gamma`` the guides
of the atlas and of the patch. ``E(q) = sum_i m(i) |u(q + i) - t(i)|^2 + w sum_i |g(q + i) -
gamma(i)|^2`` over the pixels i of the patch, summed over channels.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from gouache.random import derive

from ._match import whole
from ._texture import Texture, Wanted

UNSET = -1
UNSEEN = 1e-5  # mean square of what is not seen: less than one 8-bit level

Array = NDArray[np.float32]
Places = NDArray[np.int32]


class Sources(NamedTuple):
    """What is copied from.

    Attributes:
        values: the atlas ``(C, H, W)``.
        free: which of its pixels are an exemplar's ``(H, W)``.
        guide: its guides ``(G, H, W)``, G being 0 without.
        wish: the texture's guides ``(G, h, w)``.
    """

    values: Array
    free: NDArray[np.bool_]
    guide: Array
    wish: Array


def sources(asked: Wanted) -> Sources:
    """Return what is copied from, as arrays."""
    made, none = asked.atlas, torch.empty(0, *asked.atlas.free.shape)
    guide = none if asked.atlas_guide is None else asked.atlas_guide
    wish = torch.empty(0, *asked.size) if asked.guides is None else asked.guides[1]
    values, guide, wish = (t.cpu().contiguous().numpy() for t in (made.image, guide, wish))
    return Sources(values, made.free.cpu().numpy(), guide, wish)


def texture(asked: Wanted, place: Places) -> Texture:
    """Return the texture of a map of places ``(h, w)``: the exemplars' pixels, bit by bit."""
    made = asked.atlas
    at = torch.from_numpy(place).long().to(made.image.device)
    wide = made.image.shape[2]
    rows, cols = at.div(wide, rounding_mode="floor"), at % wide
    return Texture(made.image[:, rows, cols], made.origin(rows, cols), asked.exemplars)


def draw(count: int, seed: int, *path: int) -> int:
    """Return a random number below ``count``, a hash of the seed and the path."""
    return (derive(seed, *path) & (1 << 64) - 1) * count >> 64


class Errors:
    """E over all places of an atlas, by Fourier transforms.

    The values are taken about their means, so that little cancels.
    """

    def __init__(self, source: Sources, weight: float = 1.0) -> None:
        from scipy import fft

        self.free, self.weight = source.free, weight
        self.shape = [fft.next_fast_len(n, real=True) for n in source.free.shape]
        self.mean, self.guide_mean = _mean(source.values, source.free), 0.0
        self.terms = self._spectra(source.values - self.mean, source.free)
        self.guided = len(source.guide) > 0
        if self.guided:
            self.guide_mean = _mean(source.guide, source.free)
            self.guide_terms = self._spectra(source.guide - self.guide_mean, source.free)
        free = torch.from_numpy(source.free)
        self.allowed = cache(lambda height, width: whole(free, height, width).numpy())

    def __call__(self, patch: Array, known: NDArray[np.bool_], wish: Array) -> Array:
        """Return E of every place, infinite where the patch would leave its exemplar.

        Args:
            patch: t ``(C, h, w)``, anything where not known.
            known: m ``(h, w)``.
            wish: gamma ``(G, h, w)``.
        """
        from scipy import fft

        total, spectrum = 0.0, np.zeros((), np.complex64)
        if known.any():
            masked = known * (patch - self.mean)
            spectrum = self._products(masked, known, self.terms)
            total = float(np.square(masked, dtype=np.float64).sum())
        if self.guided:
            shifted = wish - self.guide_mean
            every = np.ones(shifted.shape[1:], bool)
            spectrum = spectrum + self.weight * self._products(shifted, every, self.guide_terms)
            total += self.weight * float(np.square(shifted, dtype=np.float64).sum())
        rows, cols = (n - k + 1 for n, k in zip(self.free.shape, known.shape, strict=True))
        found = np.full((rows, cols), np.float32(total))
        if spectrum.ndim:
            across = np.asarray(fft.ifft(spectrum, axis=0))[:rows]
            found += np.asarray(fft.irfft(across, self.shape[1], axis=1))[:, :cols]
        found[~self.allowed(*known.shape)] = np.inf
        return np.maximum(found, 0, out=found)

    def unseen(self, known: NDArray[np.bool_]) -> float:
        """Return the E of a difference too small to be seen."""
        guided = self.weight * known.size * len(self.guide_terms[1]) if self.guided else 0
        return UNSEEN * (int(known.sum()) * len(self.terms[1]) + guided)

    def _spectra(self, values: Array, free: NDArray[np.bool_]) -> tuple[NDArray, NDArray]:
        """Return the spectra of ``|u|^2`` and of ``-2 u``, u being 0 where nothing is free."""
        values = np.where(free, values, 0).astype(np.float32)
        return self._spectrum(np.square(values).sum(0)), self._spectrum(-2 * values)

    def _spectrum(self, values: NDArray[Any]) -> NDArray[np.complex64]:
        """Return the spectrum of what is smaller than the atlas, the empty rows left out."""
        from scipy import fft

        across = fft.rfft(values.astype(np.float32), self.shape[1], axis=-1)
        return np.asarray(fft.fft(across, self.shape[0], axis=-2))

    def _products(
        self, masked: Array, mask: NDArray[np.bool_], terms: tuple[NDArray, NDArray]
    ) -> NDArray[np.complex64]:
        """Return the spectrum of ``sum_i m(i) (|u(q + i)|^2 - 2 t(i) u(q + i))``."""
        found = np.conj(self._spectrum(mask)) * terms[0]
        for value, term in zip(masked, terms[1], strict=True):
            found += np.conj(self._spectrum(value)) * term
        return found


def _mean(values: Array, free: NDArray[np.bool_]) -> Array:
    """Return the mean of each channel ``(C, 1, 1)`` over the free pixels."""
    return values[:, free].mean(1, dtype=np.float64).astype(np.float32)[:, None, None]


def continued(place: Places, known: NDArray[np.bool_], wide: int) -> NDArray[np.int64]:
    """Return the places that a patch would be copied from if it went on with what is known.

    Args:
        place: of the patch's pixels ``(h, w)``.
        known: which of them count.
        wide: width of the atlas.
    """
    rows, cols = known.nonzero()
    return np.unique(place[rows, cols].astype(np.int64) - rows * wide - cols)


def fresh(errors: Array, places: NDArray[np.int64], wide: int, radius: int) -> Array:
    """Return the errors, infinite near the given places; or as they are, if all are near."""
    out = errors.copy()
    for y, x in zip(*np.divmod(places, wide), strict=True):
        rows, cols = (slice(max(0, c - radius), max(0, c + radius + 1)) for c in (y, x))
        out[rows, cols] = np.inf
    return out if np.isfinite(out).any() else errors
