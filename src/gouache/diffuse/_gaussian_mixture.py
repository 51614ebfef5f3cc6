"""The exact denoiser of a Gaussian mixture: an oracle for tests, a model for teaching.

Notation: ``p(x) = sum_k w_k N(mu_k, C_k)``, ``C_k = Q_k diag(l_k) Q_k'``; noise of level s adds s^2
to the eigenvalues ``l_k``.
"""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor

from gouache.check import InputError
from gouache.contracts import Condition, Denoiser


@final
class GaussianMixture(Denoiser):
    """The posterior mean, score and density of a mixture of Gaussians, in closed form.

    D(y, s) = sum_k r_k (mu_k + C_k (C_k + s^2 I)^-1 (y - mu_k)),
    r_k proportional to w_k N(y; mu_k, C_k + s^2 I)

    Args:
        means: mu_k, ``(K, ...)`` in any shape of sample; its dtype is that of the arithmetic.
        std: standard deviations, a number or ``(K,)``; None if ``covariance`` is given.
        covariance: C_k, ``(K, d, d)`` or ``(d, d)`` for all, d the size of a sample.
        weights: w_k, ``(K,)``, positive, of any sum; equal by default.

    Raises:
        InputError: neither or both of ``std`` and ``covariance`` are given, or shapes disagree.

    Reference:
        Efron, "Tweedie's formula and selection bias", 2011; Karras, Aittala, Aila, Laine,
        "Elucidating the design space of diffusion-based generative models", 2022, appendix B.3.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> normal = diffuse.GaussianMixture(torch.zeros(1, 2), std=1.0)
        >>> normal(torch.tensor([[2.0, 4.0]]), 1.0).tolist()
        [[1.0, 2.0]]
    """

    def __init__(
        self,
        means: Tensor,
        std: Tensor | float | None = None,
        *,
        covariance: Tensor | None = None,
        weights: Tensor | None = None,
    ) -> None:
        if (std is None) == (covariance is None):
            raise InputError("a GaussianMixture takes std or covariance, one of the two")
        self.shape, self.mu = means.shape[1:], means.flatten(1)
        count, size = self.mu.shape
        self.basis = None
        if covariance is None:
            deviation = torch.as_tensor(std, dtype=means.dtype, device=means.device)
            self.eigenvalues = (deviation**2).reshape(-1, 1).expand(count, size)
        else:
            if covariance.shape[-2:] != (size, size):
                raise InputError(
                    f"covariance must be ({size}, {size}) or ({count}, {size}, {size}) for means "
                    f"{tuple(means.shape)}, got {tuple(covariance.shape)}"
                )
            values, basis = torch.linalg.eigh(covariance.expand(count, size, size))
            self.eigenvalues, self.basis = values.clamp(min=0), basis
        weights = means.new_ones(count) if weights is None else weights
        self.log_weights = (weights / weights.sum()).log()

    @classmethod
    def ring(
        cls, count: int = 8, std: float = 0.1, dtype: torch.dtype = torch.float32
    ) -> GaussianMixture:
        """Return ``count`` equal Gaussians on the unit circle of the plane."""
        angle = 2 * math.pi * torch.arange(count, dtype=torch.float64) / count
        return cls(torch.stack([angle.cos(), angle.sin()], dim=1).to(dtype), std)

    def __call__(self, y: Tensor, sigma: Tensor | float, condition: Condition = None) -> Tensor:
        """Return E[x0 | y]; ``sigma`` is a scalar or ``(B,)``."""
        offset_BKd, variance_BKd = self._offsets(y, sigma)
        r_BK = self._logits(offset_BKd, variance_BKd).softmax(1)
        shrunk_BKd = self._rotate(offset_BKd * (self.eigenvalues / variance_BKd), back=True)
        return torch.einsum("bk,bkd->bd", r_BK, self.mu + shrunk_BKd).reshape(y.shape)

    def log_prob(self, y: Tensor, sigma: Tensor | float = 0.0) -> Tensor:
        """Return the log density in nats ``(B,)`` of samples with noise ``sigma`` added."""
        return self._logits(*self._offsets(y, sigma)).logsumexp(1)

    def sample(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """Return ``n`` draws ``(n, ...)``."""
        k = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=rng)
        noise = torch.randn(n, self.mu.shape[1], dtype=self.mu.dtype, generator=rng)
        spread = noise * self.eigenvalues[k].sqrt()
        if self.basis is not None:
            spread = torch.einsum("bij,bj->bi", self.basis[k], spread)
        return (self.mu[k] + spread).reshape(n, *self.shape)

    def _offsets(self, y: Tensor, sigma: Tensor | float) -> tuple[Tensor, Tensor]:
        """Return y - mu_k in the eigenbases, and the variances there with the noise."""
        level = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
        if level.ndim > 1 or y.shape[1:] != self.shape:
            raise InputError(
                f"a GaussianMixture over {tuple(self.shape)} takes y (B, *that) and sigma a "
                f"scalar or (B,), got {tuple(y.shape)} and {tuple(level.shape)}"
            )
        offset_BKd = self._rotate(y.flatten(1)[:, None] - self.mu, back=False)
        return offset_BKd, self.eigenvalues + level.reshape(-1, 1, 1) ** 2

    def _logits(self, offset_BKd: Tensor, variance_BKd: Tensor) -> Tensor:
        terms = offset_BKd**2 / variance_BKd + (2 * math.pi * variance_BKd).log()
        return self.log_weights - 0.5 * terms.sum(2)

    def _rotate(self, z_BKd: Tensor, *, back: bool) -> Tensor:
        if self.basis is None:
            return z_BKd
        return torch.einsum("kij,bkj->bki" if back else "kji,bkj->bki", self.basis, z_BKd)
