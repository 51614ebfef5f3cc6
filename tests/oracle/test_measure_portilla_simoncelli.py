"""The steerable pyramid and its statistics against closed forms, naive loops and plenoptic."""

import importlib
import itertools
import math

import numpy as np
import pytest
import torch
from skimage.data import brick, gravel

from gouache import image
from gouache.check import InputError
from gouache.measure import patch_sliced_wasserstein, portilla_simoncelli_distance
from gouache.measure import texture_statistics as statistics
from gouache.measure._steerable import Pyramid, inverse, lowpasses, steerable_pyramid
from gouache.patches import adsn
from gouache.random import generator

SIZES = [(64, 64), (75, 63), (64, 33), (17, 18)]


def noise(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64).to(dtype)


def lowpass(sides, s):
    """Return ``L_s`` at the frequencies of an image, and their angle, by NumPy."""
    down, across = (2 * np.pi * np.fft.fftfreq(n) for n in sides)
    r = np.hypot(down[:, None], across)
    inside = np.clip(np.log2(np.maximum(r, 1e-12) * 2 ** (s + 1) / np.pi), 0, 1)
    return np.cos(np.pi / 2 * inside), np.arctan2(down[:, None], across + 0 * r)


def power(x):
    return x.abs().square().mean((-2, -1))


def product(a, b):
    """Return the inner product of two pyramids under which the frame is tight."""
    pairs = zip(a.bands, b.bands, strict=True)
    bands = sum((x.conj() * y).real.mean((-2, -1)).sum(-1) / 2 for x, y in pairs)
    return (a.high * b.high).mean((-2, -1)) + bands + (a.low * b.low).mean((-2, -1))


@pytest.mark.parametrize("sides", SIZES)
@pytest.mark.parametrize(("scales", "orientations"), [(1, 2), (3, 4), (2, 3), (3, 6)])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-13), (torch.float32, 4e-6)])
def test_frame_is_tight_and_inverted(sides, scales, orientations, dtype, atol):
    x = noise(2, 3, *sides, dtype=dtype)
    found = steerable_pyramid(x, scales, orientations)
    assert found.low.dtype == dtype
    torch.testing.assert_close(inverse(found), x, rtol=0, atol=atol)
    parts = power(found.high) + power(found.low) + sum(power(z).sum(-1) / 2 for z in found.bands)
    torch.testing.assert_close(parts, power(x), rtol=atol, atol=0)


@pytest.mark.parametrize("sides", SIZES)
def test_inverse_is_the_adjoint(sides):
    x, other = noise(*sides), steerable_pyramid(noise(*sides), 2, 4)
    bands = [torch.complex(noise(*z.shape, seed=1), noise(*z.shape, seed=2)) for z in other.bands]
    y = Pyramid(noise(*sides, seed=3), bands, noise(*other.low.shape, seed=4))
    expected = product(steerable_pyramid(x, 2, 4), y)
    torch.testing.assert_close((x * inverse(y)).mean(), expected)


def test_levels_are_samples_of_filtered_images():
    """The parts from a scale on make the image filtered by ``L_s^2``, at every 2^s-th pixel."""
    x = noise(48, 80)
    for s, found in enumerate(lowpasses(steerable_pyramid(x, 3, 4))):
        kept = lowpass(x.shape, s)[0] ** 2
        expected = np.fft.ifft2(np.fft.fft2(x.numpy()) * kept).real[:: 2**s, :: 2**s]
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-13)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 4, 2.9])
@pytest.mark.parametrize("orientations", [2, 3, 4, 6])
def test_bands_are_steered_to_any_angle(angle, orientations):
    x, order = noise(48, 80), orientations - 1
    c = 2**order * math.factorial(order) / math.sqrt(orientations * math.factorial(2 * order))
    turns = angle - np.pi * np.arange(orientations) / orientations
    sines = np.sin(turns)
    flat = np.abs(sines) < 1e-9
    weights = np.sin(orientations * turns) / (orientations * np.where(flat, 1, sines))
    weights[flat] = 1
    for s, bands in enumerate(steerable_pyramid(x, 2, orientations).bands):
        (here, a), (coarser, _) = lowpass(x.shape, s), lowpass(x.shape, s + 1)
        turned = (-1j) ** order * c * np.cos(a - angle) ** order * np.sqrt(here**2 - coarser**2)
        expected = np.fft.ifft2(np.fft.fft2(x.numpy()) * turned)[:: 2**s, :: 2**s]
        steered = np.einsum("k, khw -> hw", weights, bands.real.numpy())
        np.testing.assert_allclose(expected.imag, 0, atol=1e-13)
        np.testing.assert_allclose(steered, expected.real, atol=1e-12)


def test_bands_have_no_power_on_one_side():
    """Imaginary parts are Hilbert transforms: half of the frequencies are empty."""
    bands = steerable_pyramid(noise(64, 64), 1, 4).bands[0]
    spectrum = torch.fft.fft2(bands).abs()
    mirrored = spectrum.flip(-2, -1).roll((1, 1), (-2, -1))
    assert torch.minimum(spectrum, mirrored).max() < 1e-9 * spectrum.max()


def test_turning_by_a_right_angle_permutes_orientations():
    x = noise(64, 64)
    turned = x.rot90(-1).roll(1, 1)  # about the first pixel: rows go to columns
    before, after = (steerable_pyramid(u, 3, 4).bands for u in (x, turned))
    for z, w in zip(before, after, strict=True):
        expected = z.roll(2, 0).rot90(-1, (1, 2)).roll(1, 2)
        torch.testing.assert_close(w.abs(), expected.abs(), rtol=0, atol=1e-12)
    for p, q in zip(*(statistics(u[None, None], scales=3) for u in (x, turned)), strict=True):
        torch.testing.assert_close(q["magnitude"], p["magnitude"].roll(2, 1))
        torch.testing.assert_close(q["lowpass"], p["lowpass"])


def test_shifts_change_nothing():
    """Exactly, by whole samples of all levels; elsewhere second moments of low-pass images do."""
    x = image.as_tensor(gravel())[None, :, :128, :128].double()
    expected = statistics(x, scales=3)
    moved, nudged = (statistics(x.roll(by, (2, 3)), scales=3) for by in ((24, 40), (5, -3)))
    for p, q, r in zip(expected, moved, nudged, strict=True):
        for kind, value in p.items():
            torch.testing.assert_close(q[kind], value, rtol=0, atol=1e-9)
        torch.testing.assert_close(r["lowpass"][:, 0], p["lowpass"][:, 0], rtol=1e-6, atol=0)
        torch.testing.assert_close(r["lowpass_shifts"], p["lowpass_shifts"], rtol=0, atol=1e-6)
        torch.testing.assert_close(r["magnitude_bands"], p["magnitude_bands"], rtol=0, atol=0.03)


def test_white_noise_has_the_statistics_of_its_filters():
    """The autocorrelation of a filtered field is the inverse transform of the filter squared.

    Low-pass images are normal; magnitudes follow Rayleigh, for bands are circular: their variance
    is ``1 - pi / 4`` of the mean square.
    """
    x = 0.1 * noise(64, 1, 128, 128)
    found = statistics(x, scales=3)
    for s, level in enumerate(found):
        (here, a), (coarser, _) = lowpass((128, 128), s), lowpass((128, 128), s + 1)
        shifts = np.fft.ifft2(here**4).real
        shifts /= shifts[0, 0]
        expected = [shifts[i * 2**s, j * 2**s] for i, j in half(7)]
        np.testing.assert_allclose(level["lowpass_shifts"].mean(0), expected, atol=0.02)
        deviation, skewness, kurtosis = level["lowpass"].mean(0)
        assert deviation == pytest.approx(0.1 * np.sqrt((here**4).mean()), rel=0.01)
        assert float(skewness) == pytest.approx(0, abs=0.02)
        assert float(kurtosis) == pytest.approx(3, abs=0.08)
        band = 16 / 5 * np.cos(a) ** 6 * (here**2 - coarser**2) / 4  # c^2 = 64 36 / (4 720)
        expected = 0.1 * np.sqrt(2 * band.mean() * (1 - np.pi / 4))
        assert float(level["magnitude"].mean(0)[0]) == pytest.approx(expected, rel=0.02)
        if "phase_scales" in level:
            assert level["phase_scales"].mean(0).abs().max() < 0.02


def half(m):
    """Return one of every two shifts that are opposite."""
    side = range(-(m // 2), m // 2 + 1)
    return [(i, j) for i, j in itertools.product(side, side) if (i, j) > (0, 0)]


def test_correlations_are_those_of_a_naive_loop():
    x = noise(2, 2, 40, 56)
    found = statistics(x, scales=2, orientations=3, neighbourhood=5)
    pyramid = steerable_pyramid(x, 2, 3)
    magnitudes = pyramid.bands[0].abs().flatten(1, 2)
    for n, images in enumerate(magnitudes):
        expected = np.corrcoef(images.flatten(1).numpy())
        rows, cols = np.triu_indices(6, 1)
        np.testing.assert_allclose(
            found[0]["magnitude_bands"][n], expected[rows, cols], rtol=0, atol=1e-7
        )
        shifted = [
            [np.corrcoef(u.flatten(), u.roll((i, j), (0, 1)).flatten())[0, 1] for i, j in half(5)]
            for u in images
        ]
        np.testing.assert_allclose(
            found[0]["magnitude_shifts"][n], np.ravel(shifted), rtol=0, atol=1e-7
        )
    assert found[1]["residual_channels"].shape == (2, 1)


def test_statistics_agree_with_plenoptic():
    """Figures of plenoptic 2.1.1 for a part of a photograph, float64."""
    x = torch.from_numpy(gravel()[:256, :256]).double()[None, None] / 255
    found = [{kind: value[0] for kind, value in level.items()} for level in statistics(x)]
    moments = torch.stack([*(level["lowpass"][1:] for level in found), found[3]["residual"][1:]])
    expected = {
        "skewness": (moments[:, 0], [-0.49490, -0.35451, -0.00500, 0.16640, 0.08568]),
        "kurtosis": (moments[:, 1], [2.93027, 2.86327, 2.94677, 3.16162, 3.12723]),
        "magnitude": (found[0]["magnitude"], [0.02208, 0.02052, 0.02115, 0.02169]),
        "one pixel down": (
            found[1]["magnitude_shifts"].view(4, 24)[:, half(7).index((1, 0))],
            [0.79620, 0.83081, 0.86846, 0.82923],
        ),
        "orientations": (
            found[0]["magnitude_bands"],
            [0.41504, 0.01563, 0.42254, 0.39011, 0.04743, 0.39518],
        ),
        "scales": (
            found[0]["magnitude_scales"].view(4, 4)[1],
            [0.27929, 0.56377, 0.22946, 0.02100],
        ),
        "phases": (
            found[1]["phase_scales"].view(4, 8)[3],
            [0.04204, 0.00534, 0.04721, 0.10022, 0.14985, 0.00271, -0.13242, -0.31208],
        ),
    }
    for value, figures in expected.values():
        np.testing.assert_allclose(value.numpy(), figures, rtol=0, atol=1.5e-5)


def test_channels_that_are_alike_correlate():
    x = noise(1, 1, 64, 64)
    found = statistics(torch.cat([x, 0.5 * x, -x], 1), scales=2)
    for level in found:
        torch.testing.assert_close(
            level["lowpass_channels"], x.new_tensor([[1, -1, -1]]), rtol=0, atol=1e-6
        )


def test_gradient_is_that_of_small_steps():
    x = (0.5 + 0.1 * noise(1, 2, 32, 36)).requires_grad_()
    weights = {}

    def value(u):
        found = statistics(u, scales=2, orientations=3, neighbourhood=3)
        total = torch.zeros((), dtype=u.dtype)
        for s, level in enumerate(found):
            for kind, y in level.items():
                w = weights.setdefault((s, kind), noise(*y.shape, seed=len(weights)))
                total = total + (w * y).sum()
        return total

    (gradient,) = torch.autograd.grad(value(x), x)
    step = 1e-6 * noise(*x.shape, seed=99)
    expected = (value(x + step) - value(x - step)) / 2
    torch.testing.assert_close((gradient * step).sum(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("level", [0, 1e-3, 0.5, 1e3])
def test_flat_images_have_finite_statistics_and_gradients(level):
    x = torch.full((1, 1, 32, 32), float(level), requires_grad=True)
    found = statistics(x, scales=2)
    total = torch.stack([value.sum() for level in found for value in level.values()]).sum()
    total.backward()
    assert total.isfinite()
    assert max(value.abs().max() for value in found[0].values()) <= level + 1e-3
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("factor", [1e-3, 1e3])
@pytest.mark.parametrize("finest", [1, 1e-3])
def test_ratios_do_not_change_when_an_image_is_scaled(factor, finest):
    """Nor where the finest bands are faint; deviations, means and extremes are scaled."""
    x = image.as_tensor(gravel())[None, :, :128, :128].double()
    parts = steerable_pyramid(x, 1, 4)
    x = inverse(Pyramid(finest * parts.high, [finest * z for z in parts.bands], parts.low))
    x = torch.cat([x, x.flip(2), x.mT.cos()], 1)
    before, after = (statistics(u, scales=3) for u in (x, factor * x))
    for p, q in zip(before, after, strict=True):
        for kind, value in p.items():
            in_pixels = {"lowpass": 3, "residual": 3, "magnitude": 12, "highpass": 3, "pixels": 0}
            n = in_pixels.get(kind, 0)
            expected = torch.cat([factor * value[:, :n], value[:, n:]], 1)
            if kind == "pixels":
                expected = factor * value
                expected[:, 6:12] = value[:, 6:12]
            torch.testing.assert_close(q[kind], expected, rtol=1e-9, atol=1e-10)


def test_statistics_of_an_image_do_not_depend_on_its_batch():
    x = noise(1, 1, 32, 32)
    alone, beside = statistics(x, scales=2), statistics(torch.cat([x, 1e3 * x]), scales=2)
    for p, q in zip(alone, beside, strict=True):
        for kind, value in p.items():
            torch.testing.assert_close(q[kind][:1], value, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("side", "scales"), [(24, 1), (47, 1), (48, 2), (64, 2), (128, 2), (256, 3), (512, 4)]
)
def test_scales_are_fewer_in_small_exemplars(side, scales):
    u = image.as_tensor(gravel())[:, :side, :side]
    assert len(portilla_simoncelli_distance(u[:, :128, :128], u).scales) == scales


@pytest.mark.parametrize(("side", "windows"), [(256, 16), (64, 1)])
def test_pictures_of_one_texture_differ_as_means_of_windows_do(side, windows):
    """Of 4 x 4 windows side by side in the exemplar, and more between them."""
    x = torch.nn.functional.avg_pool2d(noise(7, 1, 258, 258, dtype=torch.float32), 3, 1)
    x = (0.5 + 0.2 * x).clamp(0, 1)
    values = [portilla_simoncelli_distance(u[:, :side, :side], x[0]).value for u in x[1:]]
    assert np.mean(values) == pytest.approx(math.sqrt(1 / 16 + 1 / windows), rel=0.2)


@pytest.mark.parametrize("side", [24, 32, 48])
def test_small_exemplars_have_a_spread(side):
    """Their few windows overlap: too small a spread, yet one of the right order."""
    x = torch.rand(9, 1, side, side, generator=generator(0))
    values = [portilla_simoncelli_distance(u, x[0]).value for u in x[1:]]
    assert 0.5 < np.mean(values) < 3


def test_flat_exemplars_are_a_hundred_from_anything_at_most():
    """What does not vary is told in hundredths of itself, and in thousandths at the least."""
    flat, grain = torch.full((1, 64, 64), 0.5), torch.rand(1, 64, 64, generator=generator(0))
    assert portilla_simoncelli_distance(flat, flat).value == 0
    assert 20 < portilla_simoncelli_distance(grain, flat).value < 100
    lighter = portilla_simoncelli_distance(flat + 0.1, flat).scales
    pixels = 0.1 / math.hypot(0.01 * 0.6, 0.001)  # mean and both extremes, of six
    assert lighter[0] == pytest.approx(pixels * math.sqrt(3 / 6 / 9), rel=1e-5)  # of nine kinds
    assert lighter[1] < 1e-6


def test_every_image_is_described_once(monkeypatch):
    module = importlib.import_module("gouache.measure._portilla_simoncelli")
    seen = []
    monkeypatch.setattr(
        module, "texture_statistics", lambda x, **more: seen.append(x) or statistics(x, **more)
    )
    x = torch.rand(2, 1, 64, 64, generator=generator(0))
    portilla_simoncelli_distance(x[0], x[1])
    assert len(seen) == 1 + 1 + 4  # picture, exemplar, its halves


@pytest.mark.parametrize("load", [brick, gravel])
def test_fields_without_contours_are_told_from_photographs(load):
    """Also on gravel, where the distance of patches sees no difference."""
    u = image.as_tensor(load())[:, :256, :256]
    field = adsn(u, 256, rng=generator(0)).image
    score = portilla_simoncelli_distance(field, u)
    floor = score.floor[0]
    assert score.scales[0] > 4 * floor
    assert portilla_simoncelli_distance(u[:, :200, 56:], u).scales[0] < floor
    if load is gravel:
        patches = patch_sliced_wasserstein(field, u, rng=generator(0))
        assert patches.scales[1] < 2 * patches.floor[1]


def test_bad_input_is_refused():
    x = torch.rand(1, 64, 64)
    for arguments, message in (
        ({"orientations": 1}, "orientations must be at least 2"),
        ({"neighbourhood": 4}, "neighbourhood must be odd"),
        (
            {"scales": 4},
            "exemplar must have sides of at least 192 pixels .* 4 scales.* at most 2 scales",
        ),
        ({"scales": 1, "neighbourhood": 63}, r"at least 192 pixels .* \(64, 64\); make it larger$"),
        ({"scales": 0}, r"scales must be in \[1, 20\]"),
    ):
        with pytest.raises(InputError, match=message):
            portilla_simoncelli_distance(x, x, **arguments)
    with pytest.raises(InputError, match="picture must have sides of at least 32"):
        portilla_simoncelli_distance(x[:, :31], x, scales=2)
    with pytest.raises(InputError, match="exemplar must have sides of at least 24"):
        portilla_simoncelli_distance(x, x[:, :23])


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.rand(1, 1, 64, 64), "at least 112 pixels"),
        (torch.rand(1, 128, 128), r"must have shape \(B, C, H, W\)"),
        (torch.rand(1, 1, 128, 128).half(), r"float16 .*; call .float\(\)"),
        (torch.ones(1, 1, 128, 128, dtype=torch.uint8), "must be float32 or float64"),
        (torch.rand(0, 1, 128, 128), "must not be empty"),
        (torch.rand(1, 0, 128, 128), "must not be empty"),
        (np.ones((1, 1, 128, 128)), "must be a torch tensor .*, got ndarray"),
        (torch.full((1, 1, 128, 128), torch.nan), "must be finite"),
    ],
)
def test_bad_images_are_refused(images, message):
    with pytest.raises(InputError, match=message):
        statistics(images)
