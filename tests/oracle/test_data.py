"""Sources of images against the packages they come from, closed forms, and files on a disk."""

import hashlib
import json
import math
import os
import pickle
import subprocess
import sys
import time
import types
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from gouache import data, image, registry
from gouache.check import InputError
from gouache.data import _bundled, _cache, _digits, _shapes
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


# Folders


def paint(path, value=None, size=(6, 5), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    if value is None:
        value = (len(str(path)) * 37 + sum(map(ord, path.stem)) * 11) % 256
    picture = Image.new("L", size, value).convert(mode)
    picture.save(path)
    return value


def test_folder_is_recursive_in_order_and_exact(tmp_path):
    names = ["b/2.png", "a.png", "b/c/1.PNG", "z.bmp"]
    values = {name: paint(tmp_path / name, 10 * k) for k, name in enumerate(names)}
    (tmp_path / "notes.txt").write_text("no picture")
    for hidden in (".thumbnails/1.png", "__MACOSX/1.png", "._a.png"):
        paint(tmp_path / hidden)
    ds = data.folder(tmp_path, "all")
    assert ds.shape == (3, 5, 6)
    assert ds.images[:, 0, 0, 0].tolist() == [values[name] for name in sorted(names)]
    assert ds.labels is None
    assert ds.captions is None
    assert ds.skipped == ()


def test_sub_folders_are_classes(tmp_path):
    for k in range(40):
        paint(tmp_path / f"{'cat' if k % 2 else 'dog'}/{k:02}.png", k)
    for split in ("all", "train", "validation"):
        ds = data.folder(tmp_path, split, validation=0.3)
        assert ds.classes == ("cat", "dog")
        assert torch.equal(
            torch.from_numpy(ds.images[:, 0, 0, 0].astype(np.int64) + 1) % 2, ds.labels
        )


def test_files_beside_sub_folders_mean_no_classes(tmp_path):
    for name in ("a/1.png", "b/1.png", "1.png"):
        paint(tmp_path / name)
    assert data.folder(tmp_path, "all").labels is None


def test_captions(tmp_path):
    for name in ("1.png", "2.png", "sub/3.png"):
        paint(tmp_path / name)
    lines = [{"file_name": "1.png", "text": "one"}, {"file_name": "2.png", "text": "two é"}]
    text = "\n".join(json.dumps(line) for line in lines) + "\n\n"
    (tmp_path / "metadata.jsonl").write_text(text, "utf-8")
    assert data.folder(tmp_path, "all").captions == ("one", "two é", "")
    (tmp_path / "sub/metadata.jsonl").write_text('{"file_name": "3.png", "text": "three"}')
    assert data.folder(tmp_path, "all").captions == ("one", "two é", "three")


def test_splits_part_the_files_and_stay_when_files_come(tmp_path):
    for k in range(200):
        paint(tmp_path / f"{k:03}.png", k)

    def split():
        parts = {s: data.folder(tmp_path, s).images[:, 0, 0, 0] for s in SPLITS}
        return {s: set(part.tolist()) for s, part in parts.items()}

    first = split()
    assert sorted(v for part in first.values() for v in part) == list(range(200))
    assert 8 <= len(first["validation"]) <= 35
    assert 8 <= len(first["test"]) <= 35
    for k in range(200, 256):
        paint(tmp_path / f"{k:03}.png", k)
    second = split()
    assert all(first[s] <= second[s] for s in SPLITS)


SPLITS = ("train", "validation", "test")


def test_split_folders(tmp_path):
    for k, split in enumerate(SPLITS):
        for name in ("cat", "dog"):
            paint(tmp_path / split / name / "1.png", 50 * k)
    for k, split in enumerate(SPLITS):
        ds = data.folder(tmp_path, split)
        assert ds.images.shape == (2, 3, 5, 6)
        assert (ds.images == 50 * k).all()
        assert ds.classes == ("cat", "dog")
        assert ds.labels.tolist() == [0, 1]
    assert len(data.folder(tmp_path, "all")) == 6


@pytest.mark.parametrize("count", [1, 2])
def test_very_few_pictures_are_all_of_train(tmp_path, count):
    for k in range(count):
        paint(tmp_path / f"{k}.png")
    for fraction in (0.0, 0.5, 0.89):
        assert len(data.folder(tmp_path, validation=fraction)) >= 1
    assert len(data.folder(tmp_path, validation=0.999, test=0.0)) == count
    with pytest.raises(InputError, match=rf"is empty \({count} pictures\); add pictures, pass"):
        data.folder(tmp_path, "validation", validation=0.999, test=0.0)
    assert len(data.folder(tmp_path, "all")) == count


def test_crop_pad_and_stretch(tmp_path):
    x = torch.zeros(1, 8, 16)
    x[:, :, :4] = x[:, :, 12:] = 1  # what the centred square leaves out
    image.save(x, tmp_path / "a.png")
    get = {
        fit: data.folder(tmp_path, size=8, fit=fit).all()[0] for fit in ("crop", "pad", "stretch")
    }
    assert (get["crop"] == 0).all()
    assert (get["pad"][:, :2] == 1).all()
    assert (get["pad"][:, 6:] == 1).all()
    inner = (image.resize(x, (4, 8)) * 255).round() / 255
    torch.testing.assert_close(get["pad"][:, 2:6], inner)
    torch.testing.assert_close(get["stretch"], (image.resize(x, 8) * 255).round() / 255)


def test_very_long_pictures_and_single_pixels(tmp_path):
    paint(tmp_path / "a.png", 80, (900, 2))
    paint(tmp_path / "b.png", 80, (1, 1))
    for fit in ("crop", "stretch"):
        assert (data.folder(tmp_path, "all", size=(16, 12), fit=fit).images == 80).all()
    padded = data.folder(tmp_path, "all", size=(16, 12), fit="pad").images
    assert set(np.unique(padded)) == {80, 255}


def test_channels(tmp_path):
    paint(tmp_path / "1.png", mode="L")
    assert data.folder(tmp_path, "all").shape == (1, 5, 6)
    paint(tmp_path / "2.png", mode="RGB")
    assert data.folder(tmp_path, "all").shape == (3, 5, 6)
    assert data.folder(tmp_path, "all", channels=1).shape == (1, 5, 6)


def test_orientation_counts_for_the_common_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (8, 4)).save(tmp_path / "a.jpg", exif=exif)
    Image.new("RGB", (4, 8)).save(tmp_path / "b.jpg")
    assert data.folder(tmp_path, "all").shape == (3, 8, 4)


@pytest.mark.filterwarnings("ignore:Truncated")
def test_corrupt_files_are_skipped_with_one_warning(tmp_path):
    for k in range(4):
        paint(tmp_path / f"{k}.png", 40 * k)
    (tmp_path / "0.png").write_bytes((tmp_path / "0.png").read_bytes()[:48])
    (tmp_path / "1b.png").write_text("no picture")
    (tmp_path / "film.gif").touch()
    for _ in range(2):  # decoded, then from the cache
        with pytest.warns(
            UserWarning, match="skipped 3 files of .*0.png.*1b.png.*film.gif"
        ) as seen:
            ds = data.folder(tmp_path, "all", size=4)
        assert len(seen) == 1
        assert ds.images[:, 0, 0, 0].tolist() == [40, 80, 120]
        assert len(ds.skipped) == 3
        assert "film.gif is empty" in ds.skipped[2]


def test_folder_is_decoded_once(tmp_path, monkeypatch):
    for k in range(3):
        paint(tmp_path / f"{k}.png", k)
    first = data.folder(tmp_path, "all", size=4)
    assert isinstance(first.images, np.memmap)
    monkeypatch.setattr(_cache.image, "load", None)
    assert np.array_equal(data.folder(tmp_path, "all", size=4).images, first.images)
    monkeypatch.undo()


@pytest.mark.parametrize("change", ["touch", "add", "remove", "size", "fit", "channels"])
def test_any_change_decodes_again(tmp_path, cache, monkeypatch, change):
    monkeypatch.setenv("GOUACHE_CACHE", str(cache))
    for k in range(3):
        paint(tmp_path / f"{k}.png", k)
    data.folder(tmp_path, "all", size=4)
    options = {"size": {"size": 5}, "fit": {"fit": "pad"}, "channels": {"channels": 1}}
    if change == "touch":
        paint(tmp_path / "1.png", 99)
        os.utime(tmp_path / "1.png", ns=(1, 1))
    elif change == "add":
        paint(tmp_path / "3.png", 99)
    elif change == "remove":
        (tmp_path / "1.png").unlink()
    ds = data.folder(tmp_path, "all", **{"size": 4, **options.get(change, {})})
    assert len(list((cache / "folders").iterdir())) == 2
    values = {"touch": [0, 99, 2], "add": [0, 1, 2, 99], "remove": [0, 2]}
    assert ds.images[:, 0, 2, 2].tolist() == values.get(change, [0, 1, 2])


def test_a_broken_cache_is_made_again(tmp_path, cache):
    paint(tmp_path / "1.png", 7)
    data.folder(tmp_path, size=4)
    (place,) = (cache / "folders").iterdir()
    (place / "images.u8").write_bytes(b"short")
    assert (data.folder(tmp_path, size=4).images == 7).all()


def test_an_interrupted_decoding_leaves_nothing(tmp_path, cache, monkeypatch):
    paint(tmp_path / "1.png", 7)

    def stop(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(_cache, "fit_to", stop)
    with pytest.raises(KeyboardInterrupt):
        data.folder(tmp_path, size=4)
    assert not list((cache / "folders").iterdir())


def test_two_processes_that_race_agree(tmp_path, cache):
    for k in range(60):
        paint(tmp_path / f"{k:02}.png", k, (60, 60))
    code = (
        "import sys; from gouache import data;"
        "print(int(data.folder(sys.argv[1], 'all', size=32).images[:, 0, 0, 0].sum()))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    assert [int(racer.communicate()[0]) for racer in racers] == [sum(range(60))] * 3
    assert len(list((cache / "folders").iterdir())) == 1


def test_a_memory_map_travels_as_its_path(tmp_path):
    for k in range(30):
        paint(tmp_path / f"{k:02}.png", k, (64, 64))
    ds = data.folder(tmp_path, "all")
    sent = pickle.dumps(ds)
    assert len(sent) < 4000 < ds.images.nbytes
    copy = pickle.loads(sent)
    index = torch.tensor([29, 3])
    assert torch.equal(copy.batch(index)["image"], ds.batch(index)["image"])
    assert copy.batch(index)["image"][:, 0, 0, 0].mul(255).round().tolist() == [29, 3]
    part = ds.subset(index)
    assert torch.equal(pickle.loads(pickle.dumps(part)).all(), ds.batch(index)["image"])


def test_batches_of_a_memory_map_warn_of_nothing(tmp_path):
    paint(tmp_path / "a.png", 3)
    ds = data.folder(tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ds.batch(torch.tensor([0]))["image"].add_(1)
        ds.all().add_(1)
    assert (ds.images == 3).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, 'unknown split "valid"; did you mean "validation"'),
        ({"size": 0}, "height must be in"),
        ({"size": (4, 4, 4)}, "size must be a number or"),
        ({"fit": "cover"}, 'unknown fit "cover"'),
        ({"channels": 4}, "channels must be 1, 3 or None, got 4"),
        ({"validation": 0.6, "test": 0.5}, "must be below 1, got 0.6"),
        ({"validation": -0.1}, "validation must be at least 0"),
        ({}, "have 2 sizes, from 5x6 to 7x6; pass a size"),
        ({"split": "validation", "size": 4, "validation": 0}, r"is empty \(2 pictures\); add"),
    ],
)
def test_bad_arguments_of_a_folder(tmp_path, arguments, message):
    paint(tmp_path / "1.png", size=(6, 5))
    paint(tmp_path / "2.png", size=(6, 7))
    arguments = {"split": "all", **arguments}
    with pytest.raises(InputError, match=message) as caught:
        data.folder(tmp_path, **arguments)
    assert "\n" not in str(caught.value)


def test_bad_folders(tmp_path):
    with pytest.raises(InputError, match=r"holds no picture \(.png, .jpg.*name another"):
        data.folder(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        data.folder(tmp_path / "missing")
    (tmp_path / "a.png").write_text("text")
    with pytest.raises(InputError, match="is a file; name the folder"):
        data.folder(tmp_path / "a.png")
    with pytest.raises(InputError, match=r"none of .* can be read"):
        data.folder(tmp_path)
    with pytest.raises(InputError, match=r"none of 1 pictures can be read; the first: .*a.png"):
        data.folder(tmp_path, size=4, channels=3)
    (tmp_path / "train").mkdir()
    paint(tmp_path / "train/b.png")
    with pytest.raises(InputError, match=r"the test split of .* is empty .*; add pictures to"):
        data.folder(tmp_path, "test")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "metadata.jsonl line 1 is not JSON"),
        ("[1]", 'line 1 must be {"file_name"'),
        ('{"file_name": "a.png"}', 'line 1 must be {"file_name"'),
        ('{"file_name": "b.png", "text": "x"}', "line 1 names b.png, which does not exist"),
    ],
)
def test_bad_captions(tmp_path, line, message):
    paint(tmp_path / "a.png")
    (tmp_path / "metadata.jsonl").write_text(line)
    with pytest.raises(InputError, match=message):
        data.folder(tmp_path)


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    paint(tmp_path / "a.png")
    monkeypatch.setenv("GOUACHE_CACHE", str(tmp_path / "a.png"))
    with pytest.raises(InputError, match="is a file or lies below one"):
        data.folder(tmp_path)
    monkeypatch.setenv("GOUACHE_CACHE", str(tmp_path / "new"))
    monkeypatch.setattr(
        _cache.os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space"))
    )
    with pytest.raises(InputError, match=r"cannot write the cache .*No space; make room"):
        data.folder(tmp_path)


def test_default_cache_is_the_platforms(monkeypatch, tmp_path):
    monkeypatch.delenv("GOUACHE_CACHE")
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert _cache.home() == tmp_path / "gouache"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert _cache.home().parts[-3:] == ("Library", "Caches", "gouache")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert _cache.home() == tmp_path / "gouache/cache"


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


def test_hub_without_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(InputError, match=r'needs the extra hub: pip install "gouache\[hub\]"'):
        data.load("hf:owner/name")


def test_hub_with_the_real_library(tmp_path):
    datasets = pytest.importorskip("datasets")
    paths = [tmp_path / f"{k}.png" for k in range(3)]
    for k, path in enumerate(paths):
        paint(path, 50 * k)
    features = datasets.Features(
        image=datasets.Image(),
        label=datasets.ClassLabel(names=["a", "b"]),
        text=datasets.Value("string"),
    )
    columns = {"image": [str(p) for p in paths], "label": [0, 1, 0], "text": ["x", "y", "z"]}
    table = datasets.Dataset.from_dict(columns, features=features)
    datasets.DatasetDict(train=table).save_to_disk(str(tmp_path / "saved"))
    ds = data.hub(str(tmp_path / "saved"), "train")
    assert ds.images[:, 0, 0, 0].tolist() == [0, 50, 100]
    assert ds.labels.tolist() == [0, 1, 0]
    assert ds.captions == ("x", "y", "z")
    with pytest.raises(InputError, match="split nothing"):
        data.hub(str(tmp_path / "saved"), "nothing")


def test_every_marked_source_loads_by_its_name():
    start = time.perf_counter()
    for name in registry.names("data"):
        assert data.load(name, "validation").card.name == name
    assert time.perf_counter() - start < 20
