"""The command line in process, and a tiny run that the tests share."""

import contextlib
import io
from typing import NamedTuple

import pytest


class Done(NamedTuple):
    """What a command left: its exit code, and what it wrote."""

    code: int
    out: str
    err: str


def gouache(*arguments) -> Done:
    """Run a command as the program does."""
    from gouache.cli.main import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(argument) for argument in arguments])
    return Done(code, out.getvalue(), err.getvalue())


SHORT = ("steps=4", "checkpoint_every=2", "log_every=1", "warmup=0", "lr=0.05")
TINY = ("widths=8,8", "batch=8", "sample_steps=4", *SHORT)


@pytest.fixture(scope="session")
def call():
    return gouache


@pytest.fixture(scope="session")
def tiny():
    """Return the settings of the shared run."""
    return TINY


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """Return the folder of a whole run of a few steps; tests only read it."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    done = gouache("train", "digits_diffusion", *TINY, "--out", folder, "--preview", 2)
    assert done.code == 0, done.err
    return folder


@pytest.fixture
def quiet_cache(tmp_path, monkeypatch):
    """Keep decoded folders out of the user's cache."""
    monkeypatch.setenv("GOUACHE_CACHE", str(tmp_path / "cache"))
