"""Diffusion from one image: what is drawn has the exemplar's patches, and keeps the contract."""

import numpy as np
import pytest
import torch
from scipy import stats

from gouache import data, patches
from gouache.check import InputError
from gouache.contracts import GenerativeModel, HasDenoiser, HasTrajectory, SampleOptions
from gouache.generate import LocalScore
from gouache.random import generator

FEW = SampleOptions(size=(20, 24), steps=5)


@pytest.fixture(scope="module")
def brick():
    return data.textures(size=48, n=1, seed=3).all()[0]


@pytest.fixture(scope="module")
def model(brick):
    return LocalScore(brick, [(0.8, 5, 2), (0.0, 5, 1)], most=600, rng=generator(0))


def stripes(height, width, period=6):
    row = (torch.arange(width) % period < period // 2).float()
    return row.expand(1, height, width)


@pytest.mark.parametrize("periodic", [False, True])
def test_stripes_give_stripes(periodic):
    """Many patches are the exemplar's word for word; where two phases meet there is a fault."""
    u = stripes(24, 24)
    made = LocalScore(u, [(0.0, 7, 1)], periodic=periodic).sample(
        1, rng=generator(0), options=SampleOptions(size=(18, 36), steps=20)
    )[0]
    same = patches.brute_force(made, u, patch=7).distance < 0.01
    assert same.float().mean() > 0.35
    assert 0.4 < made.mean() < 0.6


def test_patches_of_one_pixel_give_its_histogram():
    """Each pixel is then a draw of the exemplar's pixels, by itself (Kolmogorov and Smirnov)."""
    u = 0.2 + 0.6 * torch.rand(1, 30, 30, generator=generator(1)) ** 2
    model = LocalScore(u, [(0.0, 1, 1)])
    made = model.sample(4, rng=generator(0), options=SampleOptions(size=(30, 30), steps=40))
    test = stats.ks_2samp(made.flatten().numpy(), u.flatten().numpy())
    assert np.asarray(test)[1] > 1e-3
    right = np.corrcoef(made[..., 1:].flatten(), made[..., :-1].flatten())[0, 1]
    assert abs(right) < 4 / made.numel() ** 0.5


def test_patch_of_the_whole_image_remembers_it():
    u = torch.rand(2, 3, 12, 12, generator=generator(2))
    made = LocalScore(list(u), [(0.0, 12, 1)], core=None).sample(6, rng=generator(0))
    nearest = (made[:, None] - u).square().mean((2, 3, 4)).min(1)
    assert nearest.values.max() < 1e-4
    assert len(nearest.indices.unique()) == 2


def test_texture_is_that_of_the_exemplar(brick):
    made = LocalScore(brick).sample(1, rng=generator(0))[0]
    assert made.shape == brick.shape
    assert abs(made.mean() - brick.mean()) < 0.1
    assert 0.5 < made.std() / brick.std() < 1.5
    field = patches.brute_force(made, brick, patch=5)
    white = made.flatten()[torch.randperm(made.numel(), generator=generator(1))].view_as(made)
    shuffled = patches.brute_force(white, brick, patch=5)
    assert field.distance.mean() < 0.1 * shuffled.distance.mean()


@pytest.mark.parametrize("periodic", [False, True])
def test_torus_has_no_seam(brick, periodic):
    """Patches across the border are as near to the exemplar's as those within, or are not."""
    model = LocalScore(brick, [(0.8, 5, 2), (0.0, 5, 1)], periodic=periodic)
    made = model.sample(1, rng=generator(0), options=SampleOptions(size=(33, 30)))[0]
    tiled = torch.cat([made, made[:, :4]], 1)
    tiled = torch.cat([tiled, tiled[:, :, :4]], 2)
    off = patches.brute_force(tiled, brick, patch=5).distance[0]
    within, across = off[:29, :26].mean(), (off[29:, :26].mean() + off[:29, 26:].mean()) / 2
    assert (across < 1.5 * within) == periodic


def test_it_keeps_the_contract(model):
    assert isinstance(model, GenerativeModel)
    assert isinstance(model, HasDenoiser)
    torch.manual_seed(3)
    state = torch.get_rng_state()
    made = model.sample(2, rng=generator(0), options=FEW)
    assert torch.equal(state, torch.get_rng_state())
    assert made.shape == (2, 1, 20, 24)
    assert made.dtype == torch.float32
    assert 0 <= made.min() <= made.max() <= 1
    assert not torch.equal(made[0], made[1])
    assert torch.equal(model.sample(2, rng=generator(0), options=FEW), made)
    assert not torch.equal(model.sample(2, rng=generator(1), options=FEW), made)
    alone = SampleOptions(size=(20, 24), steps=5, chunk=1)
    assert torch.equal(model.sample(3, rng=generator(0), options=alone)[:2], made)


@pytest.mark.parametrize("nearest", [None, 8])
def test_trajectory_ends_at_the_samples(brick, nearest):
    model = LocalScore(brick, [(0.0, 5, 1)], most=500, nearest=nearest, rng=generator(0))
    assert isinstance(model, HasTrajectory)
    held, expected = model.trajectory(2, rng=generator(0), options=FEW)
    assert held.shape == expected.shape == (5, 2, 1, 20, 24)
    assert torch.equal(held[-1].clamp(0, 1), model.sample(2, rng=generator(0), options=FEW))


@pytest.mark.parametrize("sampler", ["dpm_2m", "adams", "ddim"])
def test_any_sampler(model, sampler):
    options = SampleOptions(size=(20, 20), steps=6, sampler=sampler)
    made = model.sample(1, rng=generator(0), options=options)
    assert made.std() > 0.02


def test_each_image_has_the_rung_of_its_noise(model, brick):
    low, high = 0.2 * model.std, 2 * model.std
    y = torch.stack([brick, brick])
    found = model.denoiser()(y, torch.tensor([high, low]))
    coarse, fine = model.rungs.denoisers
    assert torch.equal(found[:1], coarse(y[:1], high))
    assert torch.equal(found[1:], fine(y[1:], low))
    levels = torch.full((1, 1, 48, 48), high)
    assert torch.allclose(model.denoiser()(y, levels), coarse(y, high), atol=1e-5)


def test_where_a_sample_has_no_room_the_next_rung_serves(brick):
    model = LocalScore(brick, [(0.5, 5, 4), (0.0, 5, 1)], most=500, rng=generator(0))
    fine, y = model.rungs.denoisers[1], brick[None, :, :8, :30]
    assert torch.equal(model.denoiser()(y, 2 * model.std), fine(y, 2 * model.std))
    options = SampleOptions(size=(8, 9), steps=3)
    assert model.sample(1, rng=generator(0), options=options).shape == (1, 1, 8, 9)


@pytest.mark.parametrize("side", [1, 2, 5, 9, 17, 20, 48])
def test_usual_patches_are_at_most_half_as_wide(brick, side):
    model = LocalScore(brick[:, :side, :side])
    widest = max(denoiser.side for denoiser in model.rungs.denoisers)
    assert widest <= max(1, side / 2)
    assert model.sample(1, rng=generator(0), options=SampleOptions(steps=2)).shape[2:] == (
        side,
        side,
    )


@pytest.mark.parametrize(
    ("rungs", "saying"),
    [
        ([], "rungs must fall"),
        ([(1.0, 5, 1)], "rungs must fall in their levels, down to 0"),
        ([(0.0, 5, 1), (1.0, 5, 1)], "rungs must fall"),
        ([(0.0, 49, 1)], "patch times scale"),
        ([(0.0, 0, 1)], "patch must be at least 1"),
    ],
)
def test_rungs_that_do_not_fit_are_errors(brick, rungs, saying):
    with pytest.raises(InputError, match=saying):
        LocalScore(brick, rungs)


def test_what_it_cannot_do_is_an_error(model, brick):
    with pytest.raises(InputError, match="no condition"):
        model.sample(1, condition={"label": torch.zeros(1, dtype=torch.long)})
    with pytest.raises(InputError, match="no guidance"):
        model.sample(1, options=SampleOptions(guidance=2.0))
    with pytest.raises(InputError, match="sides of at least 5"):
        model.sample(1, options=SampleOptions(size=(4, 30)))
    with pytest.raises(InputError, match="lie in"):
        LocalScore(255 * brick)
    with pytest.raises(InputError, match="no exemplar"):
        LocalScore([])
    with pytest.raises(InputError, match="same channels"):
        LocalScore([brick, brick.expand(3, -1, -1)])
