"""``gouache stylize``, in process."""

import pytest
import torch

from gouache import image, registry
from gouache.cli.main import main
from gouache.random import generator


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image.save(torch.rand(3, 20, 24, generator=generator(0)), "photo.png")
    image.save(0.5 * torch.rand(3, 16, 10, generator=generator(1)), "painting.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")


def run(capsys, words):
    code = main(["stylize", *words.split()])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("method", registry.names("stylize"))
@pytest.mark.parametrize("keep", [False, True])
def test_it_writes_what_the_function_returns(method, keep, capsys):
    words = f"photo.png painting.png a/out.png --method {method} --lead 0.7 --seed 3"
    assert run(capsys, words + " --keep-colors" * keep)[:2] == (0, "a/out.png\n")
    pair = image.load("photo.png"), image.load("painting.png")
    options = {"lead": 0.7, "keep_colors": keep, "rng": generator(3)}
    expected = registry.find("stylize", method)(*pair, **options)
    torch.testing.assert_close(image.load("a/out.png"), expected, atol=0.51 / 255, rtol=0)


def test_what_is_usual(capsys):
    assert run(capsys, "photo.png painting.png a.png --threads 1")[0] == 0
    assert run(capsys, "photo.png painting.png b.png --method patch-stylize --lead 0.5")[0] == 0
    assert torch.equal(image.load("a.png"), image.load("b.png"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("photo.png painting.png", "Missing argument"),
        ("photo.png painting.png a.png --method patch_stylise", "did you mean"),
        ("photo.png painting.png a.png --lead -1", "lead must be"),
        ("photo.png painting.png a.png --threads 0", "threads"),
        ("photo.png painting.png a.doc", "must end in one of"),
        ("nothing.png painting.png a.png", "nothing.png does not exist"),
        ("photo.png broken.png a.png", "broken.png"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys, tmp_path):
    before = sorted(tmp_path.iterdir())
    code, _, said = run(capsys, words)
    assert code == 2
    assert said.strip().splitlines()[-1].startswith("error: ")
    assert message in said.strip().splitlines()[-1]
    assert sorted(tmp_path.iterdir()) == before
