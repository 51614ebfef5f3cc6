"""The curve of the noise against the curve that was put in."""

import math

import numpy as np
import pytest
import torch
from skimage import data

from gouache import registry
from gouache.check import InputError
from gouache.patches import NoiseCurve, estimate_sigma_map, nlmeans, noise_curve
from gouache.patches._noise import Level
from gouache.patches._noise_curve import _fit
from gouache.random import generator


def drawn(size=256):
    """Return a clean image of many levels, with edges."""
    y, x = torch.meshgrid(*[torch.linspace(0, 1, size)] * 2, indexing="ij")
    squares = 0.3 * (((8 * x).floor() + (8 * y).floor()) % 2)
    return (0.05 + 0.6 * x * (1 - y / 2) + squares)[None]


def noisy(clean, a, b, seed=0):
    sigma = (a + b * clean).sqrt()
    return clean + sigma * torch.randn(clean.shape, generator=generator(seed))


def counts(clean, peak, seed=0):
    return torch.poisson(peak * clean, generator=generator(seed)) / peak


@pytest.mark.parametrize("peak", [5, 20, 100, 500])
@pytest.mark.parametrize("read", [0.0, 0.02])
def test_curve_of_photons_and_read_noise(peak, read):
    clean = drawn()
    more = torch.randn(clean.shape, generator=generator(1))
    curve = noise_curve(counts(clean, peak) + read * more)
    u = torch.tensor([0.1, 0.4, 0.8]).view(1, 1, 1, 3)
    found, true = curve.variance(u).flatten().sqrt(), (read**2 + u.flatten() / peak).sqrt()
    torch.testing.assert_close(found, true, rtol=0.08, atol=0)


def test_gaussian_noise_does_not_grow():
    curve = noise_curve(noisy(drawn(), 0.1**2, 0.0))
    sigma = curve.variance(torch.tensor([0.1, 0.5, 0.9]).view(1, 1, 1, 3)).sqrt()
    torch.testing.assert_close(sigma, torch.full_like(sigma, 0.1), rtol=0.06, atol=0)


@pytest.mark.parametrize("name", ["camera", "coins", "moon", "page"])
def test_curve_of_photographs(name):
    clean = torch.from_numpy(getattr(data, name)()[:256, :256] / 255).float()[None]
    curve = noise_curve(counts(clean, 30))
    u = torch.quantile(clean, torch.tensor([0.25, 0.5, 0.75])).view(1, 1, 1, 3)
    found, true = curve.variance(u).flatten().sqrt(), (u.flatten() / 30).sqrt()
    assert float((found / true - 1).abs().median()) < 0.1


def test_colour_is_one_curve_of_all_channels():
    clean = drawn(128).expand(3, -1, -1) * torch.tensor([0.3, 0.6, 1.0]).view(3, 1, 1)
    curve = noise_curve(noisy(clean, 0.0, 0.02))
    assert float(curve.b) == pytest.approx(0.02, rel=0.1)
    sigma = curve.sigma(clean)
    true = (curve.a + curve.b * clean.mean(0)).sqrt()
    assert float((sigma[0, 0] - true).abs().mean()) < 0.01


def test_one_curve_an_image():
    batch = torch.stack([noisy(drawn(), 0.0, b, seed) for seed, b in enumerate((0.01, 0.04))])
    curve = noise_curve(batch)
    torch.testing.assert_close(curve.b, torch.tensor([0.01, 0.04]), rtol=0.1, atol=0)
    assert torch.equal(curve.b[1:], noise_curve(batch[1]).b)
    assert estimate_sigma_map(batch).shape == (2, 1, 256, 256)


def test_map_is_the_true_one_up_to_the_blur():
    clean = drawn()
    found, true = estimate_sigma_map(counts(clean, 40))[0, 0], (clean[0] / 40).sqrt()
    assert float((found / true - 1).abs().median()) < 0.05


@pytest.mark.parametrize("name", registry.names("denoise"))
def test_every_filter_takes_the_map(name):
    clean = drawn(64)
    y = counts(clean, 30)
    found = registry.find("denoise", name)(y, estimate_sigma_map(y))
    assert (found - clean).square().mean() < 0.5 * (y - clean).square().mean()


def test_a_map_serves_better_than_a_number():
    clean = drawn()
    y = counts(clean, 30)
    errors = [
        float((nlmeans(y, sigma) - clean).square().mean())
        for sigma in (estimate_sigma_map(y), float((y - clean).std()))
    ]
    assert errors[0] < errors[1]


def levels(a, b, means, factor=1.0):
    return [Level(factor * (a + b * m), 0.05, m) for m in means]


@pytest.mark.parametrize(("a", "b"), [(0.01, 0.02), (0.0, 0.02), (0.01, 0.0), (0.0, 0.0)])
def test_line_through_points_on_a_line(a, b):
    found = _fit(levels(a, b, np.linspace(0.1, 0.9, 12)))
    assert found == pytest.approx((a, b), abs=1e-9)


def test_textured_bins_hardly_move_the_line():
    bins = levels(0.01, 0.02, np.linspace(0.1, 0.9, 12))
    bins[3], bins[8] = (levels(0.01, 0.02, [bins[k].mean], 3.0)[0] for k in (3, 8))
    a, b = _fit(bins)
    assert a + 0.5 * b == pytest.approx(0.02, rel=0.05)


def test_black_without_any_noise_is_part_of_the_curve():
    clean = drawn()
    clean[:, :, :100] = 0
    curve = noise_curve(counts(clean, 20))
    assert float(curve.b) == pytest.approx(1 / 20, rel=0.05)
    assert float(curve.a) < 1e-4


@pytest.mark.parametrize(("a", "b"), [(-0.01, 0.05), (0.05, -0.04)])
def test_neither_number_is_negative(a, b):
    found = _fit([Level(max(a + b * m, 1e-3), 0.05, m) for m in (0.3, 0.5, 0.7, 0.9)])
    assert min(found) >= 0


def test_constant_and_tiny_images_have_no_noise():
    for image in (torch.full((1, 40, 40), 0.3), torch.rand(1, 2, 9)):
        curve = noise_curve(image)
        assert float(curve.a) == pytest.approx(0, abs=1e-12)
        assert float(curve.b) == 0


@pytest.mark.parametrize("what", [np.zeros((1, 8, 8)), [[[0.1]]], None])
def test_what_is_no_tensor_is_told_so(what):
    curve = NoiseCurve(torch.zeros(1), torch.ones(1))
    for run in (noise_curve, estimate_sigma_map, curve.sigma):
        with pytest.raises(InputError, match="image must be a torch tensor"):
            run(what)


def test_sigma_of_a_curve_is_its_root_at_the_brightness():
    curve = NoiseCurve(torch.tensor([0.01]), torch.tensor([0.04]))
    flat = torch.full((3, 9, 9), 0.5)
    torch.testing.assert_close(curve.sigma(flat), torch.full((1, 1, 9, 9), math.sqrt(0.03)))
    assert float(curve.sigma(flat - 2).max()) == 0
