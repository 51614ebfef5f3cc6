"""Poisson noise: the transform and its inverse by closed form and by simulation."""

import numpy as np
import pytest
import torch
from scipy import stats
from skimage import data

from gouache.check import InputError
from gouache.patches import _poisson, anscombe, anscombe_inverse, bm3d, poisson
from gouache.random import generator


def counts(clean, peak, seed=0):
    return torch.poisson(peak * clean, generator=generator(seed)) / peak


def photograph():
    return torch.from_numpy(data.camera()[100:228, 150:278] / 255).float()[None]


def drawn(size=128):
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, size)] * 2, indexing="ij")
    return (0.15 + 0.3 * (x + 1) / 2 + 0.5 * ((x**2 + y**2) < 0.4))[None]


def psnr(a, b):
    return -10 * float((a - b).square().mean().log10())


def mean_of_transform(mean):
    """Return E[f(z)], z being Poisson, summed term by term."""
    z = np.arange(int(mean + 20 * mean**0.5 + 60))
    return float(stats.poisson.pmf(z, mean) @ (2 * np.sqrt(z + 3 / 8)))


@pytest.mark.parametrize("mean", [0.0, 0.1, 0.5, 1, 2, 5, 10, 30, 100, 1000])
def test_inverse_takes_the_mean_back_to_the_mean(mean):
    stabilised = torch.tensor(mean_of_transform(mean), dtype=torch.float64)
    assert float(anscombe_inverse(stabilised, 1.0)) == pytest.approx(mean, abs=0.018)
    naive = float(stabilised**2) / 4 - 3 / 8
    assert mean < 1 or naive < mean - 0.17, "the algebraic inverse is biased"


@pytest.mark.parametrize(("mean", "read"), [(2.0, 0.0), (20.0, 0.0), (20.0, 3.0)])
def test_inverse_is_unbiased_in_simulation_and_the_noise_is_1(mean, read):
    z = torch.poisson(torch.full((400, 500), mean), generator=generator(0))
    image = (z + read * torch.randn(z.shape, generator=generator(1))) / 50
    stabilised = anscombe(image, 50, read=read / 50)
    assert float(stabilised.std()) == pytest.approx(1, abs=0.05)
    back = float(anscombe_inverse(stabilised.mean(), 50, read=read / 50))
    assert 50 * back == pytest.approx(mean, abs=0.06 if read else 0.03)


def test_without_light_there_is_none():
    assert float(anscombe_inverse(anscombe(torch.zeros(1), 9.0), 9.0)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("peak", [3, 20, 200])
def test_light_is_kept_and_noise_goes(peak):
    clean = drawn()
    noisy = counts(clean, peak)
    found = poisson(noisy, peak)
    assert (found - clean).square().mean() < 0.12 * (noisy - clean).square().mean()
    assert float(found.mean()) == pytest.approx(float(clean.mean()), rel=0.02)


@pytest.mark.parametrize("peak", [10, 30])
def test_it_beats_a_filter_that_takes_the_noise_for_even(peak):
    clean = photograph()
    noisy = counts(clean, peak)
    even = bm3d(noisy, float((noisy - clean).std()))
    assert psnr(poisson(noisy, peak), clean) > psnr(even, clean) + 0.5


@pytest.mark.parametrize("peak", [10, 100])
def test_without_a_peak_it_is_found(peak):
    noisy = counts(drawn(), peak)
    assert psnr(poisson(noisy), drawn()) > psnr(poisson(noisy, peak), drawn()) - 0.5


@pytest.mark.parametrize("peak", [2.0, 10.0, 50.0])
def test_noise_of_images_far_above_the_range_is_found(peak):
    u = torch.linspace(0.5, 6, 256).expand(2, 1, 256, 256) * torch.tensor([1, 0.1]).view(2, 1, 1, 1)
    noisy = counts(u, peak)
    found = _poisson._curve(noisy)
    assert found.b.tolist() == pytest.approx([1 / peak] * 2, rel=0.25)
    assert torch.equal(_poisson._curve(noisy[1:]).b, found.b[1:])
    variance = found.variance(torch.full((2, 1, 1, 1), 3.0)).flatten().tolist()
    assert variance == pytest.approx([3 / peak] * 2, rel=0.15)


def test_read_noise_is_part_of_it():
    clean = photograph()
    noisy = counts(clean, 40) + 0.1 * torch.randn(clean.shape, generator=generator(2))
    assert psnr(poisson(noisy, 40, read=0.1), clean) > psnr(poisson(noisy, 40), clean) + 1


def test_any_filter_serves_and_batches_are_their_images():
    clean = torch.stack([drawn(48), drawn(48).flip(1) / 2])
    noisy = counts(clean, 30)
    both = poisson(noisy, 30, method="nlmeans")
    assert torch.equal(both[1], poisson(noisy[1], 30, method="nlmeans"))
    kept = poisson(noisy, 30, method=lambda image, _: image)
    torch.testing.assert_close(kept, noisy, atol=0.02, rtol=0.02)


def test_a_peak_of_less_than_a_count_is_no_8_bit_image():
    noisy = counts(drawn(), 0.2)
    assert noisy.max() > 5
    assert float(poisson(noisy, 0.2).mean()) == pytest.approx(float(drawn().mean()), rel=0.1)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: poisson(drawn(), 0.0), "peak must be above 0"),
        (lambda: poisson(drawn(), 9.0, read=-1.0), "read must be at least 0"),
        (lambda: poisson(torch.full((1, 64, 64), 0.5)), "no noise that grows with the light"),
        (lambda: poisson(drawn(), 9.0, method="bmd"), "unknown denoise"),
        (lambda: poisson(drawn()[0], 9.0), r"image must be \(C, H, W\)"),
        (lambda: poisson(drawn() / 0, 9.0), "image must be finite"),
        (lambda: anscombe(torch.ones(3, dtype=torch.int64), 9.0), "image must be a float tensor"),
        (lambda: anscombe_inverse([1.0], 9.0), "stabilised must be a float tensor, got list"),
    ],
)
def test_bad_input_is_named(run, message):
    with pytest.raises(InputError, match=message):
        run()
