"""README and the page of the command line name the verbs that there are, and no other."""

import re
from pathlib import Path

import pytest
import typer

from gouache.cli import main

REPO = Path(__file__).parents[2]
VERB = re.compile(r"`gouache ([a-z]+)")


@pytest.mark.parametrize("page", ["README.md", "docs/cli.md"])
def test_page_names_every_verb(page):
    verbs = typer.main.get_command(main.app).commands
    assert set(VERB.findall((REPO / page).read_text("utf-8"))) == set(verbs)
