"""Set-up and chores of a checkout: `python3 dev.py VERB` (Windows: `py dev.py VERB`).

Standard library only, and readable by any Python 3, so that it can say which Python to get. It
makes `.venv` from pyproject.toml under the exact versions of constraints.txt. Two variables are
read: PYTHON (the interpreter to build on) and PIP_ARGS (extra arguments for pip, such as another
package index).
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV, PEERS = ROOT / ".venv", ROOT / ".venv-peers"
PYPROJECT, CONSTRAINTS = ROOT / "pyproject.toml", ROOT / "constraints.txt"
SUPPORTED = ((3, 11), (3, 12), (3, 13))
BUILDING = "gouache-building"
# What an environment may hold: its stamps, and the arguments of the pip installs that earn them.
CORE = (["core"], [["setuptools"], ["--no-build-isolation", "--editable", "."]])
DEV = (["dev", "core"], [["setuptools"], ["--no-build-isolation", "--editable", ".[dev]"]])
# torch-fidelity asks for torchvision, which would replace torch: its pure needs are named here.
FIDELITY = (
    ["fidelity"],
    [["torch", "numpy", "scipy", "pillow", "tqdm"], ["--no-deps", "torch-fidelity"]],
)
PROBE = "import sys; print(*sys.version_info[:2]); import venv, ensurepip"


class SetupError(Exception):
    """What stands in the way of the set-up, with its mend."""


def say(text: str) -> None:
    """Tell the user what is going on."""
    sys.stderr.write(f"dev.py: {text}\n")
    sys.stderr.flush()


def run(*command: object) -> int:
    """Run a command in the checkout's root and return its exit code."""
    return subprocess.run([str(part) for part in command], cwd=ROOT, check=False).returncode


def candidates() -> list[list[str]]:
    """List the interpreters to try, as command prefixes: this one, then those on PATH."""
    found = [[sys.executable]] if sys.executable else []
    for major, minor in SUPPORTED:
        path = shutil.which(f"python{major}.{minor}")
        found += [[path]] if path else []
    if shutil.which("py"):
        found += [["py", f"-{major}.{minor}"] for major, minor in SUPPORTED]
    return found


def probe(command: list[str]) -> tuple[tuple[int, ...], bool]:
    """Return an interpreter's version, () if it does not run, and whether it can make a venv."""
    try:
        done = subprocess.run([*command, "-c", PROBE], capture_output=True, text=True, check=False)
    except OSError:
        return (), False
    return tuple(int(part) for part in done.stdout.split()[:2]), done.returncode == 0


def find_python() -> list[str]:
    """Return the command of a supported Python that can make environments."""
    chosen = os.environ.get("PYTHON")
    bare = None
    for command in [[chosen]] if chosen else candidates():
        version, makes_venv = probe(command)
        if version in SUPPORTED and makes_venv:
            return command
        bare = version if version in SUPPORTED else bare
    if bare:
        name = "python{}.{}-venv".format(*bare)
        raise SetupError(f"this Python lacks venv or ensurepip; on Debian: sudo apt install {name}")
    what = f"PYTHON={chosen} is not" if chosen else "found no"
    raise SetupError(f"{what} Python 3.11, 3.12 or 3.13; install one, or set PYTHON to its path")


def binary(venv: Path, name: str) -> Path:
    """Return the path of a program in an environment."""
    windows = os.name == "nt"
    return venv / ("Scripts" if windows else "bin") / (f"{name}.exe" if windows else name)


def make_venv(venv: Path) -> None:
    """Make an empty environment, replacing a half-made one; one made by hand is kept."""
    if (venv / BUILDING).exists():
        say(f"removing the half-made {venv.name}")
        shutil.rmtree(venv)
    if binary(venv, "python").exists() and not remake(venv):
        return
    python = find_python()
    say(f"making {venv.name} with {' '.join(python)}")
    venv.mkdir(exist_ok=True)
    (venv / BUILDING).touch()
    if run(*python, "-m", "venv", venv):
        shutil.rmtree(venv)
        raise SetupError(f"could not make {venv.name}; the lines above say why")


def remake(venv: Path) -> bool:
    """Remove an environment that dev.py made on another Python than PYTHON asks for."""
    if not os.environ.get("PYTHON") or not any(venv.glob("gouache-*.stamp")):
        return False
    if probe(find_python())[0] == probe([str(binary(venv, "python"))])[0]:
        return False
    say(f"{venv.name} is of another Python")
    shutil.rmtree(venv)
    return True


def digest(venv: Path) -> str:
    """Return what an environment is made from, hashed: what is asked for, pins, interpreter."""
    files = (PYPROJECT, CONSTRAINTS, venv / "pyvenv.cfg")
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def environment(venv: Path, content: tuple[list[str], list[list[str]]]) -> Path:
    """Bring an environment up to date and return its Python; the stamps are written last."""
    levels, installs = content
    make_venv(venv)
    python, stamps = binary(venv, "python"), [venv / f"gouache-{name}.stamp" for name in levels]
    wanted = digest(venv)
    if stamps[0].exists() and stamps[0].read_text("utf-8") == wanted:
        return python
    fresh = (venv / BUILDING).exists()
    if any(venv.glob("gouache-*.stamp")):
        (venv / BUILDING).touch()
    say(f"installing into {venv.name} (some minutes the first time)")
    for arguments in installs:
        if pip_install(python, arguments):
            abandon(venv, fresh)
    for stamp in stamps:
        stamp.write_text(wanted, "utf-8")
    (venv / BUILDING).unlink(missing_ok=True)
    return python


def pip_install(python: Path, arguments: list[str]) -> int:
    """Install wheels alone (no compiler is needed), at the pinned versions."""
    flags = ["--only-binary=:all:", "--constraint", CONSTRAINTS, "--disable-pip-version-check"]
    extra = shlex.split(os.environ.get("PIP_ARGS", ""))
    return run(python, "-m", "pip", "install", *flags, *extra, *arguments)


def abandon(venv: Path, fresh: bool) -> None:
    """Give up an install: a new environment goes, one that worked before stays as pip left it."""
    if fresh:
        shutil.rmtree(venv)
    (venv / BUILDING).unlink(missing_ok=True)
    raise SetupError(
        "pip failed; the lines above say why. PIP_ARGS passes it arguments, such as the index "
        "of PyTorch's small CPU builds: PIP_ARGS='--extra-index-url URL'"
    )


def lint(python: Path) -> int:
    """Check the style, the format and the types; return how many of the three failed."""
    tools = (
        ("-m", "ruff", "check"),
        ("-m", "ruff", "format", "--check"),
        ("-m", "basedpyright", "--warnings"),
    )
    failed = [" ".join(tool[1:]) for tool in tools if run(python, *tool)]
    if failed:
        say(f"failed: {', '.join(failed)}")
    return len(failed)


def pytest(python: Path, *arguments: str) -> int:
    """Run the tests with coverage of the library; pytest's summary is the last line."""
    return run(python, "-m", "pytest", "--cov", "--cov-report=term:skip-covered", *arguments)


def demo(extra: list[str]) -> int:
    """Train, sample, judge and report: `gouache demo`."""
    environment(VENV, CORE)
    return run(binary(VENV, "gouache"), "demo", *extra)


def test(extra: list[str]) -> int:
    """Lint, then the tests that take less than minutes; what follows goes to pytest."""
    python = environment(VENV, DEV)
    bad = lint(python)
    return pytest(python, "-m", "not slow", *extra) or bad


def test_all(extra: list[str]) -> int:
    """Lint, the docs, the second environment of peers, and every test, slow ones too."""
    environment(PEERS, FIDELITY)
    python = environment(VENV, DEV)
    bad = lint(python) + docs([])
    return pytest(python, "--cov-fail-under=90", *extra) or bad


def only_lint(extra: list[str]) -> int:
    """Check style, format and types."""
    return lint(environment(VENV, DEV))


def docs(extra: list[str]) -> int:
    """Build the documentation into docs/_build/html; a warning is an error."""
    python = environment(VENV, DEV)
    shutil.rmtree(ROOT / "docs/_build", ignore_errors=True)
    flags = ["-W", "--keep-going", "-q", *extra]
    return run(python, "-m", "sphinx", *flags, "docs", "docs/_build/html")


def peers(extra: list[str]) -> int:
    """Make .venv-peers, for the peers that cannot share an environment with the others."""
    environment(PEERS, FIDELITY)
    return 0


def env(extra: list[str]) -> int:
    """Make .venv with everything for development, and say how to enter it."""
    environment(VENV, DEV)
    script = binary(VENV, "activate").with_suffix("")
    say(f"ready; enter it with: {script if os.name == 'nt' else f'. {script}'}")
    return 0


def clean(extra: list[str]) -> int:
    """Remove build outputs, caches, and the environments that dev.py made."""
    for venv in (VENV, PEERS):
        if any(venv.glob("gouache-*")):
            shutil.rmtree(venv)
    names = ["build", "dist", "docs/_build", ".pytest_cache", ".ruff_cache", ".hypothesis"]
    for path in [ROOT / name for name in names]:
        shutil.rmtree(path, ignore_errors=True)
    (ROOT / ".coverage").unlink(missing_ok=True)
    return 0


VERBS = {
    "demo": demo,
    "test": test,
    "test-all": test_all,
    "lint": only_lint,
    "docs": docs,
    "peers": peers,
    "clean": clean,
    "env": env,
}


def main() -> int:
    """Run the verb that the command line names."""
    parser = argparse.ArgumentParser(
        prog="dev.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name:9} {verb.__doc__}" for name, verb in VERBS.items()),
    )
    parser.add_argument("verb", choices=VERBS)
    parser.add_argument("extra", nargs=argparse.REMAINDER, help="passed on by demo, test and docs")
    arguments = parser.parse_args()
    try:
        return VERBS[arguments.verb](arguments.extra)
    except SetupError as error:
        say(str(error))
        return 2
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
