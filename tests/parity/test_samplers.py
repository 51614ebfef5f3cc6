"""Every sampler against the scheduler of diffusers, step by step, on the same noise, in float64."""

import pytest
import torch

from gouache import diffuse
from gouache.diffuse import Grid

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

STEPS = (5, 10, 20, 50)
TYPES = ("epsilon", "v_prediction", "sample")
SHAPE = (3, 1, 4, 4)
MODEL = diffuse.GaussianMixture(
    torch.randn(4, *SHAPE[1:], dtype=torch.float64, generator=torch.Generator().manual_seed(0)),
    0.3,
)


def noise(k, like):
    return torch.randn(like.shape, dtype=like.dtype, generator=torch.Generator().manual_seed(k))


def prediction(kind, x, alpha, sigma):
    """Return what a network of this prediction type gives for the exact denoiser."""
    x0 = MODEL(x / alpha, sigma / alpha)
    eps = (x - alpha * x0) / sigma
    return {"epsilon": eps, "v_prediction": alpha * eps - sigma * x0, "sample": x0}[kind]


def double(scheduler):
    """Let a scheduler compute in float64 on its own tables."""
    for name in ("alphas_cumprod", "betas", "alphas", "sigmas"):
        if isinstance(getattr(scheduler, name, None), torch.Tensor):
            setattr(scheduler, name, getattr(scheduler, name).double())
    if hasattr(scheduler, "final_alpha_cumprod"):
        scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.double()
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    return scheduler


def ours(sampler, x, grid, **options):
    path = []
    end = sampler(MODEL, x, grid, on_step=lambda k, x, x0: path.append(x), **options)
    assert torch.equal(end, path[-1])
    return path


def agree(path, reference):
    assert len(path) == len(reference)
    for k, (a, b) in enumerate(zip(path, reference, strict=True)):
        assert (a - b).abs().max() <= 1e-5 * b.abs().max(), k


def preserving(sigmas):
    alpha = (1 + sigmas**2) ** -0.5
    return Grid(alpha, alpha * sigmas)


def table_grid(scheduler):
    """Return the variance-preserving grid of a scheduler's discrete timesteps, ending at data."""
    abar = torch.cat([scheduler.alphas_cumprod[scheduler.timesteps], torch.ones(1).double()])
    return Grid(abar.sqrt(), (1 - abar).sqrt())


def stepped(scheduler, x, grid, kind, **options):
    """Run a scheduler that holds x_t."""
    path = []
    for k, t in enumerate(scheduler.timesteps):
        output = prediction(kind, x, grid.alpha[k], grid.sigma[k])
        extra = {name: value(k + 1, x) for name, value in options.items()}
        x = scheduler.step(output, t, x, **extra).prev_sample
        path.append(x)
    return path


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("steps", STEPS)
def test_ddim(steps, kind, spacing):
    scheduler = diffusers.DDIMScheduler(
        clip_sample=False, prediction_type=kind, timestep_spacing=spacing
    )
    scheduler.set_timesteps(steps)
    grid = table_grid(double(scheduler))
    mine = diffuse.VPLinear().grid(steps, getattr(diffuse, spacing))
    torch.testing.assert_close(mine.alpha, grid.alpha, rtol=1e-5, atol=0)
    torch.testing.assert_close(mine.sigma, grid.sigma, rtol=1e-3, atol=0)
    x = noise(0, torch.empty(SHAPE).double())
    agree(ours(diffuse.ddim, x, grid), stepped(scheduler, x, grid, kind))


@pytest.mark.parametrize("eta", [0.5, 1.0])
@pytest.mark.parametrize("steps", STEPS)
def test_ddim_with_noise(steps, eta):
    scheduler = diffusers.DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(steps)
    grid, x = table_grid(double(scheduler)), noise(0, torch.empty(SHAPE).double())
    theirs = stepped(scheduler, x, grid, "epsilon", eta=lambda k, x: eta, variance_noise=noise)
    agree(ours(diffuse.ddim, x, grid, eta=eta, noise=noise), theirs)


@pytest.fixture
def same_noise(monkeypatch):
    """Make diffusers draw our noise: draw k + 1 in step k."""
    count = iter(range(1, 10**6))

    def draw(shape, dtype=None, **_):
        return noise(next(count), torch.empty(shape, dtype=torch.float64)).to(dtype)

    for name in ("ddpm", "euler_ancestral_discrete"):
        module = getattr(diffusers.schedulers, f"scheduling_{name}")
        monkeypatch.setattr(module, "randn_tensor", draw)


@pytest.mark.parametrize(
    ("steps", "kind"), [*((n, kind) for n in STEPS for kind in TYPES), (1000, "epsilon")]
)
def test_ddpm(steps, kind, same_noise):
    scheduler = diffusers.DDPMScheduler(clip_sample=False, prediction_type=kind)
    scheduler.set_timesteps(steps)
    scheduler.one = scheduler.one.double()
    grid, x = table_grid(double(scheduler)), noise(0, torch.empty(SHAPE).double())
    agree(ours(diffuse.ddpm, x, grid, noise=noise), stepped(scheduler, x, grid, kind))


def exploding(scheduler, y):
    """Run a scheduler that holds y = x_t / alpha_t, calling scale_model_input as it should be."""
    path = []
    for k, t in enumerate(scheduler.timesteps):
        s = scheduler.sigmas[k]
        scaled = scheduler.scale_model_input(y, t)
        alpha = (1 + s**2) ** -0.5
        y = scheduler.step(prediction("epsilon", scaled, alpha, s * alpha), t, y).prev_sample
        path.append(y)
    return path


@pytest.mark.parametrize("karras", [False, True])
@pytest.mark.parametrize("steps", STEPS)
def test_euler(steps, karras):
    scheduler = diffusers.EulerDiscreteScheduler(use_karras_sigmas=karras)
    scheduler.set_timesteps(steps)
    sigmas = double(scheduler).sigmas
    y = sigmas[0] * noise(0, torch.empty(SHAPE).double())
    path = ours(diffuse.euler, y, Grid(torch.ones_like(sigmas), sigmas))
    agree(path, exploding(scheduler, y))
    agree([x.clone() for x in ours(diffuse.ddim, y, Grid(torch.ones_like(sigmas), sigmas))], path)


@pytest.mark.parametrize("steps", STEPS)
def test_ddpm_is_euler_ancestral(steps, same_noise):
    scheduler = diffusers.EulerAncestralDiscreteScheduler()
    scheduler.set_timesteps(steps)
    sigmas = double(scheduler).sigmas
    y = sigmas[0] * noise(0, torch.empty(SHAPE).double())
    path = ours(diffuse.ddpm, y, Grid(torch.ones_like(sigmas), sigmas), noise=noise)
    agree(path, exploding(scheduler, y))


@pytest.mark.parametrize("karras", [False, True])
@pytest.mark.parametrize("steps", STEPS)
def test_heun(steps, karras):
    scheduler = diffusers.HeunDiscreteScheduler(use_karras_sigmas=karras)
    scheduler.set_timesteps(steps)
    inner = double(scheduler).sigmas
    sigmas = torch.cat([inner[:1], inner[1:-1:2], inner[-1:]])
    y = start = sigmas[0] * noise(0, torch.empty(SHAPE).double())
    path = []
    for k, t in enumerate(scheduler.timesteps):
        s = inner[k]
        alpha = (1 + s**2) ** -0.5
        scaled = scheduler.scale_model_input(y, t)
        y = scheduler.step(prediction("epsilon", scaled, alpha, s * alpha), t, y).prev_sample
        if scheduler.state_in_first_order:
            path.append(y)
    path += [y] if not scheduler.state_in_first_order else []
    agree(ours(diffuse.heun, start, Grid(torch.ones_like(sigmas), sigmas)), path)


CASES = [
    *(("linspace", {}, kind) for kind in TYPES),
    ("karras", {"use_karras_sigmas": True}, "epsilon"),
    ("trailing", {"timestep_spacing": "trailing"}, "epsilon"),
]
each_case = pytest.mark.parametrize(
    ("options", "kind"), [case[1:] for case in CASES], ids=[f"{c[0]}-{c[2]}" for c in CASES]
)


@pytest.mark.parametrize("beta", ["linear", "squaredcos_cap_v2"])
@each_case
@pytest.mark.parametrize("steps", STEPS)
def test_dpm_2m(steps, kind, options, beta):
    scheduler = diffusers.DPMSolverMultistepScheduler(
        prediction_type=kind, beta_schedule=beta, **options
    )
    scheduler.set_timesteps(steps)
    grid = preserving(double(scheduler).sigmas)
    x = noise(0, torch.empty(SHAPE).double())
    agree(ours(diffuse.dpm_2m, x, grid), stepped(scheduler, x, grid, kind))


@pytest.mark.parametrize("steps", STEPS)
def test_dpm_2m_sde(steps):
    scheduler = diffusers.DPMSolverMultistepScheduler(algorithm_type="sde-dpmsolver++")
    scheduler.set_timesteps(steps)
    grid = preserving(double(scheduler).sigmas)
    x = noise(0, torch.empty(SHAPE).double())
    theirs = stepped(scheduler, x, grid, "epsilon", variance_noise=noise)
    agree(ours(diffuse.dpm_2m_sde, x, grid, noise=noise), theirs)


@pytest.mark.parametrize("order", [1, 2, 3])
@each_case
@pytest.mark.parametrize("steps", STEPS)
def test_unipc(steps, kind, options, order):
    scheduler = diffusers.UniPCMultistepScheduler(
        prediction_type=kind, solver_order=order, **options
    )
    scheduler.set_timesteps(steps)
    grid = preserving(double(scheduler).sigmas)
    x = noise(0, torch.empty(SHAPE).double())
    agree(ours(diffuse.unipc, x, grid, order=order), stepped(scheduler, x, grid, kind))


@pytest.mark.parametrize("steps", STEPS)
def test_euler_on_the_straight_path(steps):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=torch.linspace(0.999, 1 / steps, steps).tolist())
    t = double(scheduler).sigmas
    x = start = noise(0, torch.empty(SHAPE).double())
    path = []
    for k, time in enumerate(scheduler.timesteps):
        x0 = MODEL(x / (1 - t[k]), t[k] / (1 - t[k]))
        x = scheduler.step((x - x0) / t[k], time, x).prev_sample
        path.append(x)
    agree(ours(diffuse.euler, start, Grid(1 - t, t)), path)


@pytest.mark.parametrize(
    ("schedule", "beta"), [(diffuse.VPLinear, "linear"), (diffuse.VPCosine, "squaredcos_cap_v2")]
)
def test_tables(schedule, beta):
    theirs = diffusers.DDPMScheduler(beta_schedule=beta)
    t = torch.arange(1000).double() / 999
    abar = torch.cumprod(1 - theirs.betas.double(), 0)
    torch.testing.assert_close(schedule().alpha(t), abar.sqrt(), rtol=2e-5, atol=0)
    torch.testing.assert_close(schedule().sigma(t), (1 - abar).sqrt(), rtol=2e-5, atol=0)


@pytest.mark.parametrize("steps", STEPS)
def test_karras_spacing(steps):
    scheduler = diffusers.EulerDiscreteScheduler(use_karras_sigmas=True)
    scheduler.set_timesteps(steps)
    grid = diffuse.VPLinear().grid(steps, diffuse.karras)
    torch.testing.assert_close(
        (grid.sigma / grid.alpha).float(), scheduler.sigmas, rtol=2e-3, atol=0
    )
