"""The pictures of docs/synthesis.md.

    python benchmarks/synthesis_pictures.py [--folder docs/images] [--only inpaint,texture,...]

What is shown: holes of ``synthesis.py`` filled; every method of texture synthesis on parts of
brick, grass and gravel and of two photographs; variations of photographs; colours moved.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from skimage import data
from sklearn.datasets import load_sample_image
from synthesis import by_pypatchmatch, holes, photograph, squares
from torch import Tensor

from gouache import image, patches, registry
from gouache.random import generator

SIDE, SHOWN = 160, 200


def inpaint() -> Tensor:
    """Return rows: the hole, ours, Criminisi's, PyPatchMatch's, the photograph."""
    rows = list[Tensor]()
    for name, which in (("brick", 0), ("gravel", 0), ("chelsea", 0), ("coffee", 2)):
        whole = photograph(name).contiguous()
        hole = holes(name, which + 1)[which]
        spoilt = torch.where(hole, 1.0, whole)
        top, left = (
            min(max(0, int(hole.any(axis).nonzero().float().mean()) - SHOWN // 2), n - SHOWN)
            for axis, n in zip((1, 0), hole.shape, strict=True)
        )
        ours = patches.inpaint(spoilt, hole, rng=generator(0))
        peer = by_pypatchmatch(3)(spoilt, hole)
        shown = [spoilt, ours, patches.criminisi(spoilt, hole), peer, whole]
        rows.append(torch.cat([x[:, top : top + SHOWN, left : left + SHOWN] for x in shown], 2))
    return torch.cat(rows, 1)


def exemplars() -> list[Tensor]:
    """Return what the textures are made of ``(3, 160, 160)``; the last two are wood and petals."""
    found = [
        image.as_channels(image.as_tensor(getattr(data, name)())[:, :SIDE, :SIDE], 3)
        for name in ("brick", "grass", "gravel")
    ]
    for whole, (top, left) in (
        (photograph("coffee"), (0, 440)),
        (image.as_tensor(load_sample_image("flower.jpg")), (130, 240)),
    ):
        found.append(whole[:, top : top + SIDE, left : left + SIDE].contiguous())
    return found


def texture() -> Tensor:
    """Return a column an exemplar: itself, and what every method makes of it."""
    rows = [torch.cat(exemplars(), 2)]
    for entry in registry.entries("texture"):
        make = entry.load()
        made = [make(u, SIDE, rng=generator(0)).image for u in exemplars()]
        rows.append(torch.cat(made, 2))
        print(entry.name, flush=True)
    return torch.cat(rows, 1)


def variations() -> Tensor:
    """Return rows: a photograph, three variations."""
    rows = [
        torch.cat([x, *(patches.gpnn(x, rng=generator(seed)) for seed in range(3))], 2)
        for x in squares().values()
    ]
    return torch.cat(rows, 1)


def recolor() -> Tensor:
    """Return rows: a photograph, a palette, what every method makes of them."""
    shown, rows = squares(), list[Tensor]()
    for name, palette in (("chelsea", "coffee"), ("china", "flower")):
        pair = (shown[name], shown[palette])
        ways = [entry.load() for entry in registry.entries("recolor")]
        rows.append(torch.cat([*pair, *(way(*pair, rng=generator(0)) for way in ways)], 2))
    return torch.cat(rows, 1)


PICTURES: dict[str, Callable[[], Tensor]] = {
    "inpaint": inpaint,
    "texture": texture,
    "variations": variations,
    "recolor": recolor,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="The pictures of docs/synthesis.md.")
    parser.add_argument("--folder", type=Path, default=Path("docs/images"))
    parser.add_argument("--only", default=",".join(PICTURES))
    given = parser.parse_args()
    torch.set_num_threads(2)
    for name in given.only.split(","):
        image.save(PICTURES[name]().clamp(0, 1), given.folder / f"{name}.png")


if __name__ == "__main__":
    main()
