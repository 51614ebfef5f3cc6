"""What every method that makes an image from one image keeps to, over all names of the role."""

import inspect

import pytest
import torch

from gouache import data, image, patches, registry
from gouache.check import InputError
from gouache.random import generator

NAMES = registry.names("variation")
QUICK = {"gpdm": {"steps": 60}}


@pytest.fixture(params=NAMES)
def method(request):
    """Return a method that needs a second or so."""
    found = registry.find("variation", request.param)

    def quick(*given, **options):
        return found(*given, **(QUICK.get(request.param, {}) | options))

    quick.__signature__ = inspect.signature(found)
    quick.__name__ = request.param
    return quick


@pytest.fixture(scope="module")
def photograph():
    return data.photos("test", size=(40, 48), n=4, seed=0).all()[2]


@pytest.fixture(scope="module")
def made(photograph):
    """Return variations of the photograph by name, made once."""
    kept = {}

    def of(method):
        name = method.__name__
        if name not in kept:
            kept[name] = method(photograph, rng=generator(0))
        return kept[name]

    return of


def test_signature_is_shared(method):
    parameters = list(inspect.signature(method).parameters.values())
    assert [p.name for p in parameters[:2]] == ["image", "size"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[2:])
    shared = {"start", "noise", "patch", "coarsest", "ratio", "rng", "progress"}
    assert shared <= {p.name for p in parameters}


def test_a_variation_is_an_image_as_bright(method, made, photograph):
    found = made(method)
    assert found.shape == photograph.shape
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert (found.mean((1, 2)) - photograph.mean((1, 2))).abs().max() < 0.1
    assert 0.6 < found.std() / photograph.std() < 1.5


def test_patches_come_from_the_image(method, made, photograph):
    """They are nearer to it than patches of its pixels shuffled, by far."""
    pixels = torch.randperm(40 * 48, generator=generator(1))
    shuffled = photograph.flatten(1)[:, pixels].view_as(photograph)
    near = [
        float(patches.brute_force(y, photograph, patch=5).distance.mean())
        for y in (made(method), shuffled)
    ]
    assert near[0] < 0.15 * near[1]


def test_same_seed_same_bytes_and_another_seed_others(method, made, photograph):
    assert torch.equal(method(photograph, rng=generator(0)), made(method))
    assert not torch.equal(method(photograph, rng=generator(1)), made(method))


@pytest.mark.parametrize("size", [24, (30, 70)])
def test_any_size(method, photograph, size):
    found = method(photograph[:1], size, noise=0, coarsest=16)
    assert found.shape == (1, *image.size_pair(size))


def test_start_leads_the_layout(method):
    """Stripes of the image, upright, are laid where the start is light, and nowhere else."""
    stripes = (torch.arange(40) % 4 < 2).float().expand(1, 40, 40).clone()
    stripes[:, 20:] = 0
    start = torch.zeros(1, 36, 44)
    start[:, :, :22] = 0.5
    found = method(stripes, start=start, rng=generator(0))
    assert found.shape == start.shape
    assert found[:, :, :18].mean() > 0.35
    assert found[:, :, 26:].mean() < 0.15


def test_start_may_be_of_another_size_than_what_is_made(method, photograph):
    assert method(photograph, (24, 30), start=photograph[:, :20, :24]).shape == (3, 24, 30)


def test_a_flat_image_stays_flat(method):
    flat = torch.full((1, 30, 30), 0.4)
    torch.testing.assert_close(
        method(flat, 24, rng=generator(0)), flat[:, :24, :24], atol=2e-3, rtol=0
    )


def test_the_image_is_left_alone(method, photograph):
    before = photograph.clone()
    method(photograph, rng=generator(0))
    assert torch.equal(photograph, before)


def test_progress_is_told(method, photograph):
    told = []
    method(photograph, progress=lambda *done: told.append(done))
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == list(range(1, len(told) + 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.full((1, 30, 30), torch.nan)}, "finite"),
        ({"image": 255 * torch.ones(1, 30, 30)}, "divide"),
        ({"image": torch.ones(30, 30)}, "shape"),
        ({"start": torch.ones(3, 30, 30)}, "channels"),
        ({"start": torch.ones(30, 30)}, "shape"),
        ({"size": 0}, "height must be in"),
        ({"size": 5}, "smaller patch"),
        ({"patch": 31}, "smaller patch"),
        ({"noise": -1.0}, "noise must be at least 0"),
        ({"ratio": 1.0}, "ratio"),
        ({"coarsest": 0}, "coarsest"),
    ],
)
def test_bad_input_is_refused(method, change, message):
    with pytest.raises(InputError, match=message):
        method(**({"image": torch.ones(1, 30, 30)} | change))
