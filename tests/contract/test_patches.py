"""What every filter keeps to, over all registered names of the role ``denoise``."""

import inspect
import threading

import pytest
import torch

from gouache import registry, train
from gouache.check import InputError
from gouache.patches import estimate_sigma
from gouache.random import generator

NAMES = registry.names("denoise")
SIGMA = 0.1


@pytest.fixture(params=NAMES)
def filtered(request):
    return registry.find("denoise", request.param)


def clean(channels=1, height=40, width=33):
    ramp = torch.linspace(0.2, 0.8, width).expand(channels, height, width).clone()
    ramp[:, height // 2 :] = 1 - ramp[:, height // 2 :]
    return ramp


def noisy(*size, seed=0):
    image = clean(*size)
    return image + SIGMA * torch.randn(image.shape, generator=generator(seed))


def test_signature_is_shared(filtered):
    first, second, *rest = inspect.signature(filtered).parameters.values()
    assert (first.name, second.name, second.default) == ("image", "sigma", None)
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in rest)


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_noise_goes(filtered, channels):
    y = noisy(channels)
    x = filtered(y, SIGMA)
    assert x.shape == y.shape
    assert x.dtype == torch.float32
    assert (x - clean(channels)).square().mean() < 0.25 * SIGMA**2


def test_nothing_is_clipped(filtered):
    assert filtered(noisy() + 1, SIGMA).max() > 1.5
    assert filtered(noisy() - 1, SIGMA).min() < -0.5


def test_a_shift_of_grey_goes_through(filtered):
    y = noisy()
    torch.testing.assert_close(
        filtered(y + 0.5, SIGMA), filtered(y, SIGMA) + 0.5, atol=1e-4, rtol=0
    )


def test_batch_is_its_images_one_by_one(filtered):
    batch = torch.stack([noisy(3, seed=k) for k in range(2)])
    levels = torch.tensor([0.1, 0.05])
    one_by_one = [filtered(y, float(s)) for y, s in zip(batch, levels, strict=True)]
    assert torch.equal(filtered(batch, levels), torch.stack(one_by_one))


def test_layout_and_dtype_do_not_matter(filtered):
    y = noisy(3)
    turned = y.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    assert torch.equal(filtered(turned, SIGMA), filtered(y, SIGMA))
    assert torch.equal(filtered(y.double(), SIGMA), filtered(y, SIGMA))


def test_without_sigma_it_is_estimated(filtered):
    y = noisy(1, 64, 64)
    assert torch.equal(filtered(y), filtered(y, float(estimate_sigma(y))))


def test_constant_images_and_sigma_0_are_left_alone(filtered):
    flat = torch.full((1, 20, 20), 0.3)
    torch.testing.assert_close(filtered(flat, SIGMA), flat, atol=1e-5, rtol=0)
    assert torch.equal(filtered(noisy(), 0.0), noisy())


def test_map_of_one_level_is_the_level(filtered):
    y = noisy()
    torch.testing.assert_close(
        filtered(y, torch.full(y.shape[-2:], SIGMA)), filtered(y, SIGMA), atol=1e-5, rtol=0
    )


def test_pixels_without_noise_stay(filtered):
    y, level = noisy(3), torch.full((40, 33), SIGMA)
    level[10:22, 5:17] = 0
    x, quiet = filtered(y, level), level == 0
    assert torch.equal(x[:, quiet], y[:, quiet])
    assert (x - clean(3))[:, ~quiet].square().mean() < 0.5 * SIGMA**2


def test_what_has_a_gradient_is_filtered_as_what_has_none(filtered):
    y, level = noisy(3), torch.full((40, 33), SIGMA)
    expected = filtered(y, level)
    found = filtered(y.clone().requires_grad_(), level.clone().requires_grad_())
    torch.testing.assert_close(found.detach(), expected, atol=1e-5, rtol=0)
    assert torch.equal(filtered(y, level.requires_grad_()), expected)
    estimated = filtered(y.clone().requires_grad_())
    torch.testing.assert_close(estimated.detach(), filtered(y), atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 2), (7, 7), (8, 8), (9, 40)])
def test_small_images(filtered, size):
    y = noisy(1, *size)
    x = filtered(y, SIGMA)
    assert x.shape == y.shape
    assert torch.isfinite(x).all()


def test_bytes_are_the_same_for_any_number_of_threads(filtered):
    y = noisy(3, 90, 50)
    found = []
    for count in (1, 2):
        with train.threads(count):
            found.append(filtered(y, SIGMA))
    assert torch.equal(*found)


def test_concurrent_calls_return_the_right_bytes(filtered):
    images = [noisy(seed=k) for k in range(4)]
    expected, found = [filtered(y, SIGMA) for y in images], {}

    def run(k):
        found[k] = filtered(images[k], SIGMA)

    workers = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(torch.equal(found[k], expected[k]) for k in range(4))


def test_noise_estimated_beyond_the_range_is_told_as_such(filtered):
    y = torch.randn(1, 64, 64, generator=generator(0)).clamp(-2.5, 2.5) * 1.55
    with pytest.raises(InputError, match=r"was estimated as 1\.\d+, and the pixel range is"):
        filtered(y)


@pytest.mark.parametrize(
    ("image", "sigma", "message"),
    [
        (noisy(), 25, "pass 25/255"),
        (noisy(), -0.1, "sigma must be in"),
        (noisy(), float("nan"), "sigma must be finite"),
        (noisy(), torch.ones(7, 7), "sigma must be a number"),
        (noisy() * 255, 0.1, "divide 8-bit levels by 255"),
        (noisy() * float("nan"), 0.1, "image must be finite"),
        (noisy()[0], 0.1, r"image must be \(C, H, W\)"),
        (noisy()[:, :0], 0.1, "not empty"),
        (noisy().numpy(), 0.1, "as_tensor"),
        ((noisy() * 255).to(torch.uint8), 0.1, "divide by 255"),
    ],
)
def test_bad_input_names_the_mend(filtered, image, sigma, message):
    with pytest.raises(InputError, match=message):
        filtered(image, sigma)
