"""What every score of a texture keeps to, over all registered names of the role."""

import inspect
import math

import pytest
import torch

from gouache import measure, registry
from gouache.check import InputError
from gouache.random import generator

NAMES = registry.names("texture_score")


@pytest.fixture(params=NAMES)
def method(request):
    return registry.find("texture_score", request.param)


@pytest.fixture(scope="module")
def grain():
    """Return grain, one part of a wider picture of it, and another one."""
    wide = torch.rand(1, 72, 150, generator=generator(0))
    wide = torch.nn.functional.avg_pool2d(wide, 3, 1)
    return wide[..., :74], wide[..., 74:]


def test_signature_is_shared(method):
    parameters = list(inspect.signature(method).parameters.values())
    assert [p.name for p in parameters[:3]] == ["picture", "exemplar", "rng"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[2:])


def test_score_is_whole(method, grain):
    score = method(*grain, rng=generator(0))
    assert isinstance(score, measure.TextureScore)
    assert score.name == method.__name__
    assert len(score.scales) == len(score.floor) > 0
    assert all(x >= 0 for x in (*score.scales, *score.floor))
    assert score.value == pytest.approx(sum(score.scales) / len(score.scales))
    assert "\n" not in str(score)


def test_another_part_of_the_texture_scores_as_the_floor_and_shuffled_pixels_worse(method, grain):
    score = method(*grain, rng=generator(0))
    pixels = torch.randperm(grain[1].numel(), generator=generator(1))
    shuffled = method(grain[1].flatten()[pixels].view_as(grain[1]), grain[1], rng=generator(0))
    assert score.value < 2 * sum(score.floor) / len(score.floor)
    assert shuffled.value > 3 * score.value


def test_an_image_is_nearest_to_itself(method, grain):
    alike = method(grain[0], grain[0], rng=generator(0))
    assert alike.value < method(*grain, rng=generator(0)).value


def test_more_noise_scores_worse(method, grain):
    noise = 0.1 * torch.randn(grain[1].shape, generator=generator(1))
    values = [
        method((grain[1] + k * noise).clamp(0, 1), grain[1], rng=generator(0)).value
        for k in range(4)
    ]
    assert values == sorted(values)


def test_same_rng_same_score(method, grain):
    assert method(*grain, rng=generator(3)) == method(*grain, rng=generator(3))


def test_colour_and_other_sizes(method, grain):
    warm = torch.cat([grain[0], 0.8 * grain[0], 0.6 * grain[0]])
    swapped = warm.flip(0)
    here = method(warm[:, :60, 3:], warm, rng=generator(0))
    assert here.value < method(swapped, warm, rng=generator(0)).value


def test_floor_is_unknown_where_halves_are_too_small(method, grain):
    part = grain[0][:, :50, :50]
    assert all(math.isnan(x) for x in method(part[:, :34, :34], part[:, :34, :34]).floor)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"picture": torch.full((1, 64, 64), torch.nan)}, "picture must be finite"),
        ({"exemplar": 255 * torch.ones(1, 64, 64)}, "divide"),
        ({"picture": torch.ones(64, 64)}, "shape"),
        ({"picture": torch.ones(3, 64, 64)}, "same channels"),
        ({"exemplar": torch.ones(1, 5, 64)}, "exemplar must have sides of at least"),
    ],
)
def test_bad_input_is_refused(method, change, message):
    with pytest.raises(InputError, match=message):
        method(**({"picture": torch.ones(1, 64, 64), "exemplar": torch.ones(1, 64, 64)} | change))
