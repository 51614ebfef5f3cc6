"""The noise level against the noise that was put in."""

import numpy as np
import pytest
import torch
from skimage import data

from gouache.patches import estimate_sigma

PHOTOGRAPHS = ("camera", "coins", "page", "moon", "brick", "grass", "gravel")


def drawn(kind, size=256):
    """Return a clean image without noise of its own."""
    y, x = np.mgrid[:size, :size] / size
    if kind == "ramp":
        return x * y
    if kind == "pieces":
        return 0.2 + 0.5 * ((x - 0.5) ** 2 + (y - 0.4) ** 2 < 0.1) + 0.2 * (x > 0.7)
    return np.kron((np.random.default_rng(5).random((16, 16)) > 0.7), np.ones((16, 16))) * 0.8


def noisy(image, levels):
    noise = np.random.default_rng(0).standard_normal(image.shape)
    return torch.from_numpy(image + levels / 255 * noise)[None]


@pytest.mark.parametrize("kind", ["ramp", "pieces", "blocks"])
@pytest.mark.parametrize("levels", [5, 25, 75])
def test_drawn_images(kind, levels):
    found = 255 * float(estimate_sigma(noisy(drawn(kind), levels)))
    assert found == pytest.approx(levels, rel=0.05)


@pytest.mark.parametrize("levels", [10, 25, 50])
def test_photographs(levels):
    """They carry some noise and texture of their own: the median of the errors is held."""
    found = [
        255 * float(estimate_sigma(noisy(getattr(data, name)()[:256, :256] / 255, levels)))
        for name in PHOTOGRAPHS
    ]
    assert np.median(np.abs(np.array(found) / levels - 1)) < 0.08


def test_one_number_an_image_and_colour():
    y = torch.stack([noisy(drawn("pieces"), k)[0].expand(3, -1, -1) for k in (10, 40)])
    noise = torch.randn(y.shape, generator=torch.Generator().manual_seed(1))
    found = 255 * estimate_sigma(y + torch.tensor([10.0, 40.0]).view(2, 1, 1, 1) / 255 * noise)
    expected = torch.tensor([10.0, 40.0]) * 2**0.5
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0)


def test_large_images_are_sampled():
    y = noisy(drawn("ramp", 1200), 25)
    assert 255 * float(estimate_sigma(y)) == pytest.approx(25, rel=0.05)


def test_constant_and_tiny_images_have_none():
    assert float(estimate_sigma(torch.full((1, 30, 30), 0.4))) == pytest.approx(0, abs=1e-7)
    assert float(estimate_sigma(torch.rand(1, 2, 9))) == 0
