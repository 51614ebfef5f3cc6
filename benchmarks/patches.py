"""Denoising filters beside scikit-image, OpenCV and the authors' BM3D: quality and time.

    python benchmarks/patches.py [--threads 2] [--only NAME ...] [--picture docs/images/denoise.png]
    python benchmarks/patches.py --choose

Eleven grey photographs that scikit-image bundles, white noise of 10, 25 and 50 levels of 255
(``default_rng(0)``, not clipped; for OpenCV clipped and rounded, which is all that it takes). The
mean PSNR over the photographs, and the best of three times on the 512 x 512 ``camera`` at 25, all
filters in turn in one run. Colour: the mean over five photographs, 256 x 256 pixels of each.

Non-local means, ours and scikit-image's: sides and decay were chosen on nine other photographs
(``--choose`` prints the best of either). OpenCV's patch is 5, its window 21, h = .8 sigma, 1 sigma
at 10; ours with the same patch and window is timed beside it. The distance up to which BM3D takes
blocks for similar was chosen on ``camera``, one of the eleven. Priors of patches are in
``patches_priors.py``, since each photograph needs one that has not seen it.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data, io, restoration

from gouache import image, patches

Array: TypeAlias = NDArray[np.float64]
Filter: TypeAlias = Callable[[Array, float], Array]
NAMES = ("camera", "astronaut", "chelsea", "coffee", "brick", "grass", "gravel", "coins", "page")
NAMES += ("moon", "text")
OTHERS = ("rocket", "hubble_deep_field", "immunohistochemistry", "retina", "clock")
LEVELS = (10, 25, 50)
GREY = np.array([0.299, 0.587, 0.114])
SKIMAGE = {10: (5, 6, 0.8), 25: (7, 10, 0.6), 50: (9, 10, 0.5)}


def grey(picture: Array) -> Array:
    """Return a picture in grey, pixels in [0, 1]."""
    picture = picture / 255
    return picture if picture.ndim == 2 else picture[..., :3] @ GREY


def photograph(name: str) -> Array:
    """Return one of the eleven in grey."""
    return grey(getattr(data, name)())


def others() -> list[Array]:
    """Return the middle 240 x 240 pixels of nine other photographs, in grey."""
    import matplotlib
    from sklearn.datasets import load_sample_image

    officer = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    found = [getattr(data, name)() for name in OTHERS]
    found += [data.stereo_motorcycle()[0], io.imread(officer)]
    found += [load_sample_image(name) for name in ("china.jpg", "flower.jpg")]
    return [middle(grey(picture), 240) for picture in found]


def middle(picture: Array, side: int) -> Array:
    """Return the middle of a picture."""
    y, x = ((n - side) // 2 for n in picture.shape[:2])
    return picture[y : y + side, x : x + side]


def colours() -> list[Array]:
    """Return five photographs in colour ``(256, 256, 3)``."""
    from sklearn.datasets import load_sample_image

    found = [data.astronaut()[:256, 100:356], data.chelsea()[:256, 100:356]]
    found += [p[100:356, 200:456] for p in (data.coffee(), load_sample_image("china.jpg"))]
    return [picture / 255 for picture in (*found, data.rocket()[100:356, 200:456])]


def ours(name: str, **options: object) -> Filter:
    """Return a filter of gouache as a function of arrays ``(H, W)`` or ``(H, W, C)``."""
    method = getattr(patches, name)

    def run(y: Array, sigma: float) -> Array:
        whole = torch.from_numpy(y if y.ndim == 3 else y[..., None]).permute(2, 0, 1)
        found = method(whole, sigma, **options).permute(1, 2, 0).numpy()
        return found if y.ndim == 3 else found[..., 0]

    return run


def by_skimage(y: Array, sigma: float) -> Array:
    """Filter by scikit-image's non-local means, fast mode."""
    patch, distance, h = SKIMAGE[round(255 * sigma)]
    return restoration.denoise_nl_means(y, patch, distance, h * sigma, fast_mode=True, sigma=sigma)


def by_opencv(y: Array, sigma: float) -> Array:
    """Filter 8-bit levels by OpenCV."""
    import cv2

    h = 255 * sigma * (1 if sigma < 15 / 255 else 0.8)
    levels = (y.clip(0, 1) * 255).round().astype(np.uint8)
    return cv2.fastNlMeansDenoising(levels, None, h, 5, 21) / 255


def by_authors(y: Array, sigma: float, stages: str = "ALL_STAGES") -> Array:
    """Filter by the authors' BM3D."""
    import bm3d

    if y.ndim == 3:
        return bm3d.bm3d_rgb(y, sigma)
    return bm3d.bm3d(y, sigma, stage_arg=getattr(bm3d.BM3DStages, stages))


FILTERS: dict[str, Filter] = {
    "gaussian": ours("gaussian"),
    "bilateral": ours("bilateral"),
    "guided": ours("guided"),
    "nlmeans": ours("nlmeans"),
    "nlmeans by pixel": ours("nlmeans", aggregate="pixel"),
    "nlmeans by pixel, 5, 21": ours("nlmeans", patch=5, window=21, aggregate="pixel"),
    "nlbayes": ours("nlbayes"),
    "bm3d": ours("bm3d"),
    "bm3d, one step": ours("bm3d", steps=1),
    "scikit-image bilateral": lambda y, s: restoration.denoise_bilateral(y, 7, 2.5 * s, 1.5),
    "scikit-image wavelet": lambda y, s: restoration.denoise_wavelet(y, s, rescale_sigma=False),
    "scikit-image TV": lambda y, s: restoration.denoise_tv_chambolle(y, 0.9 * s),
    "scikit-image nl_means fast": by_skimage,
    "OpenCV fastNlMeans 5, 21": by_opencv,
    "bm3d package": by_authors,
    "bm3d package, one step": lambda y, s: by_authors(y, s, "HARD_THRESHOLDING"),
}
SLOW = ("scikit-image bilateral",)  # timed once


def psnr(found: Array, clean: Array) -> float:
    """Return the peak signal-to-noise ratio in dB, the peak being 1."""
    return -10 * float(np.log10(((found - clean) ** 2).mean()))


def noisy(clean: Array, level: int) -> Array:
    """Add white noise."""
    return clean + level / 255 * np.random.default_rng(0).standard_normal(clean.shape)


def mean(run: Filter, photographs: Iterable[Array], level: int) -> float:
    """Return the mean PSNR."""
    return float(np.mean([psnr(run(noisy(x, level), level / 255), x) for x in photographs]))


def times(filters: dict[str, Filter], rounds: int = 3) -> dict[str, float]:
    """Return the best time of each, taken in turn so that a slow spell meets all."""
    y, best = noisy(photograph("camera"), 25), dict.fromkeys(filters, float("inf"))
    for k in range(rounds):
        for name, run in filters.items():
            if k and name in SLOW:
                continue
            start = time.perf_counter()
            run(y, 25 / 255)
            best[name] = min(best[name], time.perf_counter() - start)
    return best


def table(filters: dict[str, Filter]) -> None:
    """Print quality and time of every filter."""
    photographs = [photograph(name) for name in NAMES]
    head = "".join(f"{level:8d}" for level in LEVELS)
    print(f"mean PSNR in dB over {len(NAMES)} photographs, noise in levels of 255\n{'':28s}{head}")
    for name, run in filters.items():
        found = [mean(run, photographs, level) for level in LEVELS]
        print(f"{name:28s}" + "".join(f"{value:8.2f}" for value in found), flush=True)
    print("seconds for 512 x 512 pixels, noise 25, the best of three")
    for name, best in times(filters).items():
        print(f"{name:28s}{best:8.3f}", flush=True)


def colour_table() -> None:
    """Print the quality of colour filters."""
    print("colour: mean PSNR in dB over five photographs")
    for name in ("nlmeans", "nlbayes", "bm3d", "bm3d package"):
        found = [mean(FILTERS[name], colours(), level) for level in LEVELS]
        print(f"{name:28s}" + "".join(f"{value:8.2f}" for value in found), flush=True)


def choose() -> None:
    """Print the best sides and decay of both non-local means on nine other photographs."""
    clean = others()

    def best(name: str, make: Callable[..., Filter], level: int, *grid: tuple[float, ...]) -> None:
        found = [(mean(make(*point), clean, level), point) for point in itertools.product(*grid)]
        print(f"{name:14s} {level:3d}  " + "  ".join(
            f"{value:.2f} {point}" for value, point in sorted(found, reverse=True)[:3]
        ), flush=True)  # fmt: skip

    def theirs(patch: int, distance: int, h: float) -> Filter:
        return lambda y, s: restoration.denoise_nl_means(
            y, patch, distance, h * s, fast_mode=True, sigma=s
        )

    def mine(patch: int, window: int, decay: float) -> Filter:
        return ours("nlmeans", patch=patch, window=window, h=decay / patch)

    for level, sides in {10: (3, 5, 7), 25: (5, 7, 9), 50: (7, 9, 11)}.items():
        best("gouache", mine, level, sides, (13, 17, 21), (2.5, 3.5, 4.5))
        best("scikit-image", theirs, level, sides, (6, 8, 10), (0.4, 0.5, 0.6, 0.7, 0.8))


def picture(file: str) -> None:
    """Write a part of a photograph: clean, noisy, and filtered by two methods."""
    clean = photograph("camera")[100:260, 140:300]
    y, sigma = noisy(clean, 25), 25 / 255
    parts = [clean, y, FILTERS["nlmeans"](y, sigma), FILTERS["bm3d"](y, sigma)]
    tensors = torch.stack([torch.from_numpy(part)[None].float().clamp(0, 1) for part in parts])
    image.save(image.grid(tensors, 4, pad=2), file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=FILTERS, metavar="NAME", default=list(FILTERS))
    parser.add_argument("--choose", action="store_true")
    parser.add_argument("--picture")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.choose:
        choose()
        return
    print(f"{arguments.threads} threads")
    table({name: FILTERS[name] for name in arguments.only})
    if len(arguments.only) == len(FILTERS):
        colour_table()
    if arguments.picture:
        picture(arguments.picture)


if __name__ == "__main__":
    main()
