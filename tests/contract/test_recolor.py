"""What every method of colour transfer keeps to, over all registered names of the role."""

import inspect

import pytest
import torch

from gouache import registry
from gouache.check import InputError
from gouache.random import generator


@pytest.fixture(params=registry.names("recolor"))
def method(request):
    return registry.find("recolor", request.param)


@pytest.fixture(scope="module")
def image():
    x, y = torch.linspace(0, 1, 40), torch.linspace(0, 1, 30)[:, None]
    noise = 0.05 * torch.randn(3, 30, 40, generator=generator(0))
    return (
        torch.stack([0.3 + 0.4 * x * y, 0.5 - 0.2 * y + 0 * x, 0.8 - 0.5 * x + 0 * y]) + noise
    ).clamp(0, 1)


@pytest.fixture(scope="module")
def palette():
    return torch.rand(3, 25, 35, generator=generator(1)).square()


def test_signature_is_shared(method):
    parameters = list(inspect.signature(method).parameters.values())
    assert [p.name for p in parameters[:2]] == ["image", "palette"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[2:])
    assert {"strength", "rng", "progress"} <= {p.name for p in parameters}


def test_an_image_of_the_same_size_in_range_nearer_to_the_palette(method, image, palette):
    before = image.clone()
    found = method(image, palette, rng=generator(0))
    assert found.shape == image.shape
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1
    wanted = palette.mean((1, 2))
    assert (found.mean((1, 2)) - wanted).norm() < 0.2 * (image.mean((1, 2)) - wanted).norm()
    assert torch.equal(image, before)


def test_its_own_palette_changes_nothing(method, image):
    torch.testing.assert_close(method(image, image, rng=generator(0)), image, atol=1e-3, rtol=0)


def test_strength_zero_changes_nothing(method, image, palette):
    found = method(image, palette, strength=0, rng=generator(0))
    torch.testing.assert_close(found, image, atol=1e-6, rtol=0)


def test_the_order_of_the_palettes_pixels_does_not_matter(method, image, palette):
    order = torch.randperm(25 * 35, generator=generator(2))
    mixed = palette.flatten(1)[:, order].view(3, 35, 25)
    one, other = (method(image, p, rng=generator(0)) for p in (palette, mixed))
    torch.testing.assert_close(one, other, atol=1e-6, rtol=0)


def test_same_seed_same_bytes(method, image, palette):
    one, other = (method(image, palette, rng=generator(0)) for _ in range(2))
    assert torch.equal(one, other)


def test_flat_images(method, image):
    red, blue = (
        torch.tensor(c)[:, None, None].expand(3, 9, 8) for c in ([0.8, 0.2, 0.1], [0.1, 0.2, 0.7])
    )
    torch.testing.assert_close(method(red, blue, rng=generator(0)), blue, atol=1e-3, rtol=0)
    found = method(image, blue, rng=generator(0))
    assert (found - blue[:, :1, :1]).square().mean().sqrt() < 0.05


def test_single_pixels(method):
    one, other = torch.full((3, 1, 1), 0.2), torch.full((3, 1, 1), 0.7)
    torch.testing.assert_close(method(one, other, rng=generator(0)), other, atol=1e-3, rtol=0)


def test_grey_counts_as_three_equal_channels(method, image, palette):
    for a, b in ((image[:1], palette), (image, palette[:1])):
        found = method(a, b, rng=generator(0))
        assert torch.equal(
            found, method(a.expand(3, -1, -1), b.expand(3, -1, -1), rng=generator(0))
        )


def test_progress_is_told(method, image, palette):
    told = []
    method(image, palette, rng=generator(0), progress=lambda *done: told.append(done))
    assert told
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.full((3, 9, 9), torch.nan)}, "image must be finite"),
        ({"palette": 255 * torch.ones(3, 9, 9)}, "palette must lie in .* divide"),
        ({"image": torch.ones(9, 9)}, "image must have shape"),
        ({"palette": torch.ones(4, 9, 9)}, "palette must have 1 or 3 channels"),
        ({"strength": 1.5}, "strength must be in"),
    ],
)
def test_bad_input_is_refused(method, change, message):
    with pytest.raises(InputError, match=message):
        method(**({"image": torch.ones(3, 9, 9), "palette": torch.ones(3, 8, 8)} | change))
