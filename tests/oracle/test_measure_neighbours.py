"""Neighbours, balls and memorisation: closed forms, brute force, and copies."""

import math

import numpy as np
import pytest
import torch

from gouache.measure import (
    Score,
    classification_accuracy,
    coverage,
    density,
    memorization,
    nearest,
    prdc,
)
from gouache.measure._memorization import auc
from gouache.measure._precision_recall import prdc_scores
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


def brute(x, y):
    return (x[:, None] - y[None]).square().sum(2).sqrt()


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_nearest_is_brute_force(offset, monkeypatch):
    from gouache.measure import _neighbours

    monkeypatch.setattr(_neighbours, "_ENTRIES", 500)
    monkeypatch.setattr(_neighbours, "_ROWS", 3)
    rng = generator(0)
    x, y = normal(70, 40, rng) + offset, normal(90, 40, rng) + offset
    distances, indices = nearest(x, y, 5)
    expected, order = brute(x, y).sort(1)
    assert torch.allclose(distances, expected[:, :5], rtol=1e-12)
    assert torch.equal(indices, order[:, :5])
    own, _ = nearest(x, x, 2, exclude_self=True)
    assert torch.allclose(own, brute(x, x).sort(1).values[:, 1:3], rtol=1e-12)


def test_copies_are_at_distance_zero_and_near_copies_are_not():
    """In float32 by a matrix product, copies of 768 numbers about 1 lie up to .02 apart."""
    x = torch.rand(200, 768, generator=generator(1)) + 1
    distances, indices = nearest(x, x)
    assert torch.equal(distances, torch.zeros_like(distances))
    assert torch.equal(indices[:, 0], torch.arange(200))
    near = x.double()
    near[:, 0] += 1e-9
    assert torch.allclose(nearest(near, x)[0], torch.tensor(1e-9, dtype=torch.float64), rtol=1e-6)


def test_ties_go_to_the_first():
    x = torch.zeros(1, 2)
    y = torch.tensor([[1.0, 0], [0, 1], [2, 0], [0, -1]])
    assert nearest(x, y, 3)[1].tolist() == [[0, 1, 3]]


@pytest.mark.parametrize(
    ("n", "m", "k", "expected"), [(500, 500, 5, 0.9692), (500, 250, 3, 0.70489)]
)
def test_coverage_and_density_of_one_distribution(n, m, k, expected):
    """Distribution-free: a Gaussian, and a cube with heavy repetition of scales."""
    rng = generator(2)
    for d in (2, 16):
        values = [prdc(normal(n, d, rng), normal(m, d, rng), k) for _ in range(25)]
        for name, truth in (("coverage", expected), ("density", 1.0)):
            drawn = np.array([v[name] for v in values])
            assert abs(drawn.mean() - truth) < 4 * drawn.std(ddof=1) / 5
    x = normal(n, 2, rng)
    assert coverage(x, normal(m, 2, rng), k=k).floor == pytest.approx(expected, abs=5e-5)
    assert density(x, x, k=k).floor == 1


def test_floors_of_precision_and_recall_in_fitted_features_are_those_of_fresh_images():
    """As for the Fréchet distance: few real images, to which the components are fitted."""
    rng = generator(8)
    gaps: dict[str, list[float]] = {"precision": [], "recall": []}
    for _ in range(20):
        real, fake, train = (
            0.5 + 0.08 * torch.randn(n, 1, 6, 6, generator=rng) for n in (60, 60, 200)
        )
        scores = prdc_scores(real, fake, features="pca", train=train, rng=rng, k=5)
        for name, found in gaps.items():
            found.append(scores[name].value - scores[name].floor)
    for name, found in gaps.items():
        assert abs(np.mean(found)) < 3 * np.std(found, ddof=1) / math.sqrt(len(found)), name
        assert np.std(found) > 0, name


def test_equal_features_lie_in_no_open_ball():
    x = torch.ones(30, 4)
    assert set(prdc(x, x, 3).values()) == {0.0}


def test_a_point_at_exactly_the_radius_is_outside():
    real = torch.tensor([[0.0], [1.0], [3.0], [7.0]])
    fake = torch.tensor([[-1.0], [-1.0], [-1.0], [-1.0]]) + 1e7
    values = prdc(real + 1e7, fake, 1)
    assert values == {"precision": 0, "recall": 0, "density": 0, "coverage": 0}


CASES = [(400, 400, 8, 1.0, 5), (300, 500, 16, 1.2, 3), (400, 400, 16, 0.9, 5)]


@pytest.mark.parametrize(("n", "m", "d", "scale", "k"), CASES)
def test_errors_are_the_spread_of_repeated_draws(n, m, d, scale, k):
    rng = generator(3)
    drawn: dict[str, list[Score]] = {}
    for _ in range(80):
        x, y = normal(n, d, rng), normal(m, d, rng, scale)
        for name, score in prdc_scores(x, y, features="pca", train=None, rng=rng, k=k).items():
            drawn.setdefault(name, []).append(score)
    for name, scores in drawn.items():
        spread = np.std([s.value for s in scores], ddof=1)
        error = math.sqrt(np.mean([s.error**2 for s in scores]))
        assert 0.72 < error / spread < 1.3, name


def test_auc_is_the_share_of_pairs_and_its_error_the_spread():
    rng = generator(4)
    a, b = torch.randint(0, 9, (2, 40), generator=rng).double()
    pairs = (a[:, None] < b).double() + 0.5 * (a[:, None] == b)
    assert auc(a, b)[0] == pytest.approx(float(pairs.mean()), abs=1e-12)
    drawn = np.array(
        [auc(normal(80, 1, rng)[:, 0], normal(50, 1, rng)[:, 0] + 0.7) for _ in range(200)]
    )
    truth = 0.5 * (1 + math.erf(0.7 / 2))
    assert drawn[:, 0].mean() == pytest.approx(truth, abs=0.012)
    assert np.sqrt((drawn[:, 1] ** 2).mean()) / drawn[:, 0].std(ddof=1) == pytest.approx(1, abs=0.2)


def test_memorization_finds_copies_and_clears_fresh_samples():
    rng = generator(5)
    train, held_out, fresh = (normal(300, 10, rng) for _ in range(3))
    honest = memorization(held_out, fresh, train=train)
    assert abs(honest.value - 0.5) < 3 * honest.error
    assert abs(honest.floor - 0.5) < 3 * honest.extra["floor_error"]
    assert honest.extra["copies"] == 0
    assert honest.extra["below_null_1_percent"] < 0.05
    copier = memorization(held_out, train[:100], train=train)
    assert copier.value == 1
    assert copier.extra["copies"] == 1
    near = memorization(held_out, train + normal(300, 10, rng, 0.1), train=train)
    assert near.value > 0.95
    assert near.extra["ratio"] < 0.5
    poor = memorization(held_out, normal(300, 10, rng, 2.0), train=train)
    assert poor.value < 0.2


def test_copies_of_digits_saved_to_files_count_as_copies():
    from sklearn.datasets import load_digits

    x = torch.tensor(load_digits().data / 16).float().view(-1, 1, 8, 8)
    train, real = x[:1000], x[1000:]
    saved = (train[:300] * 255).round() / 255
    assert not torch.equal(saved, train[:300])
    score = memorization(real, saved, train=train)
    assert score.extra["copies"] == 1
    assert memorization(real, real, train=train, features="pca").extra["copies"] == 0
    assert memorization(real, saved, train=train, features="pca").extra["copies"] == 1
    moved = (saved + 1 / 255).clamp(max=1)
    assert memorization(real, moved, train=train).extra["copies"] == 0
    rows = [v.flatten(1) for v in (real, saved, train)]
    assert memorization(rows[0], rows[1], train=rows[2]).extra["copies"] < 1
    with pytest.warns(UserWarning, match="100% of the real images are among the training"):
        memorization(saved, real, train=train)


def test_memorization_error_is_the_spread_given_the_training_set():
    rng = generator(6)
    train = normal(200, 6, rng)
    scores = [
        memorization(normal(100, 6, rng), normal(150, 6, rng), train=train) for _ in range(100)
    ]
    spread = np.std([s.value for s in scores], ddof=1)
    assert np.mean([s.error for s in scores]) / spread == pytest.approx(1, abs=0.22)


def test_classification_accuracy_of_real_digits_is_the_published_level():
    from sklearn.datasets import load_digits

    data = load_digits()
    x = torch.tensor(data.data / 16).float().view(-1, 1, 8, 8)
    y = torch.tensor(data.target)
    train, fake, real = slice(0, 400), slice(400, 1000), slice(1350, 1797)
    score = classification_accuracy(
        x[real],
        x[fake],
        train=x[train],
        real_labels=y[real],
        fake_labels=y[fake],
        train_labels=y[train],
    )
    from sklearn.svm import SVC

    peer = SVC(gamma=0.001).fit(data.data[fake], data.target[fake])
    assert score.value == pytest.approx(peer.score(data.data[real], data.target[real]), abs=1e-9)
    assert score.error == pytest.approx(math.sqrt(score.value * (1 - score.value) / 447), rel=0.1)
    assert 0.85 < score.floor < 1
    shuffled = y[fake][torch.randperm(600, generator=generator(7))]
    wrong = classification_accuracy(x[real], x[fake], real_labels=y[real], fake_labels=shuffled)
    assert wrong.value < 0.3
