"""Every example runs: those of the docstrings, and the Python blocks of README and docs."""

import doctest
import importlib
import pkgutil
import re
import types
from pathlib import Path

import pytest
import torch

import gouache
from gouache import registry

REPO = Path(__file__).parents[2]
PAGES = [REPO / "README.md", REPO / "CONTRIBUTING.md", *sorted((REPO / "docs").glob("*.md"))]
RUN = [page for page in PAGES if page.name != "CONTRIBUTING.md"]  # it has a test of its own
BLOCK = re.compile(r"^```(?:python|\{code-block\} python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ROOT_MODULES = [m.name for m in pkgutil.iter_modules(gouache.__path__) if not m.ispkg]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
# Roles whose names a user calls: the docstring shows how.
SHOWN = {"data", "sampler", "measure", "features", "generate"}


def run_examples(target, name, module):
    """Run the doctests of an object, its methods too, in its module's namespace."""
    finder, runner = doctest.DocTestFinder(exclude_empty=True), doctest.DocTestRunner(verbose=False)
    runner.optionflags = FLAGS
    lines = []
    for test in finder.find(target, name, module=module):
        torch.manual_seed(0)
        runner.run(test, out=lines.append)
    assert runner.failures == 0, "\n".join(lines)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("entry", registry.entries(), ids=lambda e: f"{e.package}.{e.name}")
def test_examples_of_public_name(entry):
    run_examples(entry.load(), entry.name, importlib.import_module(entry.module))


@pytest.mark.parametrize("name", ROOT_MODULES)
def test_examples_of_root_module(name):
    module = importlib.import_module(f"gouache.{name}")
    run_examples(module, name, module)


@pytest.mark.parametrize("role", sorted(SHOWN & set(registry.roles())))
def test_what_users_call_has_an_example(role):
    bare = [e.name for e in registry.entries(role) if ">>>" not in (e.load().__doc__ or "")]
    assert not bare


def test_a_wrong_example_fails():
    def wrong():
        """Say three.

        >>> 1 + 1
        3
        """

    module = types.ModuleType("somewhere")
    wrong.__module__ = "somewhere"
    with pytest.raises(AssertionError, match="Expected"):
        run_examples(wrong, "wrong", module)


@pytest.mark.parametrize("page", RUN, ids=lambda page: page.name)
def test_python_blocks_of_page(page):
    """Run a page's Python blocks in order, in one namespace, in an empty folder."""
    module = types.ModuleType(f"page_{page.stem.lower()}")
    torch.manual_seed(0)
    for found in BLOCK.finditer(text := page.read_text("utf-8")):
        line = text[: found.start()].count("\n") + 1
        code = compile("\n" * line + found.group(1), str(page), "exec")
        exec(code, vars(module))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(REPO).as_posix())
def test_links_of_page_resolve(page):
    text = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if not target.startswith(("http:", "https:", "mailto:", "api/")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
