"""Sources of images against the packages they come from, closed forms, and files on a disk."""

import hashlib
import math
import subprocess
import sys
import time
import types

import pytest
import torch
from PIL import Image

from gouache import data, registry
from gouache.check import InputError
from gouache.data import _bundled, _digits, _shapes
from gouache.data._dataset import Dataset, joined
from gouache.random import generator


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GOUACHE_CACHE", str(place))
    return place


# Bundled sources


def fingerprint(parts):
    return [hashlib.sha256(part.numpy().astype("<i8").tobytes()).hexdigest()[:16] for part in parts]


def test_digits_are_those_of_scikit_learn():
    from sklearn.datasets import load_digits

    theirs = load_digits()
    for protocol in ("exchangeable", "chronological"):
        index = torch.cat(_digits.split_indices(protocol))
        assert index.sort().values.tolist() == list(range(1797))
        parts = [data.digits(split, protocol=protocol) for split in ("train", "validation", "test")]
        assert [len(part) for part in parts] == [1000, 350, 447]
        images = torch.cat([part.images for part in parts])[:, 0].double() * 16
        assert torch.equal(images, torch.from_numpy(theirs.images)[index])
        labels = torch.cat([part.labels for part in parts])
        assert torch.equal(labels, torch.from_numpy(theirs.target)[index])


def test_splits_of_the_digits_are_fixed_for_ever():
    assert fingerprint(_digits.split_indices("exchangeable")) == EXCHANGEABLE
    first = _digits.split_indices("chronological")
    assert [(int(part[0]), int(part[-1])) for part in first] == [
        (0, 999),
        (1000, 1349),
        (1350, 1796),
    ]


EXCHANGEABLE = ["7988903073d7626e", "1a8c6fd000640e7c", "050006e8b95494b0"]


def test_exchangeable_split_is_stratified_and_random():
    labels = _digits._read()[1]
    whole = labels.bincount() / len(labels)
    for part in _digits.split_indices("exchangeable"):
        assert (labels[part].bincount() - whole * len(part)).abs().max() <= 2
    a, b = (_digits.split_indices("exchangeable", seed)[0] for seed in (0, 1))
    shared = len(set(a.tolist()) & set(b.tolist()))
    assert abs(shared - 1000 * 1000 / 1797) < 5 * math.sqrt(1000 * 0.556 * 0.444 * 0.444)


def test_exchangeable_split_has_no_writer_shift():
    """Distances from the means: the chronological test part is far, the exchangeable is not."""

    def shift(protocol):
        train, test = (data.digits(s, protocol=protocol).all() for s in ("train", "test"))
        return float((train.mean(0) - test.mean(0)).square().sum())

    noise = float(data.digits().all().var(0).sum()) * (1 / 1000 + 1 / 447)
    assert shift("exchangeable") < 1.3 * noise
    assert shift("chronological") > 2 * noise


def test_captions_of_digits_say_their_class():
    ds = data.digits("test")
    words = {word: k for k, word in enumerate(_digits.WORDS)}
    assert [words[caption.split()[-1]] for caption in ds.captions] == ds.labels.tolist()


def test_digits_load_quickly():
    code = (
        "import torch, time; start = time.perf_counter(); from gouache import data; data.digits();"
        "print(time.perf_counter() - start); import sys; assert 'sklearn' not in sys.modules"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert float(result.stdout) < 2, "0.1 s on an idle machine"


def test_faces_are_those_of_scikit_image():
    from skimage.data import lfw_subset

    theirs = torch.from_numpy(lfw_subset()).float()
    table = {image.numpy().tobytes(): k // 100 for k, image in enumerate(theirs)}
    parts = [data.faces(split) for split in ("train", "validation", "test")]
    assert [len(part) for part in parts] == [120, 40, 40]
    for part in parts:
        assert [table[x.numpy().tobytes()] for x in part.images] == part.labels.tolist()
        assert part.labels.bincount().tolist() == [len(part) // 2] * 2


def places(picture, crop):
    """Return (row, column) of each place of ``picture`` where ``crop`` lies, both (C, H, W)."""
    h, w = crop.shape[1:]
    windows = picture.unfold(1, h, 1).unfold(2, w, 1)  # a view (C, rows, columns, h, w)
    same = (windows[:, :, :, 0, :] == crop[:, None, None, 0, :]).all(-1).all(0)
    found = [(int(y), int(x)) for y, x in same.nonzero()]
    return [(y, x) for y, x in found if torch.equal(windows[:, y, x], crop)]


def test_textures_are_crops_of_their_own_strip():
    from skimage.data import brick, grass, gravel

    pictures = [torch.from_numpy(picture.copy())[None] for picture in (brick(), grass(), gravel())]
    for split, (left, right) in {"train": (0, 304), "test": (408, 512)}.items():
        ds = data.textures(split, size=24, n=12)
        for crop, label in zip(ds.images, ds.labels, strict=True):
            found = places(pictures[int(label)], crop)
            assert any(left <= x <= right - 24 for _, x in found)


def test_photos_are_crops_at_full_scale_or_halved():
    from skimage.data import chelsea
    from sklearn.datasets import load_sample_image

    ds = data.photos("test", size=64, n=12)
    whole = {"cat": chelsea(), "flower": load_sample_image("flower.jpg")}
    full = 0
    for crop, label in zip(ds.images, ds.labels, strict=True):
        picture = torch.from_numpy(whole[ds.classes[int(label)]].copy()).permute(2, 0, 1)
        full += len(places(picture, crop)) > 0
    assert 1 < full < 10, "about a third is at full scale, exactly"


def test_missing_bundled_file_is_an_error_that_names_it():
    with pytest.raises(InputError, match="installed skimage does not ship data"):
        _bundled.bundled("skimage", "data/lily.tif")
    with pytest.raises(InputError, match="no_such_package is not installed"):
        _bundled.bundled("no_such_package", "a.png")


# Procedural


@pytest.mark.parametrize(
    ("name", "area"),
    [
        ("circle", math.pi),
        ("square", 1.7**2),
        ("triangle", 3 * math.sqrt(3) / 4),
        ("diamond", 2),
        ("ring", math.pi * (1 - 0.25)),
        ("cross", 2 * 2 * 0.6 - 0.36),
    ],
)
def test_area_of_a_shape(name, area):
    y, x = torch.meshgrid(torch.arange(200) + 0.5, torch.arange(200) + 0.5, indexing="ij")
    r = torch.tensor(60.0)
    cover = (0.5 - _shapes.SHAPES[name](x - 99.3, y - 101.8, r)).clamp(0, 1)
    assert float(cover.sum()) == pytest.approx(area * 60**2, rel=3e-3)


def test_shapes_show_what_their_caption_says():
    ds = data.shapes("test", n=300, size=48)
    for x, caption, label in zip(ds.all(), ds.captions, ds.labels.tolist(), strict=True):
        _, extent, colour, shape, _, ground = caption.split()
        assert ds.classes[label] == shape
        plain = torch.full((3,), _shapes.GROUNDS[ground])
        paint = torch.tensor(_shapes.COLOURS[colour])
        pure = ((x - paint[:, None, None]).abs() < 0.01).all(0)
        empty = ((x - plain[:, None, None]).abs() < 0.01).all(0)
        assert pure.sum() > 10
        assert (pure | empty).float().mean() > 0.85, "the rest is the soft edge"
        rows = (~empty).any(1).nonzero()
        height = int(rows.max() - rows.min()) + 1
        assert shape == "triangle" or (height > 24) == (extent == "large")
        assert not (~empty)[[0, -1]].all()


def test_shapes_cover_every_combination():
    captions = data.shapes("train", n=5000, size=8).captions
    assert len(set(captions)) == 2 * 6 * 6 * 3


def test_toys_have_their_moments():
    n = 20000
    points = {name: data.toy2d(name, n, generator(0)) for name in TOYS}
    for x in points.values():
        assert x.shape == (n, 2)
        assert float(x.abs().max()) < 5
    ring = points["ring"]
    assert float(ring.square().sum(1).mean()) == pytest.approx(1 + 2 * 0.01, abs=0.01)
    assert float((8 * torch.atan2(ring[:, 1], ring[:, 0])).cos().mean()) > 0.6
    board = (points["checkerboard"] / 2).floor()
    assert bool((board.sum(1) % 2 == 0).all())
    assert float(points["checkerboard"].square().mean()) == pytest.approx(16 / 3, rel=0.02)
    assert points["moons"].mean(0).abs().max() < 0.05
    for name in ("spiral", "checkerboard"):
        assert points[name].mean(0).abs().max() < 0.08
    angle = torch.arange(5) * (2 * math.pi / 5)
    turned = points["pinwheel"] @ torch.tensor(
        [[math.cos(angle[1]), math.sin(angle[1])], [-math.sin(angle[1]), math.cos(angle[1])]]
    )
    assert (turned.mean(0) - points["pinwheel"].mean(0)).abs().max() < 0.06


TOYS = ("ring", "moons", "checkerboard", "spiral", "pinwheel")


@pytest.mark.parametrize("name", TOYS)
def test_toys_follow_their_seed(name):
    a, b, c = (data.toy2d(name, 50, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


# The data set


def small(**changes):
    parts = {"images": torch.rand(4, 1, 2, 2), "card": CARD, "levels": 0}
    return data.Dataset(**{**parts, **changes})


CARD = data.Card("a", "b", "c", "d", (1, 2, 2), 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": torch.rand(4, 2, 2)}, r"must be \(N, C, H, W\), got \(4, 2, 2\)"),
        ({"images": torch.rand(4, 1, 2, 2).double()}, "must be uint8 or float32"),
        ({"labels": torch.zeros(3)}, "3 labels do not fit 4 images"),
        ({"captions": ("a",)}, "1 captions do not fit 4 images"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(InputError, match=message):
        small(**changes)


def test_bytes_become_exact_fractions():
    x = torch.arange(256, dtype=torch.uint8).reshape(64, 1, 2, 2)
    ds = small(images=x, levels=256)
    expected = (torch.arange(256, dtype=torch.float64) / 255).float()
    assert torch.equal(ds.all().flatten(), expected)
    assert set(ds.batch(torch.tensor([1]))) == {"image", "index"}


def paint(path, value=None, size=(6, 5), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    if value is None:
        value = (len(str(path)) * 37 + sum(map(ord, path.stem)) * 11) % 256
    picture = Image.new("L", size, value).convert(mode)
    picture.save(path)
    return value


# One word for a source


def test_load_resolves_names_folders_and_hub(tmp_path, monkeypatch):
    assert torch.equal(data.load("digits", "test").all(), data.digits("test").all())
    paint(tmp_path / "digits/1.png", 9)
    monkeypatch.chdir(tmp_path)
    assert data.load("digits").card.name == "digits"
    assert len(data.load("digits")) == 1000
    assert len(data.load("./digits")) == len(data.load(tmp_path / "digits", "all")) == 1
    paint(tmp_path / "mine/1.png", 9)
    assert data.load("mine", size=8).shape == (3, 8, 8)


def test_held_out_is_validation_and_test_together(tmp_path):
    parts = [data.digits("validation"), data.digits("test")]
    whole = data.load("digits", "held-out")
    assert torch.equal(whole.all(), torch.cat([part.all() for part in parts]))
    assert torch.equal(whole.labels, torch.cat([part.labels for part in parts]))
    assert whole.captions == parts[0].captions + parts[1].captions
    assert len(whole) == whole.card.size == 797
    for name in ("train/a.png", "train/b.png", "test/c.png"):
        paint(tmp_path / name, 9)
    assert len(data.load(tmp_path, "held-out")) == 1, "there is no validation"
    (tmp_path / "test/c.png").unlink()
    with pytest.raises(InputError, match=r"has nothing held-out: the test split of .* is empty"):
        data.load(tmp_path, "held-out")


def test_all_is_every_split():
    parts = [data.digits(split) for split in ("train", "validation", "test")]
    assert torch.equal(data.load("digits", "all").all(), torch.cat([part.all() for part in parts]))


def test_a_fault_in_one_split_is_not_taken_for_an_absent_split(tmp_path):
    for name in ("train/a.png", "test/b.png"):
        paint(tmp_path / name, 9)
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation/c.png").write_text("no picture")
    with pytest.raises(InputError, match=r"none of 1 pictures can be read; the first: .*c\.png"):
        data.load(tmp_path, "held-out")


def test_splits_of_several_shapes_are_not_joined():
    grey, colour = (Dataset(torch.zeros(2, c, 4, 5), data.digits().card) for c in (1, 3))
    with pytest.raises(InputError, match=r"several shapes .*: 1x4x5, 3x4x5; .* \(--size"):
        joined([grey, colour])


@pytest.mark.parametrize("source", ["digits", "."])
def test_unknown_split_names_all_that_load_takes(source):
    known = r"known: all, held-out, test, train, validation"
    with pytest.raises(InputError, match=rf'unknown split "held_out"; did you mean .*{known}'):
        data.load(source, "held_out")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("digits", ("digits", "")),
        ("my:folder:held-out", ("my:folder", "held-out")),
        ("hf:owner/name:test", ("hf:owner/name", "test")),
        ("hf:train", ("hf:train", "")),
        (":train", (":train", "")),
        ("C:\\mine", ("C:\\mine", "")),
    ],
)
def test_source_and_split(text, found):
    assert data.source_and_split(text) == found


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("digit", 'unknown data "digit"; did you mean "digits".*folder.* and hf:OWNER/NAME'),
        ("nonsense", "known: digits, faces, photos, shapes, textures"),
        ("./nothing", "folder nothing does not exist"),
        ("some/where", "folder some/where does not exist"),
    ],
)
def test_unknown_sources(source, message):
    with pytest.raises(InputError, match=message):
        data.load(source)


# The hub


class FakeTable:
    """As much of a table of the datasets library as is read."""

    def __init__(self, columns, names=("cat", "dog")):
        self.columns = columns
        table = {"image": "Image", "label": "ClassLabel", "text": "Value", "width": "Value"}
        self.features = {c: type(table[c], (), {"names": list(names)})() for c in columns}
        self.info = types.SimpleNamespace(license="mit")

    def __getitem__(self, column):
        return self.columns[column]


def fake_hub(monkeypatch, load_dataset):
    module = types.SimpleNamespace(load_dataset=load_dataset, load_from_disk=None)
    monkeypatch.setitem(sys.modules, "datasets", module)


def test_hub(monkeypatch):
    pictures = [Image.new("RGB", (8, 6), (k, 0, 0)) for k in (10, 20)]
    columns = {"width": [8, 8], "image": pictures, "label": [1, 0], "text": ["a", "b"]}
    fake_hub(monkeypatch, lambda name, split: FakeTable(columns))
    ds = data.load("hf:owner/name", "train")
    assert ds.shape == (3, 6, 8)
    assert ds.images[:, 0, 0, 0].tolist() == [10, 20]
    assert ds.labels.tolist() == [1, 0]
    assert ds.classes == ("cat", "dog")
    assert ds.captions == ("a", "b")
    assert (ds.card.name, ds.card.licence) == ("hf:owner/name", "mit")
    assert data.load("hf:owner/name", size=4).shape == (3, 4, 4)


def failing(error):
    def load_dataset(name, split):
        raise error

    return load_dataset


@pytest.mark.parametrize(
    ("load_dataset", "message"),
    [
        (failing(ConnectionError("no route\nmore")), r"ConnectionError: no route\); check"),
        (failing(ValueError('Unknown split "x"')), 'Unknown split "x"'),
        (lambda name, split: FakeTable({"width": [1]}), "no column of images, but width"),
        (lambda name, split: FakeTable({"image": []}), "is empty in this split"),
        (
            lambda name, split: FakeTable({"image": [Image.new("L", (k, 4)) for k in (3, 4)]}),
            "have 2 sizes; pass a size",
        ),
    ],
)
def test_what_the_hub_refuses(monkeypatch, load_dataset, message):
    fake_hub(monkeypatch, load_dataset)
    with pytest.raises(InputError, match=message) as caught:
        data.load("hf:owner/name")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("validation"), None),
        (ValueError('Unknown split "validation". Should be one of [...]'), None),
        (ConnectionError("no route"), "no route"),
        (KeyError("builder"), "builder"),
    ],
)
def test_held_out_of_a_hub_without_validation(monkeypatch, error, message):
    def load_dataset(name, split):
        if split == "validation":
            raise error
        return FakeTable({"image": [Image.new("L", (4, 4))]})

    fake_hub(monkeypatch, load_dataset)
    if message is None:
        assert len(data.load("hf:owner/name", "held-out")) == 1
        return
    with pytest.raises(InputError, match=message):
        data.load("hf:owner/name", "held-out")


def test_hub_without_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r'needs the extra hub: pip install "gouache\[hub\]"'):
        data.load("hf:owner/name")


@pytest.mark.filterwarnings("ignore")
def test_hub_with_the_real_library(tmp_path, monkeypatch):
    """A folder of images through the library's own reader, and a set that it saved."""
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    datasets = pytest.importorskip("datasets")
    for k in range(6):
        paint(tmp_path / f"images/train/{'ab'[k % 2]}/{k}.png", 20 * k)
    table = datasets.load_dataset(str(tmp_path / "images"), cache_dir=str(tmp_path / "cache"))
    table.save_to_disk(str(tmp_path / "saved"))
    for name in ("images", "saved"):
        ds = data.hub(str(tmp_path / name), "train")
        assert ds.images[:, 0, 0, 0].tolist() == [0, 40, 80, 20, 60, 100]
        assert ds.labels.tolist() == [0, 0, 0, 1, 1, 1]
        assert ds.classes == ("a", "b")
        with pytest.raises(InputError, match="split nothing"):
            data.hub(str(tmp_path / name), "nothing")


def test_every_marked_source_loads_by_its_name():
    start = time.perf_counter()
    for name in registry.names("data"):
        assert data.load(name, "validation").card.name == name
    assert time.perf_counter() - start < 20
