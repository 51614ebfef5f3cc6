"""The noise level against the noise that was put in."""

import numpy as np
import pytest
import torch
from skimage import data

from gouache import train
from gouache.check import InputError
from gouache.patches import estimate_sigma

NAMES = ("camera", "astronaut", "chelsea", "coffee", "brick", "grass", "gravel", "coins", "page")
NAMES += ("moon", "text")
TEXTURES = ("brick", "grass", "gravel")


def drawn(kind, size=256):
    """Return a clean image without noise of its own."""
    y, x = np.mgrid[:size, :size] / size
    rng = np.random.default_rng(5)
    match kind:
        case "ramp":
            return x * y
        case "pieces":
            return 0.2 + 0.5 * ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.1) + 0.2 * (x > 0.7)
        case "blocks":
            return np.kron((rng.random((16, 16)) > 0.7), np.ones((16, 16))) * 0.8
        case "fractal":
            f = np.hypot(*np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size)))
            f[0, 0] = np.inf
            surface = np.fft.ifft2(np.fft.fft2(rng.standard_normal((size, size))) * f**-1.7).real
            return 0.5 + 0.2 * surface / surface.std()
    return page(size, rng)


def page(size, rng):
    from PIL import Image, ImageDraw

    paper = Image.new("L", (size, size), 230)
    for line in range(4, size - 12, 16):
        words = "".join(rng.choice(list("abcdefghij klmnop qrstu vwxyz"), size // 7))
        ImageDraw.Draw(paper).text((4, line), words, fill=20)
    return np.asarray(paper) / 255


def photograph(name):
    picture = getattr(data, name)() / 255
    return picture if picture.ndim == 2 else picture[..., :3] @ np.array([0.299, 0.587, 0.114])


def noisy(image, levels, seed=0):
    noise = np.random.default_rng(seed).standard_normal(image.shape)
    return torch.from_numpy(image + levels / 255 * noise)[None]


def level_of(image):
    return 255 * float(estimate_sigma(image))


@pytest.mark.parametrize("kind", ["ramp", "pieces", "blocks", "fractal", "text"])
@pytest.mark.parametrize("levels", [5, 25, 75])
def test_drawn_images(kind, levels):
    for seed in range(3):
        assert level_of(noisy(drawn(kind), levels, seed)) == pytest.approx(levels, rel=0.05)


@pytest.mark.parametrize("levels", [10, 25, 50])
def test_photographs(levels):
    """They carry some noise and texture of their own: the median of the errors is held."""
    found = [level_of(noisy(photograph(name), levels)) for name in NAMES]
    assert np.median(np.abs(np.array(found) / levels - 1)) < 0.03


@pytest.mark.parametrize("name", TEXTURES)
@pytest.mark.parametrize("levels", [5, 10, 25])
def test_textures_are_told_from_noise_better_than_by_scikit_image(name, levels):
    pytest.importorskip("pywt")
    from skimage.restoration import estimate_sigma as by_wavelets

    ours, theirs = [], []
    for seed in range(3):
        y = noisy(photograph(name), levels, seed)
        ours.append(abs(level_of(y) - levels))
        theirs.append(abs(255 * by_wavelets(y[0].numpy()) - levels))
    assert np.mean(ours) < np.mean(theirs)


def test_one_number_an_image_and_colour():
    y = torch.stack([noisy(drawn("pieces"), k)[0].expand(3, -1, -1) for k in (10, 40)])
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    found = 255 * estimate_sigma(y + torch.tensor([10.0, 40.0]).view(2, 1, 1, 1) / 255 * noise)
    expected = torch.tensor([10.0, 40.0]) * 2**0.5
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)


def test_large_images_are_sampled():
    assert level_of(noisy(drawn("ramp", 1200), 25)) == pytest.approx(25, rel=0.02)


def test_noise_that_was_cut_off_is_seen_where_it_was_not():
    """Saved pictures end at 0 and 1: white paper and black shadow would seem free of noise."""
    clean = np.where(np.arange(256) < 128, 1.0, 0.5) * np.ones((256, 1))
    clean[:64] *= 0
    assert level_of(noisy(clean, 20).clamp(0, 1)) == pytest.approx(20, rel=0.03)


def test_levels_of_8_bits_do_not_matter():
    y = (noisy(drawn("ramp") * 0.6 + 0.2, 5) * 255).round() / 255
    assert level_of(y) == pytest.approx(5, rel=0.03)


def test_constant_and_tiny_images_have_none():
    assert float(estimate_sigma(torch.full((1, 30, 30), 0.4))) == pytest.approx(0, abs=1e-7)
    assert float(estimate_sigma(torch.ones(1, 30, 30))) == 0
    assert float(estimate_sigma(torch.rand(1, 2, 9))) == 0


@pytest.mark.parametrize("what", [np.zeros((1, 8, 8)), [[[0.1]]], None])
def test_what_is_no_tensor_is_told_so(what):
    with pytest.raises(InputError, match="image must be a torch tensor"):
        estimate_sigma(what)


@pytest.mark.parametrize("side", [3, 4, 6, 9, 20])
def test_small_images_give_the_right_order(side):
    y = torch.rand(40, 3, side, side, generator=torch.Generator().manual_seed(0))
    found = estimate_sigma(y)
    assert float(found.square().mean().sqrt()) == pytest.approx(12**-0.5, rel=0.3)


def test_bytes_are_the_same_for_any_number_of_threads():
    y, found = noisy(photograph("camera"), 25), []
    for count in (1, 2):
        with train.threads(count):
            found.append(estimate_sigma(y))
    assert torch.equal(*found)
