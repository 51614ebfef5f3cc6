"""Exact denoisers, targets, guidance and inversion against closed forms and identities."""

import math

import pytest
import torch

from gouache import diffuse, random
from gouache.check import InputError

Y = torch.randn(6, 2, 3, dtype=torch.float64, generator=random.generator(0)) * 2
SIGMA = torch.tensor([0.05, 0.2, 0.5, 1.0, 3.0, 20.0], dtype=torch.float64)


def mixtures():
    g = random.generator(1)
    means = torch.randn(4, 2, 3, dtype=torch.float64, generator=g)
    a = torch.randn(4, 6, 6, dtype=torch.float64, generator=g)
    weights = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    yield diffuse.GaussianMixture(means, 0.4, weights=weights)
    yield diffuse.GaussianMixture(means, torch.tensor([0.1, 0.2, 0.3, 0.4]).double())
    yield diffuse.GaussianMixture(means, covariance=a @ a.mT / 6, weights=weights)


@pytest.mark.parametrize("model", list(mixtures()))
def test_mixture_obeys_tweedie(model):
    """D = y + s^2 grad log p_s(y): the denoiser and the density are two codes, one truth."""
    y = Y.clone().requires_grad_()
    (score,) = torch.autograd.grad(model.log_prob(y, SIGMA).sum(), y)
    torch.testing.assert_close(model(Y, SIGMA), Y + SIGMA.view(-1, 1, 1) ** 2 * score)


@pytest.mark.parametrize("model", list(mixtures()))
def test_mixture_density_against_torch(model):
    size = 6
    basis = torch.eye(size).double().expand(4, 6, 6) if model.basis is None else model.basis
    noisy = model.eigenvalues + 0.3**2
    components = torch.distributions.MultivariateNormal(
        model.mu, basis @ torch.diag_embed(noisy) @ basis.mT
    )
    weights = torch.distributions.Categorical(logits=model.log_weights)
    reference = torch.distributions.MixtureSameFamily(weights, components)
    torch.testing.assert_close(model.log_prob(Y, 0.3), reference.log_prob(Y.flatten(1)))


def mixture_std(model):
    weights, mean = model.log_weights.exp(), model.log_weights.exp() @ model.mu
    basis = torch.eye(6).double().expand(4, 6, 6) if model.basis is None else model.basis
    within = torch.einsum("kij,kj,kij->ki", basis, model.eigenvalues, basis)
    return (weights @ (within + (model.mu - mean) ** 2)).sqrt()


@pytest.mark.parametrize("model", list(mixtures()))
def test_mixture_samples_have_its_moments(model):
    x = model.sample(40_000, random.generator(2)).flatten(1)
    mean = model.log_weights.exp() @ model.mu
    assert (x.mean(0) - mean).abs().max() < 0.05
    assert (x.std(0) - mixture_std(model)).abs().max() < 0.05


def test_ring_is_a_ring():
    ring = diffuse.GaussianMixture.ring(dtype=torch.float64)
    torch.testing.assert_close(ring.mu.norm(dim=1), torch.ones(8).double())
    assert ring.mu.sum(0).abs().max() < 1e-12


@pytest.mark.parametrize("block", [1, 3, 100])
def test_empirical_denoiser_is_a_mixture_of_width_zero(block):
    points = torch.randn(10, 2, 3, dtype=torch.float64, generator=random.generator(3))
    ours = diffuse.EmpiricalDenoiser(points, block)
    torch.testing.assert_close(ours(Y, SIGMA), diffuse.GaussianMixture(points, 0.0)(Y, SIGMA))
    torch.testing.assert_close(ours(points, 1e-4), points)
    far = ours(1e6 + Y, 1e-3)
    assert far.isfinite().all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "std or covariance"),
        ({"std": 1.0, "covariance": torch.eye(2)}, "std or covariance"),
        ({"covariance": torch.eye(3)}, r"covariance must be \(2, 2\)"),
    ],
)
def test_mixture_names_what_is_wrong(arguments, message):
    with pytest.raises(InputError, match=message):
        diffuse.GaussianMixture(torch.zeros(1, 2), **arguments)


def test_empirical_denoiser_needs_points():
    with pytest.raises(InputError, match="at least one point"):
        diffuse.EmpiricalDenoiser(torch.zeros(0, 2))


def test_targets_mean_what_their_papers_say():
    """With the true x0 the wanted output is x0, n, v = alpha n - sigma x0, n - x0 (unit data)."""
    g = random.generator(4)
    x0, n = torch.randn(2, 50, dtype=torch.float64, generator=g)
    for s in (0.02, 0.9, 40.0):
        sigma, y = torch.tensor(s, dtype=torch.float64), x0 + s * n
        alpha_t, sigma_t = 1 / math.sqrt(1 + s * s), s / math.sqrt(1 + s * s)
        wanted = {
            diffuse.x0: x0,
            diffuse.noise: n,
            diffuse.v: alpha_t * n - sigma_t * x0,
            diffuse.edm: sigma_t * x0 - alpha_t * n,
            diffuse.flow: n - x0,
        }
        for target, expected in wanted.items():
            c = target(sigma)
            torch.testing.assert_close((x0 - c.c_skip * y) / c.c_out, expected, rtol=0, atol=1e-9)
        flow = diffuse.flow(sigma)
        t = diffuse.FlowMatching().time(sigma)
        torch.testing.assert_close(flow.c_in * y, (1 - t) * x0 + t * n)


def test_edm_coefficients_are_table_1():
    s, d = torch.logspace(-3, 2, 30, dtype=torch.float64), 0.5
    c = diffuse.edm(s, d)
    torch.testing.assert_close(c.c_skip, d**2 / (s**2 + d**2))
    torch.testing.assert_close(c.c_out, s * d / (s**2 + d**2).sqrt())
    torch.testing.assert_close(c.c_in, 1 / (d**2 + s**2).sqrt())
    torch.testing.assert_close(c.weight / c.c_out**2, (s**2 + d**2) / (s * d) ** 2)


def two_classes():
    means = torch.tensor([[-1.0, 0.0], [1.0, 0.5]], dtype=torch.float64)
    classes = [diffuse.GaussianMixture(m[None], 0.5) for m in means]
    return classes, diffuse.GaussianMixture(means, 0.5)


def log_class_one(y, sigma, condition):
    classes, _ = two_classes()
    logits = torch.stack([model.log_prob(y, sigma) for model in classes], dim=1)
    return logits.log_softmax(1)[:, 1]


def test_classifier_guidance_is_bayes_rule():
    """With weight 1 and the exact p(c | y), the guided denoiser is the class's own."""
    classes, both = two_classes()
    y, sigma = Y[:, :, 0], SIGMA
    guided = diffuse.ClassifierGuided(both, log_class_one)
    with torch.no_grad():
        torch.testing.assert_close(guided(y, sigma), classes[1](y, sigma))


class Labelled:
    """A denoiser whose label 2 means none."""

    def __init__(self):
        self.classes, self.both = two_classes()

    def __call__(self, y, sigma, condition=None):
        free = self.both(y, sigma)
        if condition is None:
            return free
        label = condition["label"][:, None]
        ones = [torch.where(label == k, self.classes[k](y, sigma), 0) for k in (0, 1)]
        return torch.where(label == 2, free, ones[0] + ones[1])


@pytest.mark.parametrize("sigma", [0.3, SIGMA, SIGMA[:, None].expand(6, 2)])
def test_one_doubled_call_is_two_calls(sigma):
    calls = []

    def denoiser(y, sigma, condition=None):
        calls.append(len(y))
        level = torch.as_tensor(sigma).double()
        level = level[:, None] if level.ndim == 1 else level
        label = 2 if condition is None else condition["label"][:, None]
        return (y + label) / (1 + level**2)

    y, condition = Y[:, :, 0], {"label": torch.tensor([0, 1, 0, 1, 1, 0])}
    two = diffuse.ClassifierFree(denoiser, 2.5)(y, sigma, condition)
    null = {"label": torch.tensor([2])}
    one = diffuse.ClassifierFree(denoiser, 2.5, null=null)(y, sigma, condition)
    torch.testing.assert_close(one, two)
    assert calls == [6, 6, 12]


def test_classifier_free_formula_and_interval():
    y, condition = Y[:, :, 0], {"label": torch.tensor([0, 1, 0, 1, 1, 0])}
    model = Labelled()
    free, bound = model(y, SIGMA), model(y, SIGMA, condition)
    guided = diffuse.ClassifierFree(model, 3.0, null={"label": torch.tensor([2])})
    torch.testing.assert_close(guided(y, SIGMA, condition), 3 * bound - 2 * free)
    torch.testing.assert_close(guided(y, SIGMA), free)
    within = diffuse.ClassifierFree(model, 3.0, interval=(0.1, 1.0))(y, SIGMA, condition)
    torch.testing.assert_close(within[1:4], (3 * bound - 2 * free)[1:4])
    torch.testing.assert_close(within[[0, 4, 5]], bound[[0, 4, 5]])


RING = diffuse.GaussianMixture.ring(dtype=torch.float64)


@pytest.mark.parametrize(
    ("spacing", "bound"),
    [(diffuse.leading, 0.01), (diffuse.trailing, 0.01), (diffuse.angular, 1e-3)],
)
def test_inversion_round_trip_on_the_ring(spacing, bound):
    x0 = RING.sample(2000, random.generator(5))
    grid = diffuse.VPLinear().grid(50, spacing)
    latent = diffuse.invert(RING, x0, grid)
    back = diffuse.ddim(RING, latent, grid)
    assert (back - x0).norm(dim=1).mean() < bound
    assert 0.9 < latent.std() < 1.25


def test_plain_inversion_already_meets_the_bound_on_the_angular_grid():
    x0 = RING.sample(2000, random.generator(6))
    grid = diffuse.VPLinear().grid(50, diffuse.angular)
    back = diffuse.ddim(RING, diffuse.invert(RING, x0, grid, refine=0), grid)
    assert (back - x0).norm(dim=1).mean() < 0.035


def test_inversion_reports_levels_upwards_and_inverts_images():
    model = diffuse.GaussianMixture(torch.zeros(1, 1, 3, 3).double(), 0.7)
    x0 = model.sample(4, random.generator(7))
    levels = []
    grid = diffuse.FlowMatching().grid(12, diffuse.angular)
    x = diffuse.invert(model, x0, grid, on_step=lambda k, x, x0: levels.append(k), refine=4)
    assert levels == list(range(11, -1, -1))
    torch.testing.assert_close(diffuse.ddim(model, x, grid), x0, rtol=0, atol=1e-6)


def test_samplers_that_are_one_another():
    grid, noise = diffuse.VPLinear().grid(15), random.Noise(torch.arange(20))
    x = diffuse.start(grid, torch.empty(20, 2, dtype=torch.float64), noise)

    def sample(name, **options):
        return getattr(diffuse, name)(RING, x, grid, noise=noise, **options)

    torch.testing.assert_close(sample("ddim"), sample("euler"))
    torch.testing.assert_close(sample("ddim", eta=1.0), sample("ddpm"))
    torch.testing.assert_close(sample("edm_stochastic", churn=0.0), sample("heun"))


def test_adams_is_exact_on_gaussian_data_at_any_step_size():
    """D is linear in cos theta there, so from the second step on there is no error."""
    model = diffuse.GaussianMixture(torch.zeros(1, 2).double(), 0.5)
    schedule = diffuse.VE(0.05, 10.0)
    y = 10 * torch.randn(5, 2, dtype=torch.float64, generator=random.generator(8))
    fine = torch.linspace(10, 9.99, 3).double()
    grid = schedule.at(torch.cat([fine, torch.tensor([3.0, 0.5, 0.0]).double()]))
    end = diffuse.adams(model, y, grid, order=2)
    exact = y * 0.5 / math.sqrt(0.5**2 + 10**2)
    torch.testing.assert_close(end, exact, rtol=1e-4, atol=0)


def test_inversion_and_samplers_agree_with_autograd_of_the_denoiser():
    """A sampler is differentiable end to end (for guidance through it)."""
    x = torch.ones(1, 2, dtype=torch.float64, requires_grad=True)
    end = diffuse.adams(RING, 10 * x, diffuse.VE(0.01, 10.0).grid(6))
    (gradient,) = torch.autograd.grad(end.sum(), x)
    assert gradient.isfinite().all()


def test_recommended_sampler_beats_every_peer_of_the_benchmark_on_the_ring():
    """The least errors of diffusers' solvers, which benchmarks/samplers.py measures live."""
    schedule = diffuse.VPLinear()
    z = torch.randn(200, 2, dtype=torch.float64, generator=random.generator(9))
    fine = diffuse.VE(1e-4, schedule.ratio_max).grid(3000, diffuse.log_uniform)
    end = diffuse.heun(RING, fine.sigma[0] * z, fine)
    for steps, peer in ((5, 0.300), (10, 0.125), (20, 0.0139), (50, 0.0007)):
        grid = schedule.grid(steps, diffuse.angular)
        x = diffuse.adams(RING, grid.sigma[0] * z, grid)
        assert (x - end).norm(dim=1).mean() < peer / 2


def test_derivative_of_a_guide_is_that_of_finite_differences():
    """A guidance term that is not linear in y, behind another function of x."""
    prior = diffuse.GaussianMixture(torch.zeros(1, 2).double(), 0.7)
    guided = diffuse.ClassifierGuided(prior, lambda y, sigma, condition: y.sin().prod(1), 0.9)
    x = torch.randn(3, 2, dtype=torch.float64, generator=random.generator(0), requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: guided(2 * x, 0.8), (x,))
    assert not guided(x.detach(), 0.8).requires_grad
    with torch.no_grad():
        assert not guided(x, 0.8).requires_grad
