"""What every method of texture synthesis keeps to, over all registered names of the role."""

import inspect

import numpy as np
import pytest
import torch

from gouache import data, patches, registry
from gouache.check import InputError
from gouache.random import generator

NAMES = registry.names("texture")
SIZE = (36, 44)
OTHERS = ("random_phase", "adsn")  # these take no guides
NO_COPIES = (*OTHERS, "patch_transport")


@pytest.fixture(params=NAMES)
def method(request):
    return registry.find("texture", request.param)


@pytest.fixture(scope="module")
def brick():
    return data.textures(size=(48, 52), n=1, seed=3).all()[0]


@pytest.fixture(scope="module")
def made(brick):
    """Return textures of the brick by name, made once."""
    kept = {}

    def of(method):
        name = method.__name__
        if name not in kept:
            kept[name] = method(brick, SIZE, rng=generator(0))
        return kept[name]

    return of


def test_signature_is_shared(method):
    parameters = list(inspect.signature(method).parameters.values())
    assert [p.name for p in parameters[:2]] == ["exemplar", "size"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[2:])
    assert {"tileable", "guides", "rng", "progress"} <= {p.name for p in parameters}


def test_a_texture_of_the_size_asked_for(method, made, brick):
    found = made(method)
    assert isinstance(found, patches.Texture)
    assert found.image.shape == (len(brick), *SIZE)
    assert found.image.dtype == torch.float32
    assert found.image.min() >= 0
    assert found.image.max() <= 1
    assert abs(found.image.mean() - brick.mean()) < 0.1
    assert 0.5 < found.image.std() / brick.std() < 1.5
    assert 0 <= found.copy_rate <= 1


def test_origin_points_to_what_is_seen(method, made, brick):
    found = made(method)
    assert found.origin.shape == (3, *SIZE)
    assert found.origin.dtype == torch.int32
    number, row, col = found.origin.long()
    from_it = number >= 0
    assert torch.equal(from_it, row >= 0)
    assert (number[from_it] == 0).all()
    assert torch.equal(brick[:, row[from_it], col[from_it]], found.image[:, from_it])
    assert from_it.all() or (method.__name__ in NO_COPIES and not from_it.any())


def test_same_seed_same_bytes_and_another_seed_others(method, made, brick):
    assert torch.equal(method(brick, SIZE, rng=generator(0)).image, made(method).image)
    assert not torch.equal(method(brick, SIZE, rng=generator(1)).image, made(method).image)


def test_tileable_has_no_seam(method):
    """Across the border of grass the step is as within: not tileable, it is 4 to 10 sds more."""
    crops = data.textures(size=(48, 52), n=12, seed=3)
    grass = crops.all()[int((crops.labels == crops.classes.index("grass")).nonzero()[0])]
    image = method(grass, SIZE, tileable=True, rng=generator(0)).image
    for axis in (1, 2):
        steps = (image - image.roll(1, axis)).abs().mean(0).mean(2 - axis)
        assert steps[0] < steps[1:].mean() + 3 * steps[1:].std()


def test_colour_and_several_exemplars(method, brick):
    warm = torch.stack([brick[0], 0.8 * brick[0], 0.6 * brick[0]])
    found = method([warm, warm.flip(2)[:, :40]], (24, 30), rng=generator(0))
    assert found.image.shape == (3, 24, 30)
    number, row, col = found.origin.long()
    for k, u in enumerate((warm, warm.flip(2)[:, :40])):
        assert (row[number == k] < u.shape[1]).all()
        assert (col[number == k] < u.shape[2]).all()
    assert (found.image[0] - found.image[2]).mean() > 0.05


@pytest.mark.parametrize("size", [1, 7, (90, 20), None])
def test_any_size(method, brick, size):
    if size == (90, 20) and method.__name__ in {"efros_leung"}:
        size = (60, 12)
    found = method(brick[:, :30, :30], size, rng=generator(0))
    rows, cols = (30, 30) if size is None else (size, size) if isinstance(size, int) else size
    assert found.image.shape == (1, rows, cols)


def test_guides_lead(method, brick):
    """Dark and light exemplar halves, told apart by their guide, follow the guide asked for."""
    halves = torch.cat([0.5 * brick, 0.5 + 0.5 * brick], 2)
    guide = torch.cat([torch.zeros_like(brick), torch.ones_like(brick)], 2)
    wish = torch.zeros(1, *SIZE)
    wish[:, : SIZE[0] // 2] = 1
    if method.__name__ in OTHERS:
        with pytest.raises(InputError, match="guide"):
            method(halves, SIZE, guides=(guide, wish))
        return
    image = method(halves, SIZE, guides=(guide, wish), rng=generator(0)).image
    light = (image[0] > 0.6).float()
    assert light[: SIZE[0] // 2 - 4].mean() > 0.75
    assert light[SIZE[0] // 2 + 4 :].mean() < 0.25


def test_a_flat_exemplar_gives_a_flat_texture(method):
    image = method(torch.full((1, 40, 40), 0.4), 24, rng=generator(0)).image
    torch.testing.assert_close(image, torch.full((1, 24, 24), 0.4), atol=2e-3, rtol=0)


def test_progress_is_told(method, brick):
    told = []
    method(brick, (20, 20), rng=generator(0), progress=lambda *done: told.append(done))
    assert told
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"exemplar": torch.full((1, 30, 30), torch.nan)}, "finite"),
        ({"exemplar": 255 * torch.ones(1, 30, 30)}, "divide"),
        ({"exemplar": torch.ones(30, 30)}, "shape"),
        ({"exemplar": torch.ones(2, 30, 30)}, "1 or 3 channels"),
        ({"exemplar": []}, "no exemplar"),
        ({"exemplar": 5}, "a torch tensor .* got int"),
        ({"exemplar": None}, "a torch tensor .* got NoneType"),
        ({"exemplar": np.ones((1, 30, 30))}, "a torch tensor .* got ndarray"),
        ({"exemplar": (u for u in torch.ones(2, 1, 30, 30))}, "a torch tensor .* got generator"),
        ({"exemplar": "brick.png"}, "a torch tensor .* got str"),
        ({"exemplar": [np.ones((1, 30, 30))]}, "a torch tensor .* got ndarray"),
        ({"exemplar": [torch.ones(1, 30, 30), None]}, "a torch tensor .* got NoneType"),
        ({"exemplar": [torch.ones(1, 30, 30), torch.ones(3, 30, 30)]}, "same channels"),
        ({"size": 0}, "height must be in"),
        ({"size": (3, 4, 5)}, "height, width"),
        ({"size": 9.5}, "a number or .height, width."),
        ({"guides": (torch.ones(1, 30, 30),)}, "guides"),
        ({"guides": (torch.ones(1, 30, 30).numpy(), torch.ones(1, 20, 20))}, "guide"),
        ({"guides": (torch.ones(1, 30, 30), torch.ones(1, 20, 20).numpy())}, "guide"),
        ({"guides": (torch.ones(1, 9, 9), torch.ones(1, 20, 20))}, "guide"),
        ({"guides": (5, torch.ones(1, 20, 20))}, "guide"),
        ({"guides": (torch.ones(1, 30, 30), torch.tensor(1.0))}, "guide"),
    ],
)
def test_bad_input_is_refused(method, change, message):
    with pytest.raises(InputError, match=message):
        method(**({"exemplar": torch.ones(1, 30, 30), "size": 20} | change))
