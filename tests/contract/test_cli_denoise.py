"""``gouache denoise``, in process."""

import pytest
import torch

from gouache import image, patches
from gouache.cli.main import main
from gouache.random import generator

SIGMA = 0.1


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clean = torch.linspace(0.2, 0.8, 48).expand(3, 40, 48)
    noisy = clean + SIGMA * torch.randn(3, 40, 48, generator=generator(0))
    image.save(noisy.clamp(0, 1), "noisy.png")


@pytest.mark.parametrize("method", ["bm3d", "nlmeans"])
def test_it_writes_what_the_function_returns(method, capsys):
    assert (
        main(["denoise", "noisy.png", "a/clean.png", "--sigma", "25/255", "--method", method]) == 0
    )
    assert capsys.readouterr().out == "a/clean.png\n"
    expected = getattr(patches, method)(image.load("noisy.png"), 25 / 255).clamp(0, 1)
    torch.testing.assert_close(image.load("a/clean.png"), expected, atol=0.51 / 255, rtol=0)


def test_without_sigma_it_says_what_it_found(capsys):
    assert main(["denoise", "noisy.png", "clean.png"]) == 0
    found = float(patches.estimate_sigma(image.load("noisy.png")))
    assert f"sigma {found:.4f}" in capsys.readouterr().err
    assert found == pytest.approx(SIGMA, rel=0.1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("noisy.png out.png --sigma 25", "for 8-bit levels pass 25/255"),
        ("noisy.png out.png --sigma much", "sigma must be auto, a number or a fraction"),
        ("noisy.png out.png --sigma 1/0", "sigma must be auto, a number or a fraction"),
        ("noisy.png out.png --sigma nan", "sigma must be auto, a number or a fraction"),
        ("noisy.png out.png --method bm4d", 'did you mean "bm3d"'),
        ("noisy.png out.doc", "must end in one of"),
        ("nothing.png out.png", "nothing.png does not exist"),
        (". out.png", "is a folder"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys, tmp_path):
    before = sorted(tmp_path.iterdir())
    assert main(["denoise", *words.split()]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert message in said
    assert sorted(tmp_path.iterdir()) == before
