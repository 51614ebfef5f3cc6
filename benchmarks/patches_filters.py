"""Noise levels, plain filters, Poisson and impulse noise, beside scikit-image, OpenCV and SciPy.

    python benchmarks/patches_filters.py [--threads 2] [--only noise,curve,filters,poisson,impulse]
        [--picture docs/images/filters.png]

Photographs are the eleven of ``benchmarks/patches.py``, grey. Parameters of the filters and of the
search for impulses are the defaults, which were chosen on other photographs (a motorcycle, a
rocket, tissue, a palace, a flower, a retina). How ``estimate_sigma`` and ``noise_curve`` choose
their blocks was settled while looking at drawn images of the same three kinds, with other seeds,
and at camera, coffee, coins, moon, page, grass and gravel, of the eleven. The peers were not tuned.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from patches import NAMES, Array, noisy, photograph, psnr
from scipy import ndimage

from gouache import image, patches
from gouache.patches import estimate_sigma, noise_curve
from gouache.random import generator

LEVELS, TEXTURES = (5, 10, 25, 50, 75), ("brick", "grass", "gravel")
SEEDS, SIZES = range(100, 105), (128, 256, 512)


def tensor(array: Array) -> torch.Tensor:
    """Return ``(1, H, W)``."""
    return torch.from_numpy(array)[None].float()


def seconds(run: Callable[[], object]) -> float:
    """Return the best of five times."""

    def once() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return min(once() for _ in range(5))


def grain(shape: tuple[int, ...], seed: int) -> Array:
    """Return white noise."""
    return np.random.default_rng(seed).standard_normal(shape)


def pieces(size: int, seed: int) -> Array:
    """Return discs of random size, level and slope, one over the other: piecewise smooth."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] / size
    out = 0.3 + 0.2 * x
    for _ in range(40):
        cy, cx, r, level, slope = rng.random(5) * (1, 1, 0.2, 0.7, 0.3)
        inside = (y - cy) ** 2 + (x - cx) ** 2 < (0.05 + r) ** 2
        out = np.where(inside, level + slope * x, out)
    return out


def fractal(size: int, seed: int) -> Array:
    """Return a Brownian surface, roughness H = 0.7: amplitude 1 / f^1.7, standard deviation .2."""
    f = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
    f[0, 0] = np.inf
    surface = np.fft.ifft2(np.fft.fft2(grain((size, size), seed)) * f**-1.7).real
    return 0.5 + 0.2 * surface / surface.std()


def text(size: int, seed: int) -> Array:
    """Return lines of random letters, black on white."""
    from PIL import Image, ImageDraw

    rng = np.random.default_rng(seed)
    page = Image.new("L", (size, size), 230)
    pen = ImageDraw.Draw(page)
    for line in range(4, size - 12, 16):
        words = "".join(rng.choice(list("abcdefghij klmnop qrstu vwxyz"), size // 7))
        pen.text((4, line), words, fill=20)
    return np.asarray(page) / 255


DRAWN: dict[str, Callable[[int, int], Array]] = {
    "pieces": pieces,
    "fractal": fractal,
    "text": text,
}


def by_skimage(y: Array) -> float:
    """Estimate the noise by scikit-image's median of wavelet coefficients."""
    from skimage.restoration import estimate_sigma as by_wavelets

    return float(by_wavelets(y))


def ours(y: Array) -> float:
    """Estimate the noise by ours."""
    return float(estimate_sigma(tensor(y)))


def noise_drawn() -> None:
    """Print the largest and the mean error of the noise level on drawn images."""
    print("\nestimate_sigma on drawn images: largest (mean) error in %, five seeds;   acceptance 5")
    print(f"{'':16s}" + "".join(f"{level:14d}" for level in LEVELS))
    for name, draw in DRAWN.items():
        for size in SIZES:
            row = ""
            for level in LEVELS:
                errors = [
                    abs(
                        255
                        * ours(draw(size, s) + level / 255 * grain((size, size), 99 + s))
                        / level
                        - 1
                    )
                    for s in SEEDS
                ]
                row += f"{100 * max(errors):7.1f} ({100 * np.mean(errors):4.1f})"
            print(f"{name:10s}{size:5d} {row}", flush=True)


def noise_photographs(estimate: Callable[[Array], float], title: str) -> None:
    """Print the levels found on photographs, and the median error."""
    print(f"\n{title} on photographs, one seed: level found, in levels of 255")
    print(f"{'':16s}" + "".join(f"{level:8d}" for level in LEVELS))
    found = {
        name: [255 * estimate(noisy(photograph(name), level)) for level in LEVELS] for name in NAMES
    }
    for name, row in found.items():
        print(f"{name:16s}" + "".join(f"{value:8.2f}" for value in row))
    errors = np.abs(np.array(list(found.values())) / LEVELS - 1)
    print(f"{'median error %':16s}" + "".join(f"{100 * e:8.1f}" for e in np.median(errors, 0)))


def noise_textures() -> None:
    """Print the mean error on each texture beside scikit-image's, a hundred seeds."""
    print("\nmean error in % over 100 seeds on textures: ours / scikit-image (+- of their gap)")
    for name in TEXTURES:
        row = ""
        for level in LEVELS:
            clean, pairs = photograph(name), list[tuple[float, float]]()
            for seed in range(100):
                y = clean + level / 255 * grain(clean.shape, seed)
                pairs.append((abs(255 * ours(y) / level - 1), abs(255 * by_skimage(y) / level - 1)))
            pair = 100 * np.array(pairs)
            lead = pair[:, 1] - pair[:, 0]
            error = lead.std(ddof=1) / math.sqrt(len(lead))
            row += f"{pair[:, 0].mean():7.2f} /{pair[:, 1].mean():7.2f} (+-{error:.2f})"
        print(f"{name:16s}{row}", flush=True)


def noise() -> None:
    noise_drawn()
    noise_photographs(ours, "estimate_sigma")
    try:
        noise_photographs(by_skimage, "scikit-image")
        noise_textures()
    except ImportError:
        print("scikit-image's estimate_sigma needs PyWavelets")


def middle(name: str) -> Array:
    """Return the 256 x 256 pixels in the middle of a photograph, or what it has of them."""
    clean = photograph(name)
    top, left = (max(0, (n - 256) // 2) for n in clean.shape)
    return clean[top : top + 256, left : left + 256]


def counted(clean: Array, peak: float, seed: int = 0) -> torch.Tensor:
    """Return Poisson counts over the peak ``(1, H, W)``."""
    return torch.poisson(peak * tensor(clean), generator=generator(seed)) / peak


def curve() -> None:
    """Print the error of sigma at the quartiles of brightness, and peaks found."""
    peaks = (5, 20, 100, 500)
    print("\nnoise_curve of counts: mean error of sigma in % at the quartiles; in [] peak found")
    print(f"{'peak':16s}" + "".join(f"{peak:16d}" for peak in peaks))
    cases = {name: photograph(name) for name in NAMES}
    cases |= {name: draw(256, 0).clip(0, 1) for name, draw in DRAWN.items()}
    errors = []
    for name, clean in cases.items():
        row, u = "", torch.tensor(np.quantile(clean, (0.25, 0.5, 0.75))).view(1, 1, 1, 3)
        for peak in peaks:
            found = noise_curve(counted(clean, peak))
            ratio = (found.variance(u) / (u / peak)).sqrt()
            errors.append(float((ratio - 1).abs().mean()))
            row += f"{100 * errors[-1]:8.1f} [{float(1 / found.b):5.0f}]"
        print(f"{name:16s}{row}", flush=True)
    medians = np.median(np.array(errors).reshape(-1, len(peaks)), 0)
    print(f"{'median':16s}" + "".join(f"{100 * e:16.1f}" for e in medians))


def table(rows: dict[str, Callable[[Array, float], Array]], levels: tuple[int, ...]) -> None:
    """Print the mean PSNR of filters over the photographs, and the time on one of them."""
    print(f"{'':42s}" + "".join(f"{level:8d}" for level in levels) + "   s at 512x512")
    camera = noisy(photograph("camera"), 25)
    for name, run in rows.items():
        means = [
            np.mean([psnr(run(noisy(x, level), level / 255), x) for x in map(photograph, NAMES)])
            for level in levels
        ]
        best = seconds(lambda run=run: run(camera, 25 / 255))
        print(f"{name:42s}" + "".join(f"{m:8.2f}" for m in means) + f"{best:12.3f}", flush=True)


def filtered(name: str, **options: object) -> Callable[[Array, float], Array]:
    """Return a filter of gouache as a function of arrays."""
    method = getattr(patches, name)
    return lambda y, sigma: method(tensor(y), sigma, **options)[0].numpy()


def by_opencv(y: Array, sigma: float) -> Array:
    """Filter by OpenCV's bilateral filter with our parameters."""
    import cv2

    return cv2.bilateralFilter(y.astype(np.float32), 11, 2.5 * sigma, 1.5)


def by_skimage_bilateral(y: Array, sigma: float) -> Array:
    """Filter by scikit-image's bilateral filter with our parameters.

    Its table of spatial weights has one row and column too many for a window of an odd side, and
    is misaligned with it.
    """
    from skimage.restoration import denoise_bilateral

    return denoise_bilateral(y.clip(0), win_size=11, sigma_color=2.5 * sigma, sigma_spatial=1.5)


def by_opencv_guided(y: Array, sigma: float) -> Array:
    """Filter by OpenCV's guided filter with our parameters."""
    import cv2

    p = y.astype(np.float32)
    return cv2.ximgproc.guidedFilter(p, p, 2, 4 * sigma**2)


def filters() -> None:
    """Print the quality of the plain filters beside their peers."""
    print(f"\nmean PSNR in dB over {len(NAMES)} photographs")
    rows = {
        "gaussian": filtered("gaussian"),
        "bilateral": filtered("bilateral"),
        "guided": filtered("guided"),
        "OpenCV bilateral, the same parameters": by_opencv,
        "scikit-image bilateral, the same": by_skimage_bilateral,
    }
    import cv2

    if "ximgproc" in dir(cv2):
        rows["OpenCV guided, the same parameters"] = by_opencv_guided
    table(rows, (10, 25, 50))
    print(
        f"mean of the noisy images: {[round(-20 * math.log10(k / 255), 2) for k in (10, 25, 50)]}"
    )


def poisson() -> None:
    """Print the quality of ways to take Poisson noise out."""

    def even(y: torch.Tensor, peak: float) -> torch.Tensor:
        return patches.bm3d(y.clamp(max=4), float((y.mean() / peak).sqrt()))

    def mapped(y: torch.Tensor, peak: float) -> torch.Tensor:
        y = y.clamp(max=4)
        return patches.bm3d(y, patches.estimate_sigma_map(y).clamp(max=1))

    def algebraic(y: torch.Tensor, peak: float) -> torch.Tensor:
        scale = 2 * math.sqrt(peak)
        f = patches.bm3d(patches.anscombe(y, peak) / scale, min(1.0, 1 / scale)) * scale
        return (f**2 / 4 - 3 / 8) / peak

    ways = {
        "poisson, bm3d": patches.poisson,
        "poisson, bm3d, peak estimated": lambda y, _: patches.poisson(y),
        "poisson, nlmeans": lambda y, p: patches.poisson(y, p, method="nlmeans"),
        "bm3d between transforms, algebraic inverse": algebraic,
        "bm3d, sigma map": mapped,
        "bm3d, one sigma": even,
        "none": lambda y, _: y,
    }
    peaks = (1, 4, 10, 30, 100)
    print(f"\nPoisson noise: mean PSNR in dB over the middles of {len(NAMES)} photographs, by peak")
    print(f"{'':46s}" + "".join(f"{peak:8d}" for peak in peaks))
    for name, run in ways.items():
        row = [
            np.mean([psnr(run(counted(x, p), p)[0].numpy(), x) for x in map(middle, NAMES)])
            for p in peaks
        ]
        print(f"{name:46s}" + "".join(f"{value:8.2f}" for value in row), flush=True)


def hit(clean: Array, rate: float, kind: str) -> torch.Tensor:
    """Return an image with impulses ``(1, H, W)``."""
    rng = np.random.default_rng(0)
    where, value = rng.random(clean.shape) < rate, rng.random(clean.shape)
    return tensor(np.where(where, value.round() if kind == "salt" else value, clean))


def medians(side: int) -> Callable[[torch.Tensor, str], torch.Tensor]:
    """Return SciPy's median filter."""
    return lambda y, _: torch.from_numpy(ndimage.median_filter(y[0].numpy(), side))[None]


def by_pypatchmatch(y: torch.Tensor, kind: str) -> torch.Tensor:
    """Fill the impulses that `impulses` finds by PyPatchMatch, which takes 8 bits in RGB."""
    from patchmatch import patch_match

    levels = (y[0].clamp(0, 1) * 255).round().byte().numpy()
    holes = patches.impulses(y, kind=kind)[0, 0].numpy()
    found = patch_match.inpaint(np.repeat(levels[..., None], 3, 2), holes, patch_size=3)
    filled = torch.from_numpy(np.asarray(found)[None, ..., 0] / 255)
    return torch.where(torch.from_numpy(holes), filled, y)


def impulse() -> None:
    """Print the quality of ways to take impulses out."""
    ways: dict[str, Callable[[torch.Tensor, str], torch.Tensor]] = {
        "impulse": lambda y, kind: patches.impulse(y, kind=kind, rng=generator(0)),
        "impulse, medians alone": lambda y, kind: patches.impulse(y, kind=kind, rounds=0),
        "impulses, PyPatchMatch": by_pypatchmatch,
        **{f"SciPy median {side} x {side}": medians(side) for side in (3, 5, 7)},
    }
    rates = (0.1, 0.3, 0.5)
    for kind in ("salt", "random"):
        print(f"\nimpulses, {kind}: mean PSNR in dB over the middles of the photographs, by share")
        print(f"{'':30s}" + "".join(f"{rate:8.1f}" for rate in rates))
        for name, run in ways.items():
            row = [
                np.mean(
                    [psnr(run(hit(x, r, kind), kind)[0].numpy(), x) for x in map(middle, NAMES)]
                )
                for r in rates
            ]
            print(f"{name:30s}" + "".join(f"{value:8.2f}" for value in row), flush=True)


def rows() -> Iterator[list[torch.Tensor]]:
    """Yield rows of pictures: clean, spoilt, and mended in two or three ways."""
    clean = photograph("camera")[100:260, 140:300]
    x, y = tensor(clean), tensor(noisy(clean, 25))
    plain = [getattr(patches, name)(y, 25 / 255) for name in ("gaussian", "bilateral", "guided")]
    yield [x, y, *plain]
    dim = counted(clean, 10)
    mapped = patches.bm3d(dim, patches.estimate_sigma_map(dim))
    yield [x, dim, mapped, *(patches.poisson(dim, 10, method=m) for m in ("nlmeans", "bm3d"))]
    salt, values = hit(clean, 0.3, "salt"), hit(clean, 0.3, "random")
    filled = [patches.impulse(a, kind=k) for a, k in ((salt, "salt"), (values, "random"))]
    yield [salt, medians(3)(salt, ""), filled[0], values, filled[1]]


def picture(file: str) -> None:
    """Write the rows as one picture."""
    cells = [cell for row in rows() for cell in row]
    image.save(image.grid(torch.stack(cells).clamp(0, 1), 5, pad=2), file)


SECTIONS = {"noise": noise, "curve": curve, "filters": filters, "poisson": poisson}
SECTIONS |= {"impulse": impulse}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", default=",".join(SECTIONS))
    parser.add_argument("--picture")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    for name in filter(None, arguments.only.split(",")):
        SECTIONS[name]()
    if arguments.picture:
        picture(arguments.picture)


if __name__ == "__main__":
    main()
