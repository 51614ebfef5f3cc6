"""Samples as folders: names of classes, what may be replaced, and which model a word opens."""

import shutil
from pathlib import Path

import pytest
import torch

from gouache import data, image, samples, weights
from gouache.check import InputError
from gouache.samples import Samples

AWKWARD = ("C++", "St. Bernard", "naïve, 50 %", "a-b", "(x)", "'q'", "雪")


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.setenv("GOUACHE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def some(names, each=3):
    """Return samples whose grey level is their class."""
    labels = torch.arange(len(names)).repeat(each)
    images = (labels / 255).view(-1, 1, 1, 1).expand(-1, 1, 4, 4).clone()
    return Samples(images, labels, tuple(names))


def classes_of(folder):
    """Return {class: grey level} of a folder as data, which must be one level a class."""
    ds = data.folder(folder, "all")
    levels = {}
    for image_, label in zip(ds.images[:, 0, 0, 0].tolist(), ds.labels.tolist(), strict=True):
        levels.setdefault(ds.classes[label], set()).add(image_)
    assert all(len(found) == 1 for found in levels.values()), levels
    return {name: found.pop() for name, found in levels.items()}


def test_classes_come_back_under_their_names():
    samples.write_samples(some(AWKWARD), "out")
    assert classes_of("out") == {name: k for k, name in enumerate(AWKWARD)}


def test_names_that_file_systems_refuse_stay_apart():
    names = ("a/b", "a_b", "a:b", "", ".", "..", "dot.", "train", "x\n", "x_")
    samples.write_samples(some(names), "out")
    found = classes_of("out")
    assert sorted(found.values()) == list(range(len(names))), "no two classes merge"
    assert found["a_b"] == 1, "a name that is a file name already keeps it"
    assert found["x_"] == 9
    assert found["a_b-2"] == 0
    assert found["a_b-3"] == 2
    assert not [name for name in found if set(name) & set('/\\:*?"<>|\n') or name[-1] in ". "]


def test_names_that_the_file_system_takes_for_one_stay_apart(monkeypatch):
    """As where case does not count."""
    mkdir = Path.mkdir

    def blind(self, *args, **kwargs):
        if self.name in ("A", "a") and any((self.parent / name).exists() for name in ("A", "a")):
            raise FileExistsError(17, "File exists")
        mkdir(self, *args, **kwargs)

    monkeypatch.setattr(Path, "mkdir", blind)
    samples.write_samples(some(("A", "a", "b")), "out")
    assert classes_of("out") == {"A": 0, "a-2": 1, "b": 2}


def test_numbers_are_names_and_one_class_is_flat(place):
    samples.write_samples(Samples(torch.zeros(4, 1, 4, 4), torch.tensor([1, 0, 1, 0])), "two")
    assert sorted(path.name for path in place.glob("two/*")) == ["0", "1"]
    samples.write_samples(some(("cat",)), "one")
    assert sorted(path.name for path in place.glob("one/*")) == [f"{k:05d}.png" for k in range(3)]


def test_a_folder_that_holds_files_is_replaced_only_if_asked(place):
    image.save(torch.zeros(1, 4, 4), place / "out/mine/a.png")
    (place / "out/notes.txt").write_text("keep")
    before = sorted(place.rglob("*"))
    with pytest.raises(InputError, match="holds files already; name a new or an empty folder"):
        samples.write_samples(some(("cat",)), "out")
    assert sorted(place.rglob("*")) == before
    samples.write_samples(some(("cat",)), "out", replace=True)
    assert sorted(path.name for path in place.glob("out/*")) == [f"{k:05d}.png" for k in range(3)]


@pytest.mark.parametrize("there", [(), ("out",), ("out", "out/keep")])
def test_what_fails_leaves_all_as_it_was(place, monkeypatch, there):
    for name in there:
        (place / name).mkdir()
    before = sorted(place.rglob("*"))
    png, written = image.png_bytes, []

    def fail(picture):
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(picture)
        return png(picture)

    monkeypatch.setattr(image, "png_bytes", fail)
    with pytest.raises(OSError, match="No space"):
        samples.write_samples(some(("cat", "dog")), "out", replace=True)
    assert sorted(place.rglob("*")) == before


def test_an_empty_folder_is_written_from_within(place, monkeypatch):
    """It may be a volume: another file system, in a folder that cannot be written."""
    (place / "out").mkdir()
    touched = []
    rename, mkdir = Path.rename, samples._samples.tempfile.mkdtemp
    monkeypatch.setattr(Path, "rename", lambda a, b: touched.append((a, b)) or rename(a, b))
    monkeypatch.setattr(
        samples._samples.tempfile,
        "mkdtemp",
        lambda **words: touched.append((words["dir"], words["dir"])) or mkdir(**words),
    )
    samples.write_samples(some(("cat", "dog")), "out")
    inside = place / "out"
    assert all(inside in (path, *path.parents) for pair in touched for path in pair)
    assert sorted(path.name for path in inside.iterdir()) == ["cat", "dog"]


def test_a_word_opens_shipped_weights_and_a_path_a_folder(place):
    saved = weights.locate("digits-diffusion")
    samples.write_samples(some(("cat", "dog")), "digits-diffusion")
    for name in ("digits-diffusion", saved):
        assert samples.open_model(name)[1] == tuple("0123456789")
    for name in ("./digits-diffusion", Path("digits-diffusion")):
        assert weights.locate(name) is None
        with pytest.raises(InputError, match="is neither a run nor a saved model"):
            samples.open_model(name)
    shutil.copytree(saved, "mine")
    assert weights.locate("mine") == Path("mine")
    assert samples.open_model("mine")[0].classes == 10
