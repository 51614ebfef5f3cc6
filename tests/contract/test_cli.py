"""Every verb of the command line, in process, on runs of a few steps."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gouache
from gouache import data, image, measure, random, registry, samples
from gouache.cli import _live
from gouache.train import read_log

VERBS = (
    "demo",
    "denoise",
    "restore",
    "inpaint",
    "texture",
    "variations",
    "recolor",
    "stylize",
    "train",
    "sample",
    "evaluate",
    "report",
    "list",
    "doctor",
)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch, quiet_cache):
    monkeypatch.chdir(tmp_path)


def write_pictures(folder, n, side, channels=1, seed=0):
    pixels = torch.rand(n, channels, side, side, generator=random.generator(seed))
    for k, picture in enumerate(pixels):
        image.save(picture, folder / f"{k:03d}.png")


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_verb_has_an_example(call, verb):
    done = call(verb, "--help")
    assert done.code == 0
    assert f"Example: gouache {verb}" in " ".join(done.out.split())


def test_help_names_every_verb(call):
    assert call().out == call("--help").out
    assert all(f" {verb} " in call("--help").out for verb in VERBS)


def test_version(call):
    assert call("--version").out == f"gouache {gouache.__version__}\n"


def test_help_and_list_do_not_import_torch():
    code = """
import sys
from gouache.cli.main import main
for line in ("--help", "--version", "train --help", "list recipes", "list weights"):
    assert main(line.split()) == 0
print("torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.parametrize(
    ("kind", "role"), [("recipes", "recipe"), ("data", "data"), ("metrics", "measure")]
)
def test_list_reads_the_registry(call, kind, role):
    lines = call("list", kind).out.splitlines()[1:]
    assert [line.split()[0] for line in lines] == list(registry.names(role))
    summaries = [entry.summary for entry in registry.entries(role)]
    assert all(text in line for text, line in zip(summaries, lines, strict=True))


def test_list_methods_has_every_name(call):
    words = {tuple(line.split()[:2]) for line in call("list", "methods").out.splitlines()}
    assert {(entry.role, entry.name) for entry in registry.entries() if entry.role} <= words


def test_list_weights(call):
    listed = call("list", "weights").out
    assert all(name in listed for name in gouache.weights.names())


def test_train_leaves_a_whole_run(tiny_run):
    files = {path.relative_to(tiny_run).as_posix() for path in tiny_run.rglob("*")}
    assert {"run.json", "log.jsonl", "model/model.safetensors", "model/config.json"} <= files
    assert {"checkpoints/step-0000002", "checkpoints/step-0000004"} <= files
    assert [line["step"] for line in read_log(tiny_run)] == [1, 2, 3, 4]
    content = json.loads((tiny_run / "run.json").read_text())
    assert content["train"]["steps"] == 4
    assert content["model"]["config"]["widths"] == [8, 8]


def test_previews_are_grids_and_leave_training_alone(call, tiny, tiny_run, tmp_path):
    for step in (2, 4):
        assert image.load(tiny_run / f"previews/step-{step:06d}.png").shape == (1, 138, 342)
    assert call("train", "digits_diffusion", *tiny, "--out", "bare", "--preview", 0).code == 0
    weights = [folder / "model/model.safetensors" for folder in (tiny_run, tmp_path / "bare")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_train_numbers_its_runs_and_takes_options_as_settings(call, tiny, tmp_path):
    for number in (1, 2):
        done = call("train", "digits_diffusion", *tiny, "--seed", number, "--device", "cpu")
        assert done.out == f"runs/digits_diffusion-{number}\n"
    content = json.loads((tmp_path / "runs/digits_diffusion-2/run.json").read_text())
    assert (content["train"]["seed"], content["train"]["accelerator"]) == (2, "cpu")


def test_interrupted_run_goes_on_to_the_same_end(call, tiny, tiny_run, monkeypatch, tmp_path):
    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(_live, "write_preview", stop)
        done = call("train", "digits_diffusion", *tiny, "--out", "run", "--preview", 3)
    assert done.code == 130
    assert "step 2 is kept" in done.err
    assert "gouache train digits_diffusion --resume --out run" in done.err
    assert call("train", "digits_diffusion", "--resume", "--out", "run").code == 0
    ends = [folder / "model/model.safetensors" for folder in (tiny_run, tmp_path / "run")]
    assert ends[0].read_bytes() == ends[1].read_bytes()


def test_resume_takes_the_newest_run(call, tiny):
    assert call("train", "digits_diffusion", *tiny).code == 0
    done = call("train", "digits_diffusion", "--resume")
    assert (done.code, done.out) == (0, "runs/digits_diffusion-1\n")
    assert "trained to its last step already" in done.err


def test_train_on_a_folder_in_colour(call, tmp_path):
    write_pictures(tmp_path / "mine", 12, 16, channels=3)
    words = ("steps=2", "widths=8,8", "batch=4")
    done = call("train", "diffusion", "--data", "mine", "--size", 8, *words, "--out", "run")
    assert done.code == 0, done.err
    assert call("sample", "run", "out.png", "-n", 4, "--steps", 2).code == 0
    assert image.load("out.png").shape[0] == 3


def test_sample_folder_holds_the_images_of_the_model(call, tiny_run, tmp_path):
    done = call("sample", tiny_run, "out", "-n", 12, "--seed", 5, "--steps", 3)
    assert (done.code, done.out) == (0, "out\n")
    model, names = samples.open_model(tiny_run)
    drawn = samples.draw(
        model, 12, seed=5, options=gouache.contracts.SampleOptions(steps=3), names=names
    )
    for k in range(12):
        file = tmp_path / f"out/{k % 10}/{k:05d}.png"
        torch.testing.assert_close(image.load(file), drawn.images[k], rtol=0, atol=1e-6)


def test_sample_of_one_class_is_a_flat_folder(call, tiny_run, tmp_path):
    assert call("sample", tiny_run, "out", "-n", 3, "--condition", 7, "--steps", 2).code == 0
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["00000.png", "00001.png", "00002.png"]


@pytest.mark.parametrize("text", ["none", "3", "1,2"])
def test_sample_grid(call, tiny_run, text):
    words = ("--condition", text, "--columns", 3, "--steps", 2, "--sampler", "euler")
    assert call("sample", tiny_run, "grid.png", "-n", 6, *words).code == 0
    assert image.load("grid.png").shape == (1, 2 * 34 + 2, 3 * 34 + 2)


def test_guidance_changes_conditional_images(call, tiny_run):
    for weight in (1, 100):
        words = ("-n", 4, "--steps", 2, "--guidance", weight)
        assert call("sample", tiny_run, f"{weight}.png", *words).code == 0
    assert not torch.equal(image.load("1.png"), image.load("100.png"))


def test_evaluate_equals_the_measures(call, tmp_path):
    for seed, name in enumerate(("real", "fake", "train")):
        write_pictures(tmp_path / name, 24, 6, seed=seed)
    words = ("--features", "pixels", "--metrics", "frechet,coverage", "--train", "train")
    done = call("evaluate", "real", "fake", *words, "--json", "scores.json", "--seed", 3)
    assert done.code == 0, done.err
    real, fake, train = (
        torch.stack([image.load(tmp_path / f"{name}/{k:03d}.png") for k in range(24)])
        for name in ("real", "fake", "train")
    )
    expected = measure.evaluate(
        real,
        fake,
        measures=["frechet", "coverage"],
        features="pixels",
        train=train,
        rng=random.generator(3),
    )
    assert json.loads((tmp_path / "scores.json").read_text()) == [
        json.loads(json.dumps(score.to_dict())) for score in expected
    ]
    assert measure.table(expected)[1][1] in done.out


def test_evaluate_of_data_against_a_run_uses_the_classes(call, tiny_run, tmp_path):
    words = ("--train", "digits", "-n", 60, "--json", "scores.json")
    assert call("evaluate", "digits", tiny_run, *words).code == 0
    scores = {score["name"]: score for score in json.loads((tmp_path / "scores.json").read_text())}
    assert {"memorization", "classification_accuracy"} <= scores.keys()
    assert (scores["frechet"]["n_real"], scores["frechet"]["n_fake"]) == (797, 60)


def evaluated(call, *words):
    """Return (n_real, value) of the memorisation gauge, and what was said beside it."""
    words += ("--features", "pixels", "--metrics", "memorization", "--json", "scores.json")
    done = call("evaluate", *words)
    assert done.code == 0, done.err
    score = json.loads(Path("scores.json").read_text())[0]
    return score["n_real"], score["value"], done.err


@pytest.mark.filterwarnings("default:.*of the real images are among:UserWarning")
def test_evaluate_of_the_folder_trained_on_takes_what_was_held_out(call, tmp_path):
    write_pictures(tmp_path / "mine", 60, 8)
    write_pictures(tmp_path / "fake", 20, 8, seed=1)
    held_out = data.folder(tmp_path / "mine", "validation"), data.folder(tmp_path / "mine", "test")
    n = sum(map(len, held_out))
    assert 0 < n < 60
    assert evaluated(call, "mine", "fake", "--train", "./mine")[0] == n
    assert evaluated(call, "mine:test", "fake", "--train", "mine:train")[0] == len(held_out[1])
    assert evaluated(call, "mine:held-out", "mine:train", "--train", "mine")[1] == 1
    n_real, _, said = evaluated(call, "mine:all", "fake", "--train", "mine")
    assert n_real == 60
    assert "of the real images are among the training images" in said


@pytest.fixture
def own_run(call, tmp_path):
    """Return the name of a run on the folder ``mine``, which is not of one size."""
    write_pictures(tmp_path / "mine", 60, 8)
    image.save(torch.zeros(1, 9, 12), tmp_path / "mine/large.png")
    words = ("steps=1", "widths=8,8", "batch=4", "sample_steps=2", "--preview", 0)
    done = call("train", "diffusion", "--data", "mine", "--out", "run", *words)
    assert done.code == 0, done.err
    assert "on 46 images of 8x8 pixels in grey" in done.err
    return "run"


def test_evaluate_of_a_run_takes_its_data_for_training(call, own_run, tmp_path):
    n = len(data.load("mine", "held-out", size=8))
    n_real, _, said = evaluated(call, "mine", own_run, "-n", 20)
    assert n_real == n < 61
    assert f"training images: {tmp_path / 'mine'}, as run tells" in said
    write_pictures(tmp_path / "other", 20, 16, seed=1)
    assert evaluated(call, "other", own_run, "-n", 20)[0] == 20, "at the size of the run"


@pytest.mark.parametrize(
    ("train", "n_train"), [(None, 46), ("mine", 46), ("./mine:train", 46), ("other", 20)]
)
def test_what_evaluate_takes_for_training_images(call, own_run, tmp_path, train, n_train):
    write_pictures(tmp_path / "other", 20, 16, seed=1)
    write_pictures(tmp_path / "real", 20, 8, seed=2)
    from gouache.cli import _evaluate

    training, size = _evaluate._settled(own_run, train, None)
    sets = _evaluate._read("real", own_run, training, size, 6, 0)
    assert [len(one.images) for one in sets] == [20, 6, n_train]
    assert size == 8


@pytest.mark.filterwarnings("default:no memorisation:UserWarning")
def test_evaluate_goes_on_where_the_data_of_a_run_are_gone(call, own_run, tmp_path):
    (tmp_path / "mine").rename(tmp_path / "moved")
    done = call("evaluate", "moved", own_run, "-n", 20, "--features", "pixels")
    assert done.code == 0, done.err
    assert "warning: no memorisation: folder" in done.err
    assert "memorization" not in done.out
    assert call("evaluate", "moved", own_run, "-n", 20, "--train", "mine").code == 2


def test_evaluate_in_pixels_needs_no_other_features(call, tmp_path):
    for seed, name in enumerate(("real", "fake", "train")):
        write_pictures(tmp_path / name, 3, 8, seed=seed)
    words = ("--train", "train", "--features", "pca-20", "--metrics", "memorization")
    done = call("evaluate", "real", "fake", *words)
    assert done.code == 0, done.err


def test_evaluate_knows_the_classes_of_samples_again(call, tmp_path):
    """Each class has a level of its own, so that a classifier that learns from samples is right."""
    names = ("C++", "St. Bernard", "naïve")
    labels = torch.arange(30) % 3
    levels = (labels / 2).view(-1, 1, 1, 1) * 0.9 + 0.1 * torch.rand(
        30, 1, 4, 4, generator=random.generator(0)
    )
    for half, place in enumerate(("real", "fake")):
        part = slice(15 * half, 15 * half + 15)
        samples.write_samples(samples.Samples(levels[part], labels[part], names), tmp_path / place)
    words = ("--metrics", "classification_accuracy", "--json", "scores.json")
    done = call("evaluate", "real", "fake", *words)
    assert done.code == 0, done.err
    assert json.loads(Path("scores.json").read_text())[0]["value"] == 1


@pytest.mark.filterwarnings("default:no classification accuracy:UserWarning")
def test_classes_that_do_not_meet_are_told(call, tiny_run, tmp_path):
    for name in ("zero", "one"):
        write_pictures(tmp_path / "real" / name, 12, 8)
    done = call("evaluate", "real", tiny_run, "-n", 20, "--train", "digits")
    assert done.code == 0, done.err
    assert "classification_accuracy" not in done.out
    told = f"the classes of {tiny_run} (0, 1, 2, 3, 4, 5, 6, 7, 8, 9) are not those of real"
    assert f"warning: no classification accuracy: {told} (one, zero)" in done.err
    words = ("-n", 20, "--train", "digits")
    done = call("evaluate", "real", tiny_run, *words, "--metrics", "classification_accuracy")
    assert done.code == 2
    assert f"error: {told}" in done.err
    done = call("evaluate", "real", tiny_run, *words, "--metrics", "memorization")
    assert done.code == 0
    assert "warning" not in done.err


def test_evaluate_resizes_and_matches_channels(call, tmp_path):
    write_pictures(tmp_path / "grey", 20, 8)
    write_pictures(tmp_path / "colour", 20, 16, channels=3)
    words = ("--size", 8, "--features", "pixels", "--metrics", "kernel")
    assert "kernel" in call("evaluate", "grey", "colour", *words).out


def test_report_and_its_parts(call, tiny_run, tmp_path):
    done = call("report", tiny_run, "--out", "page.html", "-n", 30)
    assert (done.code, done.out) == (0, "page.html\n")
    page = (tmp_path / "page.html").read_text("utf-8")
    assert page.startswith("<!doctype html>")
    assert len(list((tiny_run / "samples").rglob("*.png"))) == 30


def test_demo_tells_of_each_part_and_can_be_called_again(call, monkeypatch, tmp_path):
    from gouache.cli import _demo

    monkeypatch.setattr(
        _demo, "QUICK", {"steps": "3", "widths": "8,8", "batch": "8", "sample_steps": "3"}
    )
    first = call("demo", "--quick", "--out", "tour")
    assert first.code == 0, first.err
    assert all(word in first.out for word in ("frechet", "memorization", "in all", "training"))
    page = (tmp_path / "tour/report.html").read_text("utf-8")
    assert page.partition("<h2>Patches</h2>")[2].partition("</section>")[0].count("<img") == 4
    again = call("demo", "--quick", "--out", "tour")
    assert again.code == 0
    assert first.out.split("part")[0] == again.out.split("part")[0]


def test_doctor_finds_nothing_amiss(call, monkeypatch):
    from gouache.cli import _doctor

    monkeypatch.setattr(_doctor, "SIDE", 64)
    done = call("doctor")
    assert done.code == 0, done.err
    assert "GFLOP/s" in done.out
    assert "pip install 'gouache[hub]'" in done.out or "extra hub" in done.out


def test_doctor_names_a_cache_that_cannot_be_written(call, monkeypatch, tmp_path):
    from gouache.cli import _doctor

    monkeypatch.setattr(_doctor, "SIDE", 64)
    (tmp_path / "file").touch()
    monkeypatch.setenv("GOUACHE_CACHE", str(tmp_path / "file"))
    done = call("doctor")
    assert done.code == 1
    assert "amiss: cache" in done.err


def test_a_folder_named_like_shipped_weights_is_in_nobodys_way(call, tmp_path):
    words = ("-n", 2, "--steps", 2)
    assert call("sample", "digits-diffusion", "digits-diffusion", *words).code == 0
    assert (tmp_path / "digits-diffusion").is_dir()
    done = call("sample", "digits-diffusion", "x.png", *words)
    assert done.code == 0, done.err
    done = call("sample", "./digits-diffusion", "y.png", *words)
    assert (done.code, "neither a run nor a saved model" in done.err) == (2, True)
    assert call("evaluate", "digits", "digits-diffusion", "-n", 20).code == 0


def test_sample_into_the_folder_one_stands_in(call, tiny_run, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    done = call("sample", tiny_run, ".", "-n", 2, "--condition", 7, "--steps", 2)
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "here").iterdir()) == ["00000.png", "00001.png"]
    assert not list(tmp_path.glob(".here*"))


def test_commands_to_go_on_keep_their_options(tmp_path):
    from gouache.cli import _demo, _train

    line = shlex.split(_demo._again(tmp_path / "a b", 3, True, 2))
    assert line == [
        *("gouache", "demo", "--out", str(tmp_path / "a b")),
        *("--seed", "3", "--quick", "--threads", "2"),
    ]
    line = shlex.split(_train._again("diffusion", tmp_path / "a b", 1))
    assert line[-3:] == [str(tmp_path / "a b"), "--threads", "1"]
