"""The log-likelihood of a diffusion model, by the probability-flow ODE.

Notation: ``p_s`` is the density of the data with noise s added, d the number of pixels. Along the
ODE ``dy / d log s = y - D(y, s)``,

    log p_{s_min}(x) = log p_{s_max}(y(s_max)) + integral_{s_min}^{s_max} (d - tr dD/dy) d log s

It is integrated in the angle ``theta = arctan(s / sigma_data)`` and the variable ``z = y cos
theta``, in which both the path and the integrand stay bounded and change evenly; the part of the
integral that data of standard deviation sigma_data would have is taken in closed form.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gouache import check, random
from gouache.contracts import Condition, Denoiser


class LogLikelihood(NamedTuple):
    """A log-likelihood in nats and its standard error, ``(B,)`` each.

    Reference:
        Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, "Score-based generative modeling through
        stochastic differential equations", 2021.
    """

    value: Tensor
    error: Tensor


@torch.no_grad()
def log_likelihood(
    denoiser: Denoiser,
    x: Tensor,
    *,
    condition: Condition = None,
    sigma_min: float = 2e-3,
    sigma_max: float = 80.0,
    steps: int = 64,
    probes: int | None = None,
    sigma_data: float = 0.5,
    rng: torch.Generator | None = None,
    chunk: int = 256,
) -> LogLikelihood:
    """Return log p(x) in nats, where p is the data's density with noise ``sigma_min`` added.

    log p(x) = log N(y_max; m, (sigma_max^2 + sigma_data^2) I) + integral (d - tr dD/dy) d log s

    along the probability-flow ODE from x to y_max, by Runge-Kutta steps of order 4, with Simpson's
    rule for the trace. The mean m of the prior is D(0, sigma_max); what is left of the
    data's shape at sigma_max is of order (data / sigma_max)^2.

    The trace is exact (one backward pass a pixel) without ``probes``; with them it is Hutchinson's
    estimate from that many random signs a sample, unbiased, held fixed along the path.

    Args:
        denoiser: D(y, s, condition), differentiable.
        x: data ``(B, ...)`` in any shape, float64 for full precision.
        condition: handed to the denoiser.
        sigma_min: noise at which the density is taken, in the unit of the data; for images of L
            levels dequantised by uniform noise, well below the width of a level.
        sigma_max: noise at which the density is taken for Gaussian.
        steps: of the integrator; 2 steps + 1 traces.
        probes: number of Hutchinson's probes, at least 2; None for the exact trace.
        sigma_data: standard deviation of the data.
        rng: seeds the probes, one key a sample.
        chunk: how many samples at once.

    Returns:
        value ``(B,)`` and its standard error over probes ``(B,)``, which is 0 for the exact trace.

    Raises:
        InputError: probes below 2, or sigma_min >= sigma_max.

    Reference:
        Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole, "Score-based generative modeling through
        stochastic differential equations", 2021, section 4.3 and appendix D.2; Hutchinson, "A
        stochastic estimator of the trace of the influence matrix", 1989.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> normal = diffuse.GaussianMixture(torch.zeros(1, 1, 2, 2, dtype=torch.float64), 0.5)
        >>> x = torch.full((1, 1, 2, 2), 0.3, dtype=torch.float64)
        >>> exact, ours = normal.log_prob(x), diffuse.log_likelihood(normal, x).value
        >>> bool((exact - ours).abs() < 1e-2)
        True
    """
    check.between(sigma_max, "sigma_max", sigma_min * 1.01)
    if probes is not None:
        check.count(probes, "probes (their spread is the standard error)", 2)
    keys, parts = random.keys(rng, len(x)), []
    for i in range(0, len(x), chunk):
        some = condition and {key: value[i : i + chunk] for key, value in condition.items()}
        flow = _Flow(denoiser, some, sigma_data, keys[i : i + chunk], probes)
        parts.append(_path_integral(flow, x[i : i + chunk], sigma_min, sigma_max, steps))
    estimates = torch.cat(parts, dim=1)
    spread = 0 * estimates[0] if probes is None else estimates.std(0) / probes**0.5
    return LogLikelihood(estimates.mean(0), spread)


def _path_integral(
    flow: _Flow, x: Tensor, sigma_min: float, sigma_max: float, steps: int
) -> Tensor:
    """Return estimates of log p(x), ``(P, B)``."""
    low, high = (math.atan(s / flow.sigma_data) for s in (sigma_min, sigma_max))
    z, change = _integrate(flow, x * math.cos(low), low, high, steps)
    mean = flow.denoise(torch.zeros_like(z), sigma_max)
    gaussian = z[0].numel() * math.log(math.cos(low) / math.cos(high))
    prior = _log_normal(z / math.cos(high) - mean, sigma_max**2 + flow.sigma_data**2)
    return prior + gaussian + change


class _Flow:
    """The ODE ``dz/dtheta = (z cos theta - D) / sin theta``, and what its trace adds to log p."""

    def __init__(
        self,
        denoiser: Denoiser,
        condition: Condition,
        sigma_data: float,
        keys: Tensor,
        probes: int | None,
    ) -> None:
        self.denoiser, self.condition, self.sigma_data = denoiser, condition, sigma_data
        self.keys, self.probes = keys, probes

    def denoise(self, y: Tensor, sigma: float) -> Tensor:
        """Return D(y, sigma)."""
        return self.denoiser(y, y.new_full((len(y),), sigma), self.condition)

    def slope(self, z: Tensor, theta: float) -> Tensor:
        """Return dz/dtheta."""
        x0 = self.denoise(z / math.cos(theta), self.sigma_data * math.tan(theta))
        return (z * math.cos(theta) - x0) / math.sin(theta)

    def traced(self, z: Tensor, theta: float) -> tuple[Tensor, Tensor]:
        """Return dz/dtheta, and estimates of its divergence, ``(P, B)``, P = 1 if exact.

        The divergence is (d cos^2 theta - tr dD/dy) / (sin theta cos theta).
        """
        with torch.enable_grad():
            at = z.detach().requires_grad_()
            slope = self.slope(at, theta)
            trace = self._exact(slope, at) if self.probes is None else self._probed(slope, at)
        return slope.detach(), trace

    def _exact(self, slope: Tensor, at: Tensor) -> Tensor:
        """Sum the diagonal, one backward pass an entry: samples do not depend on one another."""
        flat, total = slope.flatten(1), at.new_zeros(1, len(at))
        for i in range(flat.shape[1]):
            (row,) = torch.autograd.grad(flat[:, i].sum(), at, retain_graph=True)
            total[0] += row.flatten(1)[:, i]
        return total

    def _probed(self, slope: Tensor, at: Tensor) -> Tensor:
        """Return v . J v for each probe v of random signs, the same at every level."""
        rows = []
        for stream in range(self.probes or 0):
            v = _signs(self.keys, at, stream)
            (product,) = torch.autograd.grad(slope, at, v, retain_graph=True)
            rows.append((product * v).flatten(1).sum(1))
        return torch.stack(rows)


def _signs(keys: Tensor, like: Tensor, stream: int) -> Tensor:
    """Return +1 and -1 at random in the shape of ``like``, a function of (key, stream)."""
    return (random.keyed_bits(keys, tuple(like.shape[1:]), stream) < 0).to(like) * 2 - 1


def _integrate(
    flow: _Flow, z: Tensor, low: float, high: float, steps: int
) -> tuple[Tensor, Tensor]:
    """Follow the ODE from low to high; return z and the integral of the divergence."""
    h = (high - low) / steps
    k1, start = flow.traced(z, low)
    total = torch.zeros_like(start)
    for n in range(steps):
        theta = low + n * h
        k2 = flow.slope(z + h / 2 * k1, theta + h / 2)
        k3, middle = flow.traced(z + h / 2 * k2, theta + h / 2)
        k4 = flow.slope(z + h * k3, theta + h)
        z = z + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
        k1, end = flow.traced(z, theta + h)
        total = total + h / 6 * (start + 4 * middle + end)
        start = end
    return z, total


def _log_normal(offset: Tensor, variance: float) -> Tensor:
    flat = offset.flatten(1)
    return -0.5 * (flat.square() / variance + math.log(2 * math.pi * variance)).sum(1)
