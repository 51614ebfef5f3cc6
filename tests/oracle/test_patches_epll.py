"""EPLL by its definition, and its fast form against it."""

import numpy as np
import pytest
import torch
from skimage import data

from gouache import recipes, weights
from gouache.check import InputError
from gouache.patches import PatchPrior, _epll, _fepll, epll, fepll
from gouache.random import generator


def psnr(found, image):
    return -10 * np.log10(((np.asarray(found) - image) ** 2).mean())


@pytest.fixture(scope="module")
def prior():
    """Return a prior of twelve components over patches of 4 x 4, fitted on a photograph."""
    picture = torch.from_numpy(data.coffee().mean(2) / 255).float()
    x = picture.unfold(0, 4, 3).unfold(1, 4, 3).reshape(-1, 16)
    return PatchPrior.fit(x, 12, passes=5, rng=generator(0))


def noisy_photograph(sigma, size=64):
    image = data.camera()[100 : 100 + size, 150 : 150 + size].astype(np.float64) / 255
    noisy = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
    return torch.from_numpy(noisy).float()[None], image


def test_each_iteration_is_the_mean_of_image_and_patches(prior):
    y, _ = noisy_photograph(0.1)
    x, betas = y, (1.0, 3.0, 9.0)
    for b in betas:
        x = (y + b * prior.smooth(x, 0.1 / b**0.5)) / (1 + b)
    torch.testing.assert_close(epll(y, 0.1, prior=prior, betas=betas), x, rtol=0, atol=1e-5)


def test_one_gaussian_and_one_iteration_is_a_linear_filter():
    one = PatchPrior.fit(torch.randn(300, 9, generator=generator(0)), 1, passes=1)
    y = torch.rand(2, 1, 12, 12, generator=generator(1))
    a, b, both = (epll(v, 0.3, prior=one, betas=(2.0,)) for v in (y[0], y[1], y[0] + y[1]))
    torch.testing.assert_close(a + b, both, rtol=0, atol=1e-5)


def test_colour_of_equal_channels_is_grey(prior):
    y, _ = noisy_photograph(0.1)
    grey = epll(y, 0.1 / 3**0.5, prior=prior)
    torch.testing.assert_close(
        epll(y.expand(3, -1, -1), 0.1, prior=prior), grey.expand(3, -1, -1), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("method", [epll, fepll])
def test_a_map_of_noise_levels_beats_one_level(prior, method):
    image = data.camera()[100:196, 150:246].astype(np.float64) / 255
    sigma = np.broadcast_to(np.linspace(0.02, 0.3, 96), (96, 96))
    noisy = image + sigma * np.random.default_rng(0).standard_normal(image.shape)
    y, level = torch.from_numpy(noisy)[None], torch.from_numpy(sigma.copy()).float()
    one = float(level.square().mean().sqrt())
    found = [psnr(method(y, s, prior=prior)[0], image) for s in (level, one)]
    assert found[0] > found[1] + 0.3


@pytest.mark.parametrize("method", [epll, fepll])
def test_of_noise_on_every_other_pixel_the_others_are_believed(prior, method):
    _, image = noisy_photograph(0.0)
    sigma = 0.2 * (torch.arange(64)[:, None] + torch.arange(64)).remainder(2).float()
    noise = sigma.numpy() * np.random.default_rng(0).standard_normal(image.shape)
    y = torch.from_numpy(image + noise).float()[None]
    found = method(y, sigma, prior=prior)
    assert torch.equal(found[:, sigma == 0], y[:, sigma == 0])
    flat = method(y, float(sigma.square().mean().sqrt()), prior=prior)
    assert psnr(found[0], image) > psnr(flat[0], image) + 3


def test_the_level_of_a_patch_is_its_root_mean_square():
    sigma = 0.2 * (torch.arange(32)[:, None] + torch.arange(32)).remainder(2)
    noise = _epll.Noise.of(sigma, 8)
    assert noise.levels == pytest.approx([0.2 / 2**0.5], rel=1e-3)
    expected = torch.where(sigma > 0, 2.0, 0.0)
    torch.testing.assert_close(noise.ratio, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("method", [epll, fepll])
def test_images_with_gradients_are_filtered_without(prior, method):
    y, _ = noisy_photograph(0.1, 24)
    found = method(y.clone().requires_grad_(), 0.1, prior=prior)
    assert not found.requires_grad
    assert torch.equal(found, method(y, 0.1, prior=prior))


def test_fast_form_follows_a_prior_that_changes(prior):
    y, _ = noisy_photograph(0.1, 32)
    changed = PatchPrior(prior.config)
    first = fepll(y, 0.1, prior=changed)
    changed.load_state_dict(prior.state_dict())
    found = fepll(y, 0.1, prior=changed)
    assert torch.equal(found, fepll(y, 0.1, prior=prior))
    assert not torch.equal(found, first)
    assert _fepll.tree_of(changed, 0.99) is _fepll.tree_of(changed, 0.99)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("method", [epll, fepll])
def test_images_and_priors_elsewhere_meet_where_the_prior_is(method):
    y, _ = noisy_photograph(0.1, 24)
    sigma = torch.linspace(0.05, 0.2, 24).expand(24, 24)
    for level in (0.1, sigma):
        expected = method(y, level, prior=PatchPrior.tiny(), **small(method))
        for image in (y, y.cuda()):
            found = method(image, level, prior=PatchPrior.tiny().cuda(), **small(method))
            assert found.device == image.device
            torch.testing.assert_close(found.cpu(), expected, atol=1e-4, rtol=0)


def small(method):
    """Return the options that patches of 3 x 3 need."""
    return {"stride": 2} if method is fepll else {}


@pytest.mark.parametrize("method", [epll, fepll])
def test_a_prior_must_be_one(method):
    with pytest.raises(InputError, match="got str; PatchPrior"):
        method(torch.rand(1, 16, 16), 0.1, prior="epll-prior")


def test_levels_of_a_map_are_near_those_of_the_patches():
    sigma = torch.linspace(0.02, 0.3, 40).expand(30, 40)
    noise = _epll.Noise.of(sigma, 8)
    expected = sigma.square().unfold(0, 8, 1).unfold(1, 8, 1).mean((2, 3)).sqrt()
    found = torch.tensor(noise.levels)[noise.index]
    assert (found / expected - 1).abs().max() < 0.05
    assert _epll.Noise.of(torch.full((9, 9), 0.1), 8).levels == pytest.approx((0.1,))


@pytest.mark.parametrize("level", [0.1, "map"])
def test_fast_form_that_tries_everything_is_the_exact_one(prior, level):
    y, _ = noisy_photograph(0.1)
    sigma = 0.05 + 0.1 * torch.rand(64, 64, generator=generator(0)) if level == "map" else level
    exact = epll(y, sigma, prior=prior)
    fast = fepll(y, sigma, prior=prior, stride=1, energy=1.0, beam=12)
    close = (fast - exact).abs() < 1e-4
    assert close.double().mean() > 0.999  # two components may cost the same to the last bit


def test_tree_holds_every_component_once(prior):
    tree = _fepll.tree_of(prior, 0.95)
    below = tree.child[tree.child >= 0]
    assert sorted([*below.tolist(), *tree.tops.tolist()]) == list(range(len(tree.child)))
    assert len(tree.tops) == 1
    assert tree.weight[tree.tops].sum() == pytest.approx(1)
    assert (tree.child[: tree.components] == -1).all()
    depth = np.zeros(len(tree.child), int)
    for n in range(len(tree.child) - 1, -1, -1):
        depth[tree.child[n][tree.child[n] >= 0]] = depth[n] + 1
    assert len(set(depth[: tree.components].tolist())) == 1


def test_flat_tail_keeps_the_trace_and_of_full_rank_the_covariance(prior):
    covariance = prior.covariance.double()
    d = covariance.shape[1]
    for energy in (0.8, 1.0):
        basis, rank, leading, tail = _fepll._flattened(covariance, energy)
        scale = torch.where(torch.arange(leading.shape[1]) < rank[:, None], leading, 0)
        rest = torch.eye(d).double() - basis @ basis.mT
        found = (basis * scale[:, None]) @ basis.mT + tail[:, None, None] * rest
        torch.testing.assert_close(
            found.diagonal(dim1=1, dim2=2).sum(1), covariance.diagonal(dim1=1, dim2=2).sum(1)
        )
        if energy == 1.0:
            torch.testing.assert_close(found, covariance)
        else:
            assert (rank < d).all()


@pytest.mark.parametrize("shape", [(8, 8), (9, 20), (64, 37)])
@pytest.mark.parametrize("stride", [1, 3, 4, 6, 8])
def test_every_pixel_is_in_a_patch(shape, stride):
    for seed in range(3):
        place = _fepll.places(torch.Size(shape), 8, stride, seed)
        covered = np.zeros(shape, int)
        for row, col in place.reshape(-1, 2):
            assert 0 <= row <= shape[0] - 8
            assert 0 <= col <= shape[1] - 8
            covered[row : row + 8, col : col + 8] += 1
        assert covered.min() > 0


def test_places_depend_on_the_seed_alone(prior):
    y, _ = noisy_photograph(0.1)
    a, b, c = (fepll(y, 0.1, prior=prior, stride=3, seed=s) for s in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_progress_is_told_of_every_iteration(prior):
    seen = []
    y, _ = noisy_photograph(0.1, 16)
    epll(torch.stack([y, y]), 0.1, prior=prior, progress=lambda *at: seen.append(at))
    assert seen == [(k, 12) for k in range(1, 13)]


@pytest.mark.parametrize("method", [epll, fepll])
@pytest.mark.parametrize("betas", [(), (1.0, 0.0), (-1.0,), 5.0, torch.tensor([1.0]), ("1",)])
def test_betas_must_be_above_0(prior, method, betas):
    with pytest.raises(InputError, match="betas must be"):
        method(torch.rand(1, 9, 9), 0.1, prior=prior, betas=betas)


@pytest.mark.parametrize("options", [{"stride": 5}, {"energy": 1.5}, {"beam": 0}])
def test_options_out_of_range_are_named(prior, options):
    (name,) = options
    with pytest.raises(InputError, match=f"{name} must be"):
        fepll(torch.rand(1, 9, 9), 0.1, prior=prior, **options)


@pytest.mark.parametrize(("levels", "gain"), [(10, 4.8), (25, 8.5), (50, 10.8)])
def test_gain_on_a_photograph_by_the_prior_that_ships(levels, gain):
    sigma = levels / 255
    y, image = noisy_photograph(sigma, 128)
    exact, fast = psnr(epll(y, sigma)[0], image), psnr(fepll(y, sigma)[0], image)
    assert exact > psnr(y[0], image) + gain
    assert fast > exact - 0.5


def test_patches_of_the_recipe_do_not_depend_on_what_is_left_out():
    from gouache.recipes import _epll_prior

    whole = _epll_prior.photograph_patches((), 8, 0)
    some = _epll_prior.photograph_patches(("astronaut",), 8, 0)
    assert torch.equal(some, torch.cat([whole[:8], whole[16:]]))
    with pytest.raises(InputError, match='did you mean "camera"'):
        recipes.epll_prior(("camra",))


def test_shipped_prior_is_that_of_its_recipe():
    card, prior = weights.card("epll-prior"), weights.load("epll-prior")
    assert card["recipe"] == "epll_prior"
    assert prior.config == PatchPrior.shipped().config == PatchPrior().config
