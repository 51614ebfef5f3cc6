"""The training loss of a denoiser."""

from __future__ import annotations

from torch import Tensor

from gouache.contracts import Condition

from ._preconditioned import Preconditioned, levels


def denoising_loss(
    denoiser: Preconditioned,
    x0: Tensor,
    sigma: Tensor | float,
    noise: Tensor,
    condition: Condition = None,
) -> Tensor:
    """Return the weighted squared error of the network's output, one value a sample.

    L = mean over pixels of weight |F(c_in y) - (x0 - c_skip y) / c_out|^2,   y = x0 + s n

    Equal to lambda(s) |D(y, s) - x0|^2 with lambda = weight / c_out^2, but formed where the
    network's output lives, so that no small difference of images is divided by a small c_out^2.

    Args:
        denoiser: a network with its target.
        x0: clean images ``(B, ...)``.
        sigma: s > 0, a scalar, ``(B,)``, or a map.
        noise: n, standard normals in the shape of x0.
        condition: handed to the network.

    Returns:
        ``(B,)``.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, equation 8.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> silent = lambda x, c_noise, condition: torch.zeros_like(x)
        >>> denoiser = diffuse.Preconditioned(silent, diffuse.noise)
        >>> x0, n = torch.zeros(2, 1, 4, 4), torch.ones(2, 1, 4, 4)
        >>> diffuse.denoising_loss(denoiser, x0, 0.5, n).tolist()
        [1.0, 1.0]
    """
    y = x0 + levels(sigma, x0) * noise
    output, c = denoiser.parts(y, sigma, condition)
    wanted = (x0 - c.c_skip * y) / c.c_out
    return (c.weight * (output - wanted) ** 2).flatten(1).mean(1)
