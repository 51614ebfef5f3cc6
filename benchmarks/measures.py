"""Measures against closed forms, and beside prdc and torchmetrics: exactness, memory, time.

Run ``python benchmarks/measures.py [--threads 1]``; two to four minutes. Both sides of a comparison
run alternately with the same threads. CPU seconds of several threads count their waiting too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor

from gouache import measure
from gouache.measure._frechet import fit, frechet_value
from gouache.measure._precision_recall import prdc_scores

ROUNDS = 3


def normal(n: int, d: int, rng: torch.Generator, scale: float = 1.0, shift: float = 0.0) -> Tensor:
    return shift + scale * torch.randn(n, d, generator=rng, dtype=torch.float64)


def mean_and_error(values: list[float]) -> tuple[float, float]:
    drawn = torch.tensor(values, dtype=torch.float64)
    return float(drawn.mean()), float(drawn.std() / math.sqrt(len(values)))


def frechet_closed_forms() -> None:
    print("\nFréchet distance, N(0, I) against N(.1, 1.2^2 I), d = 64: 3.2")
    eye = torch.eye(64, dtype=torch.float64)
    mean = torch.full((64,), 0.1, dtype=torch.float64)
    print(
        f"  from moments       {measure.frechet_from_moments(0 * mean, eye, mean, 1.44 * eye):.12f}"
    )
    rng = torch.Generator().manual_seed(0)
    for n in (1000, 4000, 16000):
        score = measure.frechet(normal(n, 64, rng), normal(n, 64, rng, 1.2, 0.1), rng=rng)
        print(f"  N = {n:<6} {score.value:8.4f} +- {score.error:.4f}, floor {score.floor:.4f}")


def null_bias_law() -> None:
    print("\nNull bias law, d = 64: (2 d + d (d + 1) / 2) / N, mean of repeated draws")
    print("       N      law   measured (+- error of the mean)   floor   error/spread")
    rng = torch.Generator().manual_seed(1)
    for n, repeats in ((500, 60), (1000, 40), (2000, 30), (4000, 20), (8000, 15)):
        scores = [
            measure.frechet(normal(n, 64, rng), normal(n, 64, rng), rng=rng) for _ in range(repeats)
        ]
        values = [s.value for s in scores]
        mean, error = mean_and_error(values)
        law, floor = (128 + 64 * 65 / 2) / n, sum(s.floor for s in scores) / repeats
        ratio = math.sqrt(sum(s.error**2 for s in scores) / repeats) / (error * repeats**0.5)
        print(
            f"  {n:6} {law:8.4f}   {mean:8.4f} +- {error:.4f}          {floor:8.4f}   {ratio:.2f}"
        )


def kernel_closed_form() -> None:
    print("\nKernel distance, polynomial of degree 3, d = 16, |m|^2 = 1: .214111")
    rng = torch.Generator().manual_seed(2)
    for n in (1000, 4000):
        score = measure.kernel(normal(n, 16, rng), normal(n, 16, rng, shift=0.25))
        off = (score.value - 0.214111) / score.error
        print(f"  N = {n}: {score.value:.5f} +- {score.error:.5f} ({off:+.2f} errors away)")


def coverage_and_density() -> None:
    print("\nCoverage and density under P = Q (closed forms), mean of 60 draws in d = 8")
    rng = torch.Generator().manual_seed(3)
    for n, m, k in ((500, 500, 5), (500, 250, 3)):
        truth = 1 - math.prod((n - i) / (m + n - i) for i in range(1, k + 1))
        drawn = [measure.prdc(normal(n, 8, rng), normal(m, 8, rng), k) for _ in range(60)]
        covered = mean_and_error([v["coverage"] for v in drawn])
        dense = mean_and_error([v["density"] for v in drawn])
        print(
            f"  {n} real, {m} fake, k = {k}: coverage {covered[0]:.4f} +- {covered[1]:.4f}", end=" "
        )
        print(f"(theory {truth:.4f}), density {dense[0]:.3f} +- {dense[1]:.3f} (theory 1)")


def calibration() -> None:
    print("\nReported standard error over the spread of 100 draws (1 is calibrated; +- .07)")
    rng = torch.Generator().manual_seed(4)

    def draw(n: int, m: int, d: int, scale: float, shift: float) -> tuple[Tensor, Tensor]:
        return normal(n, d, rng), normal(m, d, rng, scale, shift)

    measures: dict[str, Callable[[Tensor, Tensor], list[measure.Score]]] = {
        "frechet": lambda x, y: [measure.frechet(x, y, rng=rng)],
        "kernel": lambda x, y: [measure.kernel(x, y)],
        "balls": lambda x, y: list(
            prdc_scores(x, y, features="pca", train=None, rng=rng, k=5).values()
        ),
    }
    for case in ((500, 500, 16, 1.0, 0.0), (500, 300, 16, 1.2, 0.1), (200, 200, 128, 1.1, 0.1)):
        ratios = {}
        for compute in measures.values():
            drawn = [compute(*draw(*case)) for _ in range(100)]
            for scores in zip(*drawn, strict=True):
                values = torch.tensor([s.value for s in scores], dtype=torch.float64)
                error = math.sqrt(sum(s.error**2 for s in scores) / len(scores))
                ratios[scores[0].name] = f"{error / float(values.std()):.2f}"
        sizes = "{} real, {} fake, d = {}, scale {}, shift {}".format(*case)
        print(f"  {sizes}: " + ", ".join(f"{k} {v}" for k, v in ratios.items()))


def resident() -> float:
    """Return the memory held now, in MB; the high-water mark where the system has no better."""
    try:
        with open("/proc/self/statm") as stream:
            return int(stream.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        return peak()


def peak() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def prdc_run(which: str) -> None:
    """Run one side in a fresh process and print its values, CPU seconds and memory.

    Memory is the peak less what was held just before. The inputs are touched before, and made
    without temporaries, so that no earlier high-water mark hides what the measure takes.
    """
    import numpy as np
    import prdc

    rng = np.random.default_rng(0)
    real, fake = (rng.standard_normal((5000, 256), dtype=np.float32) for _ in range(2))
    fake *= 1.02
    sides = {
        "prdc": lambda n: prdc.compute_prdc(real[:n], fake[:n], 5),
        "gouache": lambda n: measure.prdc(
            torch.from_numpy(real[:n]), torch.from_numpy(fake[:n]), 5
        ),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        sides[which](50)
        held = resident()
        start = time.process_time()
        values = sides[which](5000)
    report = {
        "values": {name: float(value) for name, value in values.items()},
        "seconds": time.process_time() - start,
        "memory": peak() - held,
    }
    print(json.dumps(report))


def prdc_side_by_side(threads: int) -> None:
    print(f"\nprdc at N = 5000, d = 256, k = 5, float32; {ROUNDS} processes each, alternately")
    found: dict[str, list[dict]] = {"prdc": [], "gouache": []}
    for _ in range(ROUNDS):
        for which, runs in found.items():
            command = [sys.executable, __file__, "--threads", str(threads), "--prdc", which]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            runs.append(json.loads(done.stdout))
    for which, runs in found.items():
        memory = ", ".join(f"+{run['memory']:.0f}" for run in runs)
        seconds = min(run["seconds"] for run in runs)
        print(f"  {which:8} {seconds:6.2f} CPU s, {memory} MB, {runs[0]['values']}")
    theirs, ours = found["prdc"], found["gouache"]
    far = max(abs(ours[0]["values"][k] - v) for k, v in theirs[0]["values"].items())
    ratio = max(run["memory"] for run in ours) / min(run["memory"] for run in theirs)
    print(f"  largest difference {far:.1e}")
    print(f"  our worst memory over its best {ratio:.3f} (asked: at most .25)")


def inception_like(n: int, mix: Tensor, rng: torch.Generator) -> Tensor:
    """Draw features with a power-law spectrum and no negative entries, as after a ReLU."""
    return (torch.randn(n, len(mix), generator=rng) @ mix).clamp(min=0)


def frechet_side_by_side(n: int) -> None:
    """Time the value from given moments, from features, and with its error and floor."""
    from torchmetrics.image.fid import FrechetInceptionDistance, _compute_fid

    class Identity(torch.nn.Module):
        num_features = 2048

        def forward(self, x: Tensor) -> Tensor:
            return x

    rng = torch.Generator().manual_seed(5)
    Q = torch.linalg.qr(torch.randn(2048, 2048, generator=rng)).Q
    mix = Q * torch.arange(1, 2049)[:, None] ** -0.5
    real, fake = inception_like(n, mix, rng), inception_like(n, 1.1 * mix, rng)

    def torchmetrics() -> float:
        peer = FrechetInceptionDistance(feature=Identity()).set_dtype(torch.float64)
        peer.update(real.double(), real=True)
        peer.update(fake.double(), real=False)
        return float(peer.compute())

    def from_features() -> float:
        return frechet_value(fit(real), fit(fake))

    def score() -> float:
        return measure.frechet(real, fake, rng=torch.Generator().manual_seed(0)).value

    (m1, S1), (m2, S2) = measure.moments(real), measure.moments(fake)
    print(f"\nFréchet at d = 2048, N = {n}, best of {ROUNDS} alternate rounds")
    alternate(
        {
            "torchmetrics, moments": lambda: float(_compute_fid(m1, S1, m2, S2)),
            "frechet_from_moments": lambda: measure.frechet_from_moments(m1, S1, m2, S2),
            "eigenvalues alone": lambda: float(torch.linalg.eigvalsh(S1).sum()),
        }
    )
    alternate(
        {
            "torchmetrics, features": torchmetrics,
            "gouache, value": from_features,
            "gouache, error and floor": score,
        }
    )


def alternate(sides: dict[str, Callable[[], float]]) -> None:
    """Run the sides in turn; print value, CPU and wall seconds, and wall beside the first's."""
    cpu: dict[str, list[float]] = {name: [] for name in sides}
    wall: dict[str, list[float]] = {name: [] for name in sides}
    values = {}
    for _ in range(ROUNDS):
        for name, side in sides.items():
            start = time.perf_counter(), time.process_time()
            values[name] = side()
            wall[name].append(time.perf_counter() - start[0])
            cpu[name].append(time.process_time() - start[1])
    first = next(iter(sides))
    for name in sides:
        ratio = min(wall[first]) / min(wall[name])
        print(f"  {name:25} {values[name]:16.8f}  {min(cpu[name]):6.2f} CPU s", end="")
        print(f"  {min(wall[name]):6.2f} s  {ratio:5.1f}x")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--speed", action="store_true", help="only the comparisons with peers")
    parser.add_argument("--frechet", type=int, help="only the Fréchet comparison at this N")
    parser.add_argument("--prdc", choices=("prdc", "gouache"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.prdc:
        prdc_run(arguments.prdc)
        return
    print(f"torch {torch.__version__.split('+')[0]}, {arguments.threads} thread(s)")
    if arguments.frechet:
        frechet_side_by_side(arguments.frechet)
        return
    if not arguments.speed:
        frechet_closed_forms()
        null_bias_law()
        kernel_closed_form()
        coverage_and_density()
        calibration()
    prdc_side_by_side(arguments.threads)
    for n in (500, 1000, 3000):
        frechet_side_by_side(n)


if __name__ == "__main__":
    main()
