"""The Fréchet distance against Bures' formula, scipy's matrix root, and its law under the null."""

import math

import numpy as np
import pytest
import torch

from gouache.features import PCA
from gouache.measure import frechet, frechet_from_moments, moments
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


def covariance(d, rng, rank=None):
    a = normal(rank or 2 * d, d, rng)
    return a.T @ a / len(a)


def test_isotropic_case_of_dimension_64_is_3_2():
    eye = torch.eye(64, dtype=torch.float64)
    mean = torch.full((64,), 0.1, dtype=torch.float64)
    value = frechet_from_moments(0 * mean, eye, mean, 1.2**2 * eye)
    assert value == pytest.approx(3.2, abs=1e-10)


@pytest.mark.parametrize("rank", [None, 5])
def test_formula_with_scipys_matrix_root(rank):
    from scipy.linalg import sqrtm

    rng = generator(0)
    S1, S2 = covariance(12, rng), covariance(12, rng, rank)
    m1, m2 = normal(1, 12, rng)[0], normal(1, 12, rng)[0]
    middle = sqrtm(S1.numpy())
    cross = np.trace(sqrtm(middle @ S2.numpy() @ middle).real)
    expected = float((m1 - m2).square().sum() + S1.trace() + S2.trace()) - 2 * cross
    assert frechet_from_moments(m1, S1, m2, S2) == pytest.approx(expected, abs=1e-5)
    assert frechet_from_moments(m2, S2, m1, S1) == pytest.approx(expected, abs=1e-5)


def test_commuting_covariances_give_the_distance_of_the_roots():
    rng = generator(1)
    Q = torch.linalg.qr(normal(10, 10, rng)).Q
    a, b = torch.rand(2, 10, generator=rng, dtype=torch.float64)
    zero = torch.zeros(10, dtype=torch.float64)
    value = frechet_from_moments(zero, Q @ a.diag() @ Q.T, zero, Q @ b.diag() @ Q.T)
    assert value == pytest.approx(float((a.sqrt() - b.sqrt()).square().sum()), abs=1e-10)


@pytest.mark.parametrize("zeros", [0, 40])
def test_commuting_covariances_in_several_strips(zeros):
    """In 150 dimensions the products are cut into strips; one, both or none is singular."""
    rng = generator(11)
    Q = torch.linalg.qr(normal(150, 150, rng)).Q
    a, b = torch.rand(2, 150, generator=rng, dtype=torch.float64) + 0.1
    a[:zeros] = 0
    zero = torch.zeros(150, dtype=torch.float64)
    S1, S2 = (Q @ v.diag() @ Q.T for v in (a, b))
    expected = float((a.sqrt() - b.sqrt()).square().sum())
    for one, other in ((S1, S2), (S2, S1)):
        value = frechet_from_moments(zero, one, zero, other)
        assert value == pytest.approx(expected, abs=1e-10 if not zeros else 1e-5)
    assert frechet_from_moments(zero, S1, zero, S1) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("n", "m"), [(300, 250), (65, 64), (64, 65)])
def test_measure_is_the_value_from_its_moments(n, m):
    rng = generator(12)
    x, y = normal(n, 64, rng), normal(m, 64, rng, 1.2, 0.1)
    expected = frechet_from_moments(*moments(x), *moments(y))
    assert frechet(x, y, rng=rng).value == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("n", "m"), [(30, 25), (30, 200), (200, 30)])
def test_few_samples_agree_with_full_covariances(n, m):
    rng = generator(2)
    x, y = normal(n, 64, rng), normal(m, 64, rng, 1.2, 0.1)
    expected = frechet_from_moments(*moments(x), *moments(y))
    assert frechet(x, y, rng=rng).value == pytest.approx(expected, rel=1e-6)


def test_distance_to_itself_is_zero_and_copies_of_it_too():
    x = normal(100, 8, generator(3))
    assert frechet(x, x.flip(0), rng=generator(0)).value == pytest.approx(0, abs=1e-7)
    wide = normal(20, 50, generator(3))
    assert frechet(wide, wide.flip(0), rng=generator(0)).value == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("offset", [1e3, 1e6])
def test_a_common_offset_changes_nothing(offset):
    rng = generator(4)
    x, y = normal(300, 16, rng), normal(300, 16, rng, 1.2)
    plain = frechet(x, y, rng=generator(0))
    moved = frechet(x + offset, y + offset, rng=generator(0))
    assert moved.value == pytest.approx(plain.value, rel=1e-8)
    assert moved.error == pytest.approx(plain.error, rel=1e-3)


def test_distance_scales_with_the_square():
    rng = generator(5)
    x, y = normal(300, 16, rng), normal(200, 16, rng, 1.2)
    a, b = (frechet(s * x, s * y, rng=generator(0)) for s in (1, 16))
    assert b.value == pytest.approx(256 * a.value, rel=1e-9)
    assert b.error == pytest.approx(256 * a.error, rel=1e-4)
    assert b.floor == pytest.approx(256 * a.floor, rel=1e-9)


def test_moments_in_blocks_are_numpys():
    x = torch.randn(5000, 6, generator=generator(6))
    mean, cov = moments(x)
    assert np.allclose(mean, x.double().numpy().mean(0), atol=1e-12)
    assert np.allclose(cov, np.cov(x.double().numpy().T), atol=1e-12)


@pytest.mark.parametrize(("n", "repeats"), [(500, 12), (2000, 6)])
def test_null_bias_law_and_floor(n, repeats):
    """E F = (2 d + d (d + 1) / 2) / N for two samples of one white Gaussian (to order 1/N^2)."""
    d, rng = 64, generator(7)
    scores = [frechet(normal(n, d, rng), normal(n, d, rng), rng=rng) for _ in range(repeats)]
    law = (2 * d + d * (d + 1) / 2) / n
    assert np.mean([s.value for s in scores]) == pytest.approx(law, rel=0.03)
    assert np.mean([s.floor for s in scores]) == pytest.approx(law, rel=0.03)


def test_floor_with_training_images_is_at_the_sizes_of_the_score():
    d, rng = 32, generator(8)
    law = (1 / 400 + 1 / 300) * (d + d * (d + 1) / 4)
    train = normal(1000, d, rng)
    score = frechet(normal(400, d, rng), normal(300, d, rng), train=train, rng=rng)
    assert score.floor == pytest.approx(law, rel=0.08)
    assert "400 against 300" in score.extra["floor_by"]
    assert score.extra["train"] == pytest.approx(law, rel=0.3)


def pictures(n, rng, side=10):
    return 0.5 + 0.08 * torch.randn(n, 1, side, side, generator=rng)


@pytest.mark.parametrize(("n_train", "m", "within"), [(200, 60, 0.02), (160, 200, 0.05)])
def test_floor_of_fitted_features_is_the_score_of_fresh_images(n_train, m, within):
    """Components fitted to 60 images of 100 white pixels take up their noise, not that of others.

    The floor must count what the score counts, with as many training images as fakes or fewer.
    """
    rng, gaps, values = generator(13), [], []
    for _ in range(20):
        score = frechet(pictures(60, rng), pictures(m, rng), train=pictures(n_train, rng), rng=rng)
        gaps.append(score.value - score.floor)
        values.append(score.value)
    spread = np.std(gaps, ddof=1) / math.sqrt(len(gaps))
    assert abs(np.mean(gaps)) < 3 * spread
    assert spread < within * np.mean(values)


@pytest.mark.parametrize(("n", "t", "m"), [(200, 150, 1000), (500, 300, 1000)])
def test_floor_extrapolates_where_training_images_are_fewer_than_fakes(n, t, m):
    d, rng = 32, generator(14)
    law = (1 / n + 1 / m) * (d + d * (d + 1) / 4)
    draws = ((normal(size, d, rng) for size in (n, m, t)) for _ in range(8))
    floors = [frechet(x, y, train=z, rng=rng).floor for x, y, z in draws]
    assert np.mean(floors) == pytest.approx(law, rel=0.08)


CASES = [(500, 500, 32, 0.0, 1.0), (500, 500, 32, 0.15, 1.2), (1000, 400, 8, 0.3, 1.0)]


@pytest.mark.parametrize(("n", "m", "d", "shift", "scale"), CASES)
def test_error_is_the_spread_of_repeated_draws(n, m, d, shift, scale):
    rng = generator(9)
    scores = [
        frechet(normal(n, d, rng), normal(m, d, rng, scale, shift), rng=rng) for _ in range(80)
    ]
    spread = np.std([s.value for s in scores], ddof=1)
    error = math.sqrt(np.mean([s.error**2 for s in scores]))
    assert 0.75 < error / spread < 1.25


def test_error_is_calibrated_on_real_digits():
    """Draws with replacement from the real digits in PCA-20, which is far from Gaussian."""
    from sklearn.datasets import load_digits

    x = torch.tensor(load_digits().data / 16).float().view(-1, 1, 8, 8)
    features, rng = PCA(x, 20)(x), generator(10)

    def draw(n):
        chosen = features[torch.randint(0, len(x), (n,), generator=rng)]
        return chosen + 0.05 * torch.randn(n, 20, generator=rng)

    scores = [frechet(draw(400), draw(400) * 1.1, rng=rng) for _ in range(80)]
    spread = np.std([s.value for s in scores], ddof=1)
    assert 0.75 < math.sqrt(np.mean([s.error**2 for s in scores])) / spread < 1.3
