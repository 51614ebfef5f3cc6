"""A folder as a data set: what is read, split, cached, skipped and refused."""

import json
import os
import pickle
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from gouache import data, image
from gouache.check import InputError
from gouache.data import _cache, _folder

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    place = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("GOUACHE_CACHE", str(place))
    return place


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
    with pytest.raises(
        InputError, match=rf"is empty \({count} pictures\); add pictures, or take all"
    ):
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


def test_one_colour_picture_in_any_split_makes_all_splits_colour(tmp_path):
    for k in range(40):
        paint(tmp_path / f"{k:02}.png", k, mode="L")
    grey = {split: data.folder(tmp_path, split) for split in SPLITS}
    assert {ds.shape for ds in grey.values()} == {(1, 5, 6)}
    test = int(grey["test"].images[0, 0, 0, 0])
    paint(tmp_path / f"{test:02}.png", test, mode="RGB")
    colour = {split: data.folder(tmp_path, split) for split in SPLITS}
    assert {ds.shape for ds in colour.values()} == {(3, 5, 6)}
    assert (colour["train"].images == grey["train"].images).all()
    assert len(data.load(tmp_path, "held-out")) == len(grey["test"]) + len(grey["validation"])


def test_sizes_must_agree_in_all_splits(tmp_path):
    paint(tmp_path / "train/a.png")
    paint(tmp_path / "test/b.png", size=(6, 7))
    with pytest.raises(InputError, match="have 2 sizes, from 5x6 to 7x6; pass a size"):
        data.folder(tmp_path, "train")


def test_heads_are_read_once_while_files_stay_as_they_are(tmp_path, monkeypatch):
    for k in range(3):
        paint(tmp_path / f"{k}.png", k)
    data.folder(tmp_path, "all")
    read = []
    header = _folder._decode.header
    monkeypatch.setattr(_folder._decode, "header", lambda file: read.append(file) or header(file))
    data.folder(tmp_path, "all", size=4)
    assert read == []
    paint(tmp_path / "1.png", 1, size=(9, 8))
    os.utime(tmp_path / "1.png", ns=(1, 1))
    assert data.shortest_side(tmp_path) == 5
    assert [file.name for file in read] == ["1.png"]


def test_shortest_side_refuses_what_is_too_small(tmp_path):
    paint(tmp_path / "large.png", size=(30, 20))
    assert data.shortest_side(tmp_path, least=20) == 20
    paint(tmp_path / "sub/tiny.png", size=(40, 5))
    assert data.shortest_side(tmp_path) == 5
    message = r"sub/tiny\.png of .* has only 40x5 pixels.*; pass a size, say 32 \(--size 32\)"
    with pytest.raises(InputError, match=message):
        data.shortest_side(tmp_path, least=8)


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
    assert _cache.cache_folder() == tmp_path / "gouache"
    monkeypatch.setattr(sys, "platform", "darwin")
    assert _cache.cache_folder().parts[-3:] == ("Library", "Caches", "gouache")
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    assert _cache.cache_folder() == tmp_path / "gouache/cache"
