"""Sphinx settings; the API pages are written from the registry at every build."""

import importlib
import inspect
import re
from pathlib import Path

import typer

import gouache
from gouache import registry
from gouache.cli import main

HERE = Path(__file__).parent
SECTION = re.compile(r"^(Args|Attributes|Returns|Raises|Reference|Example|Yields):")
ROOT_MODULES = ("check", "contracts", "image", "pretrained", "random", "registry")

project = "gouache"
author = copyright = "gouache contributors"
release = version = gouache.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"gouache {release}"
default_role = "py:obj"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Reference", "returns_style")]


def table(entries: list[registry.Entry]) -> list[str]:
    """Return an RST table of names, roles and first lines."""
    rows = [".. list-table::", "   :header-rows: 1", ""]
    rows += ["   * - name", "     - role", "     - what it does"]
    for entry in entries:
        link = f":py:obj:`{entry.name} <gouache.{entry.package.split('.')[1]}.{entry.name}>`"
        rows += [f"   * - {link}", f"     - {entry.role}", f"     - {entry.summary}"]
    return [*rows, ""]


def directives(entry: registry.Entry) -> list[str]:
    """Return the autodoc directive of one public name."""
    target = entry.load()
    name = f"{entry.package}.{entry.name}"
    if inspect.isclass(target):
        return [f".. autoclass:: {name}", "   :members:", ""]
    function = inspect.isfunction(target)
    return [f".. autofunction:: {name}" if function else f".. autodata:: {name}", ""]


def package_page(package: str, entries: list[registry.Entry]) -> list[str]:
    """Return a package's page: its names in a table, then each, under its file's notation."""
    name = f"gouache.{package}"
    page = [name, "=" * len(name), "", str(importlib.import_module(name).__doc__), ""]
    page += table(entries)
    modules = list(dict.fromkeys(entry.module for entry in entries))
    for module in modules:
        if "\n" in str(importlib.import_module(module).__doc__).strip():
            page += [f".. automodule:: {module}", "   :no-index:", ""]
        for entry in entries:
            page += directives(entry) if entry.module == module else []
    return page


def root_page() -> list[str]:
    """Return the page of the modules that everything stands on."""
    page = ["gouache", "=======", "", str(gouache.__doc__).split(": ", 1)[1].capitalize(), ""]
    for name in ROOT_MODULES:
        title = f"gouache.{name}"
        page += [title, "-" * len(title), "", f".. automodule:: {title}", "   :members:", ""]
    return page


def verbs_page() -> list[str]:
    """Return every verb of the command line with its help, as `--help` shows them."""
    page = ["The verbs", "=========", ""]
    for name, command in typer.main.get_command(main.app).commands.items():
        title = f"gouache {name}"
        page += [title, "-" * len(title), "", ".. code-block:: text", ""]
        page += [f"   {line}".rstrip() for line in inspect.cleandoc(command.help).splitlines()]
        page += ["", ".. list-table::", ""] if command.params else [""]
        for parameter in command.params:
            spelled = ", ".join(parameter.opts)
            spelled = parameter.name.upper() if parameter.param_type_name == "argument" else spelled
            page += [f"   * - ``{spelled}``", f"     - {parameter.help or 'show the help'}"]
        page += [""]
    return page


def write_api() -> None:
    """Write one page a package, one of the verbs, and their index, into docs/api."""
    (HERE / "api").mkdir(exist_ok=True)
    entries = registry.entries()
    packages = list(dict.fromkeys(entry.package.split(".")[1] for entry in entries))
    pages = {"root": root_page()}
    for package in packages:
        own = [entry for entry in entries if entry.package == f"gouache.{package}"]
        pages[package] = package_page(package, own)
    pages["verbs"] = verbs_page()
    links = ["Reference", "=========", "", ".. toctree::", "   :maxdepth: 1", ""]
    pages["index"] = [*links, *[f"   {page}" for page in pages]]
    for stale in (HERE / "api").glob("*.rst"):
        stale.unlink()
    for page, lines in pages.items():
        (HERE / "api" / f"{page}.rst").write_text("\n".join(lines) + "\n", "utf-8")


def escape_bars(paragraph: str) -> str:
    """Keep |x| from being read as a substitution, outside of literals."""
    parts = paragraph.split("``")
    return "``".join(p if i % 2 else p.replace("|", "\\|") for i, p in enumerate(parts))


def formulas_as_they_stand(app, what, name, obj, options, lines: list[str]) -> None:
    """Show a docstring's formulas, paragraphs that hold = and do not end a sentence, verbatim."""
    paragraphs, prose = "\n".join(lines).split("\n\n"), True
    for index, paragraph in enumerate(paragraphs):
        prose = prose and not SECTION.match(paragraph)
        formula = " = " in paragraph and not paragraph.rstrip().endswith((".", ":"))
        if prose and index and formula and not paragraph.startswith((" ", ">>>", "-", "*")):
            indented = paragraph.replace("\n", "\n   ")
            paragraphs[index] = f".. code-block:: text\n\n   {indented}"
        elif ">>>" not in paragraph:
            paragraphs[index] = escape_bars(paragraph)
    lines[:] = "\n\n".join(paragraphs).split("\n")


def setup(app) -> None:
    """Hook the above into Sphinx, before napoleon reads the sections."""
    write_api()
    app.connect("autodoc-process-docstring", formulas_as_they_stand, priority=100)
