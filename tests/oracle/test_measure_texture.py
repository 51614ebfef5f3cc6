"""Scores of textures against closed forms, identities, and figures measured elsewhere."""

import numpy as np
import pytest
import torch
from skimage.data import brick, grass

from gouache import image
from gouache.measure import patch_sliced_wasserstein, spectrum_distance
from gouache.measure._texture_spectrum import periodic, power
from gouache.random import generator


def test_flat_images_differ_by_their_levels():
    """Patches of D pixels at a and at b: the mean over directions is ``(a - b)^2 |1|^2 / D``."""
    a, b = torch.full((3, 40, 40), 0.3), torch.full((3, 40, 40), 0.5)
    score = patch_sliced_wasserstein(a, b, rng=generator(0), directions=20_000, patches=10)
    np.testing.assert_allclose(score.scales, 0.2**2, rtol=0.05)


def test_independent_pixels_differ_by_the_spread_of_their_sums():
    """Normal pixels of deviation s and t: projections are normal too, and the distance (s - t)^2.

    Patches of one pixel have the direction 1 or -1 alone.
    """
    z = torch.randn(2, 1, 300, 300, generator=generator(0))
    score = patch_sliced_wasserstein(
        (0.5 + 0.05 * z[0]).clamp(0, 1),
        (0.5 + 0.1 * z[1]).clamp(0, 1),
        rng=generator(1),
        patch=1,
        scales=1,
        patches=100_000,
        directions=2,
    )
    assert score.value == pytest.approx(0.05**2, rel=0.03)


@pytest.mark.parametrize(
    ("load", "axis", "expected"),
    [
        (brick, 2, (3.74, 3.79, 2.96)),
        (brick, 1, (1.83, 1.85, 1.96)),
        (grass, 2, (4.87, 4.67, 3.75)),
        (grass, 1, (0.89, 0.39, 0.30)),
    ],
)
def test_halves_of_photographs_score_as_measured_elsewhere(load, axis, expected):
    """Up to sampling: 12,000 patches and 256 directions leave some tenths."""
    u = image.as_tensor(load())
    first, second = u.chunk(2, axis)
    found = 1e4 * np.array(patch_sliced_wasserstein(first, second, rng=generator(0)).scales)
    np.testing.assert_allclose(found, expected, rtol=0.25, atol=0.2)


@pytest.mark.parametrize("gain", [0.5, 0.1])
def test_a_gain_is_told_in_decibels(gain):
    u = torch.rand(1, 80, 70, generator=generator(0))
    assert spectrum_distance(gain * u, u).value == pytest.approx(-20 * np.log10(gain), rel=1e-3)


def test_a_filter_is_told_by_its_response():
    """White noise against itself filtered: ``|H|^2`` is known, windows being many."""
    z = 0.5 + 0.1 * torch.randn(1, 402, 401, generator=generator(0))
    filtered = (z[:, :, 1:] + z[:, :, :-1]) / 2
    turns = 2 * np.pi * np.fft.fftfreq(32)
    response = np.cos(turns / 2) ** 2
    levels = (
        power(filtered[:, :400], 32)[0].mean(0)[1:] / power(z[:, :400, :400], 32)[0].mean(0)[1:]
    )
    low = np.abs(turns[1:]) < 2.5  # where little leaks in from elsewhere
    np.testing.assert_allclose(levels.numpy()[low], response[1:][low], rtol=0.12)


def test_turning_by_a_half_changes_no_spectrum():
    u = torch.rand(3, 64, 48, generator=generator(0))
    assert spectrum_distance(u.flip(1, 2), u).value < 1e-5
    assert spectrum_distance(u.flip(2), u).value > 0.1


def test_periodic_component_of_a_slope_is_nothing_and_of_waves_themselves():
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    slope = periodic((y - x)[None].double() / 64)
    assert slope.abs().max() < 0.1 * torch.fft.fft2((y - x)[None].double() / 64).abs().max()
    noise = torch.rand(1, 32, 32, dtype=torch.float64, generator=generator(0))
    found = torch.fft.ifft2(periodic(noise)).real
    jumps = torch.zeros_like(noise)
    for axis in (1, 2):
        step = noise.select(axis, 0) - noise.select(axis, -1)
        jumps.select(axis, 0).add_(step)
        jumps.select(axis, -1).sub_(step)
    smooth = noise - noise.mean() - found
    laplacian = 4 * smooth - sum(smooth.roll(k, axis) for k in (1, -1) for axis in (1, 2))
    torch.testing.assert_close(laplacian, jumps)
