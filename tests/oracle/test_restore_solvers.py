"""Solvers against closed forms, and what they gain on a photograph."""

import itertools
import math

import pytest
import torch
from skimage import data

from gouache import image, train
from gouache.check import InputError
from gouache.contracts import Denoiser
from gouache.patches import PatchPrior
from gouache.random import generator
from gouache.restore import Blur, Compose, Downsample, Identity, Mask, epll, hqs, tikhonov
from gouache.restore._problem import FLOOR
from gouache.restore._splitting import levels
from gouache.restore._tikhonov import roughness


@pytest.fixture(autouse=True)
def one_thread():
    """Images are so small that two threads only wait for each other."""
    with train.threads(1):
        yield


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


class GaussianPrior(Denoiser):
    """The exact denoiser of a stationary Gaussian image: ``P / (P + s^2)`` at every frequency."""

    def __init__(self, power):
        self.power = power

    def __call__(self, y, sigma, condition=None):
        gain = self.power / (self.power + sigma**2)
        return torch.fft.irfft2(torch.fft.rfft2(y.double()) * gain, s=y.shape[-2:]).float()


def spectra(n, blur):
    """Return a spectrum of images that falls with frequency, and that of the blur."""
    rows, columns = torch.fft.fftfreq(n).double()[:, None], torch.fft.rfftfreq(n).double()
    power = 0.05 / (1 + 40 * (rows**2 + columns**2))
    point = torch.zeros(n, n).double()
    point[0, 0] = 1
    return power, torch.fft.rfft2(blur(point)).real


def wiener(y, power, transfer, sigma):
    gain = power * transfer / (power * transfer**2 + sigma**2)
    return torch.fft.irfft2(torch.fft.rfft2(y.double()) * gain, s=y.shape[-2:])


@pytest.mark.parametrize("weight", [1.0, 0.25])
@pytest.mark.parametrize("s", [0.3, 0.1])
def test_with_the_denoiser_of_a_gaussian_it_is_the_wiener_filter(s, weight):
    """At one level for ever, hqs minimises a quadratic, in which the prior's variance grows by s^2.

    z is the denoised image of x, the Wiener estimate under ``P + s^2`` (weight 1); any other weight
    acts as a noise of ``sigma sqrt(weight)`` in the data step.
    """
    sigma, blur, n = 0.1, Blur(1.0, boundary="circular"), 16
    power, transfer = spectra(n, blur)
    y = blur(normal(1, n, n)) + sigma * normal(1, n, n, seed=1)
    prior = GaussianPrior(power)
    found = hqs(y, blur, sigma, denoiser=prior, steps=100, first=s, last=s, weight=weight)
    x = wiener(y, power + s**2, transfer, sigma * math.sqrt(weight))
    expected = torch.fft.irfft2(torch.fft.rfft2(x) * power / (power + s**2), s=(n, n))
    torch.testing.assert_close(found.double(), expected, atol=2e-5, rtol=1e-4)


def test_with_falling_levels_it_comes_to_the_wiener_filter():
    sigma, blur, n = 0.1, Blur(1.0, boundary="circular"), 16
    power, transfer = spectra(n, blur)
    y = blur(0.2 * normal(1, n, n)) + sigma * normal(1, n, n, seed=1)
    exact = wiener(y, power, transfer, sigma)
    prior, gaps = GaussianPrior(power), []
    for last in (0.3, 0.1, 0.03):
        found = hqs(y, blur, sigma, denoiser=prior, steps=150, first=0.5, last=last, weight=1.0)
        gaps.append(float((found - exact).norm() / exact.norm()))
    assert gaps[0] > 3 * gaps[1] > 9 * gaps[2]
    assert gaps[2] < 0.03


@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_with_one_gaussian_of_patches_epll_is_the_linear_fixed_point(weight):
    """At one level for ever ``(A^T A + rho - rho B) x = A^T y``, B being the mean of estimates."""
    prior, n, s, sigma = PatchPrior(PatchPrior.Config(components=1, patch=3)), 6, 0.2, 0.1
    blur, y = Blur(0.7, boundary="zero"), 0.2 * normal(1, n, n)
    units = torch.eye(n * n).reshape(-1, 1, n, n)
    A, B = blur(units).flatten(1).T.double(), prior.smooth(units, s).flatten(1).T.double()
    rho = weight * (sigma / s) ** 2
    left = A.T @ A + rho * (torch.eye(n * n) - B)
    expected = torch.linalg.solve(left, A.T @ y.flatten().double())
    found = epll(y, blur, sigma, prior=prior, steps=60, first=s, last=s, weight=weight)
    torch.testing.assert_close(found.flatten().double(), expected, atol=5e-4, rtol=0)


def test_levels_fall_evenly_in_their_logarithm():
    found = levels(49 / 255, 2 / 255, 8)
    ratios = [b / a for a, b in itertools.pairwise(found)]
    assert found[0] == pytest.approx(49 / 255)
    assert found[-1] == pytest.approx(2 / 255)
    assert ratios == pytest.approx([(2 / 49) ** (1 / 7)] * 7)
    assert levels(0.1, 0.2, 3) == pytest.approx([0.2] * 3)  # never below the noise
    assert levels(0.2, 0.01, 1) == pytest.approx([0.01])


def test_tikhonov_is_the_dense_solution():
    blur, sigma, gradient = Blur(1.0, boundary="zero"), 0.05, 0.1
    y = normal(1, 6, 5)
    units = torch.eye(30).reshape(-1, 6, 5)
    A = torch.stack([blur(unit).flatten() for unit in units], 1)
    L = torch.stack([roughness(unit).flatten() for unit in units], 1)
    right = torch.linalg.solve(A.T @ A + (sigma / gradient) ** 2 * L, A.T @ y.flatten())
    found = tikhonov(y, blur, sigma, gradient=gradient)
    torch.testing.assert_close(found.flatten(), right, atol=1e-3, rtol=0)


def holed(side, hole):
    """Return a mask with a square hole in the middle."""
    known, a = torch.ones(side, side, dtype=torch.bool), (side - hole) // 2
    known[a : a + hole, a : a + hole] = False
    return known


def test_with_holes_and_no_noise_tikhonov_is_the_dense_solution():
    known, y = holed(24, 16), torch.rand(1, 24, 24, generator=generator(0)).double()
    units = torch.eye(576).double().reshape(-1, 24, 24)
    L = torch.stack([roughness(unit).flatten() for unit in units], 1)
    left = torch.diag(known.flatten().double()) + (FLOOR / 0.05) ** 2 * L
    expected = torch.linalg.solve(left, (known * y).flatten())
    found = tikhonov(y, Mask(known), 0.0)
    torch.testing.assert_close(found.flatten().double(), expected, atol=1e-4, rtol=0)


RAMP = torch.linspace(0.2, 0.8, 96).expand(1, 96, 96)


@pytest.mark.parametrize("truth", [torch.full((1, 96, 96), 0.7), RAMP], ids=["flat", "ramp"])
@pytest.mark.parametrize("hole", [16, 64])
@pytest.mark.parametrize("solver", [tikhonov, hqs, epll])
def test_holes_in_what_is_smooth_are_filled(solver, hole, truth):
    known = holed(96, hole)
    found = solver(truth * known, Mask(known), 0.0)
    torch.testing.assert_close(found, truth, atol=0.015, rtol=0)


@pytest.mark.parametrize("junk", [float("nan"), 255.0, 1.0])
@pytest.mark.parametrize("before", [None, Blur(1.0)])
def test_what_lies_at_unknown_pixels_is_never_read(before, junk):
    known = torch.rand(24, 24, generator=generator(0)) < 0.6
    mask = Mask(known)
    operator = mask if before is None else Compose(before, mask, Identity())
    y = operator(torch.rand(1, 24, 24, generator=generator(1)))
    for solver in (tikhonov, hqs, epll):
        spoilt = y.where(known, torch.tensor(junk))
        assert torch.equal(solver(spoilt, operator, 0.01), solver(y, operator, 0.01))


def test_a_mask_that_hides_nothing_lets_the_noise_be_estimated():
    y = 0.1 * normal(1, 32, 32)
    whole = Mask(torch.ones(32, 32, dtype=torch.bool))
    assert torch.equal(tikhonov(y, whole), tikhonov(y, Identity()))


@pytest.mark.parametrize("solver", [tikhonov, hqs, epll])
def test_images_with_gradients_are_restored_without(solver):
    y = torch.rand(1, 16, 16, generator=generator(0))
    found = solver(y.clone().requires_grad_(), Blur(1.0), 0.02)
    assert not found.requires_grad
    assert torch.equal(found, solver(y, Blur(1.0), 0.02))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_images_and_priors_elsewhere_meet_where_the_prior_is():
    y, prior = torch.rand(1, 16, 16, generator=generator(0)), PatchPrior.tiny()
    expected = epll(y, Blur(1.0), 0.02, prior=prior)
    for other in (prior, PatchPrior.tiny().cuda()):
        for image_ in (y, y.cuda()):
            found = epll(image_, Blur(1.0), 0.02, prior=other)
            assert found.device == image_.device
            torch.testing.assert_close(found.cpu(), expected, atol=1e-3, rtol=0)


def test_a_prior_must_be_one():
    with pytest.raises(InputError, match="got str"):
        epll(photograph(), Blur(1.0), 0.01, prior="epll-prior")


def test_roughness_is_the_sum_of_squared_differences():
    x = normal(2, 7, 5).double()
    for picture in (x, x[:, :1], x[:, :, :1], x[:, :1, :1]):
        squares = sum(picture.diff(dim=axis).square().sum() for axis in (-2, -1))
        torch.testing.assert_close((picture * roughness(picture)).sum(), squares)


def photograph():
    picture = image.as_tensor(data.camera()[100:196, 150:246])
    return picture


def psnr(found, clean, margin=8):
    inside = (slice(None), slice(margin, -margin), slice(margin, -margin))
    return -10 * math.log10(float((found - clean)[inside].square().mean()))


def gained(operator, sigma, **options):
    """Return the PSNR of what is observed (small ones enlarged), of the baseline, and of hqs."""
    clean = photograph()
    small = operator(clean)
    y = small + sigma * normal(*small.shape)
    seen = image.resize(y, tuple(clean.shape[-2:]))
    found = [seen, tikhonov(y, operator, sigma), hqs(y, operator, sigma, **options)]
    return [psnr(x, clean) for x in found]


def test_deblurring_a_photograph():
    seen, linear, found = gained(Blur(1.6), 2 / 255)
    assert found > seen + 3
    assert found > linear + 1


def test_patches_of_a_mixture_deblur_a_photograph():
    clean, blur = photograph(), Blur(1.6)
    y = blur(clean) + 2 / 255 * normal(*clean.shape)
    found = psnr(epll(y, blur, 2 / 255), clean)
    assert found > psnr(y, clean) + 3
    assert found > psnr(tikhonov(y, blur, 2 / 255), clean) + 1


def test_assuming_nothing_beyond_the_border_is_better_after_motion():
    """The photograph goes on beyond what is observed, other than any boundary would have it."""
    wide, line = image.as_tensor(data.camera()[80:216, 130:266]), torch.eye(15) / 15
    y = Blur(line, boundary="valid")(wide) + 2.55 / 255 * normal(1, 122, 122)
    mirrored = hqs(y, Blur(line), 2.55 / 255)
    valid = hqs(y, Blur(line, boundary="valid"), 2.55 / 255)
    assert valid.shape == wide.shape
    truth = wide[:, 7:-7, 7:-7]
    assert psnr(valid[:, 7:-7, 7:-7], truth) > psnr(mirrored, truth) + 1


def test_deblurring_motion_by_conjugate_gradients():
    seen, linear, found = gained(Blur(torch.eye(9) / 9), 2.55 / 255)
    assert found > seen + 5
    assert found > linear + 1


@pytest.mark.parametrize("factor", [2, 3])
def test_enlarging_a_photograph(factor):
    seen, linear, found = gained(Downsample(factor), 0)
    assert found > seen + 0.5
    assert found > linear + 0.3


def test_enlarging_what_was_blurred_first():
    seen, linear, found = gained(Compose(Blur(1.0), Downsample(2)), 1 / 255)
    assert found > seen + 1
    assert found > linear + 0.3


def test_filling_unknown_pixels_of_a_photograph():
    known = torch.rand(96, 96, generator=generator(5)) < 0.5
    _, linear, found = gained(Mask(known), 0)
    assert found > linear + 1


def test_any_denoiser_of_the_role_plugs_in():
    _, linear, found = gained(Blur(1.6), 2 / 255, denoiser="nlmeans")
    assert found > linear


def test_unknown_denoisers_and_bad_numbers_are_refused():
    y, blur = photograph(), Blur(1.0)
    for options, message in (
        ({"denoiser": "bm4d"}, 'did you mean "bm3d"'),
        ({"denoiser": len}, "got builtin_function_or_method"),
        ({"steps": 0}, "steps must be"),
        ({"weight": 0}, "weight must be"),
        ({"first": 49}, "first must be in"),
        ({"last": 2}, "last must be in"),
    ):
        with pytest.raises(InputError, match=message):
            hqs(y, blur, 0.01, **options)


def test_noise_below_the_floor_counts_as_the_floor():
    y, blur = photograph(), Blur(1.0)
    assert torch.equal(hqs(y, blur, 0, steps=2), hqs(y, blur, FLOOR / 2, steps=2))
