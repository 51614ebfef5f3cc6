"""``gouache restore``, in process."""

import io

import pytest
import torch
from rich.console import Console
from rich.progress import Progress

from gouache import image, registry, restore
from gouache.cli import _screen
from gouache.cli._restore import _seen
from gouache.cli.main import main
from gouache.random import generator

SIGMA = 4 / 255


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    clean = torch.linspace(0.2, 0.8, 48).expand(3, 40, 48).clone()
    clean[:, 10:30, 12:30] = 0.9
    noise = SIGMA * torch.randn(3, 40, 48, generator=generator(0))
    image.save((restore.Blur(1.2)(clean) + noise).clamp(0, 1), "blurred.png")
    mask = torch.rand(1, 40, 48, generator=generator(1)) < 0.7
    image.save(mask.float(), "mask.png")
    image.save(clean * mask, "holes.png")
    image.save(clean, "clean.png")
    image.save(torch.tensor([[[0.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.0]]]), "kernel.png")
    image.save(torch.zeros(1, 3, 3), "black.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")


def run(capsys, words):
    code = main(["restore", *words.split()])
    said = capsys.readouterr()
    return code, said.out, said.err


@pytest.mark.parametrize("method", registry.names("restore"))
def test_it_writes_what_the_function_returns(method, capsys):
    words = f"blurred.png a/sharp.png --operator blur:1.2 --sigma 4/255 --method {method}"
    assert run(capsys, words)[:2] == (0, "a/sharp.png\n")
    solver = getattr(restore, method)
    expected = solver(image.load("blurred.png"), restore.Blur(1.2), 4 / 255).clamp(0, 1)
    torch.testing.assert_close(image.load("a/sharp.png"), expected, atol=0.51 / 255, rtol=0)


def test_options_reach_the_method(capsys):
    words = "blurred.png a.png --operator blur:1.2 --sigma 4/255 --denoiser nlmeans --steps 3"
    assert run(capsys, words)[0] == 0
    blurred = image.load("blurred.png")
    expected = restore.hqs(blurred, restore.Blur(1.2), 4 / 255, denoiser="nlmeans", steps=3)
    torch.testing.assert_close(image.load("a.png"), expected.clamp(0, 1), atol=0.51 / 255, rtol=0)


def on_a_terminal(monkeypatch):
    """Return a list of (steps done, steps in all) that a bar has shown."""
    shown, update = [], Progress.update

    def noted(self, task, *, completed, total):
        shown.append((completed, total))
        update(self, task, completed=completed, total=total)

    monkeypatch.setattr(Progress, "update", noted)
    monkeypatch.setattr(
        _screen, "console", lambda: Console(file=io.StringIO(), force_terminal=True)
    )
    return shown


def test_on_a_terminal_a_bar_shows_the_steps(monkeypatch, capsys):
    shown = on_a_terminal(monkeypatch)
    assert run(capsys, "blurred.png a.png --operator blur:1.2 --sigma 4/255 --steps 3")[0] == 0
    assert shown == [(1, 3), (2, 3), (3, 3)]
    shown.clear()
    assert main(["denoise", "blurred.png", "b.png", "--method", "bm3d"]) == 0
    assert shown
    assert shown[-1][0] == shown[-1][1] == len(shown)
    shown.clear()
    assert main(["denoise", "blurred.png", "c.png", "--method", "gaussian"]) == 0
    assert not shown


def test_without_sigma_it_says_what_it_found(capsys):
    code, _, said = run(capsys, "blurred.png a.png --operator blur:kernel.png --method tikhonov")
    assert code == 0
    found = float(restore.estimate_noise(image.load("blurred.png"), restore.Blur(1.2)))
    assert f"sigma {found:.4f}" in said
    assert found == pytest.approx(SIGMA, rel=0.2)


def test_of_the_picture_of_a_kernel_nothing_is_assumed_beyond_the_border(capsys):
    assert run(capsys, "blurred.png a.png --operator blur:kernel.png --sigma 4/255")[0] == 0
    blur = restore.parse_operator("blur:kernel.png")
    wide = restore.hqs(image.load("blurred.png"), blur, 4 / 255)
    assert wide.shape == (3, 42, 50)
    expected = wide[:, 1:-1, 1:-1].clamp(0, 1)
    torch.testing.assert_close(image.load("a.png"), expected, atol=0.51 / 255, rtol=0)


@pytest.mark.parametrize("order", [["blur"], ["down", "blur"], ["blur", "down"]])
def test_what_is_cut_off_is_what_no_pixel_saw(order):
    """The kernel is one tap before the middle of four: what is seen is the image, not moved."""
    point = torch.zeros(4, 4)
    point[1, 1] = 1
    made = {"blur": restore.Blur(point, boundary="valid"), "down": restore.Downsample(2, "box")}
    damage = restore.Compose(*(made[name] for name in order))
    wide = torch.rand(1, 48, 48, generator=generator(2))
    wide = wide if order != ["blur", "down"] else wide[:, :47, :47]
    observed = damage(wide)
    seen = _seen(wide, observed, damage)
    small = restore.Downsample(2, "box")(seen) if "down" in order else seen
    torch.testing.assert_close(small, observed)


def test_operators_act_in_turn(capsys):
    words = "blurred.png a.png --operator blur:1.2 --operator downsample:2 --sigma 4/255 --steps 2"
    assert run(capsys, words)[0] == 0
    assert image.load("a.png").shape == (3, 80, 96)


def test_white_of_a_mask_is_known(capsys):
    assert run(capsys, "holes.png a.png --operator mask:mask.png --sigma 0")[0] == 0
    clean, holes, filled = map(image.load, ("clean.png", "holes.png", "a.png"))
    assert (filled - clean).square().mean() < 0.02 * (holes - clean).square().mean()
    known = image.load("mask.png")[0] > 0.5
    assert (filled - clean)[:, known].abs().mean() < 1 / 255


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("blurred.png a.png", "operator"),
        ("blurred.png a.png --operator blurr:1.6", 'did you mean "blur"'),
        ("blurred.png a.png --operator blur", "write blur:1.6 or blur:kernel.png"),
        ("blurred.png a.png --operator blur:much", "write blur:1.6 or blur:kernel.png"),
        ("blurred.png a.png --operator blur:0", "sigma of the blur in pixels must be in"),
        ("blurred.png a.png --operator blur:nan", "must be a finite number"),
        ("blurred.png a.png --operator blur:none.png", "none.png does not exist"),
        ("blurred.png a.png --operator blur:black.png", "is all black"),
        ("blurred.png a.png --operator blur:broken.png", "broken.png"),
        ("blurred.png a.png --operator downsample:1.5", "write downsample:2"),
        ("blurred.png a.png --operator downsample:0", "factor must be in [1, 64]"),
        ("blurred.png a.png --operator identity:3", "identity takes no value"),
        ("blurred.png a.png --operator mask", "write mask:mask.png"),
        ("blurred.png a.png --operator mask:mask.png", "pass it, 0 if there is no noise"),
        ("blurred.png a.png --operator mask:kernel.png --sigma 0", "the mask is (3, 3)"),
        ("blurred.png a.png --operator mask:black.png --sigma 0", "no pixel known"),
        ("blurred.png a.png --operator blur:1.2 --sigma 2", "for 8-bit levels pass 2/255"),
        ("blurred.png a.png --operator blur:1.2 --method hsq", 'did you mean "hqs"'),
        ("blurred.png a.png --operator blur:1.2 --denoiser bm4d", 'did you mean "bm3d"'),
        (
            "blurred.png a.png --operator blur:1.2 --method tikhonov --steps 3",
            "tikhonov takes no --steps",
        ),
        ("blurred.png a.doc --operator blur:1.2", "must end in one of"),
        ("nothing.png a.png --operator blur:1.2", "nothing.png does not exist"),
    ],
)
def test_mistakes_are_one_line(words, message, capsys, tmp_path):
    before = sorted(tmp_path.iterdir())
    code, _, said = run(capsys, words)
    assert code == 2
    assert said.strip().splitlines()[-1].startswith("error: ")
    assert message in said.strip().splitlines()[-1]
    assert sorted(tmp_path.iterdir()) == before
