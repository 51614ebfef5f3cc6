"""The Inception network of the Fréchet inception distance, with the published weights' names.

It differs from the classifier of the same name in three places, all of the 2015 release: average
pooling leaves the padding out of its count, the pooling branch of the last block takes the
maximum, and there are 1008 classes. Images are resized to 299 pixels as TensorFlow 1 did it:
bilinear between ``floor(i s)`` and the next pixel, ``s = in / out``, without half-pixel centres
and without antialiasing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gouache.check import InputError, choice
from gouache.check import images as check_images
from gouache.contracts import Features
from gouache.pretrained import read_tensors
from gouache.registry import method

LAYERS = ("64", "192", "768", "2048", "logits_unbiased")
_FILES = (
    "pt_inception-2015-12-05-6726825d.pth",
    "weights-inception-2015-12-05-6726825d.pth",
    "inception-2015-12-05.safetensors",
)
_SHA256 = "6726825d"
_SIDE = 299
_CHUNK = 32

# A unit is (suffix of its name, output channels, kernel height, kernel width, stride). A step is
# units side by side, nearly always one, or a pooling; a branch is its name and its steps.
Unit: TypeAlias = tuple[str, int, int, int, int]
Step: TypeAlias = list[Unit] | str
Branch: TypeAlias = tuple[str, list[Step]]


def _square(suffix: str, channels: int, side: int, stride: int = 1) -> list[Unit]:
    return [(suffix, channels, side, side, stride)]


def _row(suffix: str, channels: int, width: int) -> list[Unit]:
    return [(suffix, channels, 1, width, 1)]


def _column(suffix: str, channels: int, height: int) -> list[Unit]:
    return [(suffix, channels, height, 1, 1)]


def _block_35(pool: int) -> list[Branch]:
    return [
        ("branch1x1", [_square("", 64, 1)]),
        ("branch5x5", [_square("_1", 48, 1), _square("_2", 64, 5)]),
        ("branch3x3dbl", [_square("_1", 64, 1), _square("_2", 96, 3), _square("_3", 96, 3)]),
        ("branch_pool", ["average", _square("", pool, 1)]),
    ]


def _block_17(c: int) -> list[Branch]:
    far = [_column("_2", c, 7), _row("_3", c, 7), _column("_4", c, 7), _row("_5", 192, 7)]
    return [
        ("branch1x1", [_square("", 192, 1)]),
        ("branch7x7", [_square("_1", c, 1), _row("_2", c, 7), _column("_3", 192, 7)]),
        ("branch7x7dbl", [_square("_1", c, 1), *far]),
        ("branch_pool", ["average", _square("", 192, 1)]),
    ]


def _block_8(pooling: str) -> list[Branch]:
    def fork(number: str) -> list[Unit]:
        return _row(f"{number}a", 384, 3) + _column(f"{number}b", 384, 3)

    return [
        ("branch1x1", [_square("", 320, 1)]),
        ("branch3x3", [_square("_1", 384, 1), fork("_2")]),
        ("branch3x3dbl", [_square("_1", 448, 1), _square("_2", 384, 3), fork("_3")]),
        ("branch_pool", [pooling, _square("", 192, 1)]),
    ]


_SHRINK_35: list[Branch] = [
    ("branch3x3", [_square("", 384, 3, 2)]),
    ("branch3x3dbl", [_square("_1", 64, 1), _square("_2", 96, 3), _square("_3", 96, 3, 2)]),
    ("branch_pool", ["shrink"]),
]
_END: list[Step] = [_square("_4", 192, 3, 2)]
_SHRINK_17: list[Branch] = [
    ("branch3x3", [_square("_1", 192, 1), _square("_2", 320, 3, 2)]),
    ("branch7x7x3", [_square("_1", 192, 1), _row("_2", 192, 7), _column("_3", 192, 7), *_END]),
    ("branch_pool", ["shrink"]),
]
_BLOCKS: list[tuple[str, int, list[Branch]]] = [
    ("Mixed_5b", 192, _block_35(32)),
    ("Mixed_5c", 256, _block_35(64)),
    ("Mixed_5d", 288, _block_35(64)),
    ("Mixed_6a", 288, _SHRINK_35),
    ("Mixed_6b", 768, _block_17(128)),
    ("Mixed_6c", 768, _block_17(160)),
    ("Mixed_6d", 768, _block_17(160)),
    ("Mixed_6e", 768, _block_17(192)),
    ("Mixed_7a", 768, _SHRINK_17),
    ("Mixed_7b", 1280, _block_8("average")),
    ("Mixed_7c", 2048, _block_8("maximum")),
]


def resize_tf1(x: Tensor, side: int = _SIDE) -> Tensor:
    """Resize ``(B, C, H, W)`` to ``side`` x ``side`` by TensorFlow 1's asymmetric bilinear rule."""
    for axis in (-1, -2):
        size = x.shape[axis]
        at = torch.arange(side, device=x.device, dtype=torch.float32)
        at = at * torch.tensor(size / side, dtype=torch.float32)
        low = at.long().clamp(max=size - 1)
        weight = (at - low).to(x.dtype)
        weight = weight if axis == -1 else weight[:, None]
        near, far = x.index_select(axis, low), x.index_select(axis, (low + 1).clamp(max=size - 1))
        x = near + (far - near) * weight
    return x


@method("features")
class Inception(nn.Module, Features):
    """Inception-v3 features in the protocol of the published FID.

    Images are rounded to 256 levels, resized to 299 by :func:`resize_tf1`, and mapped to
    ``(x - 128) / 128``; grey images are repeated to three channels. The output is the spatial
    mean of the maps with 64, 192, 768 or 2048 channels, or ``logits_unbiased``, the 1008 logits
    without their bias. Built directly it has random weights and says so in its name;
    :meth:`load` reads the published ones.

    Args:
        layer: ``"64"``, ``"192"``, ``"768"``, ``"2048"`` or ``"logits_unbiased"``.

    Raises:
        InputError: an unknown layer; weights that are absent or are not the published ones.

    Reference:
        C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna, "Rethinking the Inception
        Architecture for Computer Vision", 2016; M. Heusel, H. Ramsauer, T. Unterthiner,
        B. Nessler, S. Hochreiter, "GANs Trained by a Two Time-Scale Update Rule Converge to a
        Local Nash Equilibrium", 2017.

    Example:
        >>> import torch
        >>> Inception("64")(torch.zeros(1, 1, 8, 8)).shape
        torch.Size([1, 64])
    """

    def __init__(self, layer: str = "2048") -> None:
        super().__init__()
        self.layer = choice(layer, "layer", LAYERS)
        self.name = f"inception-{layer} (random weights)"
        self.Conv2d_1a_3x3 = _Unit(3, 32, (3, 3), 2, (0, 0))
        self.Conv2d_2a_3x3 = _Unit(32, 32, (3, 3), 1, (0, 0))
        self.Conv2d_2b_3x3 = _Unit(32, 64, (3, 3), 1, (1, 1))
        self.Conv2d_3b_1x1 = _Unit(64, 80, (1, 1), 1, (0, 0))
        self.Conv2d_4a_3x3 = _Unit(80, 192, (3, 3), 1, (0, 0))
        for name, channels, branches in _BLOCKS:
            self.add_module(name, _Block(channels, branches))
        self.fc = nn.Linear(2048, 1008)
        self.eval().requires_grad_(False)

    @classmethod
    def load(cls, weights: str | Path | None = None, *, layer: str = "2048") -> Inception:
        """Return the network with the published weights, read from ``weights`` or a cache.

        The cache is ``$TORCH_HOME/hub/checkpoints`` (``~/.cache/torch`` by default), where other
        libraries keep the same file. A ``.pth`` must have the published SHA-256 and is read
        without running code. A ``.safetensors`` must hold the same 566 tensors; what they are is
        not known, so its features are named ``(unverified)`` and no distance in them is an FID.
        """
        choice(layer, "layer", LAYERS)
        file = _find(weights)
        network = cls(layer)
        known = file.suffix != ".safetensors"
        network.adopt(_read_published(file) if known else read_tensors(file), str(file))
        network.name = f"inception-{layer}" if known else f"inception-{layer} (unverified)"
        return network

    def adopt(self, state: Mapping[str, Tensor], where: str) -> None:
        """Take over a state dict with the published names and shapes."""
        own = self.state_dict()
        wrong = [k for k, v in own.items() if k not in state or state[k].shape != v.shape]
        wrong += [k for k in state if k not in own]
        if wrong:
            raise InputError(
                f"{where} does not hold the FID Inception network: {len(wrong)} of {len(own)} "
                f"tensors differ, the first is {wrong[0]}; the published file is {_FILES[0]}"
            )
        self.load_state_dict(dict(state))

    def forward(self, images: Tensor) -> Tensor:
        """Return the features ``(B, D)`` of images ``(B, C, H, W)`` in [0, 1]."""
        x = check_images(images)
        with torch.no_grad():
            return torch.cat([self._vector(chunk) for chunk in x.split(_CHUNK)])

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the maps with 64, 192, 768 and 2048 channels that precede the spatial means."""
        return self._maps(check_images(images), 4)

    def _vector(self, x: Tensor) -> Tensor:
        depth = min(LAYERS.index(self.layer) + 1, 4)
        vector = self._maps(x, depth)[-1].mean(dim=(2, 3))
        return vector @ self.fc.weight.T if self.layer == "logits_unbiased" else vector

    def _maps(self, images: Tensor, depth: int) -> list[Tensor]:
        levels = (images * 255).round().expand(-1, 3, -1, -1).to(self.fc.weight.dtype)
        x = (resize_tf1(levels) - 128) / 128
        maps: list[Tensor] = []
        for stage in (self._to_64, self._to_192, self._to_768, self._to_2048)[:depth]:
            x = stage(x)
            maps.append(x)
        return maps

    def _to_64(self, x: Tensor) -> Tensor:
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        return F.max_pool2d(x, 3, 2)

    def _to_192(self, x: Tensor) -> Tensor:
        return F.max_pool2d(self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x)), 3, 2)

    def _to_768(self, x: Tensor) -> Tensor:
        for name, _, _ in _BLOCKS[:8]:
            x = self.get_submodule(name)(x)
        return x

    def _to_2048(self, x: Tensor) -> Tensor:
        for name, _, _ in _BLOCKS[8:]:
            x = self.get_submodule(name)(x)
        return x


class _Unit(nn.Module):
    """Convolution, batch normalisation (eps 1e-3), ReLU."""

    def __init__(
        self, inside: int, outside: int, kernel: tuple[int, int], stride: int, pad: tuple[int, int]
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inside, outside, kernel, stride, pad, bias=False)
        self.bn = nn.BatchNorm2d(outside, eps=1e-3)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn(self.conv(x)))


class _Block(nn.Module):
    """Branches side by side, concatenated over channels."""

    def __init__(self, channels: int, branches: list[Branch]) -> None:
        super().__init__()
        self.branches = branches
        for name, steps in branches:
            self._build(name, steps, channels)

    def _build(self, name: str, steps: list[Step], channels: int) -> None:
        for step in steps:
            if isinstance(step, str):
                continue
            for suffix, outside, height, width, stride in step:
                pad = (0, 0) if stride == 2 else (height // 2, width // 2)
                unit = _Unit(channels, outside, (height, width), stride, pad)
                self.add_module(name + suffix, unit)
            channels = sum(unit[1] for unit in step)

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self._branch(x, name, steps) for name, steps in self.branches], dim=1)

    def _branch(self, x: Tensor, name: str, steps: list[Step]) -> Tensor:
        for step in steps:
            if isinstance(step, str):
                x = _pool(x, step)
            else:
                units = [self.get_submodule(name + unit[0]) for unit in step]
                x = torch.cat([unit(x) for unit in units], dim=1)
        return x


def _pool(x: Tensor, kind: str) -> Tensor:
    if kind == "average":
        return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    return F.max_pool2d(x, 3, 2) if kind == "shrink" else F.max_pool2d(x, 3, 1, 1)


def _find(weights: str | Path | None) -> Path:
    if weights is not None:
        if not Path(weights).is_file():
            raise InputError(f"Inception weights {weights} do not exist")
        return Path(weights)
    home = Path(os.environ.get("TORCH_HOME", Path.home() / ".cache" / "torch"))
    for name in _FILES:
        if (home / "hub" / "checkpoints" / name).is_file():
            return home / "hub" / "checkpoints" / name
    raise InputError(
        f"no Inception weights in {home / 'hub' / 'checkpoints'}; put {_FILES[0]} there, pass "
        'weights=PATH, or use features="pca" (then the distance is not called FID)'
    )


def _read_published(file: Path) -> Mapping[str, Tensor]:
    with open(file, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if not digest.startswith(_SHA256):
        raise InputError(
            f"{file} is not the published file: its SHA-256 begins {digest[:8]}, not {_SHA256}; "
            "fetch it again (a broken download?)"
        )
    return torch.load(file, map_location="cpu", weights_only=True)
