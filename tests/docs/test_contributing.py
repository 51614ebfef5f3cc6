"""CONTRIBUTING's model, added to a copy as the page says: one file, one line, and it is covered."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
CHECK = """
import doctest, importlib, torch
from gouache import registry
torch.set_num_threads(1)
entry = {entry.name: entry for entry in registry.entries("generate")}["PPCA"]
assert entry.load() is registry.find("generate", "ppca")
assert entry.summary.startswith("Images are a Gaussian of few directions")
module = importlib.import_module(entry.module)
assert doctest.testmod(module).failed == 0
"""
CLOSED_FORM = """
x = images.all().flatten(1).double()
eigenvalues = torch.linalg.eigvalsh(x.T.cov(correction=0)).flip(0)
kept, rest = eigenvalues[:16], eigenvalues[16:].mean()
best = -0.5 * (64 * (1 + torch.tensor(torch.pi * 2).log()) + kept.log().sum() + 48 * rest.log())
reached = model.log_prob(images.all()).mean().detach()
assert best - 0.1 < reached < best, (float(reached), float(best))
"""


@pytest.fixture(scope="module")
def blocks():
    return BLOCK.findall((REPO / "CONTRIBUTING.md").read_text("utf-8"))


@pytest.fixture(scope="module")
def copy(blocks, tmp_path_factory):
    """Return a copy of the library with the page's model in it."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(REPO / "src", folder / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    package = folder / "src/gouache/generate"
    (package / "_ppca.py").write_text(blocks[0], "utf-8")
    with open(package / "__init__.pyi", "a", encoding="utf-8") as stub:
        stub.write(blocks[1])
    return folder


def run(copy, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(copy / "src")}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=copy, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_model_is_found_and_its_example_runs(copy):
    run(copy, "-c", CHECK)


def test_the_model_trains_to_near_the_closed_form(copy, blocks):
    run(copy, "-c", "import torch\ntorch.set_num_threads(1)\n" + blocks[2] + CLOSED_FORM)


def test_the_contract_tests_cover_the_model(copy):
    flags = ["-k", "PPCA", "-p", "no:cacheprovider", "-c", str(REPO / "pyproject.toml")]
    out = run(copy, "-m", "pytest", *flags, str(REPO / "tests/contract"))
    assert "passed" in out


def test_the_code_is_in_the_house_style(copy):
    files = [str(copy / "src/gouache/generate/_ppca.py")]
    config = ["--config", str(REPO / "pyproject.toml")]
    run(copy, "-m", "ruff", "check", *config, *files)
    run(copy, "-m", "ruff", "format", "--check", *config, *files)
