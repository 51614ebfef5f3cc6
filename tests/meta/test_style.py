"""What STYLE forbids, and the limits it sets, read from the source."""

import ast
import re
import statistics
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
SRC = REPO / "src/gouache"
SOURCES = sorted(SRC.rglob("*.py"))
PYTHON = [
    REPO / "dev.py",
    *SOURCES,
    *sorted((REPO / "tests").rglob("*.py")),
    *sorted((REPO / "benchmarks").rglob("*.py")),
]
TEXT_SUFFIXES = {".py", ".pyi", ".md", ".toml", ".txt", ".json", ".j2", ".css", ""}
SKIPPED = {"_build", "__pycache__"}
MACHINE_PATH = re.compile(r"(?<![\w.])/(?:work|farm|root|tmp|home|Users)/\w")


def name_of(path):
    return path.relative_to(REPO).as_posix()


def functions(path):
    """Yield every function of a file with the number of lines of its body."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            body = node.body[1:] if ast.get_docstring(node, clean=False) else node.body
            length = node.end_lineno - body[0].lineno + 1 if body else 0
            yield f"{name_of(path)}:{node.lineno} {node.name}", length


def calls(path):
    """Yield every call of a file as (line, dotted name, node)."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call):
            yield node.lineno, ast.unparse(node.func), node


@pytest.mark.parametrize("path", PYTHON, ids=name_of)
def test_lengths(path):
    assert len(path.read_text("utf-8").splitlines()) <= 600
    assert [name for name, length in functions(path) if length > 80] == []


def test_typical_lengths_of_the_library():
    lengths = sorted(length for path in SOURCES for _, length in functions(path))
    assert statistics.median(lengths) <= 8
    assert lengths[int(0.9 * len(lengths))] <= 25
    assert statistics.median(len(p.read_text("utf-8").splitlines()) for p in SOURCES) <= 200


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_library_code_calls_nothing_forbidden(path):
    forbidden = {"print", "hasattr", "eval", "exec", "torch.save", "joblib.load"}
    assert [(line, name) for line, name, _ in calls(path) if name in forbidden] == []
    for line, name, node in calls(path):
        keys = {key.arg: ast.unparse(key.value) for key in node.keywords}
        assert keys.get("allow_pickle", "False") == "False", f"line {line}: {name}"
        assert name != "torch.load" or keys.get("weights_only") == "True", f"line {line}: {name}"


@pytest.mark.parametrize("path", SOURCES, ids=name_of)
def test_library_code_imports_nothing_forbidden(path):
    forbidden = {"pickle", "dill", "cloudpickle", "torchvision", "lightning", "diffusers"}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            top = module.partition(".")[0]
            assert top not in forbidden, f"line {node.lineno}"
            assert top != "lightning_fabric" or path.parent.name == "train", "Fabric is train's"


def test_no_path_of_a_machine():
    roots = [REPO / name for name in ("src", "tests", "docs", "benchmarks", ".ci")]
    files = [path for root in roots for path in root.rglob("*") if path.is_file()]
    files += [path for path in REPO.iterdir() if path.is_file() and path.suffix in TEXT_SUFFIXES]
    for path in files:
        hidden = SKIPPED & set(path.parts) or any(p.endswith(".egg-info") for p in path.parts)
        if path.suffix in TEXT_SUFFIXES and not hidden and path.name != ".coverage":
            found = MACHINE_PATH.search(path.read_text("utf-8"))
            assert not found, f"{name_of(path)} holds {found.group() if found else ''}..."
