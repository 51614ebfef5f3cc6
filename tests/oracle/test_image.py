"""The door for pixels against Pillow, NumPy and closed forms; and what it refuses."""

import io
import struct
import zlib

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from gouache import _decode, image

RNG = np.random.default_rng(0)


def levels(*shape, top=255, dtype=np.uint8):
    return RNG.integers(0, top + 1, shape, dtype=np.int64).astype(dtype)


def chw(array, top=255):
    """Return an array (H, W) or (H, W, C) as the float32 tensor that it stands for."""
    array = array[..., None] if array.ndim == 2 else array
    return torch.from_numpy(np.moveaxis(array.astype(np.float32) / np.float32(top), -1, 0).copy())


def png(path, colour, depth, array, *, filters=(0, 1, 2, 3, 4), interlaced=False, extra=b""):
    """Write a PNG by the specification's own words, with every row filter in turn."""
    h, w = array.shape[:2]
    dtype = ">u2" if depth == 16 else np.uint8
    rows = np.frombuffer(array.astype(dtype).tobytes(), np.uint8).reshape(h, -1).astype(int)
    bpp = rows.shape[1] // w
    data, above = b"", np.zeros(rows.shape[1], int)
    for y, row in enumerate(rows):
        left = np.concatenate([np.zeros(bpp, int), row[:-bpp]])
        corner = np.concatenate([np.zeros(bpp, int), above[:-bpp]])
        p = left + above - corner
        far = np.abs(np.stack([p - left, p - above, p - corner]))
        paeth = np.choose(far.argmin(0), [left, above, corner])
        kind = filters[y % len(filters)]
        guess = [0, left, above, (left + above) // 2, paeth][kind]
        data += bytes([kind]) + ((row - guess) % 256).astype(np.uint8).tobytes()
        above = row
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlaced))
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + extra
        + chunk(b"IDAT", zlib.compress(data))
        + chunk(b"IEND", b"")
    )
    return path


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


# What is read


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "webp"])
@pytest.mark.parametrize("shape", [(9, 7), (9, 7, 3)])
def test_lossless_formats_are_exact(tmp_path, suffix, shape):
    x = levels(*shape)
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(x).save(tmp_path / f"a.{suffix}", **options)
    got = image.load(tmp_path / f"a.{suffix}")
    if suffix == "webp" and x.ndim == 2:  # WebP has no grey
        x = np.stack([x] * 3, axis=-1)
    assert got.dtype == torch.float32
    assert torch.equal(got, chw(x))


def test_jpeg_is_what_pillow_decodes(tmp_path):
    for x in (levels(16, 24), levels(16, 24, 3)):
        Image.fromarray(x).save(tmp_path / "a.jpg", quality=90)
        assert torch.equal(
            image.load(tmp_path / "a.jpg"), chw(np.asarray(Image.open(tmp_path / "a.jpg")))
        )


def test_one_bit(tmp_path):
    x = levels(5, 11, top=1)
    for name in ("a.png", "a.tif", "a.bmp"):
        Image.fromarray(x.astype(bool)).save(tmp_path / name)
        assert torch.equal(image.load(tmp_path / name), chw(x, 1))


def test_palette(tmp_path):
    table, index = levels(4, 3), levels(6, 5, top=3)
    picture = Image.fromarray(index).convert("L")
    picture = Image.frombytes("P", picture.size, picture.tobytes())
    picture.putpalette(table.tobytes())
    for name in ("a.png", "a.gif", "a.bmp"):
        picture.save(tmp_path / name)
        assert torch.equal(image.load(tmp_path / name), chw(table[index]))


def test_palette_with_alpha(tmp_path):
    table, index = levels(4, 3), levels(6, 5, top=3)
    picture = Image.frombytes("P", (5, 6), index.tobytes())
    picture.putpalette(table.tobytes())
    alpha = np.array([0, 85, 170, 255], np.uint8)
    picture.save(tmp_path / "a.png", transparency=alpha.tobytes())
    a = torch.from_numpy(alpha[index] / np.float32(255))
    expected = chw(table[index]) * a + 0.25 * (1 - a)
    torch.testing.assert_close(image.load(tmp_path / "a.png", background=0.25), expected)


@pytest.mark.parametrize("channels", [2, 4])
@pytest.mark.parametrize("background", [0.0, 0.3, 1.0])
def test_alpha_is_laid_over_the_background(tmp_path, channels, background):
    x = levels(8, 6, channels)
    Image.fromarray(x).save(tmp_path / "a.png")
    colour, a = chw(x)[:-1], chw(x)[-1:]
    got = image.load(tmp_path / "a.png", background=background)
    torch.testing.assert_close(got, a * colour + (1 - a) * background, rtol=0, atol=1e-6)
    assert torch.equal(image.as_tensor(Image.fromarray(x), background=background), got)


@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_colour_becomes_the_background(tmp_path, depth):
    top = 2**depth - 1
    x = levels(6, 4, 3, top=top, dtype=np.uint16)
    x[2, 1] = x[4, 3] = (1, 2, 3)
    key = chunk(b"tRNS", struct.pack(">HHH", 1, 2, 3))
    got = image.load(png(tmp_path / "a.png", 2, depth, x, extra=key), background=0.5)
    expected = chw(x, top)
    expected[:, 2, 1] = expected[:, 4, 3] = 0.5
    assert torch.equal(got, expected)


@pytest.mark.parametrize(("colour", "channels"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_sixteen_bit_png_is_exact(tmp_path, colour, channels):
    x = levels(10, 7, channels, top=65535, dtype=np.uint16)
    if channels in (2, 4):
        x[..., -1] = 65535
    got = image.load(png(tmp_path / "a.png", colour, 16, x))
    assert torch.equal(got, chw(x[..., : 1 if channels < 3 else 3], 65535))
    assert _decode.header(tmp_path / "a.png") == tuple(got.shape)


def test_sixteen_bit_alpha(tmp_path):
    x = levels(10, 7, 4, top=65535, dtype=np.uint16)
    got = image.load(png(tmp_path / "a.png", 6, 16, x), background=0.0)
    torch.testing.assert_close(got, chw(x, 65535)[:3] * chw(x, 65535)[3:], rtol=0, atol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
def test_sixteen_bit_tiff_is_exact_in_both_byte_orders(tmp_path, order, channels):
    x = levels(6, 9, channels, top=65535, dtype=np.uint16)
    entries = [
        *((256, 9), (257, 6), (258, 16), (259, 1), (262, 1 if channels == 1 else 2)),
        *((273, 0), (277, channels), (278, 6), (279, x.nbytes)),
    ]
    body = 8 + 2 + 12 * len(entries) + 4
    extra = struct.pack(order + "HHH", 16, 16, 16) if channels == 3 else b""
    directory = struct.pack(order + "H", len(entries))
    for tag, value in entries:
        count, kind = 1, 4
        if tag == 258 and channels == 3:
            count, kind, value = 3, 3, body
        value = body + len(extra) if tag == 273 else value
        directory += struct.pack(order + "HHII", tag, kind, count, value)
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    data = start + directory + b"\0\0\0\0" + extra + x.astype(order + "u2").tobytes()
    (tmp_path / "a.tif").write_bytes(data)
    assert torch.equal(image.load(tmp_path / "a.tif"), chw(x, 65535))


def test_sixteen_bit_tiff_of_another_writer_is_exact(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    for shape in ((6, 9), (6, 9, 3), (6, 9, 4)):
        x = levels(*shape, top=65535, dtype=np.uint16)
        x[..., 3:] = 65535
        options = {} if len(shape) == 2 else {"photometric": "rgb"}
        for compression in (None, "zlib"):
            tifffile.imwrite(tmp_path / "a.tif", x, compression=compression, **options)
            assert torch.equal(image.load(tmp_path / "a.tif"), chw(x, 65535)[:3])


def test_float_tiff(tmp_path):
    x = RNG.random((4, 6), dtype=np.float32)
    Image.fromarray(x).save(tmp_path / "a.tif")
    assert torch.equal(image.load(tmp_path / "a.tif")[0], torch.from_numpy(x))


def test_cmyk_is_converted(tmp_path):
    white = Image.new("CMYK", (16, 16), (0, 0, 0, 0))
    cyan = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    for picture, colour in ((white, (1, 1, 1)), (cyan, (0, 1, 1))):
        picture.save(tmp_path / "a.jpg", quality=100)
        got = image.load(tmp_path / "a.jpg").mean((1, 2))
        torch.testing.assert_close(got, torch.tensor(colour).float(), rtol=0, atol=0.01)


# EXIF: where the stored first row and column lie in the upright picture, by the standard's table.
UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: x[::-1, ::-1].transpose(1, 0, 2),
    8: lambda x: np.rot90(x, 1),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_exif_orientation(tmp_path, orientation, suffix):
    x = levels(5, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(x).save(tmp_path / f"a.{suffix}", exif=exif, **options)
    got = image.load(tmp_path / f"a.{suffix}")
    assert torch.equal(got, chw(UPRIGHT[orientation](x)))
    assert _decode.header(tmp_path / f"a.{suffix}") == tuple(got.shape)


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation_of_jpeg_and_deep_png(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(levels(16, 24, 3)).save(tmp_path / "a.jpg", exif=exif, quality=95)
    stored = np.asarray(Image.open(tmp_path / "a.jpg"))
    upright = chw(UPRIGHT[orientation](stored))
    assert torch.equal(image.load(tmp_path / "a.jpg"), upright)
    with Image.open(tmp_path / "a.jpg") as picture:
        assert torch.equal(image.as_tensor(picture), upright)
    x = levels(5, 8, 3, top=65535, dtype=np.uint16)
    extra = chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0"))
    file = png(tmp_path / "a.png", 2, 16, x, extra=extra)
    assert torch.equal(image.load(file), chw(UPRIGHT[orientation](x), 65535))


@pytest.mark.filterwarnings("ignore")
def test_unreadable_exif_does_not_stop_a_picture(tmp_path):
    x = levels(4, 4, 3)
    file = png(tmp_path / "a.png", 2, 8, x, extra=chunk(b"eXIf", b"MM\0*garbage"))
    assert torch.equal(image.load(file), chw(x))


def test_one_pixel(tmp_path):
    Image.new("RGB", (1, 1), (51, 102, 153)).save(tmp_path / "a.png")
    got = image.load(tmp_path / "a.png")
    torch.testing.assert_close(got, torch.tensor([0.2, 0.4, 0.6])[:, None, None])


def test_frames_of_an_animation(tmp_path):
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    for name in ("a.gif", "a.tif"):
        for k in range(3):
            got = image.load(tmp_path / name, frame=k).mean((1, 2))
            torch.testing.assert_close(got, torch.eye(3)[k])


def test_a_phone_picture_with_an_extra_view_loads_its_first(tmp_path):
    first = Image.fromarray(levels(16, 16, 3))
    first.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[first])
    with Image.open(tmp_path / "a.jpg") as picture:
        assert picture.format == "MPO"
        expected = chw(np.asarray(picture))
    assert torch.equal(image.load(tmp_path / "a.jpg"), expected)


# What is written


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x=st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3])).flatmap(
        lambda shape: arrays(np.uint8, shape)
    )
)
def test_png_round_trip_is_exact(tmp_path, x):
    image.save(chw(x), tmp_path / "a.png")
    assert torch.equal(image.load(tmp_path / "a.png"), chw(x))
    assert image.png_bytes(chw(x))[:4] == b"\x89PNG"
    assert np.array_equal(
        np.asarray(Image.open(io.BytesIO(image.png_bytes(chw(x))))),
        x[..., 0] if x.shape[2] == 1 else x,
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    x=st.tuples(st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 3])).flatmap(
        lambda shape: arrays(np.uint16, shape)
    )
)
def test_sixteen_bit_round_trips_are_exact(tmp_path, x):
    for name in ("a.png", "a.tif"):
        image.save(chw(x, 65535), tmp_path / name, bits=16)
        assert torch.equal(image.load(tmp_path / name), chw(x, 65535))


def test_sixteen_bit_png_is_read_by_others(tmp_path):
    x = levels(6, 5, top=65535, dtype=np.uint16)
    image.save(chw(x, 65535), tmp_path / "a.png", bits=16)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")).astype(int), x)
    colour = levels(6, 5, 3, top=65535, dtype=np.uint16)
    image.save(chw(colour, 65535), tmp_path / "b.png", bits=16)
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), colour >> 8)


@pytest.mark.parametrize("shape", [(6, 5), (1, 1), (7, 3, 3), (1, 9, 3)])
def test_sixteen_bit_tiff_is_read_by_others(tmp_path, shape):
    x = np.random.default_rng(0).integers(0, 1 << 16, shape, np.uint16)
    image.save(chw(x, 65535), tmp_path / "a.TIFF", bits=16)
    found = tifffile.imread(tmp_path / "a.TIFF")
    assert found.dtype == np.uint16
    assert np.array_equal(found, x)


@pytest.mark.parametrize("suffix", [".webp", ".tif", ".tiff", ".PNG"])
def test_other_lossless_formats_are_exact(tmp_path, suffix):
    x = levels(7, 9, 3)
    image.save(chw(x), tmp_path / f"a{suffix}")
    assert torch.equal(image.load(tmp_path / f"a{suffix}"), chw(x))


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg"])
def test_jpeg_is_close(tmp_path, suffix):
    y, x = torch.meshgrid(torch.linspace(0, 1, 32), torch.linspace(0, 1, 24), indexing="ij")
    smooth = torch.stack([x, y, (x + y) / 2])
    image.save(smooth, tmp_path / f"a{suffix}")
    assert (image.load(tmp_path / f"a{suffix}") - smooth).abs().max() < 0.03


def test_values_are_rounded_not_cut():
    x = torch.tensor([0.0, 0.4, 0.6, 1.4, 254.6, 255.0]) / 255
    assert image.as_uint8(x).tolist() == [0, 0, 1, 1, 255, 255]


def test_save_makes_the_folder_and_leaves_nothing_else(tmp_path):
    image.save(torch.zeros(1, 2, 2), tmp_path / "new/deep/a.png")
    assert [p.name for p in (tmp_path / "new/deep").iterdir()] == ["a.png"]


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    image.save(torch.zeros(1, 2, 2), tmp_path / "a.png")
    before = (tmp_path / "a.png").read_bytes()

    def fail(self, file, **options):
        file.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        image.save(torch.ones(1, 2, 2), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.png"]


# Conversions


@pytest.mark.parametrize(
    ("dtype", "top"), [(np.uint8, 255), (np.uint16, 65535), (bool, 1), (np.float64, 1)]
)
@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (6, 5, 1)])
def test_arrays_of_every_dtype(dtype, top, shape):
    x = RNG.random(shape) if dtype is np.float64 else levels(*shape, top=top, dtype=dtype)
    expected = chw(x.astype(np.float64) / top, 1)
    assert torch.equal(image.as_tensor(x), expected)
    if x.ndim == 3:
        first = np.moveaxis(x, -1, 0)
        assert torch.equal(image.as_tensor(first), expected)
        assert torch.equal(image.as_tensor(np.stack([x, x])), torch.stack([expected] * 2))
        assert torch.equal(image.as_tensor(np.stack([first, first])), torch.stack([expected] * 2))


def test_tensors_keep_their_values():
    x = torch.rand(3, 6, 5)
    assert torch.equal(image.as_tensor(x), x)
    assert torch.equal(image.as_tensor(x.permute(1, 2, 0)), x)
    assert torch.equal(image.as_tensor(x.bfloat16()), x.bfloat16().float())


def test_layout_settles_what_is_ambiguous():
    x = torch.rand(3, 5, 3)
    assert torch.equal(image.as_tensor(x, layout="CHW"), x)
    assert torch.equal(image.as_tensor(x, layout="HWC"), x.permute(2, 0, 1))


@pytest.mark.parametrize(
    "mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "LAB"]
)
def test_pillow_modes(mode):
    picture = Image.fromarray(levels(6, 5, 3))
    if mode == "LAB":
        from PIL import ImageCms

        profiles = [ImageCms.createProfile(name) for name in ("sRGB", "LAB")]
        picture = ImageCms.profileToProfile(picture, *profiles, outputMode="LAB")
    else:
        picture = picture.convert(mode)
    flat = picture.convert("L" if mode in ("1", "L", "LA") else "RGB")
    assert torch.equal(image.as_tensor(picture), chw(np.asarray(flat)))


def test_as_pil_is_the_inverse_of_as_tensor():
    for x in (chw(levels(4, 6)), chw(levels(4, 6, 3))):
        assert torch.equal(image.as_tensor(image.as_pil(x)), x)


def test_as_channels_is_pillows_luma_and_keeps_grey():
    x = levels(32, 32, 3)
    luma = chw(np.asarray(Image.fromarray(x).convert("L")), 1)
    assert (image.as_channels(chw(x), 1) * 255 - luma).abs().max() <= 0.51
    grey = torch.rand(2, 1, 4, 4)
    colour = image.as_channels(grey, 3)
    assert torch.equal(colour, torch.cat([grey] * 3, 1))
    torch.testing.assert_close(image.as_channels(colour, 1), grey)


def test_grid_places_every_pixel():
    x = torch.rand(5, 3, 2, 4)
    page = image.grid(x, columns=3, pad=2, scale=3, background=0.5)
    assert page.shape == (3, 2 * (2 * 3 + 2) + 2, 3 * (4 * 3 + 2) + 2)
    for k in range(5):
        top, left = (k // 3) * 8 + 2, (k % 3) * 14 + 2
        place = page[:, top : top + 6, left : left + 12]
        assert torch.equal(place[:, 1::3, 1::3], x[k])
        assert torch.equal(place, x[k].repeat_interleave(3, 1).repeat_interleave(3, 2))
        page[:, top : top + 6, left : left + 12] = 0.5
    assert (page == 0.5).all()


@pytest.mark.parametrize("size", [(5, 4), (8, 8), (40, 31), (16, 60)])
@pytest.mark.parametrize(
    ("method", "kernel"),
    [("antialias", Image.Resampling.BICUBIC), ("bilinear", Image.Resampling.BILINEAR)],
)
def test_resize_equals_pillow(size, method, kernel):
    x = torch.rand(1, 20, 30)
    expected = np.asarray(Image.fromarray(x[0].numpy()).resize(size[::-1], kernel)).clip(0, 1)
    got = image.resize(x, size, method)
    torch.testing.assert_close(got[0], torch.from_numpy(expected.copy()), rtol=0, atol=2e-5)
    assert torch.equal(image.resize(x[None], size, method)[0], got)


def test_resize_keeps_constants_and_means():
    assert torch.allclose(image.resize(torch.full((3, 9, 9), 0.7), (4, 13)), torch.tensor(0.7))
    x = torch.rand(1, 64, 64) / 2 + 0.25
    assert abs(float(image.resize(x, 16).mean() - x.mean())) < 5e-3
    assert torch.equal(image.resize(x, 32, "nearest"), x[:, 1::2, 1::2])
