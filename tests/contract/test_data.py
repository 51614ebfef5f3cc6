"""What every bundled source of images keeps, by its name in the registry."""

import hashlib
import inspect
import pickle
import socket

import pytest
import torch

from gouache import data, registry
from gouache.check import InputError

SPLITS = ("train", "validation", "test")
NAMES = registry.names("data")
LOADERS = [registry.find("data", name) for name in NAMES]
DRAWN = [loader for loader in LOADERS if "n" in inspect.signature(loader).parameters]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("a bundled source opened a socket")

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.fixture(params=LOADERS, ids=NAMES)
def loader(request):
    return request.param


@pytest.mark.parametrize("split", SPLITS)
def test_batch_is_a_dictionary_of_tensors_in_range(loader, split):
    ds = loader(split)
    index = torch.tensor([len(ds) - 1, 0, 3, 3])
    batch = ds.batch(index)
    assert batch["image"].dtype == torch.float32
    assert batch["image"].shape == (4, *ds.shape)
    assert 0 <= float(batch["image"].min()) <= float(batch["image"].max()) <= 1
    assert torch.equal(batch["index"], index)
    assert torch.equal(batch["image"][2], batch["image"][3])
    assert batch["label"].dtype == torch.int64
    assert torch.equal(batch["image"], ds.all()[index])


@pytest.mark.parametrize("split", SPLITS)
def test_parts_fit_each_other(loader, split):
    ds = loader(split)
    assert len(ds) == len(ds.images) == len(ds.labels) == len(ds.captions) == ds.card.size
    assert ds.card.shape == ds.shape
    assert ds.card.name == loader.__name__
    assert split in ds.card.splits
    assert 0 <= int(ds.labels.min()) <= int(ds.labels.max()) < len(ds.classes)
    assert all(ds.captions)
    for text in (ds.card.title, ds.card.origin, ds.card.licence, ds.card.notes):
        assert text


def test_levels_are_those_of_the_pixels(loader):
    ds = loader("train")
    if ds.levels:
        grey = ds.all()[:200] * (ds.levels - 1)
        torch.testing.assert_close(grey, grey.round(), rtol=0, atol=1e-4)
    else:
        assert len(ds.all().unique()) > 256


def test_same_call_same_images_and_another_seed_others(loader):
    a, b = loader("train"), loader("train")
    assert torch.equal(a.all(), b.all())
    assert a.captions == b.captions
    other = loader("train", seed=1)
    assert other.shape == a.shape
    assert not torch.equal(other.all(), a.all())


def test_classes_are_those_of_every_split(loader):
    assert len({loader(split).classes for split in SPLITS}) == 1


def test_no_image_is_in_two_splits(loader):
    """Flat crops and exact repeats of the source itself aside, which a split cannot part."""
    seen = {}
    for split in SPLITS:
        images = loader(split).all()
        for image in images[images.flatten(1).std(1) > 0.02]:
            seen.setdefault(hashlib.sha256(image.numpy().tobytes()).digest(), set()).add(split)
    shared = [splits for splits in seen.values() if len(splits) > 1]
    assert not shared


def test_size(loader):
    ds = loader("test", size=(12, 20))
    assert ds.shape[1:] == (12, 20)
    assert ds.card.shape == ds.shape
    assert loader("test", size=16).shape[1:] == (16, 16)
    assert data.load(loader.__name__, "test", size=16).shape[1:] == (16, 16)


@pytest.mark.parametrize("loader", DRAWN, ids=lambda loader: loader.__name__)
def test_n_is_a_prefix(loader):
    few, many = loader("train", n=5), loader("train", n=700)
    assert (len(few), len(many)) == (5, 700)
    assert torch.equal(few.all(), many.all()[:5])
    assert few.captions == many.captions[:5]


def test_subset(loader):
    ds = loader("train")
    index = torch.tensor([7, 2, 9])
    part = ds.subset(index)
    assert len(part) == part.card.size == 3
    assert torch.equal(part.all(), ds.all()[index])
    assert torch.equal(part.labels, ds.labels[index])
    assert part.captions == tuple(ds.captions[i] for i in index)


def test_travels_to_a_worker(loader):
    ds = loader("test")
    copy = pickle.loads(pickle.dumps(ds))
    assert torch.equal(copy.all(), ds.all())
    assert (copy.card, copy.captions, copy.levels) == (ds.card, ds.captions, ds.levels)


def test_unknown_split_is_refused(loader):
    with pytest.raises(InputError, match='unknown split "trian"; did you mean "train"'):
        loader("trian")
    with pytest.raises(InputError, match="height must be"):
        loader("train", size=0)
