"""Impulse noise: hit pixels are found, guessed, and then filled from similar patches.

Notation: ``u`` the image, ``hit`` where it was hit, ``g`` the current guess of the whole image;
patches of P x P pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gouache import check
from gouache.check import InputError

from ._image import batched, like
from ._impulses import impulses, medians
from ._match import Field
from ._patchmatch import patchmatch
from ._vote import vote

NEIGHBOURS, SPREAD, DOUBT = 4, 0.08, 0.1


def impulse(
    image: Tensor,
    *,
    kind: str = "salt",
    mask: Tensor | None = None,
    patch: int = 5,
    rounds: int = 3,
    rng: torch.Generator | None = None,
) -> Tensor:
    """Take out impulses: find the pixels that were hit, and fill them from patches that match.

    A hit pixel is first guessed by the median of the sound pixels around it. Then, ``rounds``
    times, every patch that holds one is matched with 4 others of the current guess, hit pixels
    counting nothing in the distance, and hit pixels become the mean of what the matches have in
    their place, with weight ``exp(-d / (0.08^2 n))`` (d the distance over n sound values), a tenth
    of it where the match was itself hit. All other pixels are returned as they are, in
    float32.

    Args:
        image: ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1.
        kind: ``salt`` (salt and pepper) or ``random`` (any value); see `impulses`.
        mask: which values were hit, bool, in the image's shape or without its channels; None finds
            them.
        patch: side P; 0 fills by medians alone.
        rounds: how often patches are matched.
        rng: for the search of patches; None draws from torch's global generator.

    Raises:
        InputError: an image that is no image, an unknown kind, a mask of another shape.

    Reference:
        K. Toh, N. Isa, "Noise adaptive fuzzy switching median filter for salt-and-pepper noise
        reduction", 2010 (medians of what was not hit, in windows that grow);
        J. Delon, A. Desolneux, "A patch-based approach for removing impulse or mixed
        Gaussian-impulse noise", 2013 (patches compared by what was not hit).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> rng = torch.Generator().manual_seed(0)
        >>> clean = torch.linspace(0.2, 0.8, 32).repeat(1, 32, 1)
        >>> hit = torch.rand(1, 32, 32, generator=rng) < 0.3
        >>> found = patches.impulse(torch.where(hit, 1.0, clean), rng=rng)
        >>> bool((found - clean).abs().max() < 0.05), torch.equal(found[~hit], clean[~hit])
        (True, True)
    """
    check.count(patch, "patch", 0)
    check.count(rounds, "rounds", 0)
    u = batched(image)
    hits = impulses(u, kind=kind) if mask is None else _mask(mask, u)
    out = [_one(a, h, patch, rounds, rng) for a, h in zip(u, hits, strict=True)]
    return like(torch.stack(out), image)


def _one(u: Tensor, hit: Tensor, patch: int, rounds: int, rng: torch.Generator | None) -> Tensor:
    """Fill one image ``(C, H, W)``; one with nothing sound is left as it is."""
    if bool(hit.all()):
        return u
    channels = [medians(a, ~h, h) if h.any() else a for a, h in zip(u, hit, strict=True)]
    guess, patch = torch.stack(channels), min(patch, *u.shape[1:])
    field: Field | None = None
    for _ in range(rounds if patch > 0 and bool(hit.any()) else 0):
        field = _matched(guess, hit, patch, field, rng)
        guess = torch.where(hit, _voted(guess, hit, field), u)
    return guess


def _matched(
    guess: Tensor, hit: Tensor, patch: int, start: Field | None, rng: torch.Generator | None
) -> Field:
    """Match the patches that hold a hit pixel, by their sound pixels."""
    holes = hit.any(0)[None].float()
    near = torch.nn.functional.max_pool2d(holes, 2 * patch - 1, 1, patch - 1)[0] > 0
    return patchmatch(
        guess,
        patch=patch,
        k=NEIGHBOURS,
        query_mask=near,
        weight=1 - hit.float().mean(0),
        iterations=5 if start is None else 2,
        start=start,
        rng=rng,
    )


def _voted(guess: Tensor, hit: Tensor, field: Field) -> Tensor:
    """Return the mean of what the matches have in each place; the guess where there is none."""
    sound = 1 - hit.float()
    n = torch.nn.functional.avg_pool2d(sound.mean(0)[None], field.patch, 1)
    n = len(guess) * field.patch**2 * n.clamp(min=1e-3)
    found = field.place[..., 0] >= 0
    weight = torch.where(found, torch.exp(-field.distance / (SPREAD**2 * n)), 0).clamp(min=1e-12)
    trust = sound.clamp(min=DOUBT)
    sums = vote(field, torch.cat([guess * trust, trust]), weight=weight * found)
    mean = sums[: len(guess)] / sums[len(guess) :]
    return torch.where(mean.isfinite(), mean, guess)


def _mask(mask: Tensor, u: Tensor) -> Tensor:
    """Return which values were hit ``(B, C, H, W)``."""
    b, c, h, w = u.shape
    shapes = ((h, w), (c, h, w), (b, 1, h, w), (b, c, h, w))
    if not isinstance(mask, Tensor) or mask.dtype != torch.bool or tuple(mask.shape) not in shapes:
        what = (mask.dtype, tuple(mask.shape)) if isinstance(mask, Tensor) else type(mask).__name__
        raise InputError(f"mask must be bool ({h}, {w}) or {(b, c, h, w)}, got {what}")
    return mask.to(u.device).expand(b, c, h, w)
