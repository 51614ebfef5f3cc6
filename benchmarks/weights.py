"""Train the weights that ship, measure them, and write them with their cards.

    python benchmarks/weights.py [NAME ...] [--out src/gouache/weights]

Each is one recipe, run as it stands; the figures on its card are measured here.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # a busy machine slows both sides alike

import torch

from gouache import data, measure, pretrained, random, recipes
from gouache.features import DigitsNet
from gouache.generate import Diffusion


def judge_diffusion(model: Diffusion) -> list[str]:
    """Return what 1000 samples, 100 a class, score against the 797 held-out images."""
    train, held = data.digits("train"), data.load("digits", "held-out")
    labels = torch.arange(1000) % 10
    samples = model.sample(1000, condition={"label": labels}, rng=random.generator(1))
    scores = measure.evaluate(
        held.all(),
        (samples * 16).round() / 16,
        train=train.all(),
        real_labels=held.labels,
        fake_labels=labels,
        train_labels=train.labels,
        rng=random.generator(0),
    )
    return [str(score) for score in scores]


def judge_classifier(model: DigitsNet) -> list[str]:
    """Return the accuracy on the 797 held-out images."""
    held = data.load("digits", "held-out")
    with torch.no_grad():
        right = (model.logits(held.all()).argmax(1) == held.labels).double()
    error = float(right.std() / len(right) ** 0.5)
    return [f"accuracy {float(right.mean()):.4f} +- {error:.4f} (797 held-out images)"]


SHIPPED: dict[str, tuple[str, str, Callable[[Any], list[str]]]] = {
    "digits-diffusion": (
        "Class-conditional diffusion model of 8x8 handwritten digits",
        "digits_diffusion",
        judge_diffusion,
    ),
    "digits-features": (
        "Classifier of 8x8 handwritten digits, whose last layer is the feature `digits`",
        "digits_features",
        judge_classifier,
    ),
}


def ship(name: str, out: Path) -> None:
    """Train one recipe and write its weights and card."""
    title, recipe, judge = SHIPPED[name]
    plan = getattr(recipes, recipe)()
    with tempfile.TemporaryDirectory() as folder:
        *_, last = recipes.run(plan, folder)
        model = pretrained.load(Path(folder) / "model")
        figures = judge(model)
        shutil.copytree(Path(folder) / "model", out / name, dirs_exist_ok=True)
    content = (out / name / pretrained.WEIGHTS).read_bytes()
    card = {
        "name": name,
        "title": title,
        "recipe": recipe,
        "command": f"gouache train {recipe} --out RUN",
        "data": f"{plan.source}, {len(plan.dataset)} training images, {plan.dataset.card.origin}",
        "licence": "MIT (weights); CC BY 4.0 (data)",
        "parameters": sum(p.numel() for p in model.parameters()),
        "steps": last.number,
        "seconds": round(last.seconds),
        "threads": torch.get_num_threads(),
        "figures": figures,
        "versions": {
            "gouache": importlib.metadata.version("gouache"),
            "torch": torch.__version__.partition("+")[0],
            "python": platform.python_version(),
        },
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    (out / name / "card.json").write_text(json.dumps(card, indent=2) + "\n")
    print(name, f"{last.seconds:.0f} s", *figures, sep="\n  ")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", default=list(SHIPPED))
    parser.add_argument("--out", type=Path, default=Path("src/gouache/weights"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # as the demo; the card says so
    for name in arguments.names:
        ship(name, arguments.out)


if __name__ == "__main__":
    main()
