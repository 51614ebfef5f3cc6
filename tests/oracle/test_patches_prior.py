"""The Gaussian mixture of patches: densities, estimates and the fit, against closed forms."""

import itertools

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from gouache import pretrained, train
from gouache.check import InputError
from gouache.patches import PatchPrior, _prior_filter
from gouache.patches._prior import PatchPriorConfig
from gouache.random import generator


def prior_of(components, patch, seed=0):
    """Return a prior of random covariances, of very different scales."""
    draws = generator(seed)
    prior = PatchPrior(PatchPriorConfig(components, patch))
    d = patch**2 - 1
    factor = torch.randn(components, d, d, generator=draws) / d**0.5
    scale = 10 ** (torch.rand(components, generator=draws) * 2 - 2.5)
    prior.covariance.copy_(scale[:, None, None] ** 2 * factor @ factor.mT + 1e-4 * torch.eye(d))
    prior.weight.copy_(torch.rand(components, generator=draws) + 0.1)
    prior.weight.div_(prior.weight.sum())
    return prior


def coefficients(x):
    """Return the cosine coefficients without the mean, in the prior's order, by SciPy."""
    p = round(x.shape[1] ** 0.5)
    whole = dctn(x.double().reshape(-1, p, p).numpy(), axes=(1, 2), norm="ortho")
    rows, cols = np.array(_prior_filter.frequencies(p)).T
    return torch.from_numpy(whole[:, rows, cols])


def mixture_of(prior, sigma):
    d = prior.covariance.shape[1]
    noisy = prior.covariance.double() + sigma**2 * torch.eye(d, dtype=torch.float64)
    parts = MultivariateNormal(torch.zeros(d, dtype=torch.float64), noisy)
    return MixtureSameFamily(Categorical(prior.weight.double()), parts)


def planted(n=6000):
    """Return rows of two planted Gaussians over patches of 3 x 3, and their covariances."""
    draws = generator(0)
    A = torch.randn(2, 8, 8, generator=draws) * torch.tensor([0.3, 0.05])[:, None, None]
    c = torch.cat([torch.randn(n // 3 * m, 8, generator=draws) @ A[m - 1].T for m in (2, 1)][::-1])
    Q = _prior_filter.cosine(3).float()
    expected = torch.stack([A[0] @ A[0].T, A[1] @ A[1].T])
    return c @ Q + 0.4, expected, torch.tensor([1 / 3, 2 / 3])


@pytest.mark.parametrize("sigma", [0.0, 0.1])
def test_density_is_that_of_torch(sigma):
    prior = prior_of(6, 4)
    x = 0.2 * torch.randn(50, 16, generator=generator(1))
    expected = mixture_of(prior, sigma).log_prob(coefficients(x))
    torch.testing.assert_close(prior.log_prob(x, sigma), expected, rtol=1e-5, atol=1e-3)


def test_mean_of_a_patch_does_not_matter_and_is_kept():
    prior = prior_of(6, 4)
    x = 0.2 * torch.randn(50, 16, generator=generator(1))
    torch.testing.assert_close(prior.log_prob(x + 3), prior.log_prob(x), rtol=1e-4, atol=1e-2)
    found = prior.map_estimate(x + 3, 0.1)
    torch.testing.assert_close(found, prior.map_estimate(x, 0.1) + 3, rtol=0, atol=1e-4)


def test_one_component_is_the_wiener_filter():
    prior, sigma = prior_of(1, 4), 0.1
    x = 0.2 * torch.randn(50, 16, generator=generator(1))
    Q = _prior_filter.cosine(4)
    S = Q.T @ prior.covariance[0].double() @ Q
    gain = S @ torch.linalg.inv(S + sigma**2 * torch.eye(16, dtype=torch.float64))
    mean = x.double().mean(1, keepdim=True)
    expected = mean + (x.double() - mean) @ gain.T
    torch.testing.assert_close(prior.map_estimate(x, sigma).double(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("patch", [3, 5, 8])
def test_component_is_that_of_a_search_through_all(patch):
    prior, sigma = prior_of(20, patch), 0.03
    x = mixture_of(prior, sigma).sample((500,)).float() @ _prior_filter.cosine(patch).float()
    dense = mixture_of(prior, sigma)
    c = coefficients(x)[:, None]
    each = dense.component_distribution.log_prob(c) + prior.weight.double().log()
    expected = each.argmax(1)
    clear = each.topk(2).values.diff(dim=1).abs()[:, 0] > 1e-3
    assert len(expected.unique()) > 5
    assert clear.double().mean() > 0.95
    assert torch.equal(prior.component(x, sigma)[clear], expected[clear])


def test_smoothing_is_the_mean_over_all_patches():
    prior, sigma = prior_of(4, 3), 0.1
    image = torch.rand(2, 7, 6, generator=generator(1))
    total, count = torch.zeros_like(image), torch.zeros_like(image)
    for channel in range(2):
        for i in range(5):
            for j in range(4):
                part = image[channel, i : i + 3, j : j + 3]
                estimate = prior.map_estimate(part.reshape(1, 9), sigma).view(3, 3)
                total[channel, i : i + 3, j : j + 3] += estimate
                count[channel, i : i + 3, j : j + 3] += 1
    torch.testing.assert_close(prior.smooth(image, sigma), total / count, rtol=0, atol=1e-5)
    batch = torch.stack([image, 1 - image])
    torch.testing.assert_close(prior.smooth(batch, sigma)[1], prior.smooth(1 - image, sigma))


def test_likelihood_rises_with_every_pass():
    x, _, _ = planted()
    found = [
        float(PatchPrior.fit(x, 4, passes=n, shrink=0, rng=generator(0)).log_prob(x).mean())
        for n in range(6)
    ]
    assert all(b > a - 1e-6 for a, b in itertools.pairwise(found))
    assert found[-1] > found[0] + 0.01


@pytest.mark.parametrize(("batch", "tolerance"), [(None, 0.08), (1500, 0.15)])
def test_planted_mixture_is_recovered(batch, tolerance):
    x, covariance, weight = planted()
    prior = PatchPrior.fit(x, 2, passes=15, batch=batch, shrink=0, rng=generator(0))
    order = prior.covariance.diagonal(dim1=1, dim2=2).sum(1).argsort(descending=True)
    torch.testing.assert_close(prior.weight[order], weight, rtol=0, atol=0.02)
    error = (prior.covariance[order] - covariance).flatten(1).norm(dim=1)
    assert (error < tolerance * covariance.flatten(1).norm(dim=1)).all()


def test_fit_is_a_function_of_patches_and_rng():
    x, _, _ = planted(900)
    a, b, c = (PatchPrior.fit(x, 3, passes=2, batch=300, rng=generator(s)) for s in (0, 0, 1))
    assert torch.equal(a.covariance, b.covariance)
    assert not torch.equal(a.covariance, c.covariance)


def test_fit_goes_on_from_where_it_stopped():
    x, _, _ = planted(900)
    whole = PatchPrior.fit(x, 3, passes=4, rng=generator(0))
    half = PatchPrior.fit(x, 3, passes=2, rng=generator(0))
    rest = PatchPrior.fit(x, passes=2, start=half)
    torch.testing.assert_close(rest.covariance, whole.covariance, rtol=1e-3, atol=1e-6)


def test_component_without_patches_stays_definite():
    x = 0.1 * torch.randn(40, 16, generator=generator(0)).round()
    prior = PatchPrior.fit(x, 40, passes=5, rng=generator(0))
    assert torch.isfinite(prior.log_prob(x)).all()
    assert (torch.linalg.eigvalsh(prior.covariance) > 0).all()


def test_folder_holds_the_prior(tmp_path):
    prior = prior_of(3, 4)
    pretrained.save(prior, tmp_path / "prior")
    loaded = pretrained.load(tmp_path / "prior")
    x = torch.rand(5, 16, generator=generator(0))
    assert isinstance(loaded, PatchPrior)
    assert torch.equal(loaded.log_prob(x), prior.log_prob(x))


def test_basis_is_orthonormal_and_without_the_mean():
    Q = _prior_filter.cosine(8)
    torch.testing.assert_close(Q @ Q.T, torch.eye(63, dtype=torch.float64))
    assert Q.sum(1).abs().max() < 1e-12


def test_bytes_are_the_same_for_any_number_of_threads():
    prior, x = prior_of(20, 8), torch.rand(3000, 64, generator=generator(0))
    found = []
    for count in (1, 2):
        with train.threads(count):
            found.append(prior.map_estimate(x, 0.1))
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda prior, x: prior.log_prob(x[:, :15]), "patches must be square"),
        (lambda prior, x: prior.log_prob(x[:, :9]), "patches of 4 x 4 pixels"),
        (lambda prior, x: prior.log_prob(x[0]), r"patches must be a float tensor \(N, D\)"),
        (lambda prior, x: prior.log_prob(x * float("nan")), "patches must be finite"),
        (lambda prior, x: prior.map_estimate(x, 0.0), "sigma must be above 0"),
        (lambda prior, x: PatchPrior.fit(x, 80), "needs as many patches, got 50"),
        (lambda prior, x: PatchPrior.fit(255 * x, 2), "divide 8-bit levels by 255"),
        (lambda prior, x: PatchPrior.fit(x, 2, batch=0), "batch must be at least 1"),
        (lambda prior, x: PatchPrior.fit(x, 2, batch=-5), "batch must be at least 1"),
        (
            lambda prior, x: PatchPrior.fit(x, start=PatchPrior.tiny()),
            "start is a prior of patches",
        ),
        (lambda prior, x: prior.smooth(x[None], 25), "pass 25/255"),
        (lambda prior, x: PatchPriorConfig(0), "components must be at least 1"),
        (lambda prior, x: PatchPriorConfig(5, 1), "patch must be"),
    ],
)
def test_bad_input_names_the_mend(call, message):
    x = torch.rand(50, 16, generator=generator(0))
    with pytest.raises(InputError, match=message):
        call(prior_of(2, 4), x)


def test_no_patches_are_no_estimates():
    prior = prior_of(2, 4)
    assert prior.log_prob(torch.zeros(0, 16)).shape == (0,)
    assert prior.map_estimate(torch.zeros(0, 16), 0.1).shape == (0, 16)
