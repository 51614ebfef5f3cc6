"""The ODE log-likelihood against closed forms, on tensors in the shape of images."""

import pytest
import torch

from gouache import diffuse, random
from gouache.check import InputError

SHAPE = (1, 4, 4)


def correlated():
    g = random.generator(0)
    a = torch.randn(16, 16, dtype=torch.float64, generator=g)
    mean = torch.randn(1, *SHAPE, dtype=torch.float64, generator=g)
    return diffuse.GaussianMixture(mean, covariance=a @ a.T / 16 + 0.05 * torch.eye(16).double())


def mixture():
    means = torch.randn(5, *SHAPE, dtype=torch.float64, generator=random.generator(1))
    return diffuse.GaussianMixture(means, 0.2, weights=torch.arange(1.0, 6.0).double())


MODELS = {"correlated": correlated, "mixture": mixture}


@pytest.mark.parametrize("name", MODELS)
def test_exact_trace_is_within_a_hundredth_of_a_nat(name):
    model = MODELS[name]()
    x = model.sample(64, random.generator(2))
    found = diffuse.log_likelihood(model, x, steps=64)
    assert found.value.shape == (64,)
    assert (found.value - model.log_prob(x)).abs().max() < 1e-2
    assert (found.error == 0).all()


def test_integrator_converges():
    model = mixture()
    x = model.sample(16, random.generator(3))
    exact = model.log_prob(x, 2e-3)
    errors = [
        (diffuse.log_likelihood(model, x, steps=n).value - exact).abs().mean() for n in (12, 48)
    ]
    assert errors[0] / errors[1] > 8


@pytest.mark.parametrize("name", MODELS)
def test_hutchinson_is_unbiased_within_its_own_error(name):
    model = MODELS[name]()
    n = 200
    x = model.sample(n, random.generator(4))
    found = diffuse.log_likelihood(model, x, steps=12, probes=32, rng=random.generator(5))
    error = found.value - diffuse.log_likelihood(model, x, steps=12).value
    assert error.mean().abs() < 3 * error.std() / n**0.5
    ratio = error.pow(2).mean().sqrt() / found.error.pow(2).mean().sqrt()
    assert ratio == pytest.approx(1, abs=0.15)
    assert ((error / found.error).abs() < 3).double().mean() > 0.95


def test_chunks_and_seed_do_not_matter_and_matter():
    model = mixture()
    x = model.sample(5, random.generator(6))

    def value(seed, chunk):
        rng = random.generator(seed)
        return diffuse.log_likelihood(model, x, steps=4, probes=2, rng=rng, chunk=chunk).value

    torch.testing.assert_close(value(0, 2), value(0, 256))
    assert not torch.allclose(value(0, 2), value(1, 2))


def test_condition_is_split_with_its_samples():
    two = [diffuse.GaussianMixture(torch.full((1, 2), m).double(), 0.3) for m in (-1.0, 1.0)]

    def denoiser(y, sigma, condition=None):
        right = condition["label"][:, None] == 1
        return torch.where(right, two[1](y, sigma), two[0](y, sigma))

    x = torch.tensor([[0.9, 1.2], [-1.1, -0.8], [0.7, 1.0]], dtype=torch.float64)
    label = torch.tensor([1, 0, 1])
    found = diffuse.log_likelihood(denoiser, x, condition={"label": label}, chunk=2).value
    exact = torch.stack([two[k].log_prob(x[i : i + 1])[0] for i, k in enumerate(label)])
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-2)


def test_works_without_gradients_on_a_network_with_parameters():
    torch.manual_seed(0)
    layer = torch.nn.Linear(16, 16)

    def network(x, c_noise, condition):
        return layer(x.flatten(1)).view_as(x)

    model = diffuse.Preconditioned(network, diffuse.edm, 0.5)
    x = torch.randn(3, *SHAPE)
    with torch.no_grad():
        exact = diffuse.log_likelihood(model, x, steps=8)
        probed = diffuse.log_likelihood(model, x, steps=8, probes=400, rng=random.generator(0))
    assert not exact.value.requires_grad
    assert layer.weight.grad is None
    assert ((probed.value - exact.value).abs() < 4 * probed.error).all()


def test_one_probe_has_no_error():
    with pytest.raises(InputError, match="probes"):
        diffuse.log_likelihood(mixture(), torch.zeros(1, *SHAPE).double(), probes=1)


@pytest.mark.parametrize("probes", [None, 64])
def test_likelihood_under_a_guide_is_that_of_the_posterior(probes):
    """x0 ~ N(0, a^2), c = x0 + r n seen: the guided denoiser is that of N(m, v), and so log p."""
    a, r, c = 0.8, 0.3, 0.5

    def log_prob(y, sigma, condition):
        sigma = torch.as_tensor(sigma).reshape(-1, 1).to(y)
        mean, variance = y * a**2 / (a**2 + sigma**2), 1 / (1 / a**2 + 1 / sigma**2) + r**2
        return -((c - mean) ** 2 / (2 * variance)).sum(1)

    prior = diffuse.GaussianMixture(torch.zeros(1, 3).double(), a)
    guided = diffuse.ClassifierGuided(prior, log_prob)
    v = 1 / (1 / a**2 + 1 / r**2)
    posterior = diffuse.GaussianMixture(torch.full((1, 3), c * v / r**2).double(), v**0.5)
    x = posterior.sample(6, random.generator(7))
    torch.testing.assert_close(guided(x, 0.4), posterior(x, 0.4))
    found = diffuse.log_likelihood(guided, x, probes=probes, sigma_data=v**0.5)
    torch.testing.assert_close(found.value, posterior.log_prob(x, 2e-3), rtol=0, atol=5e-3)
