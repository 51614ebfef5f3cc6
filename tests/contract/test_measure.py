"""What every measure keeps to: one signature, one kind of answer, one-line errors."""

import inspect
import json
import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gouache import registry
from gouache.check import InputError
from gouache.features import Inception, Pixels
from gouache.measure import (
    Score,
    evaluate,
    frechet,
    frechet_from_moments,
    memorization,
    moments,
    nearest,
    prdc,
    table,
)
from gouache.random import generator

NAMES = registry.names("measure")


def images(n=60, seed=0, side=8):
    return torch.rand(n, 1, side, side, generator=generator(seed))


def labels(n=60):
    return torch.arange(n) % 3


def call(name, real, fake, train=None, **options):
    """Call a registered measure with what it requires."""
    if name == "memorization":
        train = images(50, 9) if train is None else train
    if name == "classification_accuracy":
        options |= {"real_labels": labels(len(real)), "fake_labels": labels(len(fake))}
        options |= {} if train is None else {"train_labels": labels(len(train))}
    rng = options.pop("rng", generator(0))
    return registry.find("measure", name)(real, fake, train=train, rng=rng, **options)


@pytest.mark.parametrize("name", NAMES)
def test_signature_is_shared(name):
    parameters = inspect.signature(registry.find("measure", name)).parameters
    assert list(parameters)[:5] == ["real", "fake", "features", "train", "rng"]
    later = list(parameters.values())[2:]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in later)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("trained", [False, True])
def test_score_is_whole(name, trained):
    train = images(50, 2) if trained else None
    score = call(name, images(), images(40, 1), train)
    assert isinstance(score, Score)
    assert score.name == name
    assert (score.n_real, score.n_fake) == (60, 40)
    assert math.isfinite(score.value)
    assert score.error >= 0
    assert score.features in {"pixels", "pca-20"}
    assert score.better in {"lower", "higher", "floor"}
    assert {"floor_by", "error_by"} <= score.extra.keys()
    unknown = name == "classification_accuracy" and not trained
    assert math.isnan(score.floor) == unknown
    assert json.loads(json.dumps(score.to_dict(), allow_nan=False))["n_fake"] == 40
    assert "\n" not in str(score)


@pytest.mark.parametrize("name", NAMES)
def test_same_rng_same_score(name):
    a, b = (call(name, images(), images(40, 1), images(50, 2)) for _ in range(2))
    assert a == b


@pytest.mark.parametrize("name", NAMES)
def test_order_of_images_does_not_change_the_value(name):
    sets = {"real": images(), "fake": images(40, 1), "train": images(50, 2)}
    named = {f"{key}_labels": labels(len(x)) for key, x in sets.items()}
    a, b = (
        evaluate(**turned, measures=[name], features="pca", rng=generator(0))[0].value
        for turned in (sets | named, {key: x.flip(0) for key, x in (sets | named).items()})
    )
    assert a == pytest.approx(b, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_are_left_alone(name):
    real, fake = images(), images(40, 1)
    before = real.clone(), fake.clone()
    call(name, real, fake, images(50, 2))
    assert torch.equal(real, before[0])
    assert torch.equal(fake, before[1])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("real", "fake", "message"),
    [
        (images(), images() * float("nan"), "fake must be finite"),
        (images(), images(1), "fake must hold at least"),
        (images(1), images(), "real must hold at least"),
        (images(), images(side=9), "resize the images"),
        (images(), images() * 255, "divide 8-bit levels by 255"),
        (images(), images() * 2 - 1, "map \\[-1, 1\\]"),
        (images().flatten(1), images()[:, :, 0, :5].flatten(1), "must match real"),
        (images()[:, 0], images()[:, 0], "features \\(N, D\\)"),
        (images().numpy(), images(), "got ndarray"),
        (images().flatten(1).long(), images().flatten(1), "call .float"),
    ],
)
def test_bad_input_names_the_mend(name, real, fake, message):
    with pytest.raises(InputError, match=message):
        call(name, real, fake)


@pytest.mark.parametrize("name", NAMES)
def test_feature_matrices_need_no_features(name):
    real, fake = images().flatten(1), images(40, 1).flatten(1)
    train = images(50, 2).flatten(1)
    assert call(name, real, fake, train).features == "given"
    with pytest.raises(InputError, match="leave features out"):
        call(name, real, fake, train, features=Pixels())


def test_distance_is_called_fid_on_published_inception_features_alone():
    features = Pixels()
    for name, expected in [
        (Inception("64").name, "frechet"),
        ("inception-64", "frechet"),
        ("inception-2048 (unverified)", "frechet"),
        ("inception-2048", "FID"),
    ]:
        features.name = name
        assert frechet(images(8), images(8, 1), features=features).name == expected


def test_evaluate_is_the_measures_one_by_one():
    real, fake, train = images(), images(40, 1), images(50, 2)
    found = evaluate(
        real, fake, train=train, rng=generator(0), real_labels=labels(), fake_labels=labels(40), k=4
    )
    assert {score.name for score in found} == set(NAMES)
    for score in found:
        options = {"k": 4} if score.name in {"precision", "recall", "density", "coverage"} else {}
        alone = call(score.name, real, fake, train, **options)
        assert score.value == pytest.approx(alone.value, rel=1e-9, abs=1e-12)
        assert score.features == alone.features
    names = [score.name for score in evaluate(real, fake, measures=["recall", "frechet"])]
    assert names == ["recall", "frechet"]
    assert len(table(found)) == 1 + len(found)


def test_evaluate_leaves_out_what_lacks_its_needs_unless_asked():
    found = {score.name for score in evaluate(images(), images(40, 1))}
    assert found == set(NAMES) - {"memorization", "classification_accuracy"}
    with pytest.raises(InputError, match="pass train=images"):
        evaluate(images(), images(40, 1), measures=["memorization"])


def labelled(n_fake=40):
    """Return sets for every measure, and labels for all of them."""
    sets = {"real": images(), "fake": images(n_fake, 1), "train": images(50, 2)}
    return sets | {f"{key}_labels": labels(len(x)) for key, x in sets.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_measure_alone_scores_as_in_the_full_table(name):
    whole = {score.name: score for score in evaluate(**labelled(), rng=generator(3))}
    alone = evaluate(**labelled(), measures=[name], rng=generator(3))
    assert alone == [whole[name]]


ORDER = """
import torch
from gouache.measure import evaluate
from gouache.random import generator
torch.set_num_threads(1)
real, fake, train = (torch.rand(n, 1, 4, 4, generator=generator(n)) for n in (31, 30, 40))
labels = torch.arange(40) % 2
names = ["classification_accuracy", "frechet"]
given = {"real_labels": labels[:31], "fake_labels": labels[:30], "train_labels": labels}
print(evaluate(real, fake, measures=names, train=train, rng=generator(0), **given))
"""


def test_scores_do_not_hang_on_the_order_of_a_set_of_strings():
    """Of the names in ORDER, hash seeds 0 and 3 put another one first."""
    scores = [
        subprocess.run(
            [sys.executable, "-c", ORDER],
            env=os.environ | {"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "3")
    ]
    assert scores[0] == scores[1]
    assert "frechet" in scores[0]


def test_few_images_keep_the_measures_that_they_allow():
    """10 images: 9 components, and too few for the neighbours of precision and the others."""
    real, fake, train = images(10), images(12, 1), images(50, 2)
    found = {score.name: score for score in evaluate(real, fake, train=train, rng=generator(0))}
    assert found.keys() == {"frechet", "kernel", "memorization"}
    assert found["frechet"].features == "pca-9"
    with pytest.raises(InputError, match="real must hold at least 14 samples, got 10"):
        evaluate(real, fake, measures=["recall"])
    few = evaluate(real, fake[:3], train=train, rng=generator(0))
    assert [score.name for score in few] == ["memorization"]
    with pytest.raises(InputError, match="fake must hold at least"):
        evaluate(real, fake[:1], train=train)


def test_features_are_left_alone_where_no_measure_takes_them():
    class Refusing(Pixels):
        def __call__(self, x):
            raise AssertionError

    given = {"features": Refusing(), "measures": ["memorization"]}
    assert evaluate(images(), images(40, 1), train=images(50, 2), **given)[0].features == "pixels"
    given["features"] = "pca-99"
    assert evaluate(images(), images(40, 1), train=images(50, 2), **given)
    with pytest.raises(InputError, match="99 components need more"):
        evaluate(images(), images(40, 1), features="pca-99")


@pytest.mark.parametrize("of", ["fake", "train"])
def test_one_class_leaves_classification_out_unless_asked(of):
    given = labelled() | {f"{of}_labels": torch.ones(40 if of == "fake" else 50)}
    found = {score.name for score in evaluate(**given)}
    assert found == set(NAMES) - {"classification_accuracy"}
    with pytest.raises(InputError, match=f"{of}_labels must hold two classes"):
        evaluate(**given, measures=["classification_accuracy"])


def test_floor_says_whether_training_images_stand_in():
    real, fake = images(60), images(40, 1)
    said = {n: frechet(real, fake, train=images(n, 2)).extra["floor_by"] for n in (8, 39, 40, 41)}
    assert (
        said[8]
        == "random parts of real images, 36 against 24 (draws: 16), and half as many, extrapolated"
    )
    assert said[39].startswith("real against training images, 60 against 39")
    assert said[39].endswith("extrapolated by parts of the training images")
    assert said[40] == "real against training images, 60 against 40 (draws: 1)"
    assert said[41] == "real against training images, 60 against 40 (draws: 16)"


def test_held_out_images_that_were_trained_on_are_noticed():
    train = images(50, 2)
    with pytest.warns(UserWarning, match="100% of the real images are among the training"):
        memorization(train[:20], images(40, 1), train=train)


def test_evaluate_names_a_near_miss():
    with pytest.raises(InputError, match='did you mean "frechet"'):
        evaluate(images(), images(40, 1), measures=["freche"])


def test_floor_says_when_there_is_too_little_to_split():
    score = frechet(torch.randn(6, 2), torch.randn(6, 2), rng=generator(0))
    assert math.isnan(score.floor)
    assert "too few real images" in score.extra["floor_by"]
    assert "floor unknown" in str(score)


def test_other_refusals_name_the_mend():
    x = torch.randn(10, 3)
    with pytest.raises(InputError, match="pass train=images"):
        memorization(x, x)
    with pytest.raises(InputError, match="k must be in"):
        nearest(x, x, 11)
    with pytest.raises(InputError, match="one and the same set twice"):
        nearest(x[:5], x, exclude_self=True)
    with pytest.raises(InputError, match="resize one of them"):
        nearest(x, x[:, :2])
    with pytest.raises(InputError, match="at least 11 samples"):
        prdc(x, x, 10)
    with pytest.raises(InputError, match="unknown form"):
        call("kernel", x, x, form="gauss")
    with pytest.raises(InputError, match="sigma"):
        call("kernel", x, x, form="rbf", sigma=-1.0)
    with pytest.raises(InputError, match="matrix"):
        moments(x[0])
    with pytest.raises(InputError, match="mean \\(D,\\)"):
        frechet_from_moments(x[0], x, x[0], x)
    measure = registry.find("measure", "classification_accuracy")
    with pytest.raises(InputError, match="needs real_labels"):
        measure(x, x)
    with pytest.raises(InputError, match="one class a sample"):
        measure(x, x, real_labels=labels(10), fake_labels=labels(9))
    with pytest.raises(InputError, match="two classes or more"):
        measure(x, x, real_labels=labels(10), fake_labels=torch.zeros(10))


def test_the_line_shows_as_many_digits_as_the_error_bears():
    def line(value, error, floor):
        return str(Score("m", value, error, 5, 6, "f", floor, "lower"))

    assert line(123.456, 31.0, 5.0) == "m 123 +- 31 (f, 5 real, 6 fake; floor 5)"
    assert line(0.012345, 0.00123, 0.01) == "m 0.0123 +- 0.0012 (f, 5 real, 6 fake; floor 0.0100)"
    assert line(1.0, 0.0, 0.5) == "m 1.000 +- 0.000 (f, 5 real, 6 fake; floor 0.500)"
    assert line(0.0, 0.0, 0.0) == "m 0.000 +- 0.000 (f, 5 real, 6 fake; floor 0.000)"


@pytest.mark.filterwarnings("ignore:.*of the real images are among:UserWarning")
@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(8, 40),
    m=st.integers(8, 40),
    d=st.integers(1, 50),
    offset=st.sampled_from([0.0, 1e3, -1e5]),
    rank=st.integers(0, 3),
)
def test_values_stay_in_their_ranges_on_any_shape(n, m, d, offset, rank):
    """More dimensions than samples, constant features, large offsets."""
    rng = generator(n + 100 * m)
    mix = torch.randn(rank, d, generator=rng, dtype=torch.float64)
    draw = [torch.randn(size, rank, generator=rng, dtype=torch.float64) @ mix for size in (n, m)]
    real, fake = (x + offset for x in draw)
    score = frechet(real, fake, rng=rng)
    assert score.value >= 0
    assert math.isfinite(score.error)
    values = prdc(real, fake, 2)
    assert all(0 <= values[name] <= 1 for name in ("precision", "recall", "coverage"))
    assert 0 <= memorization(real, fake, train=real.flip(0)).value <= 1
