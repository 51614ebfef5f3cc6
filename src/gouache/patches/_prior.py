"""A prior of grey patches: a mixture of Gaussians.

Notation: patches of p x p pixels as vectors ``x`` of ``D = p^2``; ``c = Q x`` their coefficients
under the orthonormal cosine transform without the mean, ``d = D - 1`` of them, low frequencies
first; ``p(c) = sum_k pi_k N(c; 0, S_k)``; sigma the level of white noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from gouache import check
from gouache.contracts import Pretrained
from gouache.pretrained import load as load_pretrained
from gouache.registry import ROOT, method

from ._image import batched, like
from ._mixture import ROWS, Mixture, Whitening, fit, seeded
from ._prior_filter import Filter, coefficients, frequencies, padded, smoothed

FLOOR = 1e-6
LARGEST = 16.0  # what is above looks like 8-bit levels


@dataclass(frozen=True)
class PatchPriorConfig:
    """Shape of a :class:`PatchPrior`.

    Attributes:
        components: how many Gaussians, K.
        patch: side of a patch, p, 2 at least.
    """

    components: int = 200
    patch: int = 8

    def __post_init__(self) -> None:
        check.count(self.components, "components")
        check.count(self.patch, "patch", 2, 32)


@method("prior")
class PatchPrior(nn.Module, Pretrained):
    """A Gaussian mixture over grey patches without their mean.

    ``p(c) = sum_k pi_k N(c; 0, S_k)`` for the ``d = p^2 - 1`` cosine coefficients c of a patch; a
    patch's mean may be anything. What is not fitted yet has K equal components whose variances fall
    with the square of the frequency.

    Args:
        config: its shape.

    Reference:
        D. Zoran, Y. Weiss, "From learning models of natural image patches to whole image
        restoration", 2011.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> x = torch.randn(500, 16, generator=torch.Generator().manual_seed(0))
        >>> prior = patches.PatchPrior.fit(x, 2, passes=3)
        >>> bool((prior.map_estimate(x, 1.0) - x.mean(1, keepdim=True)).abs().mean() < 0.5)
        True
    """

    Config = PatchPriorConfig
    config: PatchPriorConfig
    weight: Tensor
    covariance: Tensor

    def __init__(self, config: PatchPriorConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or PatchPriorConfig()
        K, p = config.components, config.patch
        variance = 0.1 / torch.tensor([i * i + j * j for i, j in frequencies(p)]).float()
        self.register_buffer("weight", torch.full((K,), 1 / K))
        self.register_buffer("covariance", torch.diag(variance).repeat(K, 1, 1))

    @classmethod
    def tiny(cls) -> PatchPrior:
        """Return a prior of three components over patches of 3 x 3."""
        return cls(PatchPriorConfig(components=3, patch=3))

    @classmethod
    def shipped(cls) -> PatchPrior:
        """Return the prior that ships, ``epll-prior``: 200 components, patches of 8 x 8."""
        return _shipped()

    @classmethod
    def fit(
        cls,
        patches: Tensor,
        components: int = 200,
        *,
        passes: int = 20,
        batch: int | None = None,
        shrink: float = 10.0,
        start: PatchPrior | None = None,
        rng: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> PatchPrior:
        """Fit a mixture to patches by expectation and maximisation.

        A pass finds the posteriors ``r_k`` of the components, ``pi_k = mean r_k`` and ``S_k`` as
        the mean of ``r_k c c^T`` over ``pi_k``, drawn to its own diagonal as by ``shrink`` patches
        more, and 1e-6 is added to its variances. It begins with k-means on the direction and the
        norm of patches, seeded by patches drawn at random.

        Args:
            patches: clean ``(N, D)``, D a square, N at least ``components``.
            components: K.
            passes: over all patches; with ``batch`` a pass leaves out what fills no batch.
            batch: patches at a time, the moments moving by ``(t + 2)^-0.6``; None takes all.
            shrink: how many patches the diagonal counts for.
            start: a prior of the same shape to go on from; ``components`` does not count then.
            rng: draws the seeds and the order of batches.
            progress: called with (steps done, steps in all).

        Raises:
            InputError: patches that are not ``(N, D)`` floats of pixel range 1, or too few of them;
                a start of patches of another size; a number out of range.

        Reference:
            A. Dempster, N. Laird, D. Rubin, "Maximum likelihood from incomplete data via the EM
            algorithm", 1977; O. Cappe, E. Moulines, "On-line expectation-maximization algorithm for
            latent data models", 2009 (batches).
        """
        components = components if start is None else start.config.components
        config = PatchPriorConfig(check.count(components, "components"), _side_of(patches))
        prior = cls(config)
        _check_fit(patches, config, batch, start)
        c = coefficients(patches.detach().float(), config.patch)
        first = seeded(c, components, FLOOR, shrink, rng) if start is None else start._mixture()
        found = fit(
            c, first, passes=check.count(passes, "passes", 0), batch=batch, floor=FLOOR,
            shrink=check.between(shrink, "shrink", 0), rng=rng, progress=progress,
        )  # fmt: skip
        prior.weight.copy_(found.weight)
        prior.covariance.copy_(found.covariance)
        return prior

    def log_prob(self, patches: Tensor, sigma: float = 0.0) -> Tensor:
        """Return ``log sum_k pi_k N(c; 0, S_k + sigma^2 I)`` of patches ``(N, D)``, ``(N,)``.

        It is the density of the coefficients, in float64; a patch's mean does not matter.

        Args:
            patches: clean or noisy ``(N, D)``.
            sigma: noise in them, pixel range 1.
        """
        c = self._rows(patches).double()
        whitening = Whitening.of(self._mixture(), check.between(sigma, "sigma", 0))
        found = [whitening.log_prob(some) for some in c.split(ROWS)]
        return torch.cat(found) if found else c.new_zeros(0)

    def component(self, patches: Tensor, sigma: float) -> Tensor:
        """Return the likeliest component ``(N,)`` of each noisy patch ``(N, D)``.

        ``argmax_k pi_k N(c; 0, S_k + sigma^2 I)``.

        Args:
            patches: noisy ``(N, D)``.
            sigma: noise in them, pixel range 1, above 0.
        """
        return self.at(sigma).choose(self._rows(patches))

    def map_estimate(self, patches: Tensor, sigma: float) -> Tensor:
        """Return the estimates ``(N, D)`` of noisy patches: Wiener's, by the likeliest component.

        ``c = S_k (S_k + sigma^2 I)^-1 c`` with k of :meth:`component`; a patch keeps its mean.

        Args:
            patches: noisy ``(N, D)``.
            sigma: noise in them, pixel range 1, above 0.
        """
        self._rows(patches)
        return self.at(sigma).estimate(patches.float())

    def smooth(self, image: Tensor, sigma: float) -> Tensor:
        """Return the mean of the estimates of all overlapping patches.

        Channels are taken one by one, on the device of the prior.

        Args:
            image: noisy ``(C, H, W)`` or ``(B, C, H, W)``, pixel range 1.
            sigma: noise in it, above 0, at most 1.

        Example:
            >>> import torch
            >>> from gouache.patches import PatchPrior
            >>> PatchPrior.tiny().smooth(torch.rand(3, 16, 16), 0.1).shape
            torch.Size([3, 16, 16])
        """
        x, filters = batched(image), [self.at(sigma)]
        check.sigma(sigma)
        planes = padded(x.flatten(0, 1), self.config.patch).to(self.covariance.device)
        index = torch.zeros(planes.shape[1:], dtype=torch.int64, device=planes.device)
        found = torch.stack([smoothed(plane, filters, index) for plane in planes])
        return like(found[:, : x.shape[2], : x.shape[3]].reshape(x.shape), image)

    def at(self, sigma: float) -> Filter:
        """Return the estimates at one noise level, for several calls.

        Args:
            sigma: noise, pixel range 1, above 0.
        """
        if not check.between(sigma, "sigma", 0) > 0:
            raise check.InputError(f"sigma must be above 0, got {sigma}")
        return Filter(self._mixture(), self.config.patch, float(sigma))

    def _rows(self, patches: Tensor) -> Tensor:
        """Check patches ``(N, D)`` and return their coefficients."""
        if _side_of(patches) != self.config.patch:
            raise check.InputError(
                f"the prior is of patches of {self.config.patch} x {self.config.patch} pixels, "
                f"got vectors of {patches.shape[1]}"
            )
        return coefficients(check.finite(patches, "patches").float(), self.config.patch)

    def _mixture(self) -> Mixture:
        return Mixture(self.weight.double(), self.covariance.double())


@cache
def _shipped() -> PatchPrior:
    prior = load_pretrained(ROOT / "weights" / "epll-prior")
    assert isinstance(prior, PatchPrior)
    return prior


def _check_fit(
    patches: Tensor, config: PatchPriorConfig, batch: int | None, start: PatchPrior | None
) -> None:
    largest = float(check.finite(patches, "patches").detach().abs().max()) if len(patches) else 0.0
    if largest > LARGEST:
        raise check.InputError(
            f"patches must be in units of the pixel range [0, 1], got values up to {largest:.4g}; "
            "divide 8-bit levels by 255"
        )
    if len(patches) < config.components:
        raise check.InputError(
            f"a prior of {config.components} components needs as many patches, got {len(patches)}"
        )
    if batch is not None:
        check.count(batch, "batch")
    if start is not None and start.config.patch != config.patch:
        raise check.InputError(
            f"start is a prior of patches of {start.config.patch} x {start.config.patch} pixels, "
            f"and patches are of {config.patch} x {config.patch}; pass one of the same size"
        )


def _side_of(patches: Tensor) -> int:
    """Return the side of patches ``(N, D)``."""
    if not isinstance(patches, Tensor) or patches.ndim != 2 or not patches.is_floating_point():
        raise check.InputError("patches must be a float tensor (N, D), a patch a row")
    side = math.isqrt(patches.shape[1])
    if side**2 != patches.shape[1]:
        raise check.InputError(f"patches must be square, got vectors of {patches.shape[1]}")
    return side
