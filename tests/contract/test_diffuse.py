"""What every schedule, target, sampler and guide promises, over every registered name."""

import math

import pytest
import torch

from gouache import diffuse, random, registry
from gouache.check import InputError

SAMPLERS = registry.names("sampler")
SCHEDULES = registry.names("schedule")
SPACINGS = (
    diffuse.angular,
    diffuse.karras,
    diffuse.leading,
    diffuse.linspace,
    diffuse.log_uniform,
    diffuse.trailing,
)
# The order at which a deterministic sampler converges; a new one converges at least at order 1.
ORDER = {"heun": 2, "dpm_2m": 2, "unipc": 2, "adams": 3}
MEAN, STD = 0.4, 0.8


def gaussian(shape, dtype=torch.float64):
    return diffuse.GaussianMixture(torch.full((1, *shape), MEAN, dtype=dtype), STD)


def flow_map(y, s, s_next):
    """Return the exact solution of the ODE for the Gaussian."""
    return MEAN + (y - MEAN) * math.sqrt((s_next**2 + STD**2) / (s**2 + STD**2))


def is_stochastic(name):
    grid, x = diffuse.EDM().grid(2), torch.ones(2, 2).double()
    try:
        registry.find("sampler", name)(gaussian((2,)), x, grid)
    except InputError:
        return True
    return False


DETERMINISTIC = [name for name in SAMPLERS if not is_stochastic(name)]


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name not in DETERMINISTIC])
def test_stochastic_sampler_asks_for_noise(name):
    with pytest.raises(InputError, match=rf"{name} is stochastic.*noise=gouache.random.Noise"):
        registry.find("sampler", name)(gaussian((1,)), torch.ones(1, 1), diffuse.EDM().grid(2))


def noise_for(n, seed=0):
    return random.Noise(random.derive_keys(seed, torch.arange(n)))


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_reaches_the_distribution(name):
    covariance = torch.tensor([[0.5, 0.3], [0.3, 0.4]], dtype=torch.float64)
    mean = torch.tensor([[0.3, -0.6]], dtype=torch.float64)

    def exact(y, sigma, condition=None):
        noisy = covariance + sigma[0] ** 2 * torch.eye(2, dtype=y.dtype)
        return mean + (y - mean) @ torch.linalg.solve(noisy, covariance)

    grid, n = diffuse.VPLinear().grid(200), 4000
    noise = noise_for(n)
    x = diffuse.start(grid, torch.empty(n, 2, dtype=torch.float64), noise)
    x = registry.find("sampler", name)(exact, x, grid, noise=noise)
    error = 3 * (0.5 / n) ** 0.5
    assert (x.mean(0) - mean[0]).abs().max() < error
    assert (x.T.cov() - covariance).abs().max() < error + 0.025


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_schedule_is_a_change_of_variable(name, schedule):
    """Through the same ratios every schedule leads from the same noise to the same end."""
    ratios = torch.cat([torch.logspace(1, -1, 8), torch.zeros(1)]).double()
    grid, noise = registry.find("schedule", schedule)().at(ratios), noise_for(4)
    plain = diffuse.Grid(torch.ones_like(ratios), ratios)
    ends, sampler = [], registry.find("sampler", name)
    for levels in (grid, plain):
        x = diffuse.start(levels, torch.empty(4, 2, dtype=torch.float64), noise)
        ends.append(sampler(gaussian((2,)), x, levels, noise=noise))
    torch.testing.assert_close(*ends)


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_deterministic_sampler_converges_at_its_order(name):
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None] * 10
    errors, schedule = [], diffuse.VE(0.05, 10.0)
    for steps in (20, 40):
        grid = schedule.grid(steps, diffuse.log_uniform, zero=False)
        end = registry.find("sampler", name)(gaussian((1,)), x, grid)
        errors.append((end - flow_map(x, 10.0, 0.05)).abs().max())
    assert math.log2(errors[0] / errors[1]) > ORDER.get(name, 1) - 0.2


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_order_of_the_last_step_to_zero(name):
    """With its end at 0 the sampler still comes to the end of the ODE."""
    grid = diffuse.VE(0.002, 10.0).grid(100, diffuse.angular)
    x = torch.linspace(-20, 20, 9, dtype=torch.float64)[:, None]
    end = registry.find("sampler", name)(gaussian((1,)), x, grid)
    assert (end - flow_map(x, 10.0, 0.0)).abs().max() < 0.05


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sampler_on_images_does_not_see_chunks(name, dtype):
    sampler, grid = registry.find("sampler", name), diffuse.VPLinear().grid(12)
    model, keys = gaussian((3, 4, 5), dtype), random.derive_keys(7, torch.arange(6))

    def sample(part):
        noise = random.Noise(keys[part])
        like = torch.empty(len(keys[part]), 3, 4, 5, dtype=dtype)
        return sampler(model, diffuse.start(grid, like, noise), grid, noise=noise)

    whole = sample(slice(0, 6))
    assert whole.shape == (6, 3, 4, 5)
    assert whole.dtype == dtype
    parts = torch.cat([sample(slice(0, 1)), sample(slice(1, 6))])
    torch.testing.assert_close(parts, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", SAMPLERS)
def test_single_precision_follows_double(name):
    """float32 goes the way of float64 from the same start: no formula cancels."""
    model = diffuse.GaussianMixture.ring
    grid, noise = diffuse.VPLinear().grid(30), noise_for(50)
    double = diffuse.start(grid, torch.empty(50, 2, dtype=torch.float64), noise)
    sampler = registry.find("sampler", name)
    wide = sampler(model(dtype=torch.float64), double, grid, noise=noise)
    narrow = sampler(model(dtype=torch.float32), double.float(), grid, noise=noise)
    assert (narrow - wide).norm(dim=1).median() < 1e-4


@pytest.mark.parametrize("name", SAMPLERS)
def test_on_step_sees_every_level(name):
    grid, noise, calls = diffuse.FlowMatching().grid(5), noise_for(3), []
    x = diffuse.start(grid, torch.empty(3, 2, dtype=torch.float64), noise)

    def on_step(k, x, x0):
        calls.append((k, x, x0))

    end = registry.find("sampler", name)(gaussian((2,)), x, grid, noise=noise, on_step=on_step)
    assert [k for k, _, _ in calls] == [0, 1, 2, 3, 4]
    assert torch.equal(calls[-1][1], end)
    assert all(x0.shape == end.shape for _, _, x0 in calls)


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_hands_on_the_condition_and_each_level_once(name):
    seen, condition = [], {"label": torch.arange(2)}

    def denoiser(y, sigma, given):
        assert given is condition
        assert sigma.shape == (2,)
        seen.append(float(sigma[0]))
        return torch.zeros_like(y)

    grid, noise = diffuse.EDM().grid(6), noise_for(2)
    x = torch.ones(2, 1, 3, 3)
    registry.find("sampler", name)(denoiser, x, grid, condition=condition, noise=noise)
    assert len(seen) in (6, 11)


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_refuses_a_grid_that_rises(name):
    grid = diffuse.Grid(torch.ones(3), torch.tensor([1.0, 2.0, 0.0]))
    with pytest.raises(InputError, match="must fall from noise to data"):
        registry.find("sampler", name)(gaussian((1,)), torch.ones(1, 1), grid, noise=noise_for(1))


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_is_monotone_and_inverts(name):
    schedule = registry.find("schedule", name)()
    t = torch.linspace(0.001, 0.999, 1777, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    assert (alpha.diff() <= 0).all()
    assert (sigma.diff() > 0).all()
    torch.testing.assert_close(schedule.ratio(t), sigma / alpha, rtol=1e-9, atol=0)
    torch.testing.assert_close(schedule.time(schedule.ratio(t)), t, rtol=0, atol=1e-9)
    single = schedule.ratio(t.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), schedule.ratio(t), rtol=2e-3, atol=0)


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("spacing", SPACINGS, ids=lambda spacing: spacing.__name__)
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_grid_falls_from_noise_to_data(name, spacing, steps):
    schedule = registry.find("schedule", name)()
    grid = schedule.grid(steps, spacing)
    ratio = grid.sigma / grid.alpha
    assert len(ratio) == steps + 1
    assert grid.alpha.dtype == torch.float64
    assert (grid.alpha > 0).all()
    assert (ratio.diff() < 0).all()
    assert (grid.alpha[-1], grid.sigma[-1]) == (1, 0)
    assert ratio[0] <= schedule.ratio_max * (1 + 1e-9)
    t = schedule.time(ratio[:-1])
    torch.testing.assert_close(schedule.alpha(t), grid.alpha[:-1], rtol=1e-9, atol=0)
    torch.testing.assert_close(schedule.sigma(t), grid.sigma[:-1], rtol=1e-9, atol=0)


@pytest.mark.parametrize("name", registry.names("target"))
@pytest.mark.parametrize("sigma_data", [0.5, 1.0])
@pytest.mark.parametrize("sigma", [0.01, 0.7, 30.0])
def test_least_loss_is_the_exact_denoiser(name, sigma_data, sigma):
    """The best linear network gives the posterior mean, and its loss is the posterior variance."""
    x0 = 0.8 * torch.tensor([[1.0, 1.0, -1.0, -1.0]], dtype=torch.float64)
    noise = torch.tensor([[1.0, -1.0, 1.0, -1.0]], dtype=torch.float64)

    def at(slope):
        def network(x, c_noise, condition):
            assert c_noise.tolist() == pytest.approx(len(x) * [math.log(sigma) / 4])
            return slope * x

        return diffuse.Preconditioned(network, registry.find("target", name), sigma_data)

    low, middle, high = (float(diffuse.denoising_loss(at(a), x0, sigma, noise)) for a in (-1, 0, 1))
    curvature = (low + high) / 2 - middle
    slope = (low - high) / 4 / curvature
    best, y = at(slope), torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    wiener = 0.8**2 / (0.8**2 + sigma**2)
    torch.testing.assert_close(best(y, sigma), wiener * y, rtol=1e-6, atol=1e-8)
    c = best.parts(y, sigma).c
    least = float((c.weight / c.c_out**2).mean()) * wiener * sigma**2
    loss = float(diffuse.denoising_loss(best, x0, sigma, noise))
    assert loss == pytest.approx(least, rel=1e-5, abs=1e-10)


@pytest.mark.parametrize("name", registry.names("target"))
def test_target_scales_with_the_data(name):
    """Data and noise in another unit are the same task; input and output have unit variance."""
    target, sigma = registry.find("target", name), torch.logspace(-3, 3, 20).double()
    one, half = target(sigma, 1.0), target(sigma / 2, 0.5)
    torch.testing.assert_close(half.c_skip, one.c_skip)
    torch.testing.assert_close(half.c_out, one.c_out / 2)
    torch.testing.assert_close(half.c_in, one.c_in * 2)
    torch.testing.assert_close(half.weight, one.weight)
    spread = one.c_in * (1 + sigma**2).sqrt()
    assert ((spread > 0.7) & (spread < 1.0001)).all()


@pytest.mark.parametrize("name", registry.names("target"))
def test_sigma_is_a_scalar_a_batch_or_a_map(name):
    denoiser = diffuse.Preconditioned(
        lambda x, c_noise, condition: x.tanh() * (1 + c_noise[:, None, None, None]),
        registry.find("target", name),
        0.5,
    )
    y = torch.randn(3, 1, 4, 4, dtype=torch.float64, generator=random.generator(0))
    scalar = denoiser(y, 0.3)
    for sigma in (torch.tensor(0.3), torch.full((3,), 0.3), torch.full((3, 1, 4, 4), 0.3)):
        torch.testing.assert_close(denoiser(y, sigma.double()), scalar)
    several = denoiser(y, torch.tensor([0.3, 0.2, 5.0], dtype=torch.float64))
    torch.testing.assert_close(several[2:], denoiser(y[2:], 5.0))


GUIDES = {
    "ClassifierFree": lambda denoiser: diffuse.ClassifierFree(denoiser, 1.0),
    "ClassifierGuided": lambda denoiser: diffuse.ClassifierGuided(
        denoiser, lambda y, sigma, condition: y.flatten(1).sum(1), 0.0
    ),
}


@pytest.mark.parametrize("name", registry.names("guide"))
def test_guide_without_effect_is_the_denoiser(name):
    """Weight 1 of a difference, or 0 of a gradient, is the conditional denoiser; and it samples."""

    def denoiser(y, sigma, condition=None):
        shift = 0 if condition is None else condition["label"].to(y)[:, None]
        return y / (1 + sigma[:, None] ** 2) + shift

    guide, condition = GUIDES[name](denoiser), {"label": torch.arange(3)}
    y, sigma = torch.randn(3, 2, generator=random.generator(1)), torch.tensor([0.1, 1.0, 9.0])
    torch.testing.assert_close(guide(y, sigma, condition), denoiser(y, sigma, condition))
    torch.testing.assert_close(guide(y, sigma, None), denoiser(y, sigma, None))
    grid = diffuse.EDM().grid(5)
    with torch.no_grad():
        ends = [diffuse.ddim(d, 80 * y, grid, condition=condition) for d in (guide, denoiser)]
    torch.testing.assert_close(*ends)
