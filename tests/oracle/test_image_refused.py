"""What the door for pixels refuses: each on one line that names the file and the mend."""

import io
import stat
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, features

from gouache import image
from gouache.check import InputError

RNG = np.random.default_rng(0)


def levels(*shape, top=255, dtype=np.uint8):
    return RNG.integers(0, top + 1, shape, dtype=np.int64).astype(dtype)


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def truncated(path, format):
    buffer = io.BytesIO()
    Image.fromarray(levels(64, 64, 3)).save(buffer, format=format)
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])


def bomb(path):
    head = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 9))
    )


def animated(path):
    frames = [Image.new("L", (4, 4), k) for k in (0, 99)]
    frames[0].save(path, format=path.suffix[1:], save_all=True, append_images=frames[1:])


def whole_numbers(path):
    Image.fromarray(levels(4, 4, top=9, dtype=np.int32)).save(path)


def floats(value):
    return lambda path: Image.fromarray(np.full((4, 4), value, np.float32)).save(path)


BAD_FILES = [
    ("a.png", lambda p: truncated(p, "PNG"), "is damaged or cut short"),
    ("a.jpg", lambda p: truncated(p, "JPEG"), "is damaged or cut short"),
    ("a.webp", lambda p: truncated(p, "WEBP"), "damaged|not a picture"),
    ("a.tif", lambda p: truncated(p, "TIFF"), "damaged|not a picture"),
    ("a.bmp", lambda p: truncated(p, "BMP"), "is damaged or cut short"),
    ("a.gif", lambda p: truncated(p, "GIF"), "is damaged or cut short"),
    ("head.png", lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n"), "damaged|not a picture"),
    ("empty.png", lambda p: p.touch(), r"empty \(0 bytes\); fetch it again"),
    ("text.png", lambda p: p.write_text("hello"), "is not a picture that can be read; convert"),
    ("page.eps", lambda p: p.write_text("%!PS-Adobe-3.0 EPSF-3.0\n"), "is not a picture"),
    ("bomb.png", bomb, "may be a decompression bomb; shrink it"),
    ("film.gif", animated, "holds 2 frames; pass frame=0"),
    ("film.png", animated, "holds 2 frames; pass frame=0"),
    ("film.webp", animated, "holds 2 frames; pass frame=0"),
    ("missing.png", lambda p: None, "does not exist"),
    ("folder.png", lambda p: p.mkdir(), "is a folder; name a picture"),
    ("whole.tif", whole_numbers, "32 bits have no known range"),
    ("float.tif", floats(7.0), r"must lie in \[0, 1\], got \[7, 7\]"),
    ("nan.tif", floats(np.nan), r"must lie in \[0, 1\], got \[nan, nan\]"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("name", "make", "message"), BAD_FILES, ids=lambda x: x if isinstance(x, str) else ""
)
def test_bad_files_are_refused_on_one_line_that_names_them(tmp_path, name, make, message):
    if name.endswith("webp") and not features.check("webp"):
        pytest.skip("Pillow without WebP")
    make(tmp_path / name)
    with pytest.raises(InputError, match=message) as caught:
        image.load(tmp_path / name)
    assert "\n" not in str(caught.value)
    assert name in str(caught.value)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@pytest.mark.filterwarnings("ignore")
@given(data=st.data(), format=st.sampled_from(["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]))
def test_no_damage_escapes_as_another_error(tmp_path, data, format):
    """A file cut short, or with bytes changed, is loaded or refused; nothing else."""
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, format=format)
    content = bytearray(buffer.getvalue())
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))]
    (tmp_path / "a.bin").write_bytes(content)
    try:
        got = image.load(tmp_path / "a.bin")
    except InputError as error:
        refusal = str(error)
        assert "a.bin" in refusal
        assert "\n" not in refusal
        return
    assert got.dtype == torch.float32
    assert got.ndim == 3
    assert 0 <= float(got.min()) <= float(got.max()) <= 1


def test_a_frame_that_is_not_there(tmp_path):
    animated(tmp_path / "a.gif")
    with pytest.raises(InputError, match=r"frame must be in 0..1 .* got 2"):
        image.load(tmp_path / "a.gif", frame=2)


GREY = torch.full((1, 4, 4), 0.5)
BAD_SAVES = [
    (GREY * float("nan"), "a.png", "must be finite, got 16 NaN"),
    (GREY + 1, "a.png", r"must lie in \[0, 1\], got \[1.5, 1.5\]"),
    (GREY * 500, "a.png", "divide 8-bit levels by 255"),
    (GREY * 2 - 2, "a.png", r"map \[-1, 1\] by \(x \+ 1\) / 2"),
    (GREY[0], "a.png", r"must have shape \(C, H, W\), got \(4, 4\)"),
    (GREY[None], "a.png", "gouache.image.grid lays a batch out"),
    (GREY.permute(1, 2, 0), "a.png", "must have 1 or 3 channels"),
    (GREY[:, :0], "a.png", "is empty: shape"),
    ((GREY * 255).byte(), "a.png", "must be float in"),
    (GREY.numpy(), "a.png", "must be a torch tensor"),
    (GREY, "a.xyz", "must end in one of .png"),
    (GREY, "a", "must end in one of .png"),
    (GREY, "folder.png", "is a folder; name a file"),
    (GREY, "file.txt/a.png", "file.txt is a file; .* cannot lie below it"),
]


@pytest.mark.parametrize(("x", "name", "message"), BAD_SAVES)
def test_bad_saves_are_refused_and_write_nothing(tmp_path, x, name, message):
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file.txt").touch()
    with pytest.raises(InputError, match=message):
        image.save(x, tmp_path / name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file.txt", "folder.png"]


def test_unwritable_folder_is_refused(tmp_path):
    place = tmp_path / "closed"
    place.mkdir()
    place.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        (place / "probe").touch()
    except PermissionError:
        with pytest.raises(InputError, match="cannot write to"):
            image.save(GREY, place / "a.png")
    else:
        pytest.skip("this user may write anywhere")
    finally:
        place.chmod(stat.S_IRWXU)


@pytest.mark.parametrize(("bits", "name"), [(12, "a.png"), (16, "a.jpg")])
def test_bad_bits(tmp_path, bits, name):
    with pytest.raises(InputError, match="bits must be 8, or 16 for"):
        image.save(GREY, tmp_path / name, bits=bits)
    assert not list(tmp_path.iterdir())


BAD_ARRAYS = [
    (np.zeros((3, 5, 3)), r"\(3, 5, 3\) can be read in two ways; pass layout"),
    (np.zeros((7, 5, 6)), "has no axis of 1, 3 or 4 channels"),
    (np.zeros(5), "must have 2, 3 or 4 axes"),
    (np.zeros((0, 5, 3)), "is empty"),
    (np.zeros((5, 5), np.int64), "must be bool, uint8, uint16 or float .* got int64"),
    (np.full((5, 5), 255.0), "divide 8-bit levels by 255"),
    (np.full((5, 5), np.inf), "must be finite, got 25"),
    ("picture.png", "must be a tensor, array or PIL image, got str"),
]


@pytest.mark.parametrize(("x", "message"), BAD_ARRAYS)
def test_bad_arrays(x, message):
    with pytest.raises(InputError, match=message):
        image.as_tensor(x)


def test_wrong_layout():
    with pytest.raises(InputError, match="is not HWC"):
        image.as_tensor(np.zeros((3, 5, 6)), layout="HWC")
    with pytest.raises(InputError, match='unknown layout "CWH"'):
        image.as_tensor(np.zeros((3, 5, 3)), layout="CWH")


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (4.5, r"size must be a number or \(height, width\), got 4.5"),
        (0, "height must be in"),
        ((4, -1), "width must be in"),
        ((4, 4, 4), "must be a number or"),
        (1 << 20, "height must be in"),
        ((4, 2.5), "width must be a whole number"),
    ],
)
def test_bad_sizes(size, message):
    with pytest.raises(InputError, match=message):
        image.resize(GREY, size)


def test_other_bad_arguments():
    with pytest.raises(InputError, match='unknown method "cubic"'):
        image.resize(GREY, 4, "cubic")
    with pytest.raises(InputError, match="channels must be 1"):
        image.as_channels(GREY, 4)
    with pytest.raises(InputError, match="scale must be at least 1"):
        image.grid(GREY[None], scale=0)
    with pytest.raises(InputError, match="background must be in"):
        image.load("missing.png", background=2)
