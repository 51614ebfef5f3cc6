"""Inception against torch-fidelity's network, with the same random weights.

torch-fidelity lives in an environment of its own (``make peers``), because it clashes with
torchmetrics; it runs there in a subprocess, with an empty torchvision in ``sys.modules``.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gouache.features import Inception

ROOT = Path(__file__).parents[2]
PEERS = Path(os.environ.get("GOUACHE_PEERS", ROOT / ".venv-peers" / "bin" / "python"))
LAYERS = ("64", "192", "768", "2048", "logits_unbiased")

PEER = """
import sys, types, importlib.machinery

class Stub(types.ModuleType):
    __path__ = []
    def __getattr__(self, name):
        return type(name, (), {})

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "torchvision":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec):
        return Stub(spec.name)
    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Finder())
import torch
torch.set_num_threads(2)
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
weights, images, out, *layers = sys.argv[1:]
net = FeatureExtractorInceptionV3("peer", layers, feature_extractor_weights_path=weights)
with torch.no_grad():
    torch.save(dict(zip(layers, net(torch.load(images)))), out)
"""


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 3, 32, 32), (2, 3, 320, 200)])
def test_features_equal_torch_fidelity(shape, tmp_path):
    if not PEERS.exists():
        pytest.skip(f"no peers' environment at {PEERS}: run `make peers`")
    torch.manual_seed(0)
    ours = Inception()
    _spread_activations(ours)
    contrast = torch.linspace(0.2, 1, shape[0])[:, None, None, None]
    levels = (torch.rand(shape) * contrast * 255).to(torch.uint8)
    torch.save(ours.state_dict(), tmp_path / "weights.pth")
    torch.save(levels, tmp_path / "images.pt")
    files = [tmp_path / name for name in ("weights.pth", "images.pt", "out.pt")]
    command = [PEERS, "-W", "ignore", "-c", PEER, *files, *LAYERS]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    theirs = torch.load(tmp_path / "out.pt")
    worst = {}
    for layer in LAYERS:
        ours.layer = layer
        mine = ours(levels.float() / 255)
        worst[layer] = float((mine - theirs[layer]).norm() / theirs[layer].norm())
        spread = theirs[layer].std(0).mean() / theirs[layer].abs().mean()
        assert spread > 0.01, "weights under which all images look alike prove nothing"
    sys.stdout.write(f"relative difference {worst}\n")
    assert max(worst.values()) <= 1e-5


def _spread_activations(net: Inception) -> None:
    """Set the statistics of every batch normalisation, so that signals neither fade nor grow."""
    norms = [m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.train()
        norm.momentum = 1.0
    net(torch.rand(6, 3, 64, 64))
    net.eval()
    for norm in norms:
        norm.momentum = 0.1
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
        torch.nn.init.normal_(norm.bias, std=0.1)
