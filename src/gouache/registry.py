"""Look-up of methods by role, read from the stubs: there is no second list to keep.

A method is one line in its package's ``__init__.pyi`` (``from ._ddim import ddim as ddim``) and
one mark at its definition (``@method("sampler")``). The stub gives the name and the file, the
mark gives the role, and both are read as text, so that listing a role imports nothing and finding
a name imports its file alone.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parent


def method(role: str) -> Callable[[T], T]:
    """Mark a public function or class as a method with this role (``"sampler"``, ``"data"``)."""

    def mark(target: T) -> T:
        target.__gouache_role__ = role  # pyright: ignore[reportAttributeAccessIssue]
        return target

    return mark


@dataclass(frozen=True)
class Entry:
    """A public name: its package, its file, its role (empty without a mark), its first line."""

    name: str
    package: str
    module: str
    role: str
    summary: str

    def load(self) -> Any:
        """Import the file that defines the name, and return the object."""
        return getattr(importlib.import_module(self.module), self.name)


@cache
def entries(role: str | None = None) -> tuple[Entry, ...]:
    """Return every public name (of one role), in the order of the stubs; nothing is imported."""
    stubs = sorted(ROOT.glob("*/__init__.pyi"))
    found = (entry for stub in stubs for entry in _read_stub(stub, role))
    return tuple(entry for entry in found if role in (None, entry.role))


def roles() -> tuple[str, ...]:
    """Return every role that some method has."""
    return tuple(sorted({entry.role for entry in entries() if entry.role}))


def names(role: str) -> tuple[str, ...]:
    """Return the names with this role."""
    return tuple(entry.name for entry in entries(role))


def find(role: str, name: str) -> Any:
    """Return the method ``name`` of this role, importing its file alone.

    Case, ``-`` and ``_`` do not matter: ``dpm-2m`` finds ``dpm_2m``.

    Raises:
        InputError: no such name; a near miss is named.
    """
    from . import check  # it imports torch, which reading the stubs does without

    table = {_plain(entry.name): entry for entry in entries(role)}
    if _plain(name) not in table:
        check.choice(name, role, [entry.name for entry in table.values()])
    return table[_plain(name)].load()


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


def _read_stub(stub: Path, role: str | None) -> list[Entry]:
    """Return the names of a package; of files without a mark of ``role``, if given, none."""
    package = ".".join(("gouache", *stub.parent.relative_to(ROOT).parts))
    found = []
    for node in ast.parse(stub.read_text("utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            file = stub.parent / f"{node.module.replace('.', '/')}.py"
            if role is not None and f'@method("{role}")' not in _text(file):
                continue  # to parse every file would take a fifth of a second
            for alias in node.names:
                mark, summary = _definitions(file).get(alias.name, ("", ""))
                module = f"{package}.{node.module}"
                found.append(Entry(alias.asname or alias.name, package, module, mark, summary))
    return found


@cache
def _text(file: Path) -> str:
    return file.read_text("utf-8")


@cache
def _definitions(file: Path) -> dict[str, tuple[str, str]]:
    """Map each top-level function and class of a file to its role and docstring's first line."""
    table = {}
    for node in ast.parse(_text(file)).body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            doc = ast.get_docstring(node) or ""
            table[node.name] = (_role(node), doc.partition("\n")[0])
    return table


def _role(node: ast.FunctionDef | ast.ClassDef) -> str:
    for mark in node.decorator_list:
        match mark:
            case ast.Call(func=ast.Name(id="method"), args=[ast.Constant(value=str(role))]):
                return role
    return ""
