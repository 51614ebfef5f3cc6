"""The noise level against the noise that was put in."""

import numpy as np
import pytest
import torch
from scipy import fft
from skimage import data

from gouache import train
from gouache.check import InputError
from gouache.patches import estimate_sigma
from gouache.patches._noise_spectrum import Rings, cosine_power, cosines, fitted, fractal_level

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
            return fractal(size, rng)
    return page(size, rng)


def fractal(size, rng, power=1.7, times=1):
    """Return a surface of amplitude 1 / f^power, cut from one so many times as large."""
    f = np.hypot(*np.meshgrid(*[np.fft.fftfreq(size * times)] * 2))
    f[0, 0] = np.inf
    white = np.fft.fft2(rng.standard_normal(f.shape))
    surface = np.fft.ifft2(white * f**-power).real[:size, :size]
    return 0.5 + 0.2 * (surface - surface.mean()) / surface.std()


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


@pytest.mark.parametrize("kind", ["pieces", "fractal", "text"])
@pytest.mark.parametrize("levels", [5, 10, 75])
def test_small_drawn_images(kind, levels):
    for seed in range(10, 18):
        assert level_of(noisy(drawn(kind, 128), levels, seed)) == pytest.approx(levels, rel=0.05)


def test_no_chance_minimum_of_few_blocks_is_taken_for_the_level():
    """The smoothest blocks and highest frequencies of this page happen to be 10 % low."""
    paper = page(128, np.random.default_rng(101))
    assert level_of(noisy(paper, 75, 200)) == pytest.approx(75, rel=0.05)


@pytest.mark.parametrize(("power", "levels"), [(1.2, 25), (1.5, 10), (1.7, 5), (2.0, 5), (2.2, 5)])
def test_fractals_need_not_be_periodic(power, levels):
    for seed in range(4):
        clean = fractal(128, np.random.default_rng(100 + seed), power, times=4)
        assert level_of(noisy(clean, levels, seed)) == pytest.approx(levels, rel=0.05)


def test_channels_of_a_fractal():
    clean = np.broadcast_to(drawn("fractal", 128), (3, 128, 128))
    y = torch.cat([noisy(channel, 5, seed) for seed, channel in enumerate(clean)])
    assert level_of(y) == pytest.approx(5, rel=0.03)


def test_what_is_no_fractal_is_not_taken_for_one():
    def found(clean, levels):
        return fractal_level(noisy(clean, levels).double().numpy())

    assert found(drawn("fractal", 128), 5) is not None
    assert not any(found(drawn(kind, 128), k) for kind in ("pieces", "text") for k in (5, 25))
    assert not any(found(photograph(name), k) for name in NAMES for k in (5, 25))
    # Crops have less to show: of a texture with a finest scale the power bends down.
    assert not any(found(photograph(name)[:128, :128], 75) for name in ("grass", "gravel"))
    assert found(drawn("fractal", 64), 5) is None


def test_a_fractal_whose_noise_was_cut_off_is_read_where_it_was_not():
    clean = 0.3 + 0.7 * drawn("fractal", 256)
    y = noisy(clean, 25).clamp(0, 1)
    assert float((y == 1).float().mean()) > 0.01
    assert level_of(y) == pytest.approx(25, rel=0.05)


@pytest.mark.parametrize("shape", [(8, 8), (96, 131)])
def test_cosine_power_is_that_of_the_cosine_transform(shape):
    x = np.random.default_rng(0).standard_normal(shape)
    expected = fft.dctn(x, norm="ortho")
    np.testing.assert_allclose(cosine_power(x), expected**2, atol=1e-12)
    D, E = map(cosines, shape)
    np.testing.assert_allclose(D @ x @ E.T, expected, atol=1e-12)


def rings(level, beta, rng=None):
    """Return what is expected of the model, or a draw: a mean square of n normal numbers."""
    f, count = (np.arange(1, 45) + 0.5) / 32, 16.0 * np.arange(1, 45)
    power = level + 0.02 * (4 * f) ** -beta
    if rng is not None:
        power = power * rng.chisquare(count) / count
    return Rings(f, power, count)


@pytest.mark.parametrize("level", [1e-3, 1e-2, 0.1])
@pytest.mark.parametrize("beta", [2.2, 3.0, 3.8])
def test_expected_spectra_give_the_model_back(level, beta):
    found = fitted(rings(level, beta))
    assert found.level == pytest.approx(level, rel=0.01)
    assert found.beta == pytest.approx(beta, abs=0.07)
    assert found.misfit < -4
    assert abs(found.bend) < 0.5


def test_the_fit_knows_its_error_and_tests_keep_their_level():
    rng = np.random.default_rng(0)
    found = [fitted(rings(1e-3, 2.4, rng)) for _ in range(300)]
    errors = np.array([one.level for one in found]) / 1e-3 - 1
    assert errors.std() == pytest.approx(np.mean([one.error for one in found]), rel=0.12)
    assert abs(errors.mean()) < 0.2 * errors.std()
    assert np.std([one.bend for one in found]) == pytest.approx(1, rel=0.12)
    assert np.mean([one.misfit for one in found]) == pytest.approx(0, abs=0.2)
    assert np.std([one.misfit for one in found]) == pytest.approx(1, rel=0.15)
    assert np.mean([one.holds for one in found]) > 0.97


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
    stripes = 0.4 + 0.1 * (torch.arange(128) % 2).expand(1, 128, 128)
    assert float(estimate_sigma(stripes)) == pytest.approx(0, abs=1e-7)


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
    for y in (noisy(photograph("camera"), 25), noisy(drawn("fractal"), 5)):
        found = []
        for count in (1, 2):
            with train.threads(count):
                found.append(estimate_sigma(y))
        assert torch.equal(*found)
