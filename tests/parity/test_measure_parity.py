"""Measures beside independent libraries: prdc, torchmetrics, POT."""

import contextlib
import io

import numpy as np
import pytest
import torch

from gouache.measure import frechet_from_moments, kernel, moments, prdc
from gouache.random import generator

CASES = [
    (500, 500, 8, 5, 1.0, torch.float64),
    (500, 300, 64, 3, 0.8, torch.float64),
    (300, 700, 2, 1, 1.3, torch.float64),
    (800, 800, 256, 5, 1.0, torch.float32),
]


@pytest.mark.parametrize(("n", "m", "d", "k", "scale", "dtype"), CASES)
def test_prdc_is_equal_exactly(n, m, d, k, scale, dtype):
    from prdc import compute_prdc

    rng = generator(0)
    real = torch.randn(n, d, generator=rng, dtype=dtype)
    fake = scale * torch.randn(m, d, generator=rng, dtype=dtype)
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = compute_prdc(real.numpy(), fake.numpy(), k)
    ours = prdc(real, fake, k)
    for name, value in ours.items():
        assert value == pytest.approx(float(theirs[name]), rel=1e-12, abs=0)


def test_frechet_is_torchmetrics():
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Identity(torch.nn.Module):
        num_features = 64

        def forward(self, x):
            return x

    rng = generator(1)
    x = torch.randn(1500, 64, generator=rng)
    y = 1.2 * torch.randn(2000, 64, generator=rng) + 0.1
    peer = FrechetInceptionDistance(feature=Identity()).set_dtype(torch.float64)
    peer.update(x.double(), real=True)
    peer.update(y.double(), real=False)
    ours = frechet_from_moments(*moments(x), *moments(y))
    assert ours == pytest.approx(float(peer.compute()), rel=1e-6)


def test_frechet_is_the_bures_distance_of_pot():
    import ot

    rng = generator(2)
    a, b = (torch.randn(40, 10, generator=rng, dtype=torch.float64) for _ in range(2))
    (m1, S1), (m2, S2) = moments(a), moments(b)
    theirs = ot.gaussian.bures_wasserstein_distance(*(v.numpy() for v in (m1, m2, S1, S2)))
    assert frechet_from_moments(m1, S1, m2, S2) == pytest.approx(theirs**2, rel=1e-8)


@pytest.mark.filterwarnings("ignore:Metric `Kernel Inception Distance` will save")
def test_kernel_is_torchmetrics_on_one_subset_of_everything():
    from torchmetrics.image.kid import KernelInceptionDistance

    rng = generator(3)
    x = torch.randn(400, 32, generator=rng, dtype=torch.float64)
    y = 1.1 * torch.randn(400, 32, generator=rng, dtype=torch.float64)

    class Identity(torch.nn.Module):
        num_features = 32

        def forward(self, x):
            return x

    peer = KernelInceptionDistance(feature=Identity(), subsets=1, subset_size=400)
    peer = peer.set_dtype(torch.float64)
    peer.update(x, real=True)
    peer.update(y, real=False)
    assert kernel(x, y).value == pytest.approx(float(peer.compute()[0]), rel=1e-9)
    assert np.isfinite(kernel(x, y).error)
