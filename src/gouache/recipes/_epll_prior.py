"""The recipe of the prior of grey patches that ``epll`` uses."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from gouache import check, image
from gouache.patches import PatchPrior
from gouache.random import derive, draw_seed, generator

# The photographs, by the package that ships them; of two that show the same there is one.
PHOTOGRAPHS = {
    "camera": ("skimage", "data/camera.png"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "chelsea": ("skimage", "data/chelsea.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "brick": ("skimage", "data/brick.png"),
    "grass": ("skimage", "data/grass.png"),
    "gravel": ("skimage", "data/gravel.png"),
    "coins": ("skimage", "data/coins.png"),
    "page": ("skimage", "data/page.png"),
    "moon": ("skimage", "data/moon.png"),
    "text": ("skimage", "data/text.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    "china": ("sklearn", "datasets/images/china.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "officer": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}
GREY = (0.299, 0.587, 0.114)
SIDE, HALVED = 8, 0.25


def epll_prior(
    leave_out: Sequence[str] = (),
    *,
    components: int = 200,
    each: int = 20_000,
    passes: int = 10,
    start: PatchPrior | None = None,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> PatchPrior:
    """Fit the prior of grey 8 x 8 patches on the photographs that come with the dependencies.

    Sixteen photographs of scikit-image, scikit-learn and matplotlib, as many patches of each, a
    quarter of them at half the size; every patch is turned or mirrored at random. Batches of
    32,768 patches.

    Command: ``python benchmarks/patches_priors.py --threads 1 --ship``; minutes on one core.
    To expect: the figures on the card of the weights ``epll-prior``.

    Args:
        leave_out: names of photographs that nothing is learnt from.
        components: Gaussians of the mixture.
        each: patches of a photograph.
        passes: over all patches.
        start: a prior to go on from.
        rng: draws the patches, the seeds of the components and the order of batches.
        progress: called with (steps done, steps in all).

    Raises:
        InputError: an unknown name, or all photographs left out.

    Reference: D. Zoran, Y. Weiss, "From learning models of natural image patches to whole image
    restoration", 2011.

    Example:
        >>> from gouache import recipes, random
        >>> prior = recipes.epll_prior(components=4, each=50, passes=1, rng=random.generator(0))
        >>> prior.config.patch
        8
    """
    seed = draw_seed(rng)
    patches = photograph_patches(leave_out, each, seed)
    draws = generator(derive(seed, len(PHOTOGRAPHS)))
    return PatchPrior.fit(
        patches,
        components,
        passes=passes,
        batch=32_768,
        start=start,
        rng=draws,
        progress=progress,
    )


def photograph_patches(leave_out: Sequence[str], each: int, seed: int) -> Tensor:
    """Return ``each`` patches of every photograph but some, ``(N, 64)`` grey in [0, 1].

    The patches of a photograph do not depend on which others are left out.
    """
    for name in leave_out:
        check.choice(name, "photograph", PHOTOGRAPHS)
    kept = [(k, name) for k, name in enumerate(PHOTOGRAPHS) if name not in leave_out]
    if not kept:
        raise check.InputError("leave_out names every photograph; a prior needs one at least")
    drawn = [_patches(photograph(name), each, generator(derive(seed, k))) for k, name in kept]
    return torch.cat(drawn)


def photograph(name: str) -> Tensor:
    """Return a photograph in grey ``(H, W)``, float32 in [0, 1]."""
    package, path = PHOTOGRAPHS[name]
    root = Path(str(importlib.import_module(package).__file__)).parent
    pixels = image.load(check.existing(root / path, "photograph"))
    return pixels[0] if len(pixels) == 1 else torch.einsum("c,chw->hw", torch.tensor(GREY), pixels)


def _patches(picture: Tensor, count: int, draws: torch.Generator) -> Tensor:
    half = image.resize(picture[None], (picture.shape[0] // 2, picture.shape[1] // 2))[0]
    small = round(HALVED * count)
    return torch.cat([_drawn(picture, count - small, draws), _drawn(half, small, draws)])


def _drawn(picture: Tensor, count: int, draws: torch.Generator) -> Tensor:
    """Return patches at random places, each turned or mirrored in one of eight ways."""
    top, left = (torch.randint(n - SIDE + 1, (count,), generator=draws) for n in picture.shape)
    view = picture.unfold(0, SIDE, 1).unfold(1, SIDE, 1)
    found = view[top, left]
    way = torch.randint(8, (count, 1, 1), generator=draws)
    found = torch.where(way % 2 == 1, found.flip(1), found)
    found = torch.where(way // 2 % 2 == 1, found.flip(2), found)
    return torch.where(way // 4 == 1, found.mT, found).flatten(1)
