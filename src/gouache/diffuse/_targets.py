"""What a network is asked to predict, as coefficients of the noise level.

Notation (Karras et al. 2022, "Elucidating the design space of diffusion-based generative models",
table 1): a network F becomes a denoiser by ``D(y, s) = c_skip y + c_out F(c_in y, c_noise)``, where
``y = x0 + s n`` and the data have standard deviation ``d`` (``sigma_data``). Every target feeds the
network an input of about unit variance and asks for an output of about unit variance, and differs
in which mixture of x0 and n that output is. Its loss is ``weight |F - F*|^2`` with
``F* = (x0 - c_skip y) / c_out``, that is ``lambda(s) = weight / c_out^2`` on ``|D - x0|^2``.

A target is written for unit data, in ``u = s / d``; other data are scaled to it. ``c_noise`` is
``log(s) / 4`` for all.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from gouache.registry import method


class Coefficients(NamedTuple):
    """The coefficients of a target, each in the shape of sigma.

    Attributes:
        c_skip: of y.
        c_out: of the network's output.
        c_in: of the network's input.
        weight: of the squared error of the network's output.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, table 1.
    """

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor
    weight: Tensor


def _unit(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor]:
    """Return sigma in the unit of the data, and the input scale that makes its variance 1."""
    u = sigma / sigma_data
    return u, (1 + u * u).rsqrt()


@method("target")
def x0(sigma: Tensor, sigma_data: float = 1.0) -> Coefficients:
    """Predict the clean image: D = d F.

    The weight is the signal-to-noise ratio up to 5, min(d^2 / s^2, 5): uniform weights spend the
    network on noise that hides everything, unbounded ones on noise that hides nothing.

    Args:
        sigma: s > 0, any shape.
        sigma_data: d, standard deviation of the data.

    Reference:
        Hang, Gu, Li, Bao, Chen, Hu, Geng, Guo, "Efficient diffusion training via min-SNR weighting
        strategy", 2023.
    """
    u, c_in = _unit(sigma, sigma_data)
    c_out = torch.full_like(u, sigma_data)
    return Coefficients(torch.zeros_like(u), c_out, c_in / sigma_data, (u**-2).clamp(max=5))


@method("target")
def noise(sigma: Tensor, sigma_data: float = 1.0) -> Coefficients:
    """Predict the noise: D = y - s F, F* = n, weight 1.

    Args:
        sigma: s > 0, any shape.
        sigma_data: d, standard deviation of the data.

    Reference:
        Ho, Jain, Abbeel, "Denoising diffusion probabilistic models", 2020, equation 14.
    """
    u, c_in = _unit(sigma, sigma_data)
    one = torch.ones_like(u)
    return Coefficients(one, -sigma, c_in / sigma_data, one)


@method("target")
def v(sigma: Tensor, sigma_data: float = 1.0) -> Coefficients:
    """Predict v = alpha n - sigma x0 of the variance-preserving path, weight 1.

    D = y / (1 + u^2) - d u / sqrt(1 + u^2) F, with u = s / d: `edm` with the sign of F turned.

    Args:
        sigma: s > 0, any shape.
        sigma_data: d, standard deviation of the data.

    Reference:
        Salimans, Ho, "Progressive distillation for fast sampling of diffusion models", 2022,
        section 4.
    """
    u, c_in = _unit(sigma, sigma_data)
    return Coefficients(1 / (1 + u * u), -sigma * c_in, c_in / sigma_data, torch.ones_like(u))


@method("target")
def edm(sigma: Tensor, sigma_data: float = 1.0) -> Coefficients:
    """Predict the mixture of x0 and n that amplifies errors least, weight 1.

    c_skip = d^2 / (s^2 + d^2), c_out = s d / sqrt(s^2 + d^2), c_in = 1 / sqrt(s^2 + d^2)

    Args:
        sigma: s > 0, any shape.
        sigma_data: d, standard deviation of the data.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, table 1; weight 1 is its lambda = (s^2 + d^2) / (s d)^2.
    """
    u, c_in = _unit(sigma, sigma_data)
    return Coefficients(1 / (1 + u * u), sigma * c_in, c_in / sigma_data, torch.ones_like(u))


@method("target")
def flow(sigma: Tensor, sigma_data: float = 1.0) -> Coefficients:
    """Predict the velocity n - x0 of the straight path, weight 1.

    D = (y - s F) / (1 + u), c_in = 1 / (1 + u) / d, with u = s / d = t / (1 - t).

    Args:
        sigma: s > 0, any shape.
        sigma_data: d, standard deviation of the data.

    Reference:
        Lipman, Chen, Ben-Hamu, Nickel, Le, "Flow matching for generative modeling", 2023.
    """
    u = sigma / sigma_data
    alpha = 1 / (1 + u)
    return Coefficients(alpha, -sigma * alpha, alpha / sigma_data, torch.ones_like(u))
