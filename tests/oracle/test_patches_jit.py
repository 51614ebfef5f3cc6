"""Compilation is told once, by whoever compiles; tasks are spread over threads, in order."""

import ast
import importlib.util
import logging
import sys
import threading
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from numba.core import event

from gouache import train
from gouache.patches import _jit, _lanes

SOURCE = """
from gouache.patches._jit import kernel

@kernel()
def twice(x):
    return x + x
"""


@pytest.fixture
def kernel(tmp_path):
    """A kernel that was never compiled, in a module of ours."""
    (tmp_path / "fresh.py").write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("gouache.fresh", tmp_path / "fresh.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["gouache.fresh"] = module
    spec.loader.exec_module(module)
    yield module.twice
    del sys.modules["gouache.fresh"]


def test_the_first_compilation_is_told_and_no_other(kernel, caplog, monkeypatch):
    monkeypatch.setattr(_jit.TELLER, "told", True)  # the process's own is not what is asked
    with (
        caplog.at_level(logging.INFO, "gouache.patches"),
        event.install_listener("numba:compile", _jit._Teller()),
    ):
        assert kernel(1.5) == 3
        assert kernel(2) == 4
    told = [record.getMessage() for record in caplog.records]
    assert told == ["compiling kernels, once on this machine ..."]


def test_what_cannot_be_kept_and_what_is_not_ours_is_told_apart(kernel, caplog):
    def starting(module, cache):
        function = SimpleNamespace(__module__=module)
        return SimpleNamespace(data={"dispatcher": SimpleNamespace(py_func=function, _cache=cache)})

    teller = _jit._Teller()
    with caplog.at_level(logging.INFO, "gouache.patches"):
        teller.on_start(starting("elsewhere", None))
        assert not caplog.records
        teller.on_start(starting("gouache.fresh", _jit.NullCache()))
    assert "cannot be kept" in caplog.text


@pytest.mark.parametrize("count", [1, 2])
def test_tasks_come_back_in_order_from_as_many_threads(count):
    used = set()

    def task(k):
        used.add(threading.get_ident())
        return k * k

    with train.threads(count):
        assert list(_jit.spread(task, 50)) == [k * k for k in range(50)]
    assert len(used) <= count
    assert (threading.get_ident() in used) == (count == 1)


@pytest.mark.parametrize("count", [1, 2])
def test_an_error_of_a_task_ends_the_rest(count):
    begun = []

    def task(k):
        begun.append(k)
        if k == 3:
            raise ValueError("three")
        return k

    with train.threads(count), pytest.raises(ValueError, match="three"):
        list(_jit.spread(task, 1000))
    assert len(begun) < 30


def test_a_change_of_what_kernels_share_makes_the_cache_forget(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def twice(x):
        return 2 * x

    def hits():
        made = _jit.kernel()(twice)
        assert made(3) == 6
        return sum(made.stats.cache_hits.values())

    assert [hits(), hits()] == [0, 1]
    monkeypatch.setattr(_jit, "_shared", lambda: "changed")
    assert [hits(), hits()] == [0, 1]


def test_a_cache_that_names_a_class_that_is_no_more_is_as_none(tmp_path, monkeypatch):
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))
    module = ModuleType("here_today")
    exec(
        "from typing import NamedTuple\nclass Pair(NamedTuple):\n    a: int\n    b: int",
        vars(module),
    )
    monkeypatch.setitem(sys.modules, "here_today", module)

    def added(pair):
        return pair[0] + pair[1]

    made = _jit.kernel()(added)
    assert made(module.Pair(1, 2)) == 3
    del module.Pair
    made = _jit.kernel()(added)
    assert made((1, 2)) == 3
    assert not made.stats.cache_hits


def test_kernels_take_nothing_from_files_that_the_cache_does_not_watch():
    folder = Path(_jit.__file__).parent
    for file in [*folder.glob("*_kernels.py"), folder / "_rows.py", folder / "_lanes.py"]:
        tree = ast.parse(file.read_text())
        inner = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level]
        assert {f"{node.module}.py" for node in inner} <= set(_jit.SHARED), file.name


def test_lanes_round_as_single_floats_do():
    from numba import njit

    @njit
    def run(a, b, c, out):
        x, y = _lanes.load8(a, 1), _lanes.load8(b, (1, 2))
        _lanes.store(out, (0, 1), (x * y + c) / (y - x))
        return _lanes.below(x, c), _lanes.total(x)

    rng = np.random.default_rng(0)
    a, b = rng.random(12, np.float32), rng.random((3, 12), np.float32)
    out = np.zeros((2, 12), np.float32)
    mask, total = run(a, b, np.float32(0.5), out)
    x, y = a[1:9], b[1, 2:10]
    np.testing.assert_array_equal(out[0, 1:9], (x * y + np.float32(0.5)) / (y - x))
    assert not out[1].any()
    assert not out[0, [0, 9, 10, 11]].any()
    assert [bool(mask >> k & 1) for k in range(8)] == (x < np.float32(0.5)).tolist()
    fours = x[:4] + x[4:]
    twos = fours[:2] + fours[2:]
    assert total == twos[0] + twos[1]
    assert mask >> 8 == 0


def test_levels_between_bytes():
    from numba import njit

    @njit
    def run(a, b, out):
        _lanes.store(out, 0, _lanes.between16(a, (1, 0), b, (0, 0)))

    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 16), np.uint8), rng.integers(0, 256, (1, 16), np.uint8)
    a[1, :4], b[0, :4] = [0, 255, 7, 8], [255, 0, 7, 7]
    out = np.zeros(16, np.float32)
    run(a, b, out)
    assert out[:4].tolist() == [254, 254, 0, 0]
    np.testing.assert_array_equal(out, np.maximum(0, np.abs(a[1].astype(int) - b[0]) - 1))


def test_bits_of_floats_are_ordered_as_they_are():
    from numba import njit

    @njit
    def bits(x):
        return _lanes.as_bits(x), _lanes.as_float(_lanes.as_bits(x)), _lanes.lowest(np.int64(40))

    values = np.float32([-1, 0, 1e-30, 0.5, 1, 300, np.inf])
    found = [bits(value) for value in values]
    assert [back for _, back, _ in found] == values.tolist()
    assert [key for key, _, _ in found] == sorted(key for key, _, _ in found)
    assert found[0][0] < 0
    assert found[0][2] == 3
