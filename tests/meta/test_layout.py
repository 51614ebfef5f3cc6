"""The house: one nesting level, stubs that are the registry, imports that go one way."""

import ast
import importlib
import tomllib
from pathlib import Path

import pytest

import gouache
from gouache import registry

SRC = Path(gouache.__file__).parent
REPO = Path(__file__).parents[2]
PACKAGES = sorted(stub.parent.name for stub in SRC.glob("*/__init__.pyi"))
FILES = sorted(path for path in SRC.rglob("*.py"))

# The one table of layers, low to high; root files (check, random, image ...) are below them all.
LAYERS = (
    {"nets", "data", "train"},
    {"patches", "features", "diffuse", "weights"},
    {"restore", "generate"},
    {"language"},
    {"edit", "measure", "graphs"},
    {"audit"},
    {"recipes"},
    {"samples"},
    {"report"},
    {"cli", "app"},
)
LEVEL = {name: level for level, layer in enumerate(LAYERS, 1) for name in layer}


def package_of(file: Path) -> str:
    """Return the package that a file belongs to, empty for a file at the root."""
    parts = file.relative_to(SRC).parts
    return parts[0] if len(parts) > 1 else ""


def imported_packages(file: Path) -> set[str]:
    """Return the gouache packages that a file imports anywhere, also inside functions."""
    found = set()
    here = ("gouache", *file.relative_to(SRC).parts[:-1])
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(here[: len(here) - node.level + 1]) if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            found |= {f"{module}.{alias.name}" for alias in node.names}
    names = [name.split(".") for name in found if name.startswith("gouache.")]
    return {parts[1] for parts in names if (SRC / parts[1]).is_dir()}


def test_scan_of_imports_sees_every_form(tmp_path, monkeypatch):
    source = (
        "from ..data import digits\nimport gouache.train\n"
        "def f():\n    from gouache import diffuse\n    from .. import measure, check\n"
    )
    (tmp_path / "nets").mkdir()
    for name in ("data", "train", "diffuse", "measure"):
        (tmp_path / name).mkdir()
    (tmp_path / "nets/_a.py").write_text(source)
    monkeypatch.setitem(globals(), "SRC", tmp_path)
    assert imported_packages(tmp_path / "nets/_a.py") == {"data", "train", "diffuse", "measure"}


def test_every_package_has_a_layer():
    folders = {path.name for path in SRC.iterdir() if (path / "__init__.py").exists()}
    assert folders <= LEVEL.keys(), "add the package to LAYERS"
    assert folders == set(PACKAGES), "every package has a stub"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.relative_to(SRC).as_posix())
def test_imports_go_one_way(file):
    package = package_of(file)
    level = LEVEL.get(package, 0)
    upward = [p for p in imported_packages(file) - {package} if LEVEL[p] >= level]
    assert not upward, f"{package or 'the root'} (layer {level}) imports {upward}"


@pytest.mark.parametrize("package", PACKAGES)
def test_package_is_one_level_of_private_files(package):
    """Users write gouache.package.name; what lies in the files is private."""
    scripts = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]["scripts"]
    entry_points = {target.partition(":")[0] for target in scripts.values()}
    for file in (SRC / package).rglob("*.py"):
        module = ".".join(("gouache", *file.relative_to(SRC).with_suffix("").parts))
        assert file.name.startswith("_") or module in entry_points, f"{module} is public"
        assert file.parent == SRC / package, f"{module} lies two levels deep"


@pytest.mark.parametrize("package", PACKAGES)
def test_init_is_a_docstring_and_the_stub(package):
    lines = (SRC / package / "__init__.py").read_text("utf-8").strip().split("\n")
    assert lines[0].startswith('"""')
    assert lines[0].endswith('."""')
    assert [line for line in lines[1:] if line] == [
        "import lazy_loader",
        "__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)",
    ]


def test_root_stub_names_what_exists():
    tree = ast.parse((SRC / "__init__.pyi").read_text("utf-8"))
    names = {a.name for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
    for name in names:
        assert getattr(gouache, name) is not None
    assert set(PACKAGES) - {"cli", "app"} <= names, "a package is missing from the root's stub"
    assert names | {"__version__"} >= set(gouache.__all__)


@pytest.mark.parametrize("package", PACKAGES)
def test_stub_lines_have_one_form_and_resolve(package):
    module = importlib.import_module(f"gouache.{package}")
    stub = SRC / package / "__init__.pyi"
    names = []
    for node in ast.parse(stub.read_text("utf-8")).body:
        assert isinstance(node, ast.ImportFrom), f"{stub}: only imports"
        (alias,) = node.names
        assert node.level == 1
        assert alias.asname == alias.name, f"{stub}: write `from ._file import x as x`"
        names.append(alias.name)
        file = importlib.import_module(f"gouache.{package}.{node.module}")
        assert getattr(module, alias.name) is getattr(file, alias.name)
    assert len(names) == len(set(names))
    assert sorted(module.__all__) == sorted(names)


def test_names_are_unique_within_a_role():
    for role in registry.roles():
        names = [name.lower().replace("_", "") for name in registry.names(role)]
        assert len(names) == len(set(names)), role


def test_every_mark_is_in_a_stub():
    """A function with `@method(...)` that no stub names would be invisible."""
    known = {(entry.module, entry.name) for entry in registry.entries()}
    for file in SRC.glob("*/*.py"):
        module = ".".join(("gouache", *file.relative_to(SRC).with_suffix("").parts))
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                calls = [d for d in node.decorator_list if isinstance(d, ast.Call)]
                marks = [c for c in calls if ast.unparse(c.func) == "method"]
                assert not marks or (module, node.name) in known


def test_marks_read_as_text_are_the_marks_at_run_time():
    for entry in registry.entries():
        assert getattr(entry.load(), "__gouache_role__", "") == entry.role or not entry.role
