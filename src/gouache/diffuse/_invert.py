"""From data to the noise that a sampler turns into it."""

from __future__ import annotations

from torch import Tensor

from gouache import check
from gouache.contracts import Condition, Denoiser

from ._schedule import Grid
from ._walk import OnStep, Walk


def invert(
    denoiser: Denoiser,
    x0: Tensor,
    grid: Grid,
    *,
    condition: Condition = None,
    on_step: OnStep | None = None,
    refine: int = 2,
) -> Tensor:
    """Return the start from which `ddim` on the same grid gives ``x0``.

    y solves  y' = D(y, s) + (s'/s) (y - D(y, s)),  for every step of the grid, last first

    Plain DDIM inversion puts D(y', s') in place of D(y, s), which is wrong by the length of the
    step, and the errors add up. Here that is the first guess, and ``refine`` secant steps (Anderson
    acceleration with memory one) solve the equation itself. On a coarse grid the exact preimage
    need not look like a draw of the noise: it undoes the sampler's errors too.

    Args:
        denoiser: D(y, s, condition).
        x0: data, ``(B, ...)``.
        grid: K + 1 levels from noise to data, as for the sampler; (1 + refine) K evaluations.
        condition: handed to the denoiser.
        on_step: called as ``on_step(k, x, x0)`` when level k is reached, K - 1 first.
        refine: 0 for plain DDIM inversion; each more costs K evaluations.

    Returns:
        x_t at the grid's first level, ``(B, ...)``.

    Raises:
        InputError: the grid does not fall from noise to data.

    Reference:
        Song, Meng, Ermon, "Denoising diffusion implicit models", 2021, section 4.3; Pan, Gherardi,
        Xie, Huang, "Effective real image editing with accelerated iterative diffusion inversion",
        2023.

    Example:
        >>> import torch
        >>> from gouache import diffuse
        >>> ring, grid = diffuse.GaussianMixture.ring(), diffuse.EDM().grid(20, diffuse.angular)
        >>> x0 = ring.sample(50)
        >>> again = diffuse.ddim(ring, diffuse.invert(ring, x0, grid), grid)
        >>> bool((again - x0).norm(dim=1).mean() < 0.05)
        True
    """
    check.count(refine, "refine", 0)
    walk = Walk(denoiser, grid, condition, None)
    y, estimate = x0 / walk.alpha[-1], x0
    for k, s, s_next in reversed(list(walk.steps())):
        wanted = y
        if s_next > 0:
            estimate = walk.denoise(y, s_next)
            y = estimate + (s / s_next) * (y - estimate)
        before = None
        for _ in range(refine):
            estimate = walk.denoise(y, s)
            error = estimate + (s_next / s) * (y - estimate) - wanted
            before, y = (y, error), _secant(y, error, before)
        if on_step is not None:
            on_step(k, y * walk.alpha[k], estimate)
    return y * walk.alpha[0]


def _secant(y: Tensor, error: Tensor, before: tuple[Tensor, Tensor] | None) -> Tensor:
    """Return the next guess of the root, one scalar a sample from the two last errors."""
    if before is None:
        return y - error
    y_before, error_before = before
    change = error - error_before
    share = (error * change).flatten(1).sum(1) / change.square().flatten(1).sum(1).clamp_min(1e-30)
    share = share.reshape(-1, *[1] * (y.ndim - 1))
    return y - error - share * (y - y_before - change)
