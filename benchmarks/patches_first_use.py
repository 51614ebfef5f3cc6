"""How long ``gouache denoise`` takes the first time on a machine, and after.

    python benchmarks/patches_first_use.py [--runs 3] [--size 256] [--method bm3d]

A part of a photograph with noise of 25 levels of 255, as a program of its own: with an empty cache
of kernels (*cold*), and again (*warm*); the best of some runs each, and the seconds of processor
that the best took, which say more where other programs run. Then, in one process, the bytes of four
concurrent calls against those of single ones, and of one thread against two.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from skimage import data

from gouache import image, registry, train

SIGMA = 25 / 255
PROGRAM = "import sys; from gouache.cli.main import main; sys.exit(main(sys.argv[1:]))"


def noisy(size: int, seed: int = 0) -> torch.Tensor:
    """Return a part of a photograph with noise."""
    clean = data.camera()[100 : 100 + size, 150 : 150 + size] / 255
    noise = np.random.default_rng(seed).standard_normal(clean.shape)
    return torch.from_numpy(clean + SIGMA * noise).float()[None]


class Run(NamedTuple):
    """One run of the program.

    Attributes:
        wall: seconds.
        busy: seconds of processor.
        told: how often it said that it compiles.
    """

    wall: float
    busy: float
    told: int


def run_of(method: str, folder: Path, cache: Path) -> Run:
    """Run the program once."""
    words = ["denoise", "noisy.png", "clean.png", "--method", method]
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *words],
        cwd=folder,
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    )
    wall, after = time.perf_counter() - start, os.times()
    busy = after.children_user + after.children_system
    busy -= before.children_user + before.children_system
    return Run(wall, busy, done.stderr.count("compiling kernels"))


def first_use(method: str, size: int, runs: int) -> None:
    """Print the times of the program, cold and warm."""
    cold, warm = [], []
    for _ in range(runs):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            image.save(noisy(size).clamp(0, 1), folder / "noisy.png")
            cold.append(run_of(method, folder, folder / "cache"))
            warm.append(run_of(method, folder, folder / "cache"))
    print(f"gouache denoise of {size}x{size} pixels by {method}, best of {runs}:")
    for name, found, limit in (("cold", cold, 8), ("warm", warm, 3)):
        best = min(found)
        print(
            f"  {name}: {best.wall:.2f} s (under {limit}: {best.wall < limit}), "
            f"{best.busy:.2f} s of processor; "
            f"said to compile: {sorted({run.told for run in found})}"
        )


def same_bytes(method: str) -> None:
    """Print whether threads of the caller or of the filter change a byte."""
    filtered, images = registry.find("denoise", method), [noisy(96, seed) for seed in range(4)]
    expected, found = [filtered(y, SIGMA) for y in images], dict[int, torch.Tensor]()

    def run(k: int) -> None:
        found[k] = filtered(images[k], SIGMA)

    workers = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    print("  four calls at once:", all(torch.equal(found[k], expected[k]) for k in range(4)))
    results = []
    for count in (1, 2):
        with train.threads(count):
            results.append(filtered(noisy(256), SIGMA))
    print("  one thread and two:", torch.equal(*results))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--method", nargs="*", default=["bm3d"], choices=registry.names("denoise"))
    arguments = parser.parse_args()
    for method in arguments.method:
        first_use(method, arguments.size, arguments.runs)
        same_bytes(method)


if __name__ == "__main__":
    main()
