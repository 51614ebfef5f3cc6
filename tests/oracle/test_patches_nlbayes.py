"""NL-Bayes: the estimate of a stack in closed form, and what the two steps must do."""

import numpy as np
import pytest
import torch
from skimage import data

from gouache.patches import _nlbayes, nlbayes
from gouache.patches import _nlbayes_kernels as kernels


def psnr(found, image):
    return -10 * np.log10(((np.asarray(found) - image) ** 2).mean())


def group(n, d, seed=0):
    """Return noisy patches and clean ones."""
    rng = np.random.default_rng(seed)
    clean = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) / d + 0.5
    return (clean + 0.1 * rng.standard_normal((n, d))).astype(np.float32), clean.astype(np.float32)


def stack(x, pilot, level, second):
    found = x.copy()
    kernels.stack(found, pilot, level, second)
    return found


@pytest.mark.parametrize("d", [9, 25, 49])
def test_first_step_of_a_stack_is_the_closed_form(d):
    x, pilot = group(2 * d, d)
    y, s = x.astype(np.float64), 0.01
    C, m = np.cov(y.T), y.mean(0)
    expected = m + (y - m) @ (np.eye(d) - s * np.linalg.inv(C)).T
    np.testing.assert_allclose(stack(x, pilot, s, False), expected, atol=2e-5)


@pytest.mark.parametrize("n", [3, 40])
def test_second_step_of_a_stack_is_the_closed_form(n):
    x, pilot = group(n, 25)
    y, s = x.astype(np.float64), 0.01
    C, m = np.cov(pilot.T.astype(np.float64)), pilot.astype(np.float64).mean(0)
    expected = m + (y - m) @ (C @ np.linalg.inv(C + s * np.eye(25))).T
    np.testing.assert_allclose(stack(x, pilot, s, True), expected, atol=2e-5)


def test_stack_of_too_few_patches_is_left_alone_by_the_first_step():
    x, pilot = group(5, 25)
    np.testing.assert_array_equal(stack(x, pilot, 0.01, False), x)


@pytest.mark.parametrize(("levels", "gain"), [(10, 4.5), (25, 8.2), (50, 10.5)])
def test_gain_on_a_photograph_and_of_the_second_step(levels, gain):
    sigma = levels / 255
    image = data.camera()[100:228, 150:278].astype(np.float64) / 255
    noisy = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
    y = torch.from_numpy(noisy)[None]
    first, second = (psnr(nlbayes(y, sigma, steps=k)[0], image) for k in (1, 2))
    assert second > first
    assert second > psnr(noisy, image) + gain


def test_colour_is_better_than_its_channels_one_by_one():
    image = data.astronaut()[:96, 150:246].transpose(2, 0, 1) / 255
    y = torch.from_numpy(image + 0.1 * np.random.default_rng(0).standard_normal(image.shape))
    single = torch.cat([nlbayes(channel[None], 0.1) for channel in y])
    assert psnr(nlbayes(y, 0.1), image) > psnr(single, image) + 0.5


def test_images_with_gradients_are_filtered_without():
    y = torch.rand(1, 24, 24)
    found = nlbayes(y.clone().requires_grad_(), torch.tensor(0.1, requires_grad=True))
    assert not found.requires_grad
    assert torch.equal(found, nlbayes(y, 0.1))


def test_flat_groups_become_their_mean():
    y = 0.5 + 0.1 * torch.randn(1, 64, 64, generator=torch.Generator().manual_seed(0))
    flat, bayes = (nlbayes(y, 0.1, gamma=gamma) - 0.5 for gamma in (2.0, 0.0))
    assert flat.std() < 0.015
    assert flat.std() < 0.8 * bayes.std()


def test_a_map_of_noise_levels_beats_one_level():
    image = data.camera()[100:228, 150:278].astype(np.float64) / 255
    sigma = np.broadcast_to(np.linspace(0.02, 0.3, 128), (128, 128))
    noisy = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
    y, level = torch.from_numpy(noisy)[None], torch.from_numpy(sigma.copy()).float()
    one = float(level.square().mean().sqrt())
    assert psnr(nlbayes(y, level)[0], image) > psnr(nlbayes(y, one)[0], image) + 0.3


@pytest.mark.parametrize(
    ("level", "channels", "patches", "groups"),
    [
        (5, 1, (5, 5), (35, 15)),
        (25, 1, (5, 5), (45, 25)),
        (50, 1, (7, 5), (90, 30)),
        (90, 1, (7, 5), (100, 45)),
        (10, 3, (3, 3), (27, 27)),
        (25, 3, (5, 3), (75, 27)),
        (60, 3, (7, 5), (147, 75)),
        (90, 3, (7, 7), (147, 147)),
    ],
)
def test_parameters_are_those_published(level, channels, patches, groups):
    first, second = _nlbayes._published(level, channels)
    assert (first.patch, second.patch) == patches
    assert (first.group, second.group) == groups


def test_opponent_space_keeps_the_noise():
    turn = _nlbayes.opponent()
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(turn[1:].sum(1), 0, atol=1e-6)
