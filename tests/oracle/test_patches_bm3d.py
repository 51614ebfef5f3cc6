"""BM3D: its transforms, and what its two steps must do on images with a known answer."""

import numpy as np
import pytest
import torch
from skimage import data

from gouache.patches import _bm3d, bm3d


def psnr(found, image):
    return -10 * np.log10(((np.asarray(found) - image) ** 2).mean())


@pytest.mark.parametrize("bases", [_bm3d.cosine(), _bm3d.biorthogonal()])
def test_bases_are_inverse_to_each_other_and_keep_the_noise(bases):
    T, Tt, S, St = bases.astype(np.float64)
    np.testing.assert_allclose(S @ T, np.eye(8), atol=1e-6)
    np.testing.assert_array_equal(T, Tt.T)
    np.testing.assert_array_equal(S, St.T)
    np.testing.assert_allclose((T**2).sum(1), 1, atol=1e-6)
    constant = T @ np.ones(8)
    np.testing.assert_allclose(constant[1:], 0, atol=1e-6)


def test_cosine_is_that_of_scipy():
    from scipy.fft import dct

    x = np.random.default_rng(0).standard_normal(8)
    np.testing.assert_allclose(_bm3d.cosine()[0] @ x, dct(x, norm="ortho"), atol=1e-6)


def test_without_a_threshold_the_first_step_is_the_identity():
    y = torch.rand(1, 30, 21, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bm3d(y, 0.1, steps=1, threshold=0.0), y, atol=1e-5, rtol=0)
    colour = torch.rand(3, 30, 21, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(bm3d(colour, 0.1, steps=1, threshold=0.0), colour, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("levels", "gain"), [(10, 4.5), (25, 8.5), (50, 11)])
def test_gain_on_a_photograph_and_of_the_second_step(levels, gain):
    sigma = levels / 255
    image = data.camera()[100:228, 150:278].astype(np.float64) / 255
    noisy = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
    y = torch.from_numpy(noisy)[None]
    first, second = (psnr(bm3d(y, sigma, steps=k)[0], image) for k in (1, 2))
    assert second > first + 0.1
    assert second > psnr(noisy, image) + gain


def test_a_clean_region_does_not_spoil_its_surroundings():
    image = torch.from_numpy(data.camera()[100:196, 150:246] / 255).float()[None]
    level = torch.full((96, 96), 0.1)
    level[40:56, 40:56] = 0
    noisy = image + level * torch.randn(1, 96, 96, generator=torch.Generator().manual_seed(1))
    near = torch.zeros(96, 96, dtype=torch.bool)
    near[30:66, 30:66] = True
    near &= level > 0
    by_map, by_number = (
        float((bm3d(noisy, sigma) - image)[:, near].square().mean().sqrt())
        for sigma in (level, 0.1)
    )
    assert by_map < 1.1 * by_number


def test_a_map_of_one_level_gives_the_bytes_of_the_level():
    y = torch.rand(3, 50, 41, generator=torch.Generator().manual_seed(0))
    assert torch.equal(bm3d(y, torch.full((50, 41), 0.1)), bm3d(y, 0.1))


def test_a_map_of_noise_levels_beats_one_level():
    image = data.camera()[100:228, 150:278].astype(np.float64) / 255
    sigma = np.broadcast_to(np.linspace(0.02, 0.3, 128), (128, 128))
    noisy = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
    y, level = torch.from_numpy(noisy)[None], torch.from_numpy(sigma.copy()).float()
    one = float(level.square().mean().sqrt())
    assert psnr(bm3d(y, level)[0], image) > psnr(bm3d(y, one)[0], image) + 0.3
