"""Diffusion by the patches of one image: how near, how much of it copied, how long.

    python benchmarks/local_score.py [--threads 2] [--size 96] [--picture PATH]

The exemplars are crops of three grey textures and of a photograph in colour. *Copied* is
`patches.copy_rate`; *apart* is `measure.patch_sliced_wasserstein` to the exemplar, times 1e4. The
row *beside* is the crop to the right of the exemplar in the same photograph. Of `LocalScore`: *one*
has patches of 7 pixels at all noise; *usual* is 9 blocks of 4, 2 and 1 pixels as noise falls, also
with the 16 nearest patches alone where it is low; *wide* begins with 7 blocks of 8. Last, a texture
by optimisation, without diffusion.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import torch
from skimage import data
from torch import Tensor

from gouache import image, measure, patches
from gouache.generate import LocalScore
from gouache.random import generator

CORNERS = {"brick": (100, 100), "grass": (100, 100), "gravel": (100, 100), "coffee": (60, 300)}
ONE = [(0.0, 7, 1)]
USUAL = [(0.5, 9, 4), (0.2, 9, 2), (0.0, 9, 1)]
WIDE = [(1.5, 7, 8), *USUAL]
SCALE = 1e4

Way: TypeAlias = Callable[[Tensor], Tensor]
Rung: TypeAlias = tuple[float, int, int]


def crops(name: str, size: int) -> tuple[Tensor, Tensor]:
    """Return an exemplar and the crop beside it ``(C, size, size)``."""
    whole, (top, left) = image.as_tensor(getattr(data, name)()), CORNERS[name]
    band = whole[:, top : top + size]
    return band[:, :, left : left + size], band[:, :, left + size : left + 2 * size]


def by(rungs: Sequence[Rung], core: int | None = 1, nearest: int | None = None) -> Way:
    """Return the way to sample by some rungs."""

    def sample(exemplar: Tensor) -> Tensor:
        model = LocalScore(exemplar, rungs, core=core, nearest=nearest, rng=generator(1))
        return model.sample(1, rng=generator(0))[0]

    return sample


def by_optimization(exemplar: Tensor) -> Tensor:
    """Return a texture by optimisation."""
    return patches.texture_optimization(exemplar, rng=generator(0)).image


WAYS: dict[str, Way] = {
    "one": by(ONE),
    "usual": by(USUAL),
    "usual, 16 nearest": by(USUAL, nearest=16),
    "wide": by(WIDE),
    "usual, overlaps averaged": by(USUAL, core=None),
    "texture_optimization": by_optimization,
}


def row(name: str, made: Tensor, exemplar: Tensor, seconds: float) -> str:
    """Return a line of figures."""
    apart = measure.patch_sliced_wasserstein(made, exemplar, rng=generator(0)).value
    copied = patches.copy_rate(made, exemplar)
    return f"  {name:30s}{copied:8.2f}{SCALE * apart:8.2f}{seconds:8.1f}"


def local_score(size: int) -> Tensor:
    """Print the figures of every way, and return what they made, an exemplar a row."""
    rows = list[Tensor]()
    for name in CORNERS:
        exemplar, beside = crops(name, size)
        print(f"\n{name}, {size} x {size}: copied, apart, seconds")
        print(row("beside", beside, exemplar, 0.0))
        shown = [exemplar, beside]
        for way, sample in WAYS.items():
            start = time.perf_counter()
            shown.append(sample(exemplar))
            print(row(way, shown[-1], exemplar, time.perf_counter() - start), flush=True)
        rows.append(image.grid(image.as_channels(torch.stack(shown), 3), columns=len(shown)))
    return torch.cat(rows, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", type=int, default=96, help="of the exemplars and the samples")
    parser.add_argument("--picture", type=Path, help="where to write all of them")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    made = local_score(arguments.size)
    if arguments.picture is not None:
        image.save(made, arguments.picture)
