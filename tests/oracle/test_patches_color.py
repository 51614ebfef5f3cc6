"""Transfer of colour against closed forms and POT."""

import math

import numpy as np
import ot
import pytest
import torch

from gouache import patches
from gouache.patches._color_transport import plan
from gouache.patches._linear_color import moments, monge_map
from gouache.patches._palette import clusters
from gouache.random import generator

BY_TABLE = [patches.color_transport, patches.sliced_color_transfer]


def blob(mean, spread, size=(60, 70), seed=0):
    """Return an image of Gaussian colours well inside [0, 1]."""
    noise = torch.randn(3, size[0] * size[1], generator=generator(seed)).clamp(-3, 3)
    colours = torch.tensor(mean)[:, None] + torch.tensor(spread) @ noise
    return colours.view(3, *size).clamp(0, 1)


LEFT = blob([0.4, 0.5, 0.6], [[0.1, 0.0, 0.0], [0.04, 0.06, 0.0], [0.0, 0.02, 0.05]])
RIGHT = blob(
    [0.6, 0.4, 0.5], [[0.05, 0.0, 0.0], [-0.02, 0.08, 0.0], [0.03, 0.0, 0.06]], (50, 40), 1
)


def test_the_plan_is_pots():
    points, targets = clusters(LEFT, 7), clusters(RIGHT, 7)
    weight = np.full(128, 1 / 128)
    cost = ot.dist(points.numpy(), targets.numpy())
    exact = ot.emd(weight, weight, cost)
    assert torch.equal(plan(points, targets), torch.from_numpy(exact.argmax(1)))


def test_clusters_share_the_mass_equally():
    means = clusters(LEFT, 10)
    assert means.shape == (1024, 3)
    torch.testing.assert_close(means.mean(0), LEFT.double().mean((1, 2)), atol=1e-5, rtol=0)
    far = torch.cdist(LEFT.flatten(1).T.double(), means)
    assert far.amin(1).square().mean().sqrt() < 0.02


def test_clusters_of_a_few_colours_are_these():
    colours = torch.tensor([[0.1, 0.3, 0.7, 0.9], [0.5, 0.2, 0.6, 0.5], [0.5, 0.5, 0.1, 0.5]])
    found = clusters(colours.repeat(1, 6).view(3, 4, 6), 4)
    expected = colours.T.repeat_interleave(4, 0).double()
    torch.testing.assert_close(found[found[:, 0].argsort()], expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("matrix", ["scaled", "sheared"])
def test_transport_finds_the_gradient_of_a_convex_function(matrix):
    """A positive definite affine map is the optimal transport to its own image."""
    a = torch.diag(torch.tensor([1.4, 0.7, 1.0]))
    if matrix == "sheared":
        a = a + torch.tensor([[0.0, 0.2, 0.1], [0.2, 0.0, 0.0], [0.1, 0.0, 0.0]])
    mean = LEFT.mean((1, 2), keepdim=True)
    expected = (torch.einsum("ij,jhw->ihw", a, LEFT - mean) + 0.5).clamp(0, 1)
    found = patches.color_transport(LEFT, expected, grain=0)
    assert (found - expected).square().mean().sqrt() < 0.012


def test_sliced_transfer_of_one_hue_is_histogram_matching():
    grey = torch.rand(1, 40, 50, generator=generator(0)) ** 2
    palette = 0.2 + 0.6 * torch.rand(1, 40, 50, generator=generator(1)).sqrt()
    found = patches.sliced_color_transfer(grey, palette, grain=0, smooth=0.02, rng=generator(0))
    rank = grey.flatten().argsort().argsort()
    expected = palette.flatten().sort()[0][rank].view(40, 50)
    assert (found - expected).abs().mean() < 0.01


@pytest.mark.parametrize("method", BY_TABLE)
def test_the_palette_is_met(method):
    found = method(LEFT, RIGHT, grain=0, rng=generator(0))

    def apart(a):
        pair = [x.flatten(1).T.double().numpy() for x in (a, RIGHT)]
        return ot.sliced_wasserstein_distance(*pair, n_projections=50, seed=0)

    assert apart(found) < 0.1 * apart(LEFT)


@pytest.mark.parametrize("method", BY_TABLE)
def test_a_gradient_gets_no_bands(method):
    x = torch.linspace(0, 1, 512)
    ramp = torch.stack([0.3 + 0.3 * x, 0.4 + 0.2 * x, 0.7 - 0.2 * x])[:, None].expand(3, 16, 512)
    far = blob([0.2, 0.3, 0.6], [[0.04, 0.0, 0.0], [0.0, 0.04, 0.0], [0.0, 0.0, 0.04]], seed=2)
    palette = torch.cat([far, LEFT, 1 - LEFT], 2)
    steps = method(ramp, palette, rng=generator(0)).diff(dim=2)[:, 8].norm(dim=0)
    assert steps.max() < 6 / 255
    assert (steps.diff().abs() < 1.5 / 255).all()


@pytest.mark.parametrize("method", BY_TABLE)
def test_grain_is_not_stretched(method):
    x = torch.linspace(0, 1, 128)
    ramp = torch.stack([0.4 + 0.2 * x, 0.4 + 0.2 * x, 0.6 - 0.2 * x])[:, None].expand(3, 64, 128)
    noisy = ramp + 0.01 * torch.randn(ramp.shape, generator=generator(0))
    palette = torch.stack([x, x.square(), 1 - x])[:, None].expand(3, 64, 128)
    left = [
        method(noisy, palette, grain=grain, rng=generator(0))
        .sub(method(ramp, palette, grain=grain, rng=generator(0)))[:, 8:-8, 16:-16]
        .std()
        for grain in (0.0, 0.02)
    ]
    assert left[0] > 0.02
    assert left[1] < 0.6 * left[0]


def test_linear_transfer_has_the_palettes_moments():
    found = moments(patches.linear_color_transfer(LEFT, RIGHT))
    for ours, theirs in zip(found, moments(RIGHT), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_the_linear_map_is_pots():
    pair = [x.flatten(1).T.double().numpy() for x in (LEFT, RIGHT)]
    a, _ = ot.gaussian.empirical_bures_wasserstein_mapping(*pair, reg=0)
    found = monge_map(moments(LEFT)[1], moments(RIGHT)[1])
    torch.testing.assert_close(found, torch.from_numpy(a).T.contiguous(), atol=1e-2, rtol=1e-2)
    assert torch.allclose(found, found.T)
    assert torch.linalg.eigvalsh(found).min() > 0


def test_linear_transfer_of_grey_keeps_what_a_line_can():
    grey = torch.rand(1, 30, 30, generator=generator(0))
    _, found = moments(patches.linear_color_transfer(0.4 + 0.2 * grey, RIGHT))
    line = torch.full((3,), 1 / math.sqrt(3), dtype=torch.float64)
    wanted = line @ moments(RIGHT)[1] @ line
    torch.testing.assert_close(line @ found @ line, wanted, atol=1e-6, rtol=1e-3)


@pytest.mark.parametrize("method", [*BY_TABLE, patches.linear_color_transfer])
def test_strength_is_the_share_of_the_way(method):
    whole = method(LEFT, RIGHT, rng=generator(0))
    half = method(LEFT, RIGHT, strength=0.5, rng=generator(0))
    torch.testing.assert_close(half, (LEFT + whole) / 2, atol=1e-5, rtol=0)
