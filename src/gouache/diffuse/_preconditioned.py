"""A network made a denoiser."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, final

import torch
from torch import Tensor, nn

from gouache.contracts import Condition, Denoiser

from ._targets import Coefficients, edm


class Parts(NamedTuple):
    """The network's output F with the coefficients, shaped to broadcast against y."""

    output: Tensor
    c: Coefficients


@final
class Preconditioned(nn.Module, Denoiser):
    """A denoiser made of a network that predicts a target.

    D(y, s) = c_skip y + c_out F(c_in y, log(s) / 4, condition)

    ``sigma`` is a scalar, ``(B,)``, or a map that broadcasts against ``y``; of a map the network is
    told the root mean square of each sample.

    Args:
        network: F, called as ``network(x, c_noise, condition)`` with c_noise ``(B,)``.
        target: what F predicts, a function of the role ``target``.
        sigma_data: standard deviation of the data in the unit of sigma.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, equation 7.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> silent = lambda x, c_noise, condition: torch.zeros_like(x)
        >>> denoiser = diffuse.Preconditioned(silent, diffuse.edm, sigma_data=0.5)
        >>> denoiser(torch.ones(1, 1, 2, 2), 0.5).flatten().tolist()
        [0.5, 0.5, 0.5, 0.5]
    """

    def __init__(
        self,
        network: Callable[[Tensor, Tensor, Condition], Tensor],
        target: Callable[[Tensor, float], Coefficients] = edm,
        sigma_data: float = 1.0,
    ) -> None:
        super().__init__()
        self.network, self.target, self.sigma_data = network, target, sigma_data

    def forward(self, y: Tensor, sigma: Tensor | float, condition: Condition = None) -> Tensor:
        """Return E[x0 | y], in the shape of ``y``."""
        output, c = self.parts(y, sigma, condition)
        return c.c_skip * y + c.c_out * output

    def parts(self, y: Tensor, sigma: Tensor | float, condition: Condition = None) -> Parts:
        """Return the network's output in the dtype of ``y``, and the coefficients around it."""
        level = levels(sigma, y)
        c = self.target(level, self.sigma_data)
        c_noise = level.pow(2).expand(len(y), *level.shape[1:]).flatten(1).mean(1).log() / 8
        return Parts(self.network(c.c_in * y, c_noise, condition).to(y.dtype), c)


def levels(sigma: Tensor | float, y: Tensor) -> Tensor:
    """Return sigma with as many axes as ``y``, in its dtype and on its device."""
    level = torch.as_tensor(sigma, dtype=y.dtype, device=y.device)
    return level.reshape(-1, *[1] * (y.ndim - 1)) if level.ndim <= 1 else level
