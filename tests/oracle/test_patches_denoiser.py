"""A filter as a denoiser: any noise, any range, each image on its own, in any sampler."""

import itertools

import pytest
import torch

from gouache import diffuse, registry
from gouache.check import InputError
from gouache.contracts import Denoiser
from gouache.patches import FilterDenoiser
from gouache.random import generator

NAMES = registry.names("denoise")


def clean(batch=2, channels=1, size=24):
    ramp = torch.linspace(0.2, 0.8, size).expand(batch, channels, size, size).clone()
    ramp[:, :, size // 2 :] = 1 - ramp[:, :, size // 2 :]
    return ramp


def noisy(sigma, *size):
    x = clean(*size)
    return x + sigma * torch.randn(x.shape, generator=generator(0))


@pytest.fixture(params=NAMES)
def denoiser(request):
    return FilterDenoiser(request.param)


def test_within_the_range_it_is_the_filter(denoiser):
    y = noisy(0.1)
    assert isinstance(denoiser, Denoiser)
    assert torch.equal(denoiser(y, 0.1), denoiser.filter(y, torch.tensor([0.1, 0.1])))


@pytest.mark.parametrize("sigma", [0.05, 3.0])
def test_noise_goes_at_any_level(denoiser, sigma):
    x = clean() * (1 if sigma < 1 else 10)
    y = x + sigma * torch.randn(x.shape, generator=generator(1))
    found = denoiser(y, sigma)
    assert found.shape == y.shape
    assert (found - x).square().mean() < 0.6 * sigma**2


def test_an_image_does_not_depend_on_its_batch(denoiser):
    y, sigma = noisy(0.1), torch.tensor([0.1, 5.0])
    y[1] *= 50
    both = denoiser(y, sigma)
    alone = [denoiser(y[k : k + 1], float(sigma[k]))[0] for k in range(2)]
    torch.testing.assert_close(both, torch.stack(alone), atol=0, rtol=0)


def test_above_the_range_image_and_noise_are_scaled_together(denoiser):
    y = noisy(1.0)
    torch.testing.assert_close(denoiser(7 * y, 7.0), 7 * denoiser(y, 1.0), rtol=1e-4, atol=1e-4)
    assert denoiser(y + 1000, 1.0).mean() == pytest.approx(1000, rel=0.01)


def test_every_form_of_sigma_is_the_same_noise(denoiser):
    y, expected = noisy(0.1, 2, 2, 16), None
    forms = [0.1, torch.tensor(0.1), torch.full((2,), 0.1), torch.full((2, 1, 1, 1), 0.1)]
    forms += [torch.full((16, 16), 0.1), torch.full((2, 2, 16, 16), 0.1)]
    for sigma in forms:
        found = denoiser(y, sigma)
        expected = found if expected is None else expected
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_channels_of_a_map_count_by_their_mean_variance():
    levels = torch.tensor([0.1, 0.2]).view(1, 2, 1, 1).expand(1, 2, 8, 8)
    seen = []
    FilterDenoiser(lambda image, sigma: seen.append(sigma) or image)(
        torch.zeros(1, 2, 8, 8), levels
    )
    torch.testing.assert_close(seen[0], torch.full((1, 1, 8, 8), 0.025**0.5))


def test_type_and_gradient_come_back():
    y = noisy(0.1).double().requires_grad_()
    found = FilterDenoiser("nlmeans")(y, 0.1)
    assert found.dtype == torch.float64
    found.sum().backward()
    assert torch.isfinite(y.grad).all()


@pytest.mark.parametrize("method", ["bm3d", "nlmeans", "bilateral"])
def test_a_noise_level_carries_no_gradient(method):
    y, sigma = noisy(0.1), torch.tensor(0.1, requires_grad=True)
    expected = FilterDenoiser(method)(y, 0.1)
    assert torch.equal(FilterDenoiser(method)(y, sigma), expected)
    found = FilterDenoiser(method)(2 * y.requires_grad_(), 20 * sigma)
    assert found.shape == y.shape
    assert found.requires_grad == (method != "bm3d")


def test_sampler_follows_the_closed_form_of_a_linear_filter():
    """With D(y) = k y a step of DDIM multiplies y by k + (1 - k) s'/s."""
    levels = [20.0, 7.0, 1.5, 0.4, 0.1]
    grid = diffuse.Grid(torch.ones(5), torch.tensor(levels))
    x = 20 * torch.randn(2, 1, 8, 8, generator=generator(0))
    factor = 1.0
    for s, s_next in itertools.pairwise(levels):
        factor *= 0.3 + 0.7 * s_next / s
    found = diffuse.ddim(FilterDenoiser(lambda image, _: 0.3 * image), x, grid)
    torch.testing.assert_close(found, factor * x)


def test_sampler_takes_a_filter_from_noise_to_an_image():
    grid = diffuse.Grid(torch.ones(6), torch.tensor([0.3, 0.2, 0.1, 0.05, 0.02, 0.0]))
    found = diffuse.ddim(FilterDenoiser("bm3d"), noisy(0.3), grid)
    assert (found - clean()).square().mean() < 0.15 * 0.3**2


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (lambda: FilterDenoiser("bm3"), 'did you mean "bm3d"'),
        (lambda: FilterDenoiser(3), "name of the role denoise or a function"),
        (lambda: FilterDenoiser("gaussian")(torch.zeros(2, 3), 0.1), r"\(B, C, H, W\), got \(2, 3"),
        (lambda: FilterDenoiser("gaussian")(clean() / 0, 0.1), "y must be finite"),
        (lambda: FilterDenoiser("gaussian")(clean(), -0.1), "sigma must not be negative"),
        (lambda: FilterDenoiser("gaussian")(clean(), torch.ones(5)), "broadcasts against"),
        (
            lambda: FilterDenoiser("gaussian")(clean(), 0.1, {"label": torch.zeros(2)}),
            "a filter takes no condition",
        ),
    ],
)
def test_bad_input_is_named(run, message):
    with pytest.raises(InputError, match=message):
        run()
