"""``gouache denoise``, in process."""

import os
import subprocess
import sys

import pytest
import torch
from PIL import Image

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
        ("noisy.png out.png --sigma -1", "(units of the pixel range), got -1"),
        ("noisy.png out.png --sigma 1/3/4", "sigma must be auto, a number or a fraction"),
        ("noisy.png out.png --sigma 1/", "sigma must be auto, a number or a fraction"),
        ("noisy.png out.png --sigma 1/inf", "sigma must be auto, a number or a fraction"),
        ("noisy.png out.png --sigma 1e400", "sigma must be auto, a number or a fraction"),
        ("noisy.png out.png --sigma 1e999999999", "sigma must be auto, a number or a fraction"),
        ("noisy.png out.png --sigma nan", "sigma must be auto, a number or a fraction"),
        ("noisy.png out.png --method bm4d", 'did you mean "bm3d"'),
        ("noisy.png out.doc", "must end in one of"),
        ("nothing.png out.png", "nothing.png does not exist"),
        (". out.png", "is a folder, and so OUT must be one, got out.png"),
        (". .", "holds files already"),
        ("empty out", "empty holds no picture"),
        ("noisy.png out.png --explain 48,0", "(48, 0) is outside the image: x is in 0..47"),
        ("noisy.png out.png --explain 3", "--explain takes a pixel X,Y, from 0,0 at the top left"),
        ("noisy.png out.png --explain 1.5,2", "--explain takes a pixel X,Y"),
        ("noisy.png out.png --explain 1,2 --method gaussian", "bm3d and nlmeans can"),
        ("noisy.png out.png --explain 1,2 --sigma 0", "sigma is 0"),
        ("noisy.png out.png --noise poisson --sigma 0.1", "--sigma and --explain are for gaussian"),
        ("noisy.png out.png --noise impulse --explain 1,2", "are for gaussian noise"),
        ("noisy.png out.png --peak 20", "--peak is for poisson noise, not for gaussian"),
        ("noisy.png out.png --noise poisson --peak 0", "peak must be above 0"),
        ("noisy.png out.png --noise impulse --method nlmeans", "leave out --method"),
        ("noisy.png out.png --noise brown", "'brown' is not one of"),
        (". out --explain 1,2", "--explain takes one picture, and . is a folder"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    before = sorted(tmp_path.iterdir())
    assert main(["denoise", *words.split()]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ")
    assert message in said
    assert ("8-bit" in said) == ("8-bit" in message)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("method", ["bm3d", "nlmeans"])
def test_explain_draws_what_the_function_draws(method, capsys):
    words = ["denoise", "noisy.png", "clean.png", "--sigma", "0.1", "--method", method]
    assert main([*words, "--explain", "30, 21"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "clean.png\n"
    assert "clean-explained.png shows where the pixel 30, 21 comes from" in captured.err
    noisy = image.load("noisy.png")
    found = getattr(patches, f"explain_{method}")(noisy, 0.1, at=(30, 21))
    expected = patches.draw(found, noisy)
    torch.testing.assert_close(image.load("clean-explained.png"), expected, atol=0.51 / 255, rtol=0)
    clean = getattr(patches, method)(noisy, 0.1).clamp(0, 1)
    torch.testing.assert_close(image.load("clean.png"), clean, atol=0.51 / 255, rtol=0)


def test_a_picture_is_written_before_its_explanation_is_drawn(monkeypatch):
    def failing(*_):
        raise MemoryError

    monkeypatch.setattr(patches, "draw", failing)
    assert main(["denoise", "noisy.png", "clean.png", "--method", "nlmeans", "--explain", "3,4"])
    assert image.load("clean.png").shape == (3, 40, 48)


@pytest.fixture
def album(tmp_path):
    """Return a folder of good, odd and damaged pictures."""
    folder, noisy = tmp_path / "album", image.load("noisy.png")
    image.save(noisy, folder / "a.png")
    image.save(noisy[:1, :9, :7], folder / "cats/b c.jpg")
    (folder / ".hidden").mkdir()
    image.save(noisy, folder / ".hidden/d.png")
    image.as_pil(noisy).save(folder / "a.bmp")
    image.as_pil(noisy).save(folder / "e.bmp")
    (folder / "broken.png").write_bytes((folder / "a.png").read_bytes()[:300])
    (folder / "notes.txt").write_text("no picture")
    return folder


def test_a_folder_keeps_its_names_and_lists_what_it_skips(album, capsys):
    assert main(["denoise", "album", "out/clean", "--method", "nlmeans"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "out/clean\n"
    made = sorted(p.relative_to(album.parent / "out") for p in (album.parent / "out").rglob("*"))
    assert [path.as_posix() for path in made] == [
        "clean",
        "clean/a.bmp.png",
        "clean/a.png",
        "clean/cats",
        "clean/cats/b c.jpg",
        "clean/e.png",
    ]
    assert "1/5 a.bmp: sigma" in captured.err
    assert "skipped broken.png: " in captured.err
    assert "4 of 5 pictures written" in captured.err
    noisy = image.load("album/a.png")
    expected = patches.nlmeans(noisy).clamp(0, 1)
    torch.testing.assert_close(image.load("out/clean/a.png"), expected, atol=0.51 / 255, rtol=0)


def test_every_picture_of_a_folder_has_a_name_of_its_own(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name in ("g.png", "g.gif", "g.gif.png", "g.bmp"):
        image.as_pil(image.load("noisy.png")).save(tmp_path / "in" / name)
    assert main(["denoise", "in", "out", "--sigma", "0"]) == 0
    made = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert made == ["g.bmp.png", "g.gif.png", "g.gif.png.png", "g.png"]


def test_each_picture_of_a_folder_has_its_own_noise(tmp_path, capsys):
    for k, sigma in enumerate((0.02, 0.2)):
        y = 0.5 + sigma * torch.randn(1, 60, 60, generator=generator(k))
        image.save(y.clamp(0, 1), tmp_path / f"in/{k}.png")
    (tmp_path / "out").mkdir()
    assert main(["denoise", "in", "out", "--method", "nlmeans"]) == 0
    said = [line.split()[-1] for line in capsys.readouterr().err.splitlines() if "sigma" in line]
    found = [float(level.partition("/")[0]) / 255 for level in said]
    assert found == pytest.approx([0.02, 0.2], rel=0.15)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0.png", "1.png"]


def test_a_folder_without_a_readable_picture_leaves_nothing(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"nothing")
    assert main(["denoise", "in", "out"]) == 2
    assert "no picture of in can be read" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in", "noisy.png"]


def test_a_folder_that_fails_leaves_no_parents(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "kept").mkdir()
    (tmp_path / "in/a.png").write_bytes(b"nothing")
    assert main(["denoise", "in", "kept/a/b/out"]) == 2
    assert not list((tmp_path / "kept").iterdir())


def test_an_interrupted_folder_leaves_nothing(album, monkeypatch):
    from gouache.cli import _denoise

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(_denoise, "save", interrupted)
    assert main(["denoise", "album", "out", "--method", "nlmeans"]) == 130
    assert not (album.parent / "out").exists()
    assert not [p for p in album.parent.iterdir() if p.name.startswith(".")]


def mode(file):
    with Image.open(file) as picture:
        return picture.mode


def test_16_bits_stay_16_bits():
    deep = torch.linspace(0.4, 0.41, 40 * 48).view(1, 40, 48)
    image.save(deep, "deep.png", bits=16)
    words = ["clean.png", "--method", "nlmeans", "--sigma"]
    assert main(["denoise", "deep.png", *words, "0.001"]) == 0
    assert mode("clean.png").startswith("I")
    expected = patches.nlmeans(image.load("deep.png"), 0.001)
    torch.testing.assert_close(image.load("clean.png"), expected, atol=1e-5, rtol=0)
    assert main(["denoise", "noisy.png", *words, "0"]) == 0
    assert mode("clean.png") == "RGB"


def test_16_bits_that_become_8_are_told(capsys):
    image.save(torch.linspace(0.4, 0.41, 40 * 48).view(1, 40, 48), "deep.png", bits=16)
    for name, told in (("clean.jpg", True), ("clean.png", False), ("clean.tif", False)):
        assert main(["denoise", "deep.png", name, "--sigma", "0"]) == 0
        assert (f"{name}: 16 bits become 8" in capsys.readouterr().err) == told


def test_alpha_is_laid_over_white_and_that_is_said(capsys):
    levels = image.as_pil(image.load("noisy.png")).convert("RGBA")
    levels.putalpha(Image.linear_gradient("L").resize(levels.size))
    levels.save("alpha.png")
    assert main(["denoise", "alpha.png", "clean.png", "--sigma", "0.1", "--method", "nlmeans"]) == 0
    assert "alpha.png: transparent parts are laid over white" in capsys.readouterr().err
    expected = patches.nlmeans(image.load("alpha.png"), 0.1).clamp(0, 1)
    torch.testing.assert_close(image.load("clean.png"), expected, atol=0.51 / 255, rtol=0)


def test_counts_of_photons(capsys):
    clean = torch.linspace(0.1, 0.9, 64).expand(1, 64, 64)
    counts = torch.poisson(60 * clean, generator=generator(0)) / 60
    image.save((counts / 2).clamp(0, 1), "counts.png", bits=16)
    words = ["denoise", "counts.png", "clean.png", "--noise", "poisson", "--method", "nlmeans"]
    for peak, more in ((None, []), (120.0, ["--peak", "120"])):
        assert main([*words, *more]) == 0
        expected = patches.poisson(image.load("counts.png"), peak, method="nlmeans").clamp(0, 1)
        torch.testing.assert_close(image.load("clean.png"), expected, atol=1e-4, rtol=0)


def test_impulses_are_the_same_for_a_seed(capsys):
    hit = image.load("noisy.png")
    hit[:, ::7, ::5] = 1
    image.save(hit, "hit.png")
    words = ["denoise", "hit.png", "clean.png", "--noise", "impulse", "--seed", "3"]
    assert main(words) == 0
    expected = patches.impulse(image.load("hit.png"), rng=generator(3)).clamp(0, 1)
    torch.testing.assert_close(image.load("clean.png"), expected, atol=0.51 / 255, rtol=0)


def test_compilation_is_told_once_and_only_the_first_time(tmp_path):
    program = "import sys; from gouache.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = ["denoise", "noisy.png", "clean.png"]
    told = []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")},
            capture_output=True,
            text=True,
            check=True,
        )
        told.append(done.stderr.count("compiling kernels, once on this machine ..."))
    assert told == [1, 0]
