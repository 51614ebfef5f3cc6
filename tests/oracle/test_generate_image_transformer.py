"""The transformer of pixels: its likelihood, what it may look at, and what its cache holds."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gouache import random, train
from gouache.check import InputError
from gouache.contracts import SampleOptions
from gouache.generate import ImageTransformer, ImageTransformerConfig, _image_transformer
from gouache.generate._image_transformer import drawn
from gouache.generate._levels import as_pixels
from gouache.random import generator


@pytest.fixture(autouse=True)
def one_thread():
    with train.threads(1):
        yield


def model(**changes: object) -> ImageTransformer:
    """Return a small model, its weights shaken."""
    settings = {"shape": (3, 2, 3), "levels": 5, "classes": 2, "width": 16, "depth": 3, "heads": 2}
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        found = ImageTransformer(ImageTransformerConfig(**{**settings, **changes}))
        for parameter in found.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return found.eval()


def test_masses_of_all_images_sum_to_one():
    tiny = model(shape=(1, 2, 3), levels=3, classes=0)
    values = torch.tensor(list(itertools.product(range(3), repeat=6))).view(-1, 1, 2, 3)
    density = tiny.log_prob(as_pixels(values, 3)).double()
    assert float((density - 6 * math.log(3)).exp().sum()) == pytest.approx(1, abs=1e-4)


def test_the_density_is_that_of_the_cell():
    tiny = model()
    values = torch.randint(5, (4, 3, 2, 3), generator=generator(1))
    on_levels, in_cells = (values / 4), (values + torch.rand(values.shape)) / 5
    assert torch.equal(tiny.log_prob(on_levels), tiny.log_prob(in_cells))


def test_logits_depend_on_every_earlier_value_and_on_no_later_one():
    core = model().core
    length = 18
    tokens = torch.randint(5, (1, length), generator=generator(2))
    taken: list[Tensor] = []
    hook = core.token.register_forward_hook(lambda *given: taken.append(given[2]))
    for place in range(length):
        taken.clear()
        core.token.weight.requires_grad_(True)
        logits = core(tokens)
        taken[0].retain_grad()
        (slopes,) = torch.autograd.grad(logits[0, place].square().sum(), taken[0])
        seen = slopes[0].abs().sum(1) > 0  # token n stands at n
        assert seen.tolist() == [n < place for n in range(length - 1)]
    hook.remove()


@pytest.mark.parametrize("guidance", [1.0, 2.0])
def test_with_the_cache_it_draws_what_it_draws_without(guidance: float):
    big = model(shape=(1, 6, 6))
    labels = torch.tensor([0, 1, 1])
    options = SampleOptions(guidance=guidance, temperature=0.8)
    given = {"condition": {"label": labels}, "options": options}
    x = big.sample(3, rng=generator(5), **given)
    uniform = random.keyed_uniform(random.keys(generator(5), 3), (36,), 0)
    tokens = torch.zeros(3, 36, dtype=torch.long)
    for place in range(36):
        logits = big.core(tokens, labels)[:, place]
        plain = big.core(tokens)[:, place]
        logits = plain + guidance * (logits - plain)
        tokens[:, place] = drawn(logits / 0.8, uniform[:, place])
    assert torch.equal(x, tokens.view(3, 1, 6, 6) / 4)


def test_draws_follow_the_distribution():
    logits = torch.tensor([[0.3, -1.0, 2.0, 0.0]]).expand(40_000, 4)
    uniform = torch.rand(40_000, generator=generator(3), dtype=torch.float64)
    share = drawn(logits, uniform).bincount(minlength=4) / 40_000
    assert torch.allclose(share, logits[0].softmax(0), atol=4 * 0.5 / 200)
    thirds = torch.zeros(4, 3)
    edges = torch.tensor([1e-9, 0.3333, 0.3334, 1 - 1e-12], dtype=torch.float64)
    assert drawn(thirds, edges).tolist() == [0, 0, 1, 2]
    never = torch.tensor([[0.0, -500.0, -500.0]])
    assert drawn(never, edges[-1:]).tolist() == [0]


def test_the_start_knows_how_often_levels_occur():
    fresh = ImageTransformer(ImageTransformerConfig((1, 4, 4), 4, width=8, depth=1, heads=2))
    with torch.no_grad():
        fresh.core.logits.weight.zero_()
    image = torch.full((6, 1, 4, 4), 1 / 3)
    fresh.prepare({"image": image})
    mass = fresh.eval().log_prob(image)[0] - 16 * math.log(4)
    assert float(mass) == pytest.approx(16 * math.log(97 / 100), abs=1e-4)


def test_dropout_has_no_part_in_likelihood_and_samples():
    small = model().train()
    x = small.sample(3, rng=generator(0))
    assert torch.equal(small.log_prob(x), small.log_prob(x))
    assert torch.equal(small.log_prob(x), model().log_prob(x))
    assert torch.equal(x, model().sample(3, rng=generator(0)))
    assert small.training


def test_likelihood_in_chunks_is_that_of_one(monkeypatch: pytest.MonkeyPatch):
    small = model()
    x = small.sample(7, rng=generator(0))
    labels = {"label": torch.arange(7) % 2}
    whole = small.log_prob(x, labels)
    monkeypatch.setattr(_image_transformer, "CHUNK", 3)
    assert torch.allclose(small.log_prob(x, labels), whole, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"size": (9, 9)}, "draws images of"),
        ({"temperature": 0.0}, "temperature"),
        ({"temperature": -1.0}, "temperature"),
        ({"guidance": 2.0}, "needs labels"),
    ],
)
def test_options_that_it_cannot_follow_are_errors(change: dict[str, Any], saying: str):
    with pytest.raises(InputError, match=saying):
        model().sample(1, rng=generator(0), options=SampleOptions(**change))


@pytest.mark.parametrize("label", [[0, 1], torch.tensor([0, 2]), torch.tensor([-2, 0])])
def test_labels_are_tensors_of_classes(label: Any):
    with pytest.raises(InputError, match="label"):
        model().sample(2, rng=generator(0), condition={"label": label})


def test_training_labels_below_none_are_errors():
    image = torch.rand(2, 3, 2, 3, generator=generator(0))
    with pytest.raises(InputError, match="label"):
        model().prepare({"image": image, "label": torch.tensor([0, -5])})
