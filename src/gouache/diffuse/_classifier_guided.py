"""Guidance by a classifier, or by any log-likelihood."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from gouache import check
from gouache.contracts import Condition, Denoiser
from gouache.registry import method

from ._preconditioned import levels


@final
@method("guide")
class ClassifierGuided(Denoiser):
    """A denoiser pushed along the gradient of log p(c | y).

    D_w(y, s) = D(y, s) + w s^2 grad_y log p(c | y, s)

    which by Bayes' rule and Tweedie's formula is the posterior mean given c, exactly, for w = 1 and
    a D that does not look at c.

    Args:
        denoiser: D.
        log_prob: ``log_prob(y, sigma, condition) -> (B,)``, log p(c | y = x0 + s n), with a
            gradient; with a second one for ``log_likelihood`` of the guided denoiser.
        weight: w.

    Reference:
        Dhariwal, Nichol, "Diffusion models beat GANs on image synthesis", 2021, section 4.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> normal = diffuse.GaussianMixture(torch.zeros(1, 1), std=1.0)
        >>> towards = lambda y, sigma, condition: y[:, 0]
        >>> diffuse.ClassifierGuided(normal, towards, 0.5)(torch.tensor([[2.0]]), 1.0).tolist()
        [[1.5]]
    """

    def __init__(
        self,
        denoiser: Denoiser,
        log_prob: Callable[[Tensor, Tensor | float, Condition], Tensor],
        weight: float = 1.0,
    ) -> None:
        self.denoiser, self.log_prob = denoiser, log_prob
        self.weight = check.between(weight, "guidance weight")

    def __call__(self, y: Tensor, sigma: Tensor | float, condition: Condition = None) -> Tensor:
        """Return the guided estimate; where y has a gradient, that of the guidance is kept."""
        graph = torch.is_grad_enabled() and y.requires_grad
        with torch.enable_grad():
            at = y if graph else y.detach().requires_grad_()
            total = self.log_prob(at, sigma, condition).sum()
            (gradient,) = torch.autograd.grad(total, at, create_graph=graph)
        step = self.weight * levels(sigma, y) ** 2 * gradient
        return self.denoiser(y, sigma, condition) + step
