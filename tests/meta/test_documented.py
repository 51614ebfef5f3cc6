"""Every public name is documented, cites its paper, is annotated, and is under a contract test."""

import ast
import inspect
import re
from pathlib import Path

import pytest

from gouache import registry

TESTS = Path(__file__).parents[1]
ENTRIES = registry.entries()
# Roles that are a method of somebody's paper; data, recipes and names without a role need no year.
CITING = {
    "schedule",
    "target",
    "sampler",
    "guide",
    "measure",
    "features",
    "generate",
    "denoise",
    "match",
    "inpaint",
    "texture",
    "variation",
    "recolor",
    "stylize",
    "texture_score",
}
YEAR = re.compile(r"\b(1[89]|20)\d\d\b")


def is_alias(target):
    """Whether a public name is a name for a type, which the file's notation describes."""
    return not (inspect.isclass(target) or inspect.isfunction(target))


def name_of(entry):
    return f"{entry.package}.{entry.name}"


def members(target):
    """Yield (name, function) of a function, or of a class and the public methods it defines."""
    if not inspect.isclass(target):
        yield target.__name__, target
        return
    for name, member in vars(target).items():
        function = member.__func__ if isinstance(member, (classmethod, staticmethod)) else member
        function = function.fget if isinstance(function, property) else function
        generated = getattr(function, "__module__", None) != target.__module__
        special = name.startswith("_") and name not in {"__init__", "__call__"}
        if inspect.isfunction(function) and not special and not generated:
            yield f"{target.__name__}.{name}", function


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_docstring(entry):
    target = entry.load()
    if is_alias(target):
        return
    text = inspect.getdoc(target)
    assert text, f"{entry.name} has no docstring"
    assert entry.summary.endswith("."), "the first line is a sentence"
    assert len(text) > len(entry.summary) or entry.role not in CITING


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.role in CITING], ids=name_of)
def test_method_cites_its_paper(entry):
    _, found, reference = inspect.getdoc(entry.load()).partition("Reference:")
    assert found, "no Reference section"
    assert YEAR.search(reference), "the reference has no year"


@pytest.mark.parametrize("entry", [e for e in ENTRIES if e.role], ids=name_of)
def test_every_parameter_is_described(entry):
    target = entry.load()
    text = inspect.getdoc(target)
    for name in inspect.signature(target).parameters:
        described = re.search(rf"\b{re.escape(name)}\b", text)
        assert described or name in {"config", "args", "kwargs"}, f"{name} is not in the docstring"


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_signature_is_annotated(entry):
    target = entry.load()
    if is_alias(target):
        return
    for name, function in members(target):
        signature = inspect.signature(function)
        bare = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
        assert [p for p in bare if p not in {"self", "cls"}] == [], name
        assert signature.return_annotation is not signature.empty, f"{name} lacks its return type"


def strings(nodes):
    """Return every string that is written below these nodes."""
    constants = (node for top in nodes for node in ast.walk(top) if isinstance(node, ast.Constant))
    return {node.value for node in constants if isinstance(node.value, str)}


def roles_asked(nodes):
    """Yield what is the first argument of ``registry.names``, ``entries`` or ``find`` below."""
    for call in (node for top in nodes for node in ast.walk(top) if isinstance(node, ast.Call)):
        if ast.unparse(call.func) in {f"registry.{name}" for name in ("names", "entries", "find")}:
            yield from call.args[:1]


def asked(source):
    """Return the roles a test file asks the registry for, by word or by a test's parameter."""
    tree = ast.parse(source)
    found = strings(node for node in roles_asked([tree]) if isinstance(node, ast.Constant))
    for test in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        parameters = {argument.arg for argument in test.args.args}
        if any(ast.unparse(node) in parameters for node in roles_asked(test.body)):
            found |= strings(test.decorator_list)
    return found


def test_a_bare_word_asks_nothing():
    assert asked("'guide'; registry.find('sampler', 'guide'); other.names('data')") == {"sampler"}
    test = "@given('{}', ['data'])\ndef test(role):\n    registry.names({})"
    assert asked(test.format("role", "role")) == {"role", "data"}
    assert asked(test.format("role", "else_")) == set()


@pytest.mark.parametrize("role", registry.roles())
def test_role_has_a_contract_test(role):
    """A contract test asks the registry for its role, so that a new method is covered at once."""
    files = (TESTS / "contract").glob("test_*.py")
    assert any(role in asked(file.read_text("utf-8")) for file in files)
