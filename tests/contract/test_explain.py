"""What every explanation of a filtered pixel keeps to, over all names of the role ``explain``."""

import inspect

import pytest
import torch

from gouache import patches, registry
from gouache.check import InputError
from gouache.random import generator

METHODS = [name.removeprefix("explain_") for name in registry.names("explain")]


def noisy(channels=1, height=40, width=48):
    clean = torch.linspace(0.2, 0.8, width).expand(channels, height, width)
    return clean + 0.1 * torch.randn(clean.shape, generator=generator(0))


def explained(method, image, sigma, at):
    return registry.find("explain", f"explain_{method}")(image, sigma, at=at)


@pytest.mark.parametrize("method", METHODS)
def test_signature_is_shared_and_that_of_the_filter(method):
    first, second, at, *rest = inspect.signature(
        registry.find("explain", f"explain_{method}")
    ).parameters.values()
    assert (first.name, second.name, second.default, at.name) == ("image", "sigma", None, "at")
    assert all(p.kind is p.KEYWORD_ONLY for p in (at, *rest))
    own = inspect.signature(registry.find("denoise", method)).parameters
    assert {p.name: p.default for p in rest}.items() <= {
        name: p.default for name, p in own.items()
    }.items()


@pytest.mark.parametrize("size", [(5, 3), (8, 8), (9, 30)])
@pytest.mark.parametrize("method", METHODS)
def test_images_smaller_than_a_patch(method, size):
    image = noisy(1, *size)
    found = explained(method, image, 0.1, (1, 2))
    after = registry.find("denoise", method)(image, 0.1)[0, 2, 1]
    assert float((found.weights * image[0]).sum()) == pytest.approx(float(after), abs=1e-5)
    assert patches.draw(found, image).ndim == 3


@pytest.mark.parametrize("method", METHODS)
def test_the_picture_shows_the_window_and_every_patch(method):
    image = noisy(3)
    found = explained(method, image, 0.1, (30, 21))
    picture = patches.draw(found, image)
    assert picture.shape[0] == 3
    assert float(picture.min()) >= 0
    assert float(picture.max()) <= 1
    lines = -(-len(found.blocks) // 23)
    step = 18 + 44 * (1 if method == "nlmeans" else 2)
    assert picture.shape[1] == 48 + 336 + 24 + 18 + lines * step
    red = (picture - torch.tensor([214, 39, 40])[:, None, None] / 255).abs().amax(0) < 0.01
    for left in (12, 360, 708):
        assert red[:, left : left + 336].any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("image", "sigma", "at", "message"),
    [
        (noisy(), 0.1, (48, 0), r"\(48, 0\) is outside the image: x is in 0..47 and y in 0..39"),
        (noisy(), 0.1, (0, 40), "outside the image"),
        (noisy(), 0.1, (-1, 3), "x must be at least 0"),
        (noisy(), 0.0, (3, 3), "sigma is 0"),
        (noisy(), 25, (3, 3), "pass 25/255"),
        (noisy()[None].repeat(2, 1, 1, 1), 0.1, (3, 3), "one image of 1 or 3 channels"),
        (noisy(2), 0.1, (3, 3), "one image of 1 or 3 channels"),
    ],
)
def test_bad_input_names_the_mend(method, image, sigma, at, message):
    with pytest.raises(InputError, match=message):
        explained(method, image, sigma, at)
