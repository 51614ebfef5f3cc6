"""Our samplers and those of diffusers on problems whose denoiser and ODE are known exactly.

    python benchmarks/samplers.py [--picture FILE] [--seeds 1]

Ring: 8 equal Gaussians on the unit circle, standard deviation .1. Digits: 500 real 8x8 digits in
[-1, 1], each a Gaussian of standard deviation .15. Both sides have the exact denoiser, float64 and
the same z. Start: x = sigma_max z, sigma_max the last ratio of the linear schedule (betas 1e-4 to
.02, 1000 steps), scaled by sqrt(abar) for those that hold x_t. End: sigma = 0, from a smallest
level of .01, the schedule's first. Reference: Runge-Kutta of order 4 in log sigma, 4,000 steps,
from sigma_max to 1e-4. Error: mean Euclidean distance to it. Every call of the denoiser counts.
"""

from __future__ import annotations

import argparse
import functools
import math
import warnings
from collections.abc import Callable, Iterator

import diffusers
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from gouache import diffuse, random

BUDGETS = (5, 10, 20, 50)
SCHEDULE = diffuse.VPLinear()
START = SCHEDULE.ratio_max
Solve = Callable[[diffuse.GaussianMixture, Tensor, int], tuple[Tensor, int]]


class Counted:
    """A denoiser that counts its calls."""

    def __init__(self, denoiser: diffuse.GaussianMixture) -> None:
        self.denoiser, self.calls = denoiser, 0

    def __call__(self, y: Tensor, sigma: Tensor | float, condition: None = None) -> Tensor:
        """Return E[x0 | y]."""
        self.calls += 1
        return self.denoiser(y, sigma)


def ours(sampler: Callable[..., Tensor], spacing: Callable[..., Tensor]) -> Solve:
    """Return one of our samplers, its number of steps being what the budget allows."""

    def solve(denoiser: diffuse.GaussianMixture, z: Tensor, budget: int) -> tuple[Tensor, int]:
        steps = (budget + 1) // 2 if sampler is diffuse.heun else budget
        grid, counted = SCHEDULE.grid(steps, spacing), Counted(denoiser)
        return sampler(counted, grid.sigma[0] * z, grid), counted.calls

    return solve


def theirs(scheduler_class: type, **options: object) -> Solve:
    """Return a scheduler of diffusers, computing in float64 on its own tables."""

    def solve(denoiser: diffuse.GaussianMixture, z: Tensor, budget: int) -> tuple[Tensor, int]:
        scheduler, counted = scheduler_class(**options), Counted(denoiser)
        heun = scheduler_class is diffusers.HeunDiscreteScheduler
        scheduler.set_timesteps((budget + 1) // 2 if heun else budget)
        explodes = heun or scheduler_class is diffusers.EulerDiscreteScheduler
        x = z * scheduler.init_noise_sigma if explodes else z * levels(scheduler, 0)[1]
        if hasattr(scheduler, "sigmas"):
            scheduler.sigmas = scheduler.sigmas.double()
            scheduler.set_begin_index(0)
        scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
        for k, t in enumerate(scheduler.timesteps):
            alpha, sigma = levels(scheduler, k)
            held = scheduler.scale_model_input(x, t)
            x0 = counted(held / alpha, sigma / alpha)
            x = scheduler.step((held - alpha * x0) / sigma, t, x).prev_sample.double()
        return x, counted.calls

    return solve


def levels(scheduler: object, k: int) -> tuple[Tensor, Tensor]:
    """Return alpha and sigma of step k, for which the scheduler asks the model."""
    if hasattr(scheduler, "sigmas"):
        s = scheduler.sigmas[k].double()
        return (1 + s**2) ** -0.5, s * (1 + s**2) ** -0.5
    abar = scheduler.alphas_cumprod[scheduler.timesteps[k]].double()
    return abar**0.5, (1 - abar) ** 0.5


PEERS = {
    "DDIM trailing": theirs(
        diffusers.DDIMScheduler, clip_sample=False, timestep_spacing="trailing"
    ),
    "Euler Karras": theirs(diffusers.EulerDiscreteScheduler, use_karras_sigmas=True),
    "Heun Karras": theirs(
        diffusers.HeunDiscreteScheduler, use_karras_sigmas=True, beta_start=1e-4, beta_end=0.02
    ),
    "DPM++2M Karras": theirs(diffusers.DPMSolverMultistepScheduler, use_karras_sigmas=True),
    "UniPC Karras": theirs(diffusers.UniPCMultistepScheduler, use_karras_sigmas=True),
    "UniPC-3 Karras": theirs(
        diffusers.UniPCMultistepScheduler, use_karras_sigmas=True, solver_order=3
    ),
}
SOLVERS = {
    "ddim": diffuse.ddim,
    "heun": diffuse.heun,
    "dpm_2m": diffuse.dpm_2m,
    "unipc": diffuse.unipc,
    "adams": diffuse.adams,
}
OURS = {
    f"{name} {spacing.__name__}": ours(solver, spacing)
    for spacing in (diffuse.karras, diffuse.angular)
    for name, solver in SOLVERS.items()
}
DEFAULT = "adams angular"


def reference(denoiser: diffuse.GaussianMixture, z: Tensor, steps: int = 4000) -> Tensor:
    """Return the end of the ODE by Runge-Kutta in u = log sigma, dy/du = y - D."""
    low, high, y = math.log(1e-4), math.log(START), START * z
    h = (low - high) / steps

    def slope(y: Tensor, u: float) -> Tensor:
        return y - denoiser(y, math.exp(u))

    for n in range(steps):
        u = high + n * h
        k1 = slope(y, u)
        k2 = slope(y + h / 2 * k1, u + h / 2)
        k3 = slope(y + h / 2 * k2, u + h / 2)
        k4 = slope(y + h * k3, u + h)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return y


def problems(seed: int) -> Iterator[tuple[str, diffuse.GaussianMixture, Tensor]]:
    """Yield name, exact denoiser and z."""
    normal = functools.partial(torch.randn, dtype=torch.float64, generator=random.generator(seed))
    yield "ring", diffuse.GaussianMixture.ring(dtype=torch.float64), normal(2000, 2)
    if seed == 0:
        pixels = torch.from_numpy(load_digits().data[:500]) / 8 - 1
        yield "digits", diffuse.GaussianMixture(pixels, 0.15), normal(40, 64)


def table(denoiser: diffuse.GaussianMixture, z: Tensor) -> dict[str, list[float]]:
    """Print and return the errors of every solver at every budget."""
    end, errors = reference(denoiser, z), {}
    print(f"{'evaluations':24}" + "".join(f"{n:>10}" for n in BUDGETS))
    for side, solvers in (("diffusers", PEERS), ("gouache", OURS)):
        print(side)
        for name, solve in solvers.items():
            errors[name] = []
            for budget in BUDGETS:
                x, calls = solve(denoiser, z, budget)
                assert calls <= budget, (name, calls)
                errors[name].append(float((x - end).norm(dim=1).mean()))
            print(f"  {name:22}" + "".join(f"{error:10.4f}" for error in errors[name]))
    best = [min(errors[name][i] for name in PEERS) for i in range(len(BUDGETS))]
    ratio = [b / e for b, e in zip(best, errors[DEFAULT], strict=True)]
    print(f"{'best of diffusers':24}" + "".join(f"{error:10.4f}" for error in best))
    print(f"{DEFAULT + ' closer by':24}" + "".join(f"{r:9.1f}x" for r in ratio))
    print("no worse at every budget:", all(r >= 1 for r in ratio), "\n")
    return errors


def inversion(seed: int) -> None:
    """Print the round trip data -> noise -> data of DDIM on the ring, 50 steps."""
    ring = diffuse.GaussianMixture.ring(dtype=torch.float64)
    x0 = ring.sample(2000, random.generator(seed))
    print("DDIM inversion, round trip over 50 steps (evaluations a step of the way up)")
    for spacing in (diffuse.leading, diffuse.trailing, diffuse.angular):
        grid, row = SCHEDULE.grid(50, spacing), []
        for refine in (0, 1, 2):
            back = diffuse.ddim(ring, diffuse.invert(ring, x0, grid, refine=refine), grid)
            row.append(f"{float((back - x0).norm(dim=1).mean()):10.5f} ({1 + refine})")
        print(f"  {spacing.__name__:22}" + "".join(row))


def picture(file: str) -> None:
    """Draw the paths of a few points over the ring, by DDIM and by the default, 10 evaluations."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    ring, z = diffuse.GaussianMixture.ring(), torch.randn(60, 2, generator=random.generator(0))
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.5))
    sides = (
        ("ddim karras", diffuse.ddim, diffuse.karras),
        (DEFAULT, diffuse.adams, diffuse.angular),
    )
    for ax, (title, sampler, spacing) in zip(axes, sides, strict=True):
        path: list[Tensor] = []
        grid = SCHEDULE.grid(10, spacing)
        flat = diffuse.Grid(torch.ones_like(grid.alpha), grid.sigma / grid.alpha)
        sampler(ring, START * z, flat, on_step=lambda k, x, x0, path=path: path.append(x))
        for x, y in torch.stack(path).permute(1, 2, 0).unbind(0):
            ax.plot(x, y, color="tab:blue", linewidth=0.5, marker=".", markersize=2)
        ax.scatter(*path[-1].T, color="tab:red", s=8, zorder=3)
        ax.set(title=f"{title}, 10 evaluations", aspect="equal")
        ax.set(xlim=(-2.5, 2.5), ylim=(-2.5, 2.5))
    figure.savefig(file, dpi=120, bbox_inches="tight")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--picture", help="also write this picture of paths over the ring")
    parser.add_argument("--seeds", type=int, default=1, help="draws of z for the ring")
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    for seed in range(options.seeds):
        for name, denoiser, z in problems(seed):
            print(f"{name}, {len(z)} points, seed {seed}")
            table(denoiser, z)
    inversion(0)
    if options.picture:
        picture(options.picture)


if __name__ == "__main__":
    main()
