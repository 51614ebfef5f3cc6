"""``gouache recolor`` and ``stylize``, the verbs that make one picture of two, in process."""

import pytest
import torch

from gouache import image, registry
from gouache.cli.main import main
from gouache.random import generator

VERBS = ["recolor", "stylize"]
LEVEL = 0.51 / 255
CASES = [(name, "--strength 0.7", {"strength": 0.7}) for name in registry.names("recolor")]
CASES += [
    (name, "--lead 0.7" + " --keep-colors" * keep, {"lead": 0.7, "keep_colors": keep})
    for name in registry.names("stylize")
    for keep in (False, True)
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    photo = torch.rand(3, 20, 24, generator=generator(0))
    image.save(photo, "photo.png")
    image.save(photo, "deep.png", bits=16)
    image.save(0.5 * torch.rand(3, 16, 10, generator=generator(1)), "painting.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")


def run(capsys, words):
    code = main(words.split())
    said = capsys.readouterr()
    return code, said.out, said.err


def made(name, source, **options):
    """Return what the method of a name makes of the two pictures."""
    role = "recolor" if name in registry.names("recolor") else "stylize"
    pair = image.load(source), image.load("painting.png")
    return role, registry.find(role, name)(*pair, rng=generator(3), **options)


@pytest.mark.parametrize(("method", "words", "options"), CASES)
def test_it_writes_what_the_function_returns(method, words, options, capsys):
    verb, expected = made(method, "photo.png", **options)
    call = f"{verb} photo.png painting.png a/out.png --method {method} {words} --seed 3"
    assert run(capsys, call)[:2] == (0, "a/out.png\n")
    torch.testing.assert_close(image.load("a/out.png"), expected, atol=LEVEL, rtol=0)


@pytest.mark.parametrize("method", ["linear_color_transfer", "patch_stylize"])
def test_16_bits_stay_where_they_can_and_else_it_is_said(method, capsys):
    verb, expected = made(method, "deep.png")
    call = f"{verb} deep.png painting.png --method {method} --seed 3"
    for name in ("a.png", "a.tif"):
        code, _, said = run(capsys, f"{call} {name}")
        assert (code, "16 bits" in said) == (0, False)
        torch.testing.assert_close(image.load(name), expected, atol=0.51 / 65535, rtol=0)
    assert "a.webp: 16 bits become 8" in run(capsys, f"{call} a.webp")[2]
    torch.testing.assert_close(image.load("a.webp"), expected, atol=LEVEL, rtol=0)


@pytest.mark.parametrize("verb", VERBS)
def test_of_8_bits_it_writes_8(verb, capsys):
    assert run(capsys, f"{verb} photo.png deep.png a.png")[0] == 0
    levels = 255 * image.load("a.png").double()
    torch.testing.assert_close(levels, levels.round(), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("verb", "words"),
    [
        ("recolor", "--method color-transport --strength 1"),
        ("stylize", "--method patch-stylize --lead 0.5"),
    ],
)
def test_what_is_usual(verb, words, capsys):
    assert run(capsys, f"{verb} photo.png painting.png a.png --threads 1")[0] == 0
    assert run(capsys, f"{verb} photo.png painting.png b.png {words}")[0] == 0
    assert torch.equal(image.load("a.png"), image.load("b.png"))


MISTAKES = [
    ("photo.png painting.png", "Missing argument"),
    ("photo.png painting.png a.png --threads 0", "threads"),
    ("photo.png painting.png a.doc", "must end in one of"),
    ("nothing.png painting.png a.png", "nothing.png does not exist"),
    ("photo.png nothing.png a.png", "nothing.png does not exist"),
    ("photo.png broken.png a.png", "broken.png"),
]


@pytest.mark.parametrize(
    ("words", "message"),
    [(f"{verb} {words}", message) for verb in VERBS for words, message in MISTAKES]
    + [
        ("recolor photo.png painting.png a.png --method color_transfer", "did you mean"),
        ("recolor photo.png painting.png a.png --strength 2", "strength must be in [0, 1]"),
        ("stylize photo.png painting.png a.png --method patch_stylise", "did you mean"),
        ("stylize photo.png painting.png a.png --lead -1", "lead must be"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys, tmp_path):
    before = sorted(tmp_path.iterdir())
    code, _, said = run(capsys, words)
    last = said.strip().splitlines()[-1]
    assert code == 2
    assert last.startswith("error: ")
    assert message in last
    assert sorted(tmp_path.iterdir()) == before
