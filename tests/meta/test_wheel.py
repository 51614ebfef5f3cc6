"""The built wheel holds every file of the library, and works where nothing else of it lies."""

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SRC = REPO / "src"
USE = """
import gouache, pathlib, sys
home = pathlib.Path(gouache.__file__)
assert home.is_relative_to(sys.prefix), f"{home} is not the wheel's"
assert (home.parent / "py.typed").exists()
for entry in gouache.registry.entries():
    entry.load()
for package in dir(gouache):
    getattr(gouache, package)
print(len(gouache.registry.entries()))
"""


def run(*command, cwd):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Build in a copy, so that nothing stale gets in and nothing is left behind."""
    copy = tmp_path_factory.mktemp("copy")
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(SRC, copy / "src", ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / name, copy)
    flags = ("--no-deps", "--no-build-isolation", "--no-index", "--quiet")
    run(sys.executable, "-m", "pip", "wheel", *flags, "-w", "dist", ".", cwd=copy)
    (built,) = (copy / "dist").glob("gouache-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Install into a bare environment that sees our dependencies, but not the checkout.

    A folder named in a .pth is searched for modules, while its own .pth files, the checkout's
    editable install among them, are not read.
    """
    venv = tmp_path_factory.mktemp("venv")
    run(sys.executable, "-m", "venv", "--without-pip", str(venv), cwd=venv)
    scripts = venv / ("Scripts" if os.name == "nt" else "bin")
    python = str(scripts / "python")
    flags = ("--no-deps", "--no-index", "--quiet")
    pip = (sys.executable, "-m", "pip", "--python", python, "install")
    run(*pip, *flags, str(wheel), cwd=venv)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=venv)
    (Path(site) / "dependencies.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    return scripts


def test_wheel_holds_every_file_of_the_source(wheel):
    shipped = set(zipfile.ZipFile(wheel).namelist())
    here = {
        path.relative_to(SRC).as_posix()
        for path in (SRC / "gouache").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert here <= shipped, f"not in the wheel: {sorted(here - shipped)}"
    assert {"gouache/py.typed", "gouache/__init__.pyi", "gouache/diffuse/__init__.pyi"} <= shipped
    assert any(name.endswith("licenses/LICENSE") for name in shipped)


def test_every_public_name_loads_from_the_wheel(installed, tmp_path):
    assert int(run(str(installed / "python"), "-c", USE, cwd=tmp_path)) > 0


def test_command_line_of_the_wheel(installed, tmp_path):
    assert "0.1.0" in run(str(installed / "gouache"), "--version", cwd=tmp_path)
