"""Nearest-neighbour fields: error and time of every matcher, and how cost grows with the image.

    python benchmarks/patches_match.py [--threads 2] [--most 12] [--picture docs/images/field.png]

Patches of 7 x 7 in RGB. Five pairs of 260 x 385 pixels: both views of a motorcycle; and of four
photographs the left half, matched in the right one. Error: mean distance over the exact one's. The
peer: scikit-learn's PCA to 24 components, fitted to the source's patches, and SciPy's cKDTree with
eps 1 and 3, on as many threads. PatchMatch runs from the seeds 0 to 4, the error being their mean
and the largest, the time the median; the others run once.

Memory is the most that was held: in the processes that tell it, glibc is told to give every large
array that is freed back to the system. By itself it keeps some of those below 32 MB for later, and
up to 15 bytes a pixel more are counted at 3 megapixels and less.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from skimage import data, transform
from torch import Tensor

from gouache import image, patches, random

T = TypeVar("T")
SHAPE, PATCH = (260, 385), 7
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "1000000"}  # glibc's


def view(picture: np.ndarray, width: int = SHAPE[1]) -> Tensor:
    """Return a picture ``(3, 260, width)`` in RGB."""
    rgb = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, 2)
    small = transform.resize(rgb[..., :3], (SHAPE[0], width), anti_aliasing=True)
    return torch.from_numpy(small).permute(2, 0, 1).float()


def pairs() -> dict[str, tuple[Tensor, Tensor]]:
    """Return query and source by name."""
    left, right, _ = data.stereo_motorcycle()
    found = {"motorcycle": (view(left), view(right))}
    for name in ("chelsea", "coffee", "astronaut", "gravel"):
        halves = view(getattr(data, name)(), 2 * SHAPE[1]).split(SHAPE[1], dim=2)
        found[name] = (halves[0].contiguous(), halves[1].contiguous())
    return found


def timed(run: Callable[[], T]) -> tuple[T, float]:
    """Return a result and the seconds that it took."""
    start = time.perf_counter()
    found = run()
    return found, time.perf_counter() - start


def peer(query: Tensor, source: Tensor, slack: float) -> float:
    """Return the mean distance of what PCA-24 and cKDTree find."""
    from scipy.spatial import cKDTree  # pyright: ignore[reportAttributeAccessIssue]
    from sklearn.decomposition import PCA

    a, b = (
        next(iter(patches.bands(x, PATCH, most=10**9))).patches.numpy() for x in (query, source)
    )
    pca = PCA(24, svd_solver="covariance_eigh").fit(b)
    tree = cKDTree(pca.transform(b))
    _, found = tree.query(pca.transform(a), eps=slack, workers=torch.get_num_threads())
    return float(((a - b[found]) ** 2).sum(1).mean())


def rate() -> float:
    """Return the best matrix-multiply rate of the machine in Gflop/s."""
    a, b = torch.rand(4096, 1024), torch.rand(1024, 4096)
    best = min(timed(lambda: torch.mm(a, b))[1] for _ in range(3))
    return 2 * 4096 * 4096 * 1024 / best / 1e9


def compare(query: Tensor, source: Tensor, sweeps: tuple[int, ...]) -> None:
    """Print error and time of every matcher on a pair."""
    top = rate()
    exact, seconds = timed(lambda: patches.brute_force(query, source))
    h, w = exact.distance.shape[1:]
    pace, mean = 2 * (h * w) ** 2 * 3 * PATCH**2 / seconds / 1e9, float(exact.distance.mean())
    show("brute force", [1.0], seconds, f"{pace:.0f} of {top:.0f} Gflop/s: {pace / top:.2f}")
    for slack in (1, 3):
        error, seconds = timed(lambda slack=slack: peer(query, source, slack))
        show(f"PCA-24, cKDTree, eps {slack}", [error / mean], seconds)
    for n in sweeps:
        runs = [timed(lambda n=n, k=k: sought(query, source, n, k)) for k in range(5)]
        errors = [float(field.distance.mean()) / mean for field, _ in runs]
        show(f"patchmatch, {n} sweeps", errors, float(np.median([seconds for _, seconds in runs])))


def sought(query: Tensor, source: Tensor, sweeps: int, seed: int) -> patches.Field:
    """Return what PatchMatch finds."""
    return patches.patchmatch(query, source, iterations=sweeps, rng=random.generator(seed))


def show(name: str, errors: list[float], seconds: float, note: str = "") -> None:
    """Print a row."""
    mean, most = np.mean(errors), max(errors)
    print(f"  {name:24s} {mean:.3f} (at most {most:.3f}) {seconds:8.2f} s  {note}", flush=True)


def peak() -> int:
    """Return the most memory that the process has held, in bytes.

    Linux counts the parent's in ``ru_maxrss``.
    """
    status = Path("/proc/self/status")
    if status.exists():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def scale(pixels: float) -> None:
    """Print time and memory of two sweeps between two images of so many pixels."""
    height = round((pixels * 3 / 4) ** 0.5)
    width = round(pixels / height)
    base = torch.from_numpy(data.retina()).permute(2, 0, 1).float() / 255
    size = {"size": (height, width), "mode": "bilinear", "align_corners": False}
    query = torch.nn.functional.interpolate(base[None], **size)[0].contiguous()
    source = query.flip(2).contiguous()
    patches.patchmatch(query[:, :40, :40], source[:, :40, :40], iterations=1)
    before = peak()
    _, seconds = timed(lambda: patches.patchmatch(query, source, iterations=2))
    grown = peak() - before
    count = height * width
    rates = f"{seconds / count * 1e6:.2f} us and {grown / count:.0f} bytes a pixel"
    print(f"{count / 1e6:6.2f} megapixels, 2 sweeps: {seconds:7.2f} s, {rates}", flush=True)


def picture(file: str) -> None:
    """Write both views, the field as colours, and the query built from the other view's patches."""
    query, source = pairs()["motorcycle"]
    field = patches.patchmatch(query, source, rng=random.generator(0))
    wheel = torch.nn.functional.pad(patches.colour_wheel(field, most=24), (3, 3, 3, 3), value=1)
    row = torch.stack([query, source, wheel, patches.vote(field, source)]).clamp(0, 1)
    image.save(image.grid(row, 2, pad=2), file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--most", type=float, default=12, help="megapixels")
    parser.add_argument("--scale", type=float, help="one size alone, in megapixels")
    parser.add_argument("--picture")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.scale:
        scale(arguments.scale * 1e6)
        return
    for name, (query, source) in pairs().items():
        print(f"{name}: mean distance over the exact one's; {arguments.threads} threads")
        compare(query, source, (1, 2, 5, 12))
    for megapixels in (0.75, 3.0, 12.0):
        if megapixels <= arguments.most:
            words = [__file__, "--threads", str(arguments.threads), "--scale", str(megapixels)]
            subprocess.run([sys.executable, *words], check=True, env=os.environ | RETURNED)
    if arguments.picture:
        picture(arguments.picture)


if __name__ == "__main__":
    main()
