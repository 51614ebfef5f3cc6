"""Mistakes of a user: one line that names the mend, exit code 2, nothing half-written."""

import json
import pickle
import shutil

import pytest
import torch

from gouache import image, samples

# Each case: the command (RUN is a whole run, BARE one without classes), and what the line says.
HUGE = "9" * 310
CASES = {
    "no such verb": ("paint", "No such command 'paint'"),
    "no argument": ("train", "Missing argument"),
    "unknown option": ("sample RUN out --nonsense 3", "No such option"),
    "unknown recipe": ("train digit_diffusion", 'did you mean "digits_diffusion"'),
    "unknown key": ("train digits_diffusion stps=3", 'did you mean "steps"'),
    "not key=value": ("train digits_diffusion steps", "key=value"),
    "key twice": ("train digits_diffusion seed=1 --seed 2", "given twice"),
    "negative rate": ("train digits_diffusion lr=-1", "lr must be in [0, 10], got -1"),
    "no batch": ("train digits_diffusion batch=0", "batch must be at least 1"),
    "odd width": ("train digits_diffusion widths=7,7", "widths must be multiples of 8"),
    "too few levels": ("train digits_diffusion widths=8", "one entry a level"),
    "word for a number": ("train digits_diffusion steps=many", "steps must be a whole number"),
    "fraction of a step": ("train digits_diffusion steps=2.5", "steps must be a whole number"),
    "not a number": ("train digits_diffusion lr=NaN", "lr must be"),
    "uneven batch": ("train digits_diffusion batch=10 accumulate=4", "multiple of devices"),
    "unknown target": ("train digits_diffusion target=edn", 'did you mean "edm"'),
    "unknown decay": ("train digits_diffusion decay=linear", "decay must be"),
    "unknown device": ("train digits_diffusion --device gpu", 'unknown device "gpu"'),
    "device of Apple's": ("train digits_diffusion --device mps", 'unknown device "mps"'),
    "demo on no device": ("demo --quick --out run --device gpu", 'unknown device "gpu"'),
    "report on no device": ("report RUN --device gpu", 'unknown device "gpu"'),
    "several processes": ("train digits_diffusion devices=2 strategy=ddp", "needs --out"),
    "unknown data": ("train diffusion --data digit", 'did you mean "digits"'),
    "empty folder": ("train diffusion --data empty", "holds no picture"),
    "file for data": ("train diffusion --data ./file.txt", "is a file"),
    "size of nothing": ("train digits_diffusion --size 0", "'--size'"),
    "file in the way": ("train digits_diffusion steps=1 --out file.txt", "is a file"),
    "below a file": ("train digits_diffusion steps=1 --out file.txt/run", "lies below one"),
    "run there already": ("train digits_diffusion steps=1 --out RUN", "already holds a run"),
    "nothing to resume": ("train digits_diffusion --resume --out empty", "nothing to resume"),
    "no run to resume": ("train digits_diffusion --resume", "nothing to resume"),
    "other settings": ("train digits_diffusion --resume --out RUN lr=0.5", "other train: lr"),
    "other recipe": ("train diffusion --resume --out RUN", "begun with recipe"),
    "other data": ("train digits_diffusion --data faces --resume --out RUN", "begun with --data"),
    "missing run": ("sample nowhere out", 'unknown run or weights "nowhere"'),
    "file for a run": ("sample file.txt out", "neither a run nor a saved model"),
    "empty run": ("sample empty out", "neither a run nor a saved model"),
    "no images": ("sample RUN out -n 0", "n must be"),
    "too many images": (f"sample RUN out -n {HUGE}", "n must be a whole number of at most 63 bits"),
    "too many steps": (f"train digits_diffusion steps={HUGE}", "steps must be a whole number of"),
    "too high a rate": (f"train digits_diffusion lr={HUGE}", "lr must be a finite number"),
    "too long a decay": (f"train digits_diffusion ema={HUGE}", "ema must be a finite number"),
    "no levels": ("train digits_diffusion widths= blocks= attention=", "one entry a level"),
    "p_mean of nothing": ("train digits_diffusion p_mean=nan", "p_mean must be a finite number"),
    "sigma_max of nothing": ("train digits_diffusion sigma_max=nan", "sigma_max must be"),
    "nested setting": (f"train digits_diffusion attention=1,{'[1,' * 9999}", "attention must be"),
    "word for n": ("sample RUN out -n many", "'-n'"),
    "condition too high": ("sample RUN out --condition 10", "condition must be in [0, 9]"),
    "condition too low": ("sample RUN out --condition=-1", "condition must be in [0, 9]"),
    "two minus signs": ("sample RUN out --condition=--3", 'unknown class "--3"'),
    "no such number": ("sample RUN out --condition=-", 'unknown class "-"'),
    "huge class": (f"sample RUN out --condition {HUGE}", 'unknown class "999'),
    "unknown class": ("sample RUN out --condition cat", 'unknown class "cat"'),
    "no classes": ("sample BARE out --condition 3", "has no classes"),
    "unknown sampler": ("sample RUN out --sampler dimm", 'did you mean "ddim"'),
    "no steps": ("sample RUN out --steps 0", "steps must be"),
    "negative guidance": ("sample RUN out --guidance -1", "guidance must be"),
    "guidance of nothing": (
        "sample RUN out --condition none --guidance 3",
        "needs labels to guide towards",
    ),
    "guidance, no classes": ("sample BARE out --guidance 3", "needs labels"),
    "no run, deep grid": ("sample nosuch a/b/c.png", "unknown run or weights"),
    "full folder": ("sample RUN full", "holds files already"),
    "folder for a grid": ("sample RUN full --grid", "must end in"),
    "grid below a file": ("sample RUN file.txt/x.png", "cannot lie below it"),
    "nothing to report": ("report empty", "no run.json"),
    "report not a page": ("report RUN --out page.pdf", "must end in one of .html"),
    "page is a folder": ("report RUN --out folder.html", "is a folder"),
    "unknown kind": ("list colours", "is not one of"),
    "sizes differ": ("evaluate small large", "pass --size 4"),
    "unknown features that nothing takes": (
        "evaluate small small --features vgg --metrics memorization",
        'unknown features "vgg"',
    ),
    "unknown features": ("evaluate small small --features vgg", 'unknown features "vgg"'),
    "unknown metric": ("evaluate small small --metrics fid", 'unknown metric "fid"'),
    "unknown set": ("evaluate digit small", 'did you mean "digits"'),
    "empty set": ("evaluate empty small", "holds no picture"),
    "no training set": (
        "evaluate small small --features pixels --metrics memorization",
        "pass train",
    ),
    "training set is a run": ("evaluate small small --train RUN", "name the data: --train digits"),
    "training set is weights": (
        "evaluate small small --train digits-diffusion",
        "name the data, such as digits:train",
    ),
    "tiny picture": ("train diffusion --data small", "pass a size, say 32 (--size 32)"),
    "unknown split": ("evaluate digits:tset small", 'did you mean "digits"'),
    "scores not JSON": ("evaluate small small --json scores.txt", "must end in one of .json"),
    "no weights": ("evaluate small small --features inception --weights no.pth", "no.pth"),
    "demo in a file": ("demo --quick --out file.txt", "is a file"),
    "demo in a run": ("demo --quick --out RUN", "begun with other"),
}


@pytest.fixture(scope="module")
def bare_run(call, tmp_path_factory):
    """Return the folder of a run without classes."""
    place = tmp_path_factory.mktemp("bare")
    for k in range(8):
        image.save(torch.full((1, 8, 8), k / 8), place / f"mine/{k}.png")
    words = ("steps=1", "widths=8,8", "batch=4", "--out", place / "run", "--preview", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GOUACHE_CACHE", str(place / "cache"))
        assert call("train", "diffusion", "--data", place / "mine", *words).code == 0
    return place / "run"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, quiet_cache):
    """Enter a folder with what the cases need."""
    for name in ("empty", "full", "folder.html"):
        (tmp_path / name).mkdir()
    (tmp_path / "file.txt").write_text("here")
    (tmp_path / "full/mine.txt").write_text("keep")
    for name, side in (("small", 4), ("large", 6)):
        for k in range(6):
            image.save(torch.full((1, side, side), k / 6), tmp_path / f"{name}/{k}.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tree(folder):
    """Return every file below a folder with its content, but for caches."""
    files = [path for path in sorted(folder.rglob("*")) if "cache" not in path.parts]
    return {path: path.read_bytes() if path.is_file() else None for path in files}


def refuse(call, words, saying, *folders):
    """Assert that a command fails as it should, and changes nothing in these folders."""
    before = [tree(folder) for folder in folders]
    done = call(*words)
    lines = [line for line in done.err.splitlines() if not line.endswith(" ...")]
    assert done.code == 2, done.err
    assert len(lines) == 1, done.err
    assert lines[0].startswith("error: ")
    assert saying in lines[0], lines[0]
    assert done.out == ""
    assert [tree(folder) for folder in folders] == before


@pytest.mark.parametrize("name", CASES)
def test_mistake(call, tiny_run, bare_run, place, name):
    command, saying = CASES[name]
    names = {"RUN": str(tiny_run), "BARE": str(bare_run)}
    words = [names.get(word, word) for word in command.split()]
    refuse(call, words, saying, place, tiny_run)


@pytest.mark.parametrize(
    "words",
    [
        "train digits_diffusion --device cuda --out run",
        "train digits_diffusion accelerator=cuda --out run",
        "sample digits-diffusion out --device cuda",
        "demo --quick --device cuda --out run",
        "report RUN --device cuda",
    ],
)
def test_absent_device(call, place, tiny_run, monkeypatch, words):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = words.replace("RUN", str(tiny_run)).split()
    refuse(call, words, "no cuda device; pass --device cpu", place, tiny_run)


def no_memory_of_ours(*_, **__):
    raise MemoryError


def no_memory_of_torch(*_, **__):
    torch.empty(1 << 55, dtype=torch.uint8)


def no_such_size(*_, **__):
    torch.empty(1 << 40, 1 << 40)


@pytest.mark.parametrize("fault", [no_memory_of_ours, no_memory_of_torch, no_such_size])
def test_too_little_memory(call, tiny_run, place, monkeypatch, fault):
    monkeypatch.setattr(samples, "draw", fault)
    words = ("sample", tiny_run, "out", "-n", "100000")
    refuse(call, words, "not enough memory for what was asked; ask for less", place)


def test_run_that_cannot_take_its_first_step_leaves_nothing(call, place, monkeypatch):
    from gouache.check import InputError
    from gouache.recipes import _run

    def refused(*_, **__):
        raise InputError("strategy fsdp needs one phase")
        yield

    monkeypatch.setattr(_run, "fit", refused)
    refuse(call, ("train", "digits_diffusion", "steps=1", "--out", "run"), "fsdp", place)


@pytest.fixture
def broken(tiny_run, place):
    """Return a copy of a run, to be broken."""
    return shutil.copytree(tiny_run, place / "broken")


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", "\x00\x01"])
@pytest.mark.parametrize("verb", ["sample", "report", "train"])
def test_corrupt_run_json(call, broken, place, verb, text):
    (broken / "run.json").write_text(text)
    words = {
        "sample": ("sample", broken, "out"),
        "report": ("report", broken),
        "train": ("train", "digits_diffusion", "--resume", "--out", broken),
    }
    refuse(call, words[verb], "run.json", place)


@pytest.mark.parametrize(
    ("changes", "saying"),
    [
        ({"versions": None}, "not what a run wrote"),
        ({"classes": None}, "not what a run wrote"),
        ({"train": {"betas": None}}, "run.json"),
        ({"train": {"steps": int(HUGE)}}, "steps must be"),
        ({"train": {"stps": 3}}, 'did you mean "steps"'),
        ({"recipe": "nothing"}, 'unknown recipe "nothing"'),
        ({"data": "nothing"}, 'unknown data "nothing"'),
        ({"changed": {"stps": "3"}}, 'did you mean "steps"'),
    ],
    ids=str,
)
@pytest.mark.parametrize("verb", ["report", "train"])
def test_run_json_of_other_content(call, broken, place, verb, changes, saying):
    content = json.loads((broken / "run.json").read_text())
    (broken / "run.json").write_text(json.dumps(content | changes))
    words = {
        "report": ("report", broken),
        "train": ("train", "digits_diffusion", "--resume", "--out", broken),
    }
    refuse(call, words[verb], saying, place)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000])
def test_json_that_python_refuses(call, broken, place, text):
    (broken / "run.json").write_text(text)
    refuse(call, ("sample", broken, "out"), "is not JSON", place)


def test_model_of_another_run_in_run_json(call, broken, place):
    shutil.rmtree(broken / "model")
    content = json.loads((broken / "run.json").read_text())
    content["model"]["config"]["widths"] = [16, 16]
    (broken / "run.json").write_text(json.dumps(content))
    refuse(call, ("sample", broken, "out"), "does not fit the model of", place)


def test_pickle_in_place_of_weights(call, broken, place):
    (broken / "model/model.safetensors").write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    refuse(call, ("sample", broken, "out"), "pickled weights are refused", place)


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_truncated_weights(call, broken, place, kept):
    file = broken / "model/model.safetensors"
    file.write_bytes(file.read_bytes()[:kept])
    refuse(call, ("sample", broken, "out"), "not a whole safetensors file", place)


@pytest.mark.filterwarnings("default")
def test_truncated_checkpoints(call, broken, place):
    for file in broken.glob("checkpoints/*/state.safetensors"):
        file.write_bytes(file.read_bytes()[:-1])
    before = tree(broken)
    done = call("train", "digits_diffusion", "--resume", "--out", broken)
    *warned, last = done.err.splitlines()
    assert done.code == 2
    assert all(line.startswith("warning: step-000000") for line in warned)
    assert last.startswith("error: nothing to resume")
    assert tree(broken) == before


def test_weights_of_another_model(call, broken, place):
    content = json.loads((broken / "model/config.json").read_text())
    content["config"]["widths"] = [16, 16]
    (broken / "model/config.json").write_text(json.dumps(content))
    refuse(call, ("sample", broken, "out"), "does not fit", place)


def test_debugging_shows_the_traceback(call, monkeypatch):
    monkeypatch.setenv("GOUACHE_DEBUG", "1")
    done = call("train", "digit_diffusion")
    assert done.code == 2
    assert "Traceback" in done.err
    assert done.err.splitlines()[-1].startswith("error: ")


def test_a_fault_of_ours_is_not_hidden(call, tiny_run, monkeypatch):
    from gouache import samples

    def fault(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(samples, "open_model", fault)
    with pytest.raises(ZeroDivisionError):
        call("sample", tiny_run, "out")
