"""Every message of check.py: what was asked, what was expected, what came, how to mend."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from gouache import check
from gouache.check import InputError

GOOD = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))

IMAGES = {
    "not a tensor": (
        np.zeros((2, 3, 4, 5)),
        r"images must be a torch tensor \(B, C, H, W\), got ndarray; gouache\.image\.as_tensor",
    ),
    "wrong rank": (GOOD[0], r"must have shape \(B, C, H, W\), got \(3, 4, 5\)"),
    "empty": (GOOD[:0], r"images is empty: shape \(0, 3, 4, 5\)"),
    "channels last": (
        GOOD.permute(0, 2, 3, 1),
        r"1 or 3 channels at axis -3, got shape \(2, 4, 5, 3\); for channels-last data",
    ),
    "bytes": ((GOOD * 255).byte(), r"must be float in \[0, 1\], got torch\.uint8; divide by 255"),
    "NaN": (GOOD.log().log(), r"must be finite, got \d+ NaN or infinite of 120"),
    "levels": (GOOD * 255, r"must lie in \[0, 1\], got \[.*, 2\d\d.*\]; divide 8-bit levels by"),
    "symmetric": (GOOD * 2 - 1, r"must lie in \[0, 1\], got .*; map \[-1, 1\] by \(x \+ 1\) / 2"),
    "a little out": (GOOD + 0.5, r"must lie in \[0, 1\], got \[0\.5\d*, 1\.\d+\]$"),
}


def test_an_image_with_a_gradient_is_checked_without_a_warning():
    torch.set_warn_always(True)  # else torch warns once, and only the first to come sees it
    try:
        check.images(GOOD.clone().requires_grad_())
    finally:
        torch.set_warn_always(False)


@pytest.mark.parametrize("case", IMAGES)
def test_images_are_refused_with_the_mend(case):
    value, message = IMAGES[case]
    with pytest.raises(InputError, match=message):
        check.images(value)


def test_images_are_returned_as_they_came():
    assert check.images(GOOD) is GOOD
    assert check.images(GOOD[0], batched=False).shape == (3, 4, 5)
    barely = GOOD * (1 + 5e-4)
    assert check.images(barely) is barely, "rounding is not an error, and is not clipped"


def test_the_name_is_that_of_the_argument():
    with pytest.raises(InputError, match=r"^mask must have shape \(C, H, W\)"):
        check.images(GOOD, "mask", batched=False)


@pytest.mark.parametrize("value", [25, 0, -0.1, math.nan, 1.01])
def test_sigma(value):
    message = rf"sigma must be in \(0, 1\] \(units of the pixel range\), got {value}; .* 25/255"
    with pytest.raises(InputError, match=message):
        check.sigma(value)
    assert check.sigma(1) == 1.0


@pytest.mark.parametrize(
    ("value", "low", "high", "message"),
    [
        (-1, 0, None, r"^lr must be at least 0, got -1$"),
        (2, None, 1, r"^lr must be at most 1, got 2$"),
        (2, 0, 1, r"^lr must be in \[0, 1\], got 2$"),
        (math.nan, 0, 1, r"^lr must be a finite number, got nan$"),
        (math.inf, 0, None, r"^lr must be a finite number, got inf$"),
        ("1", 0, 1, r"^lr must be a finite number, got '1'$"),
        (True, 0, 1, r"^lr must be a finite number, got True$"),
    ],
)
def test_between(value, low, high, message):
    with pytest.raises(InputError, match=message):
        check.between(value, "lr", low, high)


def test_between_includes_its_bounds():
    assert check.between(0, "x", 0, 1) == 0
    assert check.between(1, "x", 0, 1) == 1
    assert check.between(-1e300, "x") == -1e300


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (2.0, r"^n must be a whole number, got 2\.0$"),
        (True, r"^n must be a whole number, got True$"),
        ("3", r"^n must be a whole number, got '3'$"),
        (0, r"^n must be at least 1, got 0$"),
    ],
)
def test_count(value, message):
    with pytest.raises(InputError, match=message):
        check.count(value, "n")
    assert check.count(1, "n") == 1


def test_choice_names_the_near_miss_and_the_known():
    known = ["ddim", "euler", "heun"]
    assert check.choice("heun", "sampler", known) == "heun"
    with pytest.raises(InputError) as raised:
        check.choice("dimm", "sampler", known)
    assert str(raised.value) == (
        'unknown sampler "dimm"; did you mean "ddim"? (known: ddim, euler, heun)'
    )
    with pytest.raises(InputError, match=r'^unknown sampler "zzz" \(known: ddim, euler, heun\)$'):
        check.choice("zzz", "sampler", known)


def test_same_shape():
    check.same_shape(GOOD, GOOD, "real", "fake")
    message = r"^real and fake must have the same shape, got \(2, 3, 4, 5\) and \(1, 3, 4, 5\)$"
    with pytest.raises(InputError, match=message):
        check.same_shape(GOOD, GOOD[:1], "real", "fake")


def test_new_file(tmp_path):
    assert check.new_file(tmp_path / "new/a.PNG", suffixes=(".png",)) == tmp_path / "new/a.PNG"
    assert list(tmp_path.iterdir()) == [], "nothing is made, and the probe is gone"
    with pytest.raises(InputError, match=r"a\.gif must end in one of \.png, \.jpg, got '\.gif'"):
        check.new_file(tmp_path / "a.gif", suffixes=(".png", ".jpg"))
    with pytest.raises(InputError, match=r"is a folder; name a file"):
        check.new_file(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file is a file; .* cannot lie below it"):
        check.new_file(tmp_path / "file/a/b.png")


def test_new_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/a").touch()
    assert check.new_folder(tmp_path / "a/b") == tmp_path / "a/b"
    assert check.new_folder(tmp_path / "empty") == tmp_path / "empty"
    assert not (tmp_path / "a").exists()
    with pytest.raises(InputError, match="holds files already; name a new or an empty folder"):
        check.new_folder(tmp_path / "full")
    with pytest.raises(InputError, match="is a file; name a folder"):
        check.new_folder(tmp_path / "full/a")


@pytest.mark.parametrize(
    ("path", "probed"), [("empty", "empty"), ("absent", "."), ("absent/deep", ".")]
)
def test_new_folder_tries_the_innermost_folder_that_is_there(tmp_path, monkeypatch, path, probed):
    """A volume may be writable where what it is mounted in is not, and the other way round."""
    (tmp_path / "empty").mkdir()
    probed = tmp_path / probed
    touch = Path.touch

    def refuse(where):
        def attempt(self, *args, **kwargs):
            if where(self.parent):
                raise PermissionError(13, "Permission denied")
            touch(self, *args, **kwargs)

        return attempt

    monkeypatch.setattr(Path, "touch", refuse(lambda place: place != probed))
    assert check.new_folder(tmp_path / path) == tmp_path / path
    monkeypatch.setattr(Path, "touch", refuse(lambda place: place == probed))
    with pytest.raises(InputError, match=rf"^cannot write to {probed}: Permission denied$"):
        check.new_folder(tmp_path / path)


def test_folder(tmp_path, monkeypatch):
    assert check.folder(tmp_path / "a/b").is_dir()
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file/below"):
        with pytest.raises(InputError, match=r"is a file or lies below one; name a folder"):
            check.folder(path)

    def refuse(self, *args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    with pytest.raises(InputError, match=r"^cannot write to .*: Permission denied$"):
        check.folder(tmp_path)


def test_existing(tmp_path):
    assert check.existing(tmp_path) == tmp_path
    with pytest.raises(InputError, match=r"^weights .*nowhere does not exist$"):
        check.existing(tmp_path / "nowhere", "weights")


def test_messages_are_one_line_and_errors_are_values():
    for value, _ in IMAGES.values():
        with pytest.raises(ValueError, match=r"\A[^\n]+\Z"):
            check.images(value)
