"""Filters on patches beside scikit-image and OpenCV: quality and time.

    python benchmarks/patches.py [--threads 2] [--picture docs/images/denoise.png]

Eleven grey photographs that scikit-image bundles, white noise of 10, 25 and 50 levels of 255
(``default_rng(0)``, not clipped; for OpenCV clipped and rounded, which is all that it takes). The
mean PSNR over the photographs, and the best of three times on the 512 x 512 ``camera`` at 25. The
parameters of non-local means are those published for the noise level; scikit-image's are patch 5,
distance 6, h = .6 sigma with sigma given; OpenCV's patch 5, window 21, h = .8 sigma, 1 sigma at 10.
The distance up to which BM3D takes blocks for similar was chosen on ``camera``, one of the eleven.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from skimage import data, restoration

from gouache import image, patches

Array: TypeAlias = NDArray[np.float64]
NAMES = ("camera", "astronaut", "chelsea", "coffee", "brick", "grass", "gravel", "coins", "page")
NAMES += ("moon", "text")
LEVELS = (10, 25, 50)


def photograph(name: str) -> Array:
    """Return a photograph in grey, pixels in [0, 1]."""
    picture = getattr(data, name)() / 255
    return picture if picture.ndim == 2 else picture[..., :3] @ np.array([0.299, 0.587, 0.114])


def ours(name: str, **options: object) -> Callable[[Array, float], Array]:
    """Return a filter of gouache as a function of arrays."""
    method = getattr(patches, name)
    return lambda y, sigma: method(torch.from_numpy(y)[None], sigma, **options)[0].numpy()


def by_skimage(y: Array, sigma: float) -> Array:
    """Filter by scikit-image's fast mode."""
    return restoration.denoise_nl_means(y, 5, 6, 0.6 * sigma, fast_mode=True, sigma=sigma)


def by_opencv(y: Array, sigma: float) -> Array:
    """Filter 8-bit levels by OpenCV."""
    import cv2

    h = 255 * sigma * (1 if sigma < 15 / 255 else 0.8)
    levels = (y.clip(0, 1) * 255).round().astype(np.uint8)
    return cv2.fastNlMeansDenoising(levels, None, h, 5, 21) / 255


FILTERS: dict[str, Callable[[Array, float], Array]] = {
    "bm3d": ours("bm3d"),
    "bm3d, one step": ours("bm3d", steps=1),
    "nlmeans": ours("nlmeans"),
    "nlmeans by patch": ours("nlmeans", aggregate="patch"),
    "nlmeans, patch 5, window 21, h .8": ours("nlmeans", patch=5, window=21, h=0.8),
    "scikit-image nl_means fast": by_skimage,
    "OpenCV fastNlMeans 5, 21": by_opencv,
}


def psnr(found: Array, clean: Array) -> float:
    """Return the peak signal-to-noise ratio in dB, the peak being 1."""
    return -10 * float(np.log10(((found - clean) ** 2).mean()))


def seconds(run: Callable[[], object]) -> float:
    """Return the best of three times."""

    def once() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return min(once() for _ in range(3))


def noisy(clean: Array, level: int) -> Array:
    """Add white noise."""
    return clean + level / 255 * np.random.default_rng(0).standard_normal(clean.shape)


def picture(file: str) -> None:
    """Write a part of a photograph: clean, noisy, and filtered by two methods."""
    clean = photograph("camera")[100:260, 140:300]
    y, sigma = noisy(clean, 25), 25 / 255
    parts = [clean, y, FILTERS["nlmeans by patch"](y, sigma), FILTERS["bm3d"](y, sigma)]
    tensors = torch.stack([torch.from_numpy(part)[None].float().clamp(0, 1) for part in parts])
    image.save(image.grid(tensors, 4, pad=2), file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--picture")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    camera = noisy(photograph("camera"), 25)
    print(f"mean PSNR in dB over {len(NAMES)} photographs; {arguments.threads} threads")
    print(f"{'':36s}" + "".join(f"{level:8d}" for level in LEVELS) + "   s at 512x512")
    for name, run in FILTERS.items():
        means = [
            np.mean([psnr(run(noisy(x, level), level / 255), x) for x in map(photograph, NAMES)])
            for level in LEVELS
        ]
        best = seconds(lambda run=run: run(camera, 25 / 255))
        print(
            f"{name:36s}" + "".join(f"{mean:8.2f}" for mean in means) + f"{best:12.3f}", flush=True
        )
    if arguments.picture:
        picture(arguments.picture)


if __name__ == "__main__":
    main()
