"""The order of the data: every image once an epoch, a function of (seed, step) alone."""

import pytest
import torch
from _toys import Blobs, build
from hypothesis import given, settings
from hypothesis import strategies as st

from gouache import random, train
from gouache.check import InputError
from gouache.train import _device
from gouache.train._order import batches


def config(**changes):
    return train.TrainConfig(**{"steps": 10, "batch": 8, "accelerator": "cpu", **changes})


def brighten(images, keys):
    """An augmentation: a level an image, by its key."""
    return images + random.keyed_uniform(keys, (1, 1, 1)).float()


@given(st.integers(1, 50), st.integers(1, 60), st.integers(0, 2**40))
@settings(deadline=None, max_examples=40)
def test_every_epoch_shows_every_image_once(images, batch, seed):
    """Whatever the batch, also one larger than the data."""
    order = train.Order(images, batch, seed)
    steps = range(-(-3 * images // batch))
    shown = torch.cat([order.index(order.draws(step)) for step in steps])[: 3 * images]
    for epoch in shown.view(3, images):
        assert torch.equal(epoch.sort().values, torch.arange(images))


def test_epochs_and_seeds_differ():
    index = lambda seed: train.Order(40, 40, seed).index(torch.arange(120)).view(3, 40)  # noqa: E731
    first, second, third = index(0)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    assert not torch.equal(first, index(1)[0])
    assert torch.equal(index(0), index(0))


def test_order_is_uniform():
    """The place of image 0 over 400 epochs: chi-squared over 10 places."""
    order = train.Order(10, 10, 0)
    places = torch.stack([order.index(torch.arange(10) + 10 * e) for e in range(400)])
    counts = torch.bincount((places == 0).nonzero()[:, 1], minlength=10).double()
    assert float(((counts - 40) ** 2 / 40).sum()) < 28, "the 99.9 % point of 9 degrees of freedom"


@given(st.integers(1, 30), st.sampled_from([1, 2, 4]), st.integers(0, 50))
@settings(deadline=None, max_examples=40)
def test_shards_of_the_ranks_are_disjoint_and_make_the_batch(images, ranks, step):
    order = train.Order(images, 8, 0)
    shards = [order.draws(step, rank, ranks) for rank in range(ranks)]
    assert torch.equal(torch.cat(shards), order.draws(step))
    assert len(torch.cat(shards).unique()) == 8
    assert {len(shard) for shard in shards} == {8 // ranks}


def test_batches_of_two_ranks_are_the_batch_of_one():
    settings = {"augment": brighten}
    whole = batches(Blobs(), config(), 3, **settings)
    parts = [batches(Blobs(), config(), 3, rank=r, ranks=2, **settings) for r in (0, 1)]
    for one, *two in zip(whole, *parts, strict=True):
        for name, value in one.items():
            assert torch.equal(value, torch.cat([part[name] for part in two])), name


def test_a_batch_is_its_images():
    images = Blobs()
    for batch in batches(images, config(), 0):
        assert torch.equal(batch["image"], images.images[batch["index"]])
        assert torch.equal(batch["label"], images.labels[batch["index"]])


def test_batches_are_the_same_from_any_start():
    late = list(batches(Blobs(), config(), 6, augment=brighten))
    for a, b in zip(list(batches(Blobs(), config(), 0, augment=brighten))[6:], late, strict=True):
        assert all(torch.equal(a[name], b[name]) for name in a)


def test_augmentation_is_keyed_by_the_draw():
    """An image changes anew in every epoch, and its neighbours in the batch do not matter."""
    levels = {}
    for batch in batches(Blobs(), config(steps=15), 0, augment=brighten):
        level = (batch["image"] - Blobs().images[batch["index"]]).mean((1, 2, 3))
        for draw, index, value in zip(batch["draw"], batch["index"], level, strict=True):
            levels[int(draw)] = int(index), float(value)
    assert len({round(value, 5) for _, value in levels.values()}) == 120
    small = torch.cat(
        [b["image"] for b in batches(Blobs(), config(batch=4, steps=30), 0, augment=brighten)]
    )
    large = torch.cat([b["image"] for b in batches(Blobs(), config(steps=15), 0, augment=brighten)])
    assert torch.equal(small, large)


def test_workers_give_the_same_batches_and_leave_the_global_generator_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    inline = list(batches(Blobs(), config(steps=5), 2, augment=train_mirror))
    beside = list(batches(Blobs(), config(steps=5, workers=2), 2, augment=train_mirror))
    assert torch.equal(before, torch.get_rng_state())
    for a, b in zip(inline, beside, strict=True):
        assert a.keys() == b.keys()
        assert all(torch.equal(a[name], b[name]) for name in a)


def train_mirror(images, keys):
    """Mirror by key; on the top level, so that it reaches a worker."""
    flip = random.keyed_uniform(keys, (1, 1, 1)) < 0.5
    return images.where(~flip, images.flip(-1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch": 6, "accumulate": 4}, "batch must be a multiple of devices x accumulate, got 6"),
        ({"batch": 9, "devices": 2}, "got 9 for 2 x 1"),
        ({"lr": float("nan")}, "lr must be a finite number, got nan"),
        ({"steps": 0}, "steps must be at least 1, got 0"),
        ({"betas": (0.9, 1.0)}, "betas must be in"),
        ({"ema": 1.5}, r"ema must be in \[0, 1\], got 1\.5"),
        ({"precision": "bf8"}, 'unknown precision "bf8"; did you mean "bf16"'),
        ({"decay": "cosin"}, 'unknown decay "cosin"; did you mean "cosine"'),
    ],
)
def test_impossible_settings_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        config(**changes)


@pytest.mark.parametrize("count", [5, 1024, 1025, 5000])
def test_a_model_is_prepared_on_rows_from_all_of_a_sorted_set(count):
    """Images sorted by class: the rows that fit the mean come from everywhere, evenly."""

    class Sorted:
        images = torch.linspace(0, 1, count).view(-1, 1, 1, 1).expand(-1, 1, 8, 8)

        def __len__(self):
            return count

        def batch(self, indices):
            return {"image": self.images[indices]}

    seen = []
    model = build("vae")
    model.prepare = lambda batch: seen.append(batch["image"][:, 0, 0, 0])
    config = train.TrainConfig(steps=1, batch=4, accelerator="cpu")
    next(train.fit(model, Sorted(), config))
    assert len(seen[0]) == min(count, 1024)
    assert len(seen[0].unique()) == len(seen[0])
    assert seen[0].mean() == pytest.approx(0.5, abs=2e-3)
    assert seen[0].std() == pytest.approx(float(Sorted.images[:, 0, 0, 0].std()), rel=1e-2)


def test_an_absent_gpu_is_an_input_error_and_auto_is_never_another_kind(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    config = train.TrainConfig(steps=1, batch=4, accelerator="cuda")
    with pytest.raises(InputError, match=r"needs 1 CUDA device.*has 0; pass accelerator="):
        next(train.fit(build("vae"), Blobs(), config))
    assert _device.accelerator(train.TrainConfig()) == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert _device.accelerator(train.TrainConfig()) == "cuda"
    with pytest.raises(InputError, match="needs 2 CUDA"):
        _device.accelerator(train.TrainConfig(devices=2))
    with pytest.raises(InputError, match="accelerator"):
        train.TrainConfig(accelerator="mps")
