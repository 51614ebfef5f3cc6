"""``gouache inpaint``, ``texture`` and ``variations``, in process."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

from gouache import image, patches, registry
from gouache.cli.main import main
from gouache.patches import _gpdm
from gouache.random import derive, generator

LEVEL = 0.51 / 255
SIZE = (36, 40)


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """Enter a folder with pictures and masks."""
    monkeypatch.chdir(tmp_path)
    y, x = torch.meshgrid(torch.arange(36), torch.arange(40), indexing="ij")
    wave = 0.5 + 0.3 * (0.9 * x + 0.4 * y).sin() + 0.05 * torch.randn(SIZE, generator=generator(0))
    colour = torch.stack([wave, 0.8 * wave, 1 - wave]).clamp(0, 1)
    image.save(colour, "in.png")
    image.save(colour, "in.jpg")
    image.save(colour[:1, :, :32], "grey.png")
    image.save(colour * 0.9, "deep.png", bits=16)
    image.save(1 - colour[:, :30, :34], "other.png")
    hole = torch.zeros(1, *SIZE)
    hole[:, 10:20, 12:26] = 1
    image.save(hole, "mask.png")
    image.save(hole.expand(3, -1, -1), "mask-rgb.png")
    image.save(0.6 * hole, "soft.png")
    image.save(torch.zeros(1, *SIZE), "black.png")
    image.save(torch.ones(1, *SIZE), "white.png")
    image.save((x < 20)[None].float(), "left.png")
    image.save((y < 15)[None].float(), "top.png")
    image.save(torch.ones(1, 30, 20), "wish.png")
    pixels = np.concatenate([colour, 1 - 0.7 * hole]).transpose(1, 2, 0)
    Image.fromarray((255 * pixels).round().astype(np.uint8)).save("clear.png")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("keep")
    (tmp_path / "broken.png").write_bytes(b"no picture")


def run(capsys, words):
    code = main(words.split())
    said = capsys.readouterr()
    return code, said.out, said.err


def plane(file):
    return image.load(file)[0]


def levels(file):
    """Return the levels of a file as they are stored."""
    return (image.load(file).double() * 65535).round()


@pytest.mark.parametrize("verb", ["inpaint", "texture", "variations"])
def test_help_has_an_example(verb, capsys):
    code, said, _ = run(capsys, f"{verb} --help")
    assert code == 0
    assert f"Example: gouache {verb}" in " ".join(said.split())


@pytest.mark.parametrize("method", registry.names("inpaint"))
def test_inpaint_writes_what_the_function_returns(method, capsys):
    words = f"inpaint in.png mask.png a/b.png --method {method} --seed 3 --patch 5"
    assert run(capsys, words)[:2] == (0, "a/b.png\n")
    fill, u, mask = registry.find("inpaint", method), image.load("in.png"), plane("mask.png")
    expected = fill(u, mask, patch=5, rng=generator(3))
    torch.testing.assert_close(image.load("a/b.png"), expected, atol=LEVEL, rtol=0)


def test_inpaint_by_default(capsys):
    assert run(capsys, "inpaint in.png mask-rgb.png a.png --threads 1")[0] == 0
    expected = patches.inpaint(image.load("in.png"), plane("mask.png"), rng=generator(0))
    torch.testing.assert_close(image.load("a.png"), expected, atol=LEVEL, rtol=0)


@pytest.mark.parametrize("name", ["in.png", "grey.png", "deep.png"])
def test_known_pixels_are_written_bit_by_bit(name, capsys):
    if name == "grey.png":
        image.save(image.load("mask.png")[..., :32], "mask.png")
    assert run(capsys, f"inpaint {name} mask.png a.png")[0] == 0
    known = plane("mask.png") == 0
    assert torch.equal(levels("a.png")[:, known], levels(name)[:, known])
    expected = patches.inpaint(image.load(name), ~known, rng=generator(0))
    rounding = 1e-5 if name == "deep.png" else LEVEL
    torch.testing.assert_close(image.load("a.png"), expected, atol=rounding, rtol=0)


def test_16_bits_that_become_8_are_told(capsys):
    assert "a.webp: 16 bits become 8" in run(capsys, "inpaint deep.png mask.png a.webp")[2]


def test_grey_of_a_mask_blends(capsys):
    assert run(capsys, "inpaint in.png soft.png a.png")[0] == 0
    u, soft = image.load("in.png"), plane("soft.png")
    expected = patches.inpaint(u, soft, rng=generator(0))
    torch.testing.assert_close(image.load("a.png"), expected, atol=LEVEL, rtol=0)
    full = patches.inpaint(u, soft > 0, rng=generator(0))
    torch.testing.assert_close(expected, u.lerp(full, soft), atol=1e-6, rtol=0)


def test_transparent_parts_of_a_mask_are_black(capsys):
    strokes = np.zeros((*SIZE, 4), np.uint8)
    strokes[10:20, 12:26] = 255
    Image.fromarray(strokes).save("strokes.png")
    for mask in ("strokes.png", "mask.png"):
        assert run(capsys, f"inpaint in.png {mask} {mask}-filled.png")[0] == 0
    assert torch.equal(image.load("strokes.png-filled.png"), image.load("mask.png-filled.png"))


def test_source_and_protect(capsys):
    words = "inpaint in.png mask.png a.png --source left.png --protect top.png"
    assert run(capsys, words)[0] == 0
    hole = plane("mask.png") * (1 - plane("top.png"))
    given = {"source": plane("left.png"), "rng": generator(0)}
    u, found = image.load("in.png"), image.load("a.png")
    torch.testing.assert_close(found, patches.inpaint(u, hole, **given), atol=LEVEL, rtol=0)
    assert torch.equal(found[:, :15], u[:, :15])


def test_alpha_is_the_hole_and_the_colours_below_it_do_not_shine_through(capsys):
    code, _, said = run(capsys, "inpaint clear.png alpha a.png")
    assert code == 0
    assert "laid over white" not in said
    with Image.open("clear.png") as stored:
        alpha = torch.from_numpy(np.asarray(stored)[..., 3] / np.float32(255))
    u = image.load("in.png")
    expected = patches.inpaint(u, 1 - alpha, rng=generator(0))
    torch.testing.assert_close(image.load("a.png"), expected, atol=LEVEL, rtol=0)
    assert torch.equal(image.load("a.png")[:, alpha == 1], u[:, alpha == 1])
    assert "laid over white" in run(capsys, "inpaint clear.png mask.png b.png")[2]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("in.png mask.png", "Missing argument"),
        ("in.png black.png a.png", "nothing to fill: black.png is all black"),
        ("in.png white.png a.png", "there is nothing to copy"),
        ("in.png mask.png a.png --source black.png", "there is nothing to copy"),
        ("in.png mask.png a.png --protect white.png", "white.png protects all that mask.png"),
        ("in.png other.png a.png", "other.png has 34x30 pixels and the picture 40x36"),
        ("in.png mask.png a.png --source other.png", "other.png has 34x30 pixels"),
        ("in.png mask.png a.png --protect other.png", "other.png has 34x30 pixels"),
        ("in.png alpha a.png", "in.png has no transparency; name a mask"),
        ("opaque.png alpha a.png", "no pixel of opaque.png is transparent"),
        ("in.png mask.png a.png --method inpant", 'did you mean "inpaint"'),
        ("in.png mask.png a.png --patch 0", "'--patch'"),
        ("in.png mask.png a.doc", "must end in one of"),
        ("in.png mask.png full", "must end in one of"),
        ("in.png broken.png a.png", "broken.png"),
        ("none.png mask.png a.png", "none.png does not exist"),
        ("none.png alpha a.png", "none.png does not exist"),
        ("in.png none.png a.png", "none.png does not exist"),
    ],
)
def test_mistakes_of_inpaint(words, message, capsys, tmp_path):
    image.as_pil(image.load("in.png")).convert("RGBA").save("opaque.png")
    refused(capsys, f"inpaint {words}", message, tmp_path)


def refused(capsys, words, message, folder):
    before = sorted(folder.rglob("*"))
    code, out, said = run(capsys, words)
    last = said.strip().splitlines()[-1]
    assert (code, out) == (2, "")
    assert last.startswith("error: ")
    assert message in last
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize("method", registry.names("texture"))
def test_texture_writes_what_the_function_returns(method, capsys):
    words = f"texture grey.png a/b.png --size 28x24 --method {method} --tileable --seed 2"
    code, out, said = run(capsys, words)
    assert (code, out) == (0, "a/b.png\n")
    synthesis = registry.find("texture", method)
    made = synthesis(image.load("grey.png"), (24, 28), tileable=True, rng=generator(2))
    torch.testing.assert_close(image.load("a/b.png"), made.image, atol=LEVEL, rtol=0)
    rate = f"copy rate {made.copy_rate:.2f}: {100 * made.copy_rate:.0f} % of the patches stand"
    assert f"{rate} in the exemplar\n" in said


def test_texture_is_as_large_as_its_exemplar_and_keeps_16_bits(capsys):
    assert run(capsys, "texture deep.png a.png --threads 1")[0] == 0
    expected = patches.texture_optimization(image.load("deep.png"), rng=generator(0)).image
    torch.testing.assert_close(image.load("a.png"), expected, atol=1e-5, rtol=0)


def test_one_number_is_a_square(capsys):
    assert run(capsys, "texture grey.png a.png --size 21")[0] == 0
    assert image.load("a.png").shape == (1, 21, 21)


def test_several_exemplars_of_which_one_is_grey(capsys):
    code, _, said = run(capsys, "texture in.png grey.png other.png a.png --size 30X20")
    assert code == 0
    given = [image.as_channels(image.load(f), 3) for f in ("in.png", "grey.png", "other.png")]
    expected = patches.texture_optimization(given, (20, 30), rng=generator(0)).image
    torch.testing.assert_close(image.load("a.png"), expected, atol=LEVEL, rtol=0)
    assert "stand in the exemplars" in said


def test_guides_and_a_size_that_the_wish_gives(capsys):
    assert run(capsys, "texture in.png a.png --guide left.png --wish wish.png")[0] == 0
    guides = (image.load("left.png"), image.load("wish.png"))
    given = {"guides": guides, "rng": generator(0)}
    expected = patches.texture_optimization(image.load("in.png"), (30, 20), **given).image
    torch.testing.assert_close(image.load("a.png"), expected, atol=LEVEL, rtol=0)


@pytest.mark.parametrize("exemplars", [["in.png"], ["in.png", "other.png"]])
def test_a_copy_map_tells_where_pixels_come_from(exemplars, capsys):
    words = f"texture {' '.join(exemplars)} a.png --size 24 --copy-map map.png"
    assert run(capsys, words)[0] == 0
    given = [image.load(file) for file in exemplars]
    red, green, blue = image.load("map.png").double()
    number = (blue * len(given)).round().long() - 1
    shown = torch.zeros(3, 24, 24)
    for k, u in enumerate(given):
        at = number == k
        rows, cols = (
            (x * (n - 1)).round().long() for x, n in ((green, len(u[0])), (red, u.shape[2]))
        )
        shown[:, at] = u[:, rows[at], cols[at]]
    torch.testing.assert_close(image.load("a.png"), shown)


def test_of_what_is_no_copy_the_map_is_black(capsys):
    words = "texture in.png a.png --size 20 --method random-phase --copy-map map.jpg"
    code, _, said = run(capsys, words)
    assert code == 0
    assert "map.jpg is black: random-phase copies no pixels" in said
    assert image.load("map.jpg").max() == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("a.png", "Missing argument"),
        ("in.png a.png --size 0x5", "width must be in [1, 32768], got 0"),
        ("in.png a.png --size 5x99999", "height must be in [1, 32768], got 99999"),
        (
            "in.png a.png --size large",
            '--size takes WIDTHxHEIGHT in pixels, such as 640x480, got "l',
        ),
        ("in.png a.png --size 5x5x3", "--size takes WIDTHxHEIGHT"),
        ("in.png a.png --size 5x", "--size takes WIDTHxHEIGHT"),
        ("in.png a.png --size -5", "--size takes WIDTHxHEIGHT"),
        ("in.png a.png --method quiltin", 'did you mean "quilting"'),
        ("in.png a.png --guide left.png", "--guide and --wish go together"),
        ("in.png a.png --wish left.png", "--guide and --wish go together"),
        ("in.png other.png a.png --guide left.png --wish wish.png", "one for each exemplar, got 1"),
        ("in.png a.png --guide wish.png --wish wish.png", "a guide must be (1, 36, 40)"),
        ("in.png a.png --size 9 --guide left.png --wish wish.png", "a guide must be (1, 9, 9)"),
        ("in.png a.png --method adsn --guide left.png --wish wish.png", "guide"),
        ("in.png a.png --copy-map a.png", "OUT and --copy-map are both a.png"),
        ("in.png a.png --copy-map a.txt", "must end in one of"),
        ("in.png a.doc", "must end in one of"),
        ("broken.png a.png", "broken.png"),
        ("in.png none.png a.png", "none.png does not exist"),
    ],
)
def test_mistakes_of_texture(words, message, capsys, tmp_path):
    refused(capsys, f"texture {words}", message, tmp_path)


QUICK = "--size 24x20"


@pytest.mark.parametrize("method", registry.names("variation"))
def test_variations_are_what_the_function_returns(method, capsys, monkeypatch):
    monkeypatch.setattr(_gpdm, "gpdm", partial(patches.gpdm, steps=10))  # else it takes a minute
    words = f"variations in.png a/out -n 2 {QUICK} --method {method} --noise 2 --seed 4"
    code, out, said = run(capsys, words)
    assert (code, out) == (0, "a/out\n")
    assert "2 pictures, seed 4" in said
    vary, u = registry.find("variation", method), image.load("in.png")
    for i, name in enumerate(("a/out/00.png", "a/out/01.png")):
        expected = vary(u, (20, 24), noise=2, rng=generator(derive(4, i)))
        torch.testing.assert_close(image.load(name), expected, atol=LEVEL, rtol=0)


def test_a_variation_does_not_depend_on_how_many_there_are(capsys, tmp_path):
    for n in (1, 3):
        assert run(capsys, f"variations in.png {n} -n {n} {QUICK} --threads 1")[0] == 0
    assert (tmp_path / "1/00.png").read_bytes() == (tmp_path / "3/00.png").read_bytes()
    assert sorted(p.name for p in (tmp_path / "3").iterdir()) == ["00.png", "01.png", "02.png"]
    assert not torch.equal(image.load("3/00.png"), image.load("3/01.png"))


def test_a_grid_holds_what_a_folder_would(capsys):
    assert run(capsys, f"variations deep.png grid.png -n 3 {QUICK}")[:2] == (0, "grid.png\n")
    assert run(capsys, f"variations deep.png out -n 3 {QUICK}")[0] == 0
    expected = image.grid(torch.stack([image.load(f"out/0{i}.png") for i in range(3)]), pad=2)
    torch.testing.assert_close(image.load("grid.png"), expected, atol=1e-6, rtol=0)


def test_start_gives_the_layout_and_the_size(capsys):
    code, _, said = run(capsys, "variations grey.png out -n 1 --start other.png")
    assert code == 0
    assert "differ little" not in said
    start = image.as_channels(image.load("other.png"), 1)
    expected = patches.gpnn(image.load("grey.png"), start=start, rng=generator(derive(0, 0)))
    torch.testing.assert_close(image.load("out/00.png"), expected, atol=LEVEL, rtol=0)
    for more in ("--start other.png", f"--noise 0 {QUICK}"):
        assert "differ little" in run(capsys, f"variations grey.png a.png -n 2 {more}")[2]


def test_an_interrupted_folder_leaves_nothing(monkeypatch, tmp_path):
    from gouache.cli import _variations

    def interrupted(picture, file, bits):
        image.save(picture, file)
        raise KeyboardInterrupt

    before = sorted(tmp_path.iterdir())
    monkeypatch.setattr(_variations, "save", interrupted)
    assert main(f"variations in.png a/out {QUICK}".split()) == 130
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("verb", ["inpaint in.png mask.png", "texture in.png", "variations in.png"])
def test_progress_is_shown_up_to_its_end(verb, monkeypatch, capsys):
    import io

    from rich.console import Console
    from rich.progress import Progress

    from gouache.cli import _screen

    shown, update = [], Progress.update

    def noted(self, task, *, completed, total):
        shown.append((completed, total))
        update(self, task, completed=completed, total=total)

    monkeypatch.setattr(Progress, "update", noted)
    screen = Console(file=io.StringIO(), force_terminal=True)
    monkeypatch.setattr(_screen, "console", lambda: screen)
    more = "-n 2" if verb.startswith("variations") else ""
    assert main(f"{verb} out.png {more}".split()) == 0
    assert shown[-1][0] == shown[-1][1]
    assert [done for done, _ in shown] == sorted(done for done, _ in shown)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("in.png", "Missing argument"),
        ("in.png out -n 0", "n must be in [1, 10000], got 0"),
        ("in.png out -n 10001", "n must be in [1, 10000]"),
        ("in.png out --size 4x4", "patch must be at most the sides"),
        ("in.png out --size four", "--size takes WIDTHxHEIGHT"),
        ("in.png out --noise -1", "noise must be at least 0, got -1"),
        ("in.png out --noise nan", "noise must be a finite number"),
        ("in.png out --method gpn", 'did you mean "gpnn"'),
        ("in.png out.gif", "out.gif must end in one of"),
        ("in.png full", "full holds files already"),
        ("in.png full/mine.txt", "mine.txt is a file; name a folder"),
        ("in.png full/mine.txt/out", "cannot lie below it"),
        ("in.png out --start none.png", "none.png does not exist"),
        ("none.png out", "none.png does not exist"),
        ("broken.png out.png", "broken.png"),
    ],
)
def test_mistakes_of_variations(words, message, capsys, tmp_path):
    refused(capsys, f"variations {words}", message, tmp_path)
