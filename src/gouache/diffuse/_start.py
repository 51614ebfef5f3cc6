"""Where a sampler starts."""

from __future__ import annotations

from torch import Tensor

from ._schedule import Grid
from ._walk import Normals


def start(grid: Grid, like: Tensor, noise: Normals) -> Tensor:
    """Return the start of a sampler, ``x = sigma_0 n``: draw 0 of the noise at the grid's level.

    Args:
        grid: its first level is the scale.
        like: a tensor of the shape ``(B, ...)``, dtype and device that are wanted.
        noise: ``noise(k, like)``, of which samplers use the draws from 1 on.

    Reference:
        Karras, Aittala, Aila, Laine, "Elucidating the design space of diffusion-based generative
        models", 2022, algorithm 1.

    Example:
        >>> import torch
        >>> from gouache import diffuse, random
        >>> noise = random.Noise(random.keys(random.generator(0), 5))
        >>> x = diffuse.start(diffuse.EDM().grid(10), torch.empty(5, 1, 8, 8), noise)
        >>> bool(60 < x.std() < 100)
        True
    """
    return float(grid.sigma[0]) * noise(0, like)
