"""The kernel distance against closed forms of Gaussians, and a loop over pairs."""

import math

import numpy as np
import pytest
import torch

from gouache.measure import kernel
from gouache.random import generator


@pytest.fixture(autouse=True)
def _one_thread():
    """Many small problems: threads would spend their time waiting for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def normal(n, d, rng, scale=1.0, shift=0.0):
    return shift + scale * torch.randn(n, d, generator=rng, dtype=torch.float64)


def polynomial_truth(d, a):
    return 3 * a / d + 3 * a**2 / d**2 + (a**3 + 6 * a**2 + 3 * a * d + 6 * a) / d**3


def test_polynomial_closed_form_of_dimension_16():
    rng = generator(0)
    score = kernel(normal(4000, 16, rng), normal(4000, 16, rng, shift=0.25))
    assert polynomial_truth(16, 1) == pytest.approx(0.214111, abs=1e-6)
    assert abs(score.value - 0.214111) < 3 * score.error
    assert score.error < 0.02


def test_rbf_closed_form():
    d, s, v1, v2, a = 8, 2.0, 1.0, 1.44, 1.0

    def mean(u, v, shift):
        return (s**2 / (s**2 + u + v)) ** (d / 2) * math.exp(-shift / (2 * (s**2 + u + v)))

    truth = mean(v1, v1, 0) + mean(v2, v2, 0) - 2 * mean(v1, v2, a)
    assert truth == pytest.approx(0.036361, abs=1e-6)
    rng = generator(1)
    x, y = normal(3000, d, rng), normal(3000, d, rng, 1.2, (1 / 8) ** 0.5)
    score = kernel(x, y, form="rbf", sigma=s)
    assert abs(score.value - truth) < 3 * score.error
    assert score.error < 0.002


def test_every_pair_counts_once(monkeypatch):
    from gouache.measure import _kernel

    monkeypatch.setattr(_kernel, "_ENTRIES", 50)
    rng = generator(2)
    x, y = normal(13, 3, rng), normal(9, 3, rng)

    def k(a, b):
        return float((a @ b / 3 + 1) ** 3)

    def pairs(u):
        return np.mean([k(u[i], u[j]) for i in range(len(u)) for j in range(len(u)) if i != j])

    cross = np.mean([k(a, b) for a in x for b in y])
    assert kernel(x, y).value == pytest.approx(pairs(x) + pairs(y) - 2 * cross, rel=1e-10)


CASES = [
    (300, 300, 16, 0.0, 1.0, "polynomial"),
    (400, 200, 16, 0.25, 1.0, "polynomial"),
    (300, 300, 8, 0.3, 1.2, "rbf"),
]


@pytest.mark.parametrize(("n", "m", "d", "shift", "scale", "form"), CASES)
def test_error_is_the_spread_of_repeated_draws(n, m, d, shift, scale, form):
    rng = generator(3)
    scores = [
        kernel(normal(n, d, rng), normal(m, d, rng, scale, shift), form=form) for _ in range(120)
    ]
    spread = np.std([s.value for s in scores], ddof=1)
    error = math.sqrt(np.mean([s.error**2 for s in scores]))
    assert 0.75 < error / spread < 1.25
    if shift == 0:
        assert np.mean([s.extra["null_error"] for s in scores]) / spread == pytest.approx(
            1, abs=0.25
        )
        assert abs(np.mean([s.value for s in scores])) < 4 * spread / math.sqrt(120)
