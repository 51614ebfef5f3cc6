"""The set-up script: environments are stamped last, half-made ones go, errors name the mend."""

import importlib.util
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]


@pytest.fixture
def dev(tmp_path, monkeypatch):
    """Load dev.py with its files in a temporary folder; pip succeeds and installs nothing."""
    spec = importlib.util.spec_from_file_location("dev_under_test", REPO / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in {"VENV": ".venv", "PEERS": ".venv-peers"}.items():
        monkeypatch.setattr(module, name, tmp_path / path)
    for name, path in {"PYPROJECT": "pyproject.toml", "CONSTRAINTS": "constraints.txt"}.items():
        (tmp_path / path).write_text(path)
        monkeypatch.setattr(module, name, tmp_path / path)
    module.installed = []
    monkeypatch.setattr(module, "ROOT", tmp_path)
    monkeypatch.setattr(module, "pip_install", lambda _, step: module.installed.append(step))
    monkeypatch.setattr(module, "run", lambda *command: fake_venv(command))
    monkeypatch.delenv("PYTHON", raising=False)
    monkeypatch.delenv("PIP_ARGS", raising=False)
    return module


def fake_venv(command):
    """Make what `python -m venv FOLDER` leaves, in no time."""
    folder = Path(command[-1])
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    scripts.mkdir()
    (scripts / ("python.exe" if sys.platform == "win32" else "python")).touch()
    (folder / "pyvenv.cfg").write_text("version = 3.11.7")
    return 0


def test_environment_is_made_once(dev):
    dev.environment(dev.VENV, dev.CORE)
    assert dev.installed == dev.CORE[1]
    dev.environment(dev.VENV, dev.CORE)
    assert dev.installed == dev.CORE[1]
    assert not (dev.VENV / dev.BUILDING).exists()


def test_dev_environment_serves_as_the_core_one_but_not_the_other_way(dev):
    dev.environment(dev.VENV, dev.CORE)
    dev.environment(dev.VENV, dev.DEV)
    assert dev.installed == [*dev.CORE[1], *dev.DEV[1]]
    dev.environment(dev.VENV, dev.CORE)
    assert len(dev.installed) == 4


@pytest.mark.parametrize("name", ["PYPROJECT", "CONSTRAINTS"])
def test_a_change_of_what_is_asked_for_installs_again(dev, name):
    dev.environment(dev.VENV, dev.CORE)
    getattr(dev, name).write_text("changed")
    dev.environment(dev.VENV, dev.CORE)
    assert len(dev.installed) == 4


def test_half_made_environment_is_removed(dev, monkeypatch):
    def killed(python, step):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dev, "pip_install", killed)
        with pytest.raises(KeyboardInterrupt):
            dev.environment(dev.VENV, dev.CORE)
    (dev.VENV / "left").touch()
    dev.environment(dev.VENV, dev.CORE)
    assert not (dev.VENV / "left").exists()
    assert (dev.VENV / "gouache-core.stamp").exists()


def test_failed_install_leaves_no_new_environment(dev, monkeypatch):
    monkeypatch.setattr(dev, "pip_install", lambda *_: 1)
    with pytest.raises(dev.SetupError, match="PIP_ARGS"):
        dev.environment(dev.VENV, dev.CORE)
    assert not dev.VENV.exists()


def test_failed_update_leaves_the_environment_that_worked(dev, monkeypatch):
    dev.environment(dev.VENV, dev.CORE)
    monkeypatch.setattr(dev, "pip_install", lambda *_: 1)
    with pytest.raises(dev.SetupError):
        dev.environment(dev.VENV, dev.DEV)
    monkeypatch.setattr(dev, "pip_install", lambda *_: pytest.fail("core was whole"))
    dev.environment(dev.VENV, dev.CORE)


def test_environment_made_by_hand_is_kept(dev):
    dev.VENV.mkdir()
    fake_venv(["venv", dev.VENV])
    (dev.VENV / "mine").touch()
    dev.clean([])
    dev.environment(dev.VENV, dev.CORE)
    assert (dev.VENV / "mine").exists()


def test_another_python_makes_another_environment(dev, monkeypatch):
    versions = {"python3.11": (3, 11), "python3.12": (3, 12)}
    dev.environment(dev.VENV, dev.CORE)
    (dev.VENV / "left").touch()
    monkeypatch.setattr(dev, "probe", lambda c: (versions.get(c[0], (3, 11)), True))
    monkeypatch.setenv("PYTHON", "python3.11")
    dev.environment(dev.VENV, dev.CORE)
    assert (dev.VENV / "left").exists()
    monkeypatch.setenv("PYTHON", "python3.12")
    dev.environment(dev.VENV, dev.CORE)
    assert not (dev.VENV / "left").exists()


def test_clean_removes_what_was_made(dev):
    dev.environment(dev.VENV, dev.CORE)
    dev.clean([])
    assert not dev.VENV.exists()


def test_pip_takes_wheels_at_pinned_versions_and_passes_arguments(dev, monkeypatch):
    calls = []
    spec = importlib.util.spec_from_file_location("dev_again", REPO / "dev.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "run", lambda *command: calls.append(command))
    monkeypatch.setenv("PIP_ARGS", "--find-links 'a b'")
    module.pip_install(Path("python"), ["setuptools"])
    command = calls[0]
    assert "--only-binary=:all:" in command
    assert command[command.index("--constraint") + 1] == module.CONSTRAINTS
    assert command[-3:] == ("--find-links", "a b", "setuptools")


def test_find_python_takes_the_first_that_fits(dev, monkeypatch):
    versions = {"old": (3, 9), "good": (3, 12), "better": (3, 13)}
    monkeypatch.setattr(dev, "candidates", lambda: [["missing"], *[[name] for name in versions]])
    monkeypatch.setattr(dev, "probe", lambda command: (versions.get(command[0], ()), True))
    assert dev.find_python() == ["good"]


def test_missing_venv_module_names_its_mend(dev, monkeypatch):
    monkeypatch.setattr(dev, "probe", lambda command: ((3, 12), False))
    with pytest.raises(dev.SetupError, match=r"sudo apt install python3\.12-venv"):
        dev.find_python()


def test_unfit_choice_is_named(dev, monkeypatch):
    monkeypatch.setenv("PYTHON", "no-such-python")
    with pytest.raises(dev.SetupError, match=r"PYTHON=no-such-python is not Python 3\.11"):
        dev.find_python()


def test_this_python_is_probed_truly(dev):
    assert dev.probe([sys.executable]) == (sys.version_info[:2], True)


@pytest.mark.parametrize("failing", ["ruff check", "basedpyright"])
def test_lint_runs_all_and_counts_failures(dev, monkeypatch, capsys, failing):
    seen = []

    def run(*command):
        seen.append(" ".join(map(str, command)))
        return int(failing in seen[-1])

    monkeypatch.setattr(dev, "run", run)
    assert dev.lint(Path("python")) == 1
    assert len(seen) == 3
    assert failing in capsys.readouterr().err


def test_makefile_names_the_verbs(dev):
    line = next(li for li in (REPO / "Makefile").read_text().split("\n") if "VERBS :=" in li)
    assert line.split(":=")[1].split() == list(dev.VERBS)


def test_constraints_can_be_installed_elsewhere():
    lines = (REPO / "constraints.txt").read_text().split()
    pins = [line for line in lines if "==" in line]
    assert "torch==2.13.0" in pins
    assert not [pin for pin in pins if "+" in pin or pin.startswith("nvidia")]
