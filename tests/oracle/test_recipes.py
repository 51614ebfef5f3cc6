"""What a plan is made of, and that a run is made again by the line it leaves behind."""

import contextlib
import dataclasses
import io
import json
import os
import shlex
import time

import pytest
import torch

import gouache
from gouache import data, image, random, recipes, registry, report, train, weights
from gouache.check import InputError
from gouache.cli import _demo, _live
from gouache.cli.main import main
from gouache.features import DigitsNet, DigitsNetConfig
from gouache.generate import Diffusion
from gouache.recipes._diffusion import mirror

SHORT = {"steps": "2", "batch": "4", "warmup": "0", "lr": "0.05"}
TINY = SHORT | {"widths": "8,8"}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    """Work in a folder of one's own, with a cache of one's own."""
    monkeypatch.setenv("GOUACHE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def pictures(folder, *sizes, each=1):
    """Write ``each`` pictures (height, width) of every size into a folder."""
    for number, size in enumerate(size for size in sizes for _ in range(each)):
        pixels = torch.rand(3, *size, generator=random.generator(number))
        image.save(pixels, folder / f"{number:03d}.png")
    return folder


def digits_plan(**settings):
    return recipes.digits_diffusion().override(TINY | settings)


def finish(plan, folder, **options):
    return [step.number for step in recipes.run(plan, folder, **options)]


def command(*words):
    """Run the program; return its exit code and what it said."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main([str(word) for word in words])
    return code, said.getvalue()


def tree(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("source", "augment"),
    [("digits", None), ("shapes", None), ("photos", mirror), ("faces", mirror)],
)
def test_only_what_may_be_mirrored_is(source, augment):
    size = {"photos": 16, "shapes": 16}.get(source)
    assert recipes.diffusion(source, size=size).augment is augment


def test_folder_is_mirrored(place):
    assert recipes.diffusion(str(pictures(place / "mine", (8, 8), each=3))).augment is mirror


def test_mirror_flips_about_half_and_nothing_else():
    images = torch.rand(400, 1, 4, 4, generator=random.generator(0))
    out = mirror(images, random.derive_keys(0, torch.arange(400)))
    same = (out == images).flatten(1).all(1)
    flipped = (out == images.flip(-1)).flatten(1).all(1)
    assert bool((same ^ flipped).all())
    assert 160 < int(flipped.sum()) < 240  # 4 standard deviations of a fair coin


@pytest.mark.parametrize(
    ("sizes", "side"),
    [
        (((90, 70), (120, 200), (66, 300)), 64),
        (((30, 70), (25, 24), (90, 100)), 24),
        (((100, 100), (100, 100)), 64),
        (((20, 20), (20, 20)), 20),
    ],
)
def test_folder_is_cut_to_its_shortest_side_at_most_64(place, sizes, side):
    pictures(place / "mine", *sizes)
    plan = recipes.diffusion("mine")
    assert plan.size == side
    assert plan.dataset.shape == plan.config.shape == (3, side, side)
    assert recipes.diffusion("mine", size=16).dataset.shape == (3, 16, 16)


def test_shortest_side_leaves_out_what_cannot_be_read(place):
    pictures(place / "mine", (30, 20))
    (place / "mine/broken.png").write_bytes(b"no picture")
    assert data.shortest_side("mine") == 20
    (place / "mine/000.png").unlink()
    with pytest.raises(InputError, match="can be read"):
        data.shortest_side("mine")


def test_run_on_a_folder_of_many_sizes_serves_from_any_folder(place, monkeypatch, tmp_path):
    pictures(place / "mine", (9, 12), (14, 8), (30, 11), each=4)
    words = [f"{key}={value}" for key, value in TINY.items()]
    code, said = command("train", "diffusion", "--data", "mine", "--out", "run", *words)
    assert code == 0, said
    content = json.loads((place / "run/run.json").read_text())
    assert (content["data"], content["size"]) == (str((place / "mine").resolve()), 8)
    monkeypatch.chdir(tmp_path)
    again = recipes.load_plan("here/run")
    assert (again.size, again.dataset.shape) == (8, (3, 8, 8))
    torch.testing.assert_close(again.dataset.all(), data.folder("here/mine", size=8).all())
    assert report.gather("here/run", n=4).pairs
    words = ("--resume", "--data", "here/mine", "--out", "here/run")
    code, said = command("train", "diffusion", *words)
    assert code == 0, said
    assert "trained to its last step already" in said


@pytest.mark.parametrize("threads", [1, 2])
def test_command_reads_back_as_the_same_plan(place, monkeypatch, threads):
    source = place / "it's mine; really $HOME"
    pictures(source, (12, 9), (8, 16), each=2)
    plan = recipes.diffusion(str(source)).override(
        {"betas": "0.8, 0.95", "steps": "7", "target": "edm", "seed": "3"}
    )
    with train.threads(threads):
        line = recipes._run.describe(plan)["command"]
    found = []

    def look(plan, folder, **_):
        found.append((plan, torch.get_num_threads()))

    monkeypatch.setattr(_live, "train", look)
    program, *words = shlex.split(line)
    assert program == "gouache"
    assert command(*words)[0] == 0
    ((again, used),) = found
    for name in ("recipe", "source", "size", "model", "config", "train", "augment", "changed"):
        assert getattr(again, name) == getattr(plan, name), name
    assert used == threads


def test_command_of_a_run_makes_the_same_weights(place):
    with train.threads(1):
        finish(digits_plan(seed="5"), place / "run")
    content = json.loads((place / "run/run.json").read_text())
    assert content["threads"] == 1
    code, said = command(*shlex.split(content["command"])[1:], "--out", "again", "--preview", 0)
    assert code == 0, said
    ends = [place / name / "model/model.safetensors" for name in ("run", "again")]
    assert ends[0].read_bytes() == ends[1].read_bytes()


@pytest.mark.parametrize(
    "setting",
    [{"checkpoint_every": "1"}, {"log_every": "1"}, {"workers": "1"}, {"accelerator": "cpu"}],
)
def test_resume_lets_bookkeeping_change(place, setting):
    finish(digits_plan(), place / "run")
    assert finish(digits_plan(**setting), place / "run", resume=True) == []


@pytest.mark.parametrize("setting", [{"lr": "0.01"}, {"steps": "3"}, {"sigma_max": "20"}])
def test_resume_refuses_what_decides_the_result(place, setting):
    finish(digits_plan(), place / "run")
    with pytest.raises(InputError, match=f"begun with other .*{next(iter(setting))}"):
        finish(digits_plan(**setting), place / "run", resume=True)


def refuse_losses(self, batch, rng):
    raise InputError("no loss today")
    yield


@pytest.mark.parametrize("error", [InputError, RuntimeError])
def test_run_that_fails_at_its_first_step_leaves_nothing(place, monkeypatch, error):
    def fail(self, batch, rng):
        raise error("no loss today")
        yield

    monkeypatch.setattr(Diffusion, "training_losses", fail)
    with pytest.raises(error, match="no loss today"):
        finish(digits_plan(), place / "runs/deep/one")
    assert tree(place) == []


def test_run_that_fails_at_its_first_step_leaves_what_was_there(place, monkeypatch):
    monkeypatch.setattr(Diffusion, "training_losses", refuse_losses)
    for name in ("notes.txt", "tensorboard/mine", "log.jsonl"):
        (place / name).parent.mkdir(exist_ok=True)
        (place / name).write_text("")
    with pytest.raises(InputError, match="no loss today"):
        finish(digits_plan(), place)
    assert tree(place)[:2] == ["log.jsonl", "notes.txt"]
    assert "run.json" not in tree(place)
    assert "tensorboard/mine" in tree(place)


def test_labels_beyond_the_model_leave_nothing(place):
    with pytest.raises(InputError, match="label must be"):
        finish(digits_plan(classes="2"), place / "run")
    assert tree(place) == []


def test_failed_resume_keeps_the_run(place, monkeypatch):
    steps = recipes.run(digits_plan(checkpoint_every="1"), place / "run")
    next(steps)
    steps.close()
    before = tree(place / "run")
    monkeypatch.setattr(Diffusion, "training_losses", refuse_losses)
    with pytest.raises(InputError, match="no loss today"):
        finish(digits_plan(), place / "run", resume=True)
    assert [name for name in tree(place / "run") if "tensorboard/" not in name] == [
        name for name in before if "tensorboard/" not in name
    ]


def test_stale_model_is_refused_before_work(place):
    finish(digits_plan(), place / "old")
    (place / "old/model").rename(place / "model")
    with pytest.raises(InputError, match=r"model/.*remove it"):
        finish(digits_plan(), place)
    assert not (place / "run.json").exists()


def test_run_stopped_before_its_first_checkpoint_may_begin_again(place):
    steps = recipes.run(digits_plan(log_every="1", seed="1"), place / "run")
    next(steps)
    steps.close()
    assert (place / "run/run.json").exists()
    assert finish(digits_plan(log_every="1"), place / "run") == [1, 2]
    assert [line["step"] for line in train.read_log(place / "run")] == [1, 2]
    assert recipes.load_plan(place / "run").train.seed == 0


@pytest.mark.parametrize("text", ["0.9", "0.9,0.99,0.999", "", "0.9,many"])
def test_tuple_of_fixed_length_is_checked(text):
    with pytest.raises(InputError, match="betas must be 2 numbers with commas between"):
        recipes.digits_diffusion().override({"betas": text})


def test_tuples_are_read_at_their_length():
    changed = recipes.digits_diffusion().override(
        {
            "betas": "(0.5, 0.9)",
            "widths": "8,16,24",
            "blocks": "1,1,1",
            "attention": "[false,false,true]",
        }
    )
    assert changed.train.betas == (0.5, 0.9)
    assert changed.config.widths == (8, 16, 24)
    assert changed.config.attention == (False, False, True)


def test_digits_features_asks_for_classes(place):
    pictures(place / "mine", (8, 8), each=3)
    with pytest.raises(InputError, match="sub-folders, one a class"):
        recipes.digits_features("mine")


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"width": 6}, "width must be a multiple of 4"),
        ({"width": 0}, "width must be at least 1"),
        ({"features": 0}, "features must be at least 1"),
        ({"channels": 0}, "channels must be at least 1"),
        ({"classes": 1}, "classes must be at least 2"),
    ],
)
def test_digits_net_config_is_checked(change, saying):
    with pytest.raises(InputError, match=saying):
        dataclasses.replace(DigitsNetConfig(), **change)


def test_classifier_of_too_few_classes_is_refused(place):
    with pytest.raises(InputError, match="classes must be at least 10"):
        finish(recipes.digits_features().override(SHORT | {"classes": "2"}), place / "run")
    assert tree(place) == []


def test_digits_net_refuses_other_images():
    images, labels = torch.zeros(2, 3, 8, 8), torch.tensor([0, 1])
    with pytest.raises(InputError, match="1 channels, got images of 3"):
        DigitsNet().prepare({"image": images, "label": labels})
    with pytest.raises(InputError, match="have none"):
        DigitsNet().prepare({"image": images[:, :1]})
    DigitsNet().prepare({"image": images[:, :1], "label": labels})


@pytest.mark.parametrize("left", [(), ("model.safetensors",)], ids=["folder", "weights"])
def test_killed_while_the_model_was_written_is_completed(place, left):
    finish(digits_plan(), place / "run")
    model = place / "run/model"
    whole = {file.name: file.read_bytes() for file in model.iterdir()}
    for file in model.iterdir():
        if file.name not in left:
            file.unlink()
    half = gouache.load(place / "run").state_dict()
    assert finish(digits_plan(), place / "run", resume=True) == []
    assert {file.name: file.read_bytes() for file in model.iterdir()} == whole
    after = gouache.load(place / "run").state_dict()
    assert all(torch.equal(half[name], after[name]) for name in after), "of the last checkpoint"


def test_resume_leaves_a_whole_model_alone(place):
    finish(digits_plan(), place / "run")
    times = [file.stat().st_mtime_ns for file in (place / "run/model").iterdir()]
    assert finish(digits_plan(), place / "run", resume=True) == []
    assert [file.stat().st_mtime_ns for file in (place / "run/model").iterdir()] == times


WRONG = (None, 3.5, True, "word", [[]], {"a": []})


def test_any_value_of_run_json_that_is_gone_or_of_another_kind_is_named(place):
    finish(digits_plan(), place / "run")
    file = place / "run/run.json"
    content = json.loads(file.read_text())
    cases = [(f"no {key}", {k: v for k, v in content.items() if k != key}) for key in content]
    cases += [
        (f"{key} is {wrong!r}", content | {key: wrong})
        for key, value in content.items()
        for wrong in WRONG
        if not (isinstance(value, str) and wrong == "word") and (key, wrong) != ("size", None)
    ]
    for case, changed in cases:
        file.write_text(json.dumps(changed))
        with pytest.raises(InputError, match=r"run\.json"):
            pytest.fail(f"{case}: {recipes.read_run(place / 'run')}")
    file.write_text(json.dumps(content | {"more": 1}))
    assert recipes.read_run(place / "run") == content | {"more": 1}


@pytest.mark.parametrize("content", [[], None, {}, {"model": 3}])
def test_run_of_a_corrupt_description_is_neither_resumed_nor_loaded(place, content):
    finish(digits_plan(), place / "run")
    (place / "run/model/config.json").unlink()
    (place / "run/run.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="not what a run wrote"):
        finish(digits_plan(), place / "run", resume=True)
    with pytest.raises(InputError, match=r"run\.json is not a gouache model"):
        gouache.load(place / "run")


def test_setting_that_an_old_run_does_not_know_is_the_default(place):
    finish(digits_plan(), place / "run")
    file = place / "run/run.json"
    content = json.loads(file.read_text())
    before = dict(content["train"])
    del content["train"]["workers"]
    file.write_text(json.dumps(content))
    assert recipes.read_run(place / "run")["train"] == before
    assert finish(digits_plan(), place / "run", resume=True) == []


TRAINED = [n for n in weights.names() if weights.card(n)["command"].startswith("gouache train")]


@pytest.mark.parametrize("name", TRAINED)
def test_shipped_weights_are_those_of_their_recipe(name):
    card = weights.card(name)
    plan = registry.find("recipe", card["recipe"])()
    assert gouache.load(name).config == plan.config
    assert card["steps"] == plan.train.steps
    assert card["command"] == f"gouache train {plan.recipe} --out RUN"


@pytest.mark.parametrize("device", [None, "cpu"])
def test_demo_trains_and_reports_on_the_device(place, monkeypatch, device):
    seen = []

    def trained(plan, out, clock):
        seen.append(plan.changed.get("accelerator"))

    def written(*_, device, **__):
        seen.append(device)
        raise InputError("enough")

    monkeypatch.setattr(_demo, "_train", trained)
    monkeypatch.setattr(report, "write", written)
    words = ["--device", device] if device else []
    assert command("demo", "--quick", *words)[0] == 2
    assert seen == [device, "cpu"]
    again = shlex.split(_demo._again(place, 0, True, None, device))
    assert again[-len(words) :] == words or device is None


def test_list_of_weights_tells_what_they_are():
    code, said = command("list", "weights")
    assert code == 0
    for name in weights.names():
        assert weights.card(name)["title"] in said


def test_what_a_killed_process_half_decoded_goes_after_a_day(place, tmp_path):
    folders = tmp_path / "cache/folders"
    then = time.time() - 25 * 3600
    for name in (".partial-old", ".partial-busy", ".partial-new"):
        (folders / name).mkdir(parents=True)
        (folders / name / "images.u8").write_bytes(b"half")
    for path in (".partial-old/images.u8", ".partial-old", ".partial-busy"):
        os.utime(folders / path, (then, then))
    data.folder(pictures(place / "mine", (8, 8), each=3), "all")
    left = {path.name for path in folders.iterdir() if path.name.startswith(".")}
    assert left == {".partial-busy", ".partial-new"}


def test_shipped_weights_win_over_a_folder_of_their_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits-diffusion").mkdir()
    assert gouache.load("digits-diffusion").config.shape == (1, 8, 8)
    with pytest.raises(InputError, match=r"config\.json"):
        gouache.load("./digits-diffusion")
