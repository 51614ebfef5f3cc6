"""NL-Bayes, EPLL and FEPLL: quality and time, and the prior that ships.

    python benchmarks/patches_priors.py [--threads 2] [--cache FOLDER] [--ship | --train]

The eleven grey photographs of ``benchmarks/patches.py``, noise likewise. The prior for a photograph
is fitted without it: first one on the photographs that are none of the eleven, then for each of the
eleven that one goes on with all photographs but this. They are kept in ``--cache``, so that a
second run has them. ``--train`` stops there; ``--ship`` fits the prior that ships on all
photographs, measures it and writes it with its card.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import platform
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from patches import LEVELS, NAMES, Array, noisy, photograph, psnr

from gouache import data, patches, pretrained, random, recipes, registry
from gouache.data import _photos, _textures
from gouache.recipes import _epll_prior

SEED = 0
# The recipe without the eleven photographs, and how it goes on with all but one.
BASE = {"components": 200, "each": 20_000, "passes": 10}
AGAIN = {"each": 12_000, "passes": 5}
# Terms of the photographs that are in no data set of gouache's.
TERMS = {
    "camera": "Lav Varshney, CC0",
    "coins": "Brooklyn Museum, no known copyright restrictions",
    "page": "scikit-image, BSD-3-Clause",
    "moon": "scikit-image, BSD-3-Clause",
    "text": "Wikipedia, public domain",
}
OUT = registry.ROOT / "weights" / "epll-prior"


def base(cache: Path) -> patches.PatchPrior:
    """Return the prior of the photographs that are none of the eleven."""
    name = f"none-of-the-eleven-{signature(BASE)}"
    return kept(cache / name, lambda: recipes.epll_prior(NAMES, **BASE, rng=draws()))


def without(name: str, cache: Path) -> patches.PatchPrior:
    """Return the prior fitted without one photograph."""

    def fit() -> patches.PatchPrior:
        return recipes.epll_prior((name,), **AGAIN, start=base(cache), rng=draws())

    return kept(cache / f"without-{name}-{signature(BASE)}-{signature(AGAIN)}", fit)


def signature(options: dict[str, int]) -> str:
    """Return the numbers of the recipe, and its photographs, as a part of a folder's name."""
    shown = hashlib.sha256(repr(sorted(_epll_prior.PHOTOGRAPHS.items())).encode()).hexdigest()
    return "-".join([*map(str, options.values()), shown[:6]])


def draws() -> torch.Generator:
    return random.generator(SEED)


def kept(folder: Path, fit: Callable[[], patches.PatchPrior]) -> patches.PatchPrior:
    """Load a prior, or fit and save it."""
    if not pretrained.is_saved(folder):
        begun = time.perf_counter()
        pretrained.save(fit(), folder)
        print(f"  fitted {folder.name}: {time.perf_counter() - begun:.0f} s", flush=True)
    return pretrained.load(folder)


def filtered(method: str, y: Array, sigma: float, **options: object) -> Array:
    """Filter an array by a method of gouache."""
    return getattr(patches, method)(torch.from_numpy(y)[None], sigma, **options)[0].numpy()


def table(cache: Path) -> dict[str, dict[int, float]]:
    """Print the PSNR of every photograph and method; return the means."""
    columns = ("bm3d, one step", "bm3d", "nlbayes", "epll", "fepll")
    print(f"{'PSNR in dB':12s}{'':6s}" + "".join(f"{name:>16s}" for name in columns))
    found: dict[int, list[list[float]]] = {level: [] for level in LEVELS}
    for name in NAMES:
        clean, prior = photograph(name), without(name, cache)
        for level in LEVELS:
            y, sigma = noisy(clean, level), level / 255
            row = [
                filtered("bm3d", y, sigma, steps=1),
                filtered("bm3d", y, sigma),
                filtered("nlbayes", y, sigma),
                filtered("epll", y, sigma, prior=prior),
                filtered("fepll", y, sigma, prior=prior),
            ]
            found[level].append([psnr(x, clean) for x in row])
            print(line(name, level, found[level][-1]), flush=True)
    means = {level: np.mean(found[level], axis=0).tolist() for level in LEVELS}
    for level in LEVELS:
        print(line("mean", level, means[level]))
    return {name: {level: means[level][k] for level in LEVELS} for k, name in enumerate(columns)}


def line(name: str, level: int, values: list[float]) -> str:
    return f"{name:12s}{level:6d}" + "".join(f"{value:16.2f}" for value in values)


def times(cache: Path, rounds: int = 3) -> dict[str, float]:
    """Return the best of some times on ``camera`` at 25, the methods taking turns."""
    y, prior = noisy(photograph("camera"), 25), without("camera", cache)
    best = dict.fromkeys(("epll", "fepll", "nlbayes"), float("inf"))
    filtered("fepll", y, 25 / 255, prior=prior)
    for _ in range(rounds):
        for name in best:
            options = {} if name == "nlbayes" else {"prior": prior}
            begun = time.perf_counter()
            filtered(name, y, 25 / 255, **options)
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


def accept(means: dict[str, dict[int, float]], best: dict[str, float]) -> None:
    """Print what was promised, and what holds."""
    for level in LEVELS:
        gain = means["epll"][level] - means["bm3d, one step"][level]
        loss = means["epll"][level] - means["fepll"][level]
        print(
            f"sigma {level}: EPLL less BM3D's basic estimate {gain:+.2f} dB (promised > 0); ",
            end="",
        )
        print(f"EPLL less FEPLL {loss:+.2f} dB (promised <= 0.5)")
    print(f"seconds at 512 x 512: {', '.join(f'{k} {v:.3f}' for k, v in best.items())}")
    print(f"EPLL / FEPLL: {best['epll'] / best['fepll']:.0f} times (promised >= 20)")


def ship() -> None:
    """Fit the prior on all photographs, and write it with its card."""
    begun = time.perf_counter()
    prior = recipes.epll_prior(rng=draws())
    seconds = time.perf_counter() - begun
    pretrained.save(prior, OUT)
    describe(prior, seconds)


def describe(prior: patches.PatchPrior, seconds: float) -> None:
    """Measure the prior that ships, and write its card."""
    others = _epll_prior.photograph_patches((), 2000, SEED + 1)
    y = noisy(photograph("camera"), 25)
    gain = psnr(filtered("fepll", y, 25 / 255, prior=prior), photograph("camera"))
    figures = [
        f"log-likelihood {float(prior.log_prob(others).mean()):.2f} nats a patch "
        "(other patches of the same photographs)",
        f"FEPLL on `camera`, one of them, with noise of 25/255: {gain:.2f} dB",
    ]
    threads = torch.get_num_threads()
    card = {
        "name": OUT.name,
        "title": "Gaussian mixture of grey 8x8 patches, the prior of `epll` and `fepll`",
        "recipe": "epll_prior",
        "command": f"python benchmarks/patches_priors.py --threads {threads} --ship",
        "data": "16 photographs bundled with scikit-image, scikit-learn and matplotlib",
        "licence": f"MIT (weights); {licences()}",
        "parameters": prior.weight.numel() + prior.covariance.numel(),
        "seconds": round(seconds),
        "threads": threads,
        "figures": figures,
        "versions": {
            "gouache": importlib.metadata.version("gouache"),
            "torch": torch.__version__.partition("+")[0],
            "python": platform.python_version(),
        },
        "sha256": hashlib.sha256((OUT / pretrained.WEIGHTS).read_bytes()).hexdigest(),
    }
    (OUT / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(OUT.name, f"{seconds:.0f} s", *figures, sep="\n  ")


def licences() -> str:
    """Return who made the photographs that the prior is fitted on, and their terms."""
    shown = [*chain.from_iterable(_photos.PARTS.values()), *_textures.SHOWN]
    terms = {photograph.path: photograph.licence for photograph in shown}
    listed = _epll_prior.PHOTOGRAPHS.items()
    found = {name: TERMS.get(name) or terms[path] for name, (_, path) in listed}
    return "; ".join(f"{name}: {by}" for name, by in found.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=data.cache_folder() / "benchmarks" / "epll")
    parser.add_argument("--ship", action="store_true")
    parser.add_argument("--train", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.ship:
        return ship()
    for name in NAMES:
        without(name, arguments.cache)
    if not arguments.train:
        accept(table(arguments.cache), times(arguments.cache))


if __name__ == "__main__":
    main()
