"""The registry reads stubs and marks as text; nothing but what is asked for is imported."""

import subprocess
import sys

import pytest

from gouache import registry
from gouache.check import InputError

PACKAGE = {
    "__init__.pyi": "from ._a import first as first\nfrom ._a import Second as Second\n",
    "_a.py": (
        'raise SystemError("listing must not import")\n'
        '@method("sampler")\n@final\ndef first() -> None:\n    """One line.\n\n    More."""\n'
        "class Second:\n    pass\n"
    ),
}


@pytest.fixture
def house(tmp_path, monkeypatch):
    """A library of one package, in place of the real one."""
    (tmp_path / "toys").mkdir()
    for name, text in PACKAGE.items():
        (tmp_path / "toys" / name).write_text(text)
    monkeypatch.setattr(registry, "ROOT", tmp_path)
    registry.entries.cache_clear()
    yield
    registry.entries.cache_clear()


def test_stub_and_mark_make_an_entry(house):
    first, second = registry.entries()
    assert first == registry.Entry(
        "first", "gouache.toys", "gouache.toys._a", "sampler", "One line."
    )
    assert (second.name, second.role, second.summary) == ("Second", "", "")
    assert registry.roles() == ("sampler",)
    assert registry.names("sampler") == ("first",)


def test_finding_imports_the_file_alone():
    code = (
        "import sys\nfrom gouache import registry\nregistry.find('schedule', 'VPCosine')\n"
        "print(*[name for name in sys.modules if name.startswith('gouache.diffuse._')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "gouache.diffuse._cosine" in done.stdout
    assert "gouache.diffuse._ddim" not in done.stdout


@pytest.mark.parametrize("name", ["dpm_2m", "dpm-2m", "DPM_2M", "dpm2m"])
def test_find_is_lenient_in_case_and_dashes(name):
    assert registry.find("sampler", name).__name__ == "dpm_2m"


def test_unknown_name_names_the_near_miss():
    with pytest.raises(InputError, match=r'^unknown sampler "dimm"; did you mean "ddim"\? \(known'):
        registry.find("sampler", "dimm")


def test_unknown_role_is_an_input_error():
    with pytest.raises(InputError, match=r'unknown nonsense "x"'):
        registry.find("nonsense", "x")
