"""What every method of stylisation and of analogies keeps to, over all registered names."""

import inspect

import pytest
import torch

from gouache import registry
from gouache.check import InputError
from gouache.random import generator

EXACT = {"split_match"}  # nothing in it is random


@pytest.fixture(params=registry.names("stylize"))
def method(request):
    return registry.find("stylize", request.param)


@pytest.fixture(params=registry.names("analogy"))
def analogy(request):
    return registry.find("analogy", request.param)


@pytest.fixture(scope="module")
def content():
    x, y = torch.linspace(-1, 1, 44), torch.linspace(-1, 1, 36)[:, None]
    disc = (x**2 + y**2 < 0.5).float()
    return torch.stack([0.2 + 0.5 * disc, 0.3 + 0.3 * disc, 0.6 - 0.3 * disc])


@pytest.fixture(scope="module")
def style():
    noise = torch.rand(3, 40, 38, generator=generator(1))
    smooth = torch.nn.functional.avg_pool2d(noise, 3, 1)
    return (2 * (smooth - 0.5) + 0.5).clamp(0, 1) * torch.tensor([1.0, 0.7, 0.4])[:, None, None]


def test_signature_is_shared(method):
    parameters = list(inspect.signature(method).parameters.values())
    assert [p.name for p in parameters[:2]] == ["content", "style"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[2:])
    assert {"lead", "keep_colors", "rng", "progress"} <= {p.name for p in parameters}


def test_an_image_of_the_contents_size_in_range(method, content, style):
    before = content.clone(), style.clone()
    found = method(content, style, rng=generator(0))
    assert found.shape == content.shape
    assert found.dtype == torch.float32
    assert found.min() >= 0
    assert found.max() <= 1
    assert torch.equal(content, before[0])
    assert torch.equal(style, before[1])


def test_the_content_is_seen_in_the_styles_colours(method, content, style):
    found = method(content, style, rng=generator(0))
    both = torch.stack([found.mean(0), content.mean(0)])
    assert torch.corrcoef(torch.nn.functional.avg_pool2d(both, 5, 3).flatten(1))[0, 1] > 0.6
    there = style.mean((1, 2))
    assert (found.mean((1, 2)) - there).norm() < 0.5 * (content.mean((1, 2)) - there).norm()


def test_colours_are_kept(method, content, style):
    found = method(content, style, keep_colors=True, rng=generator(0))
    moved = found - content
    within = (found > 0).all(0) & (found < 1).all(0)
    assert within.float().mean() > 0.5
    assert (moved[:, within] - moved[:1, within]).abs().max() < 1e-5
    assert moved.abs().mean() > 1e-3


def test_a_picture_in_its_own_style_stays(method, style):
    found = method(style, style, rng=generator(0))
    assert (found - style).abs().mean() < 0.02


def test_a_flat_style_gives_a_flat_picture(method, content):
    red = torch.tensor([0.8, 0.2, 0.1])[:, None, None].expand(3, 30, 30)
    found = method(content, red, rng=generator(0))
    torch.testing.assert_close(found, red[:, :1, :1].expand_as(found), atol=1e-3, rtol=0)


def test_same_seed_same_bytes(method, content, style):
    one, other = (method(content, style, rng=generator(0)) for _ in range(2))
    assert torch.equal(one, other)
    if method.__name__ not in EXACT:
        assert not torch.equal(one, method(content, style, rng=generator(1)))


def test_threads_do_not_matter(method, content, style):
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found.append(method(content, style, rng=generator(0)))
    finally:
        torch.set_num_threads(before)
    torch.testing.assert_close(*found, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (3, 30), (50, 7)])
def test_any_size(method, content, style, rows, cols):
    assert method(content[:, :rows, :cols], style, rng=generator(0)).shape[1:] == (
        min(rows, 36),
        cols,
    )
    assert method(content, style[:, :rows, :cols], rng=generator(0)).shape == content.shape


def test_grey_counts_as_three_equal_channels_beside_colour(method, content, style):
    for a, b in ((content[:1], style), (content, style[:1])):
        found = method(a, b, rng=generator(0))
        assert torch.equal(
            found, method(a.expand(3, -1, -1), b.expand(3, -1, -1), rng=generator(0))
        )
    assert method(content[:1], style[:1], rng=generator(0)).shape == (1, 36, 44)


def test_progress_is_told(method, content, style):
    told = []
    method(content, style, rng=generator(0), progress=lambda *done: told.append(done))
    assert told
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"content": torch.full((3, 9, 9), torch.nan)}, "content must be finite"),
        ({"style": 255 * torch.ones(3, 9, 9)}, "style must lie in .* divide"),
        ({"content": torch.ones(9, 9)}, "content must have shape"),
        ({"style": torch.ones(4, 9, 9)}, "style must have 1 or 3 channels"),
        ({"lead": -1}, "lead must be"),
    ],
)
def test_bad_input_is_refused(method, change, message):
    with pytest.raises(InputError, match=message):
        method(**({"content": torch.ones(3, 9, 9), "style": torch.ones(3, 8, 8)} | change))


def test_the_signature_of_analogies_is_shared(analogy):
    parameters = list(inspect.signature(analogy).parameters.values())
    assert [p.name for p in parameters[:3]] == ["a", "a_prime", "b"]
    assert all(p.kind is p.KEYWORD_ONLY and p.default is not p.empty for p in parameters[3:])
    assert {"kappa", "rng", "progress"} <= {p.name for p in parameters}


def test_an_analogy_is_made_of_copies(analogy, content, style):
    told = []
    grey = style.mean(0, keepdim=True)
    found = analogy(grey, style, content, rng=generator(0), progress=lambda *n: told.append(n))
    assert found.shape == content.shape
    assert torch.cdist(found.flatten(1).T, style.flatten(1).T).amin(1).max() < 1e-3
    assert torch.equal(found, analogy(grey, style, content, rng=generator(0)))
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": torch.ones(3, 9, 8)}, "the same rows and columns"),
        ({"a_prime": 255 * torch.ones(3, 9, 9)}, "a_prime must lie in .* divide"),
        ({"b": torch.full((3, 9, 9), torch.nan)}, "b must be finite"),
        ({"b": torch.ones(9, 9)}, "b must be a tensor"),
        ({"kappa": -1}, "kappa must be"),
    ],
)
def test_bad_analogies_are_refused(analogy, change, message):
    with pytest.raises(InputError, match=message):
        analogy(**(dict.fromkeys(("a", "a_prime", "b"), torch.ones(3, 9, 9)) | change))
