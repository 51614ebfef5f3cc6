"""A run that is killed and resumed ends on the bits of one that was not."""

import json
import os
import random as python_random
import resource
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from _job import run
from _toys import MODELS, Blobs, build

from gouache import train
from gouache.check import InputError
from gouache.train import _state

JOB = Path(__file__).parents[1] / "contract" / "_job.py"
SETTINGS = {"steps": 12, "batch": 8, "accumulate": 2, "checkpoint_every": 5, "log_every": 1}


@pytest.fixture(autouse=True)
def one_thread():
    with train.threads(1):
        yield


def job(folder, model="diffusion", **changes):
    """A run with dropout, EMA, fused AdamW and channels-last, in the middle of epochs of 40."""
    train_changes = changes.pop("train", {})
    return {
        "model": model,
        "dropout": 0.2,
        "folder": str(folder),
        "train": {**SETTINGS, **train_changes},
        **changes,
    }


def spawn(*jobs, out, threads=1):
    environment = {**os.environ, "THREADS": str(threads), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(JOB), json.dumps(jobs), str(out)]
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)


def assert_same_end(folder, reference):
    """The last checkpoints are the same byte for byte, and so are the logs but for the clock."""
    end, wanted = train.checkpoints(folder)[-1], train.checkpoints(reference)[-1]
    assert end.name == wanted.name
    names = sorted(path.name for path in wanted.iterdir())
    assert sorted(path.name for path in end.iterdir()) == names
    for name in names:
        if name == "state.json":
            assert json.loads((end / name).read_text()) == json.loads((wanted / name).read_text())
        assert (end / name).read_bytes() == (wanted / name).read_bytes(), name
    logs = [train.read_log(place) for place in (folder, reference)]
    for a, b in zip(*logs, strict=True):
        assert {**a, "seconds": 0} == {**b, "seconds": 0}


def test_sigkill_in_mid_step_loses_nothing(tmp_path):
    """Killed between two micro-batches of step 8, with a worker and previews; resumed without."""
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = spawn(job(killed, kill=16, preview=True, train={"workers": 1}), out=tmp_path)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert [path.name for path in train.checkpoints(killed)] == ["step-0000005"]
    assert [line["step"] for line in train.read_log(killed)] == [1, 2, 3, 4, 5, 6, 7]
    seen = run(job(killed, resume=True))
    assert len(seen["losses"]) == 7
    run(job(whole))
    assert_same_end(killed, whole)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("settings", [{}, {"precision": "bf16"}], ids=["32", "bf16"])
def test_stopped_and_resumed_is_uninterrupted(model, settings, tmp_path):
    """Every model, stopped twice, previews on and off in turn."""
    parts, whole = tmp_path / "parts", tmp_path / "whole"
    config = train.TrainConfig(**{**SETTINGS, "accelerator": "cpu", "precision": "32", **settings})
    for resume, stop in ((False, 7), (True, 11)):
        for step in train.fit(build(model, 0.2), Blobs(), config, folder=parts, resume=resume):
            torch.rand(3)
            if step.number == stop:
                break
    torch.manual_seed(5)
    run(job(parts, model, resume=True, train=settings))
    run(job(whole, model, train=settings))
    assert_same_end(parts, whole)


def test_workers_change_nothing(tmp_path):
    for workers in (0, 1):
        run(job(tmp_path / str(workers), "vae", train={"workers": workers}))
    assert_same_end(tmp_path / "1", tmp_path / "0")


def test_order_of_checkpoints_and_previews_do_not_matter(tmp_path):
    run(job(tmp_path / "often", preview=True, train={"checkpoint_every": 1}))
    run(job(tmp_path / "once", train={"checkpoint_every": 12}))
    names = [path.name for path in train.checkpoints(tmp_path / "often")]
    assert names == ["step-0000011", "step-0000012"], "two are kept"
    often, once = (
        json.loads((train.checkpoints(tmp_path / name)[-1] / "state.json").read_text())
        for name in ("often", "once")
    )
    assert often == once
    assert_same_end(tmp_path / "often", tmp_path / "once")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, "seed = 0, this run has 1"),
        ({"lr": 1e-3}, r"lr = 0\.002, this run has 0\.001"),
        ({"betas": (0.5, 0.9)}, r"betas = \[0\.9, 0\.99\], this run has \[0\.5, 0\.9\]"),
        ({"precision": "bf16"}, "precision = 32, this run has bf16"),
    ],
)
def test_another_setting_warns(change, message, tmp_path):
    run(job(tmp_path, "vae", train={"steps": 2}))
    with pytest.warns(UserWarning, match=message):
        run(job(tmp_path, "vae", resume=True, train={"steps": 2, **change}))


def test_another_thread_count_warns(tmp_path):
    run(job(tmp_path, "vae", train={"steps": 2}))
    message = "threads = 1, this run has 2: the resumed run will not be bit for bit"
    with train.threads(2), pytest.warns(UserWarning, match=message):
        run(job(tmp_path, "vae", resume=True, train={"steps": 2}))


def test_where_and_how_often_it_is_written_does_not_warn(tmp_path):
    run(job(tmp_path, "vae", train={"steps": 2}))
    change = {"checkpoint_every": 1, "log_every": 2, "workers": 1}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(job(tmp_path, "vae", resume=True, train={"steps": 2, **change}))


def damage(checkpoint, how):
    tensors, numbers = checkpoint / "state.safetensors", checkpoint / "state.json"
    if how == "truncated":
        tensors.write_bytes(tensors.read_bytes()[:-100])
    elif how == "empty":
        tensors.write_bytes(b"")
    elif how == "no numbers":
        numbers.unlink()
    else:
        numbers.write_text(numbers.read_text()[:50])


@pytest.mark.parametrize("how", ["truncated", "empty", "no numbers", "half numbers"])
def test_broken_last_checkpoint_falls_back_to_the_one_before(how, tmp_path):
    broken, whole = tmp_path / "broken", tmp_path / "whole"
    run(job(broken, "vae"))
    run(job(whole, "vae"))
    damage(train.checkpoints(broken)[-1], how)
    with pytest.warns(UserWarning, match="step-0000012 is broken and left out"):
        seen = run(job(broken, "vae", resume=True))
    assert len(seen["losses"]) == 2, "from step 10"
    assert_same_end(broken, whole)


def test_without_a_whole_checkpoint_the_error_says_so(tmp_path):
    run(job(tmp_path, "vae", train={"steps": 2}))
    damage(train.checkpoints(tmp_path)[-1], "truncated")
    with (
        pytest.warns(UserWarning, match="is broken"),
        pytest.raises(InputError, match=r"nothing to resume: .* holds no whole checkpoint"),
    ):
        run(job(tmp_path, "vae", resume=True))


def test_resume_without_a_run_or_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nothing to resume"):
        run(job(tmp_path, resume=True))
    with pytest.raises(InputError, match="resume needs the folder of the run"):
        run({"model": "vae", "train": SETTINGS, "resume": True})


def test_a_run_in_the_way_is_not_overwritten(tmp_path):
    run(job(tmp_path, "vae", train={"steps": 2}))
    before = train.checkpoints(tmp_path)
    with pytest.raises(InputError, match="already holds a run; resume it, or name another folder"):
        run(job(tmp_path, "vae", train={"steps": 2}))
    assert train.checkpoints(tmp_path) == before


def test_checkpoint_of_another_model_is_named(tmp_path):
    run(job(tmp_path, "vae", train={"steps": 2}))
    with pytest.raises(InputError, match=r"step-0000002 is of another model: .* here"):
        run(job(tmp_path, "gan", resume=True, train={"steps": 2}))


def break_at(monkeypatch, call):
    """Stop the writing of checkpoints at the n-th thing it does to the disk."""
    count = iter(range(call))

    def guarded(function):
        def wrapper(*args, **kwargs):
            if next(count, None) is None:
                raise KeyboardInterrupt
            return function(*args, **kwargs)

        return wrapper

    for name in ("write_tensors", "write_text", "_sync_folder"):
        monkeypatch.setattr(_state, name, guarded(getattr(_state, name)))
    for target, name in ((Path, "rename"), (Path, "mkdir"), (shutil, "rmtree")):
        monkeypatch.setattr(target, name, guarded(getattr(target, name)))


def test_stopped_anywhere_in_the_writing_every_checkpoint_is_whole(tmp_path, monkeypatch):
    """Each disk operation in turn is the last; what is seen afterwards reads, and resumes."""
    run(job(tmp_path / "start", "vae", train={"checkpoint_every": 4, "steps": 8}))
    saved = _state.newest(tmp_path / "start")
    for call in range(40):
        folder = tmp_path / str(call)
        shutil.copytree(tmp_path / "start", folder)
        with monkeypatch.context() as patch:
            break_at(patch, call)
            content = {**saved.content, "step": 12}
            try:
                _state._write(saved.tensors, content, folder)
            except KeyboardInterrupt:
                pass
            else:
                break
        steps = [int(path.name[5:]) for path in train.checkpoints(folder)]
        assert steps in ([4, 8], [4, 8, 12], [8, 12]), call
        for checkpoint in train.checkpoints(folder):
            names = {path.name for path in checkpoint.iterdir()}
            assert names == {"state.json", "state.safetensors"}
        assert _state.newest(folder).tensors.keys() == saved.tensors.keys()
        _state._write(saved.tensors, content, folder)
        names = sorted(path.name for path in (folder / "checkpoints").iterdir())
        assert names == ["step-0000008", "step-0000012"], "what was half written is gone"
    assert call > 8


def test_nan_stops_with_a_clear_error_and_keeps_the_last_good_checkpoint(tmp_path):
    model = build("vae")
    count = iter(range(100))
    model.encoder[0].register_forward_hook(
        lambda _, inputs, output: output * float("nan") if next(count) == 6 else None
    )
    config = train.TrainConfig(steps=12, batch=8, checkpoint_every=3, accelerator="cpu")
    with pytest.raises(InputError, match="the loss of model became nan at step 7; lower lr"):
        list(train.fit(model, Blobs(), config, folder=tmp_path))
    assert [path.name for path in train.checkpoints(tmp_path)] == ["step-0000003", "step-0000006"]
    tensors = _state.newest(tmp_path).tensors
    assert all(bool(tensor.isfinite().all()) for tensor in tensors.values())


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """A gradient overflows while the loss is fine: the step before a checkpoint finds it."""
    model = build("vae")
    model.encoder[0].weight.register_hook(lambda gradient: gradient * float("inf"))
    config = train.TrainConfig(steps=2, batch=8, checkpoint_every=1, accelerator="cpu")
    with pytest.raises(InputError, match=r"model\.encoder\..* is not finite at step 1; lower lr"):
        list(train.fit(model, Blobs(), config, folder=tmp_path))
    assert train.checkpoints(tmp_path) == []


@pytest.fixture
def small_files():
    """Let no file of this process grow beyond a size, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size):
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))

    yield limit
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_is_a_clear_error_and_nothing_is_half_written(tmp_path, small_files):
    config = train.TrainConfig(steps=4, batch=8, checkpoint_every=2, accelerator="cpu")
    steps = train.fit(build("vae"), Blobs(), config, folder=tmp_path)
    next(steps), next(steps)
    small_files(5000)
    next(steps)
    with pytest.raises(InputError, match=r"cannot write the checkpoint of step 4 to .*mend that"):
        next(steps)
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-0000002"]
    small_files(10**9)
    assert len(list(train.fit(build("vae"), Blobs(), config, folder=tmp_path, resume=True))) == 2


def test_folder_that_cannot_be_written_is_an_error_before_the_first_step(tmp_path):
    (tmp_path / "file").touch()
    seen = []
    config = train.TrainConfig(steps=1, batch=8, accelerator="cpu")
    with pytest.raises(InputError, match="is a file or lies below one"):
        seen.extend(train.fit(build("vae"), Blobs(), config, folder=tmp_path / "file"))
    assert seen == []


FAILING = """
import os, sys
sys.path.insert(0, sys.argv[1])
from _toys import Blobs, build
from gouache import train
from gouache.check import InputError

folder, said = sys.argv[2], []
for place in (os.path.join(folder, "file"), os.path.join(folder, "run")):
    model = build("vae")
    model.encoder[0].weight.register_hook(lambda gradient: gradient * float("inf"))
    config = train.TrainConfig(
        steps=3, batch=8, devices=2, checkpoint_every=1, accelerator="cpu", precision="32"
    )
    try:
        list(train.fit(model, Blobs(), config, folder=place))
    except InputError as error:
        said.append(str(error))
with open(os.path.join(folder, "rank-" + os.environ["LOCAL_RANK"]), "w") as stream:
    stream.write("\\n".join(said))
"""


def test_what_the_first_rank_cannot_write_stops_every_rank(tmp_path):
    """Two ranks, a folder that is a file, then weights that are not finite at a checkpoint."""
    (tmp_path / "file").touch()
    script = tmp_path / "failing.py"
    script.write_text(FAILING)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    subprocess.run(
        [sys.executable, *launcher, str(script), str(JOB.parent), str(tmp_path)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        capture_output=True,
        timeout=100,
        check=True,
    )
    first, second = ((tmp_path / f"rank-{rank}").read_text().splitlines() for rank in (0, 1))
    assert first == second
    assert "is a file or lies below one" in first[0]
    assert "is not finite at step 1; lower lr" in first[1]


@pytest.mark.slow
def test_killed_at_random_times_until_it_ends(tmp_path):
    """Checkpoints every step, kills at random moments of the clock; the end is the same."""
    settings = {"steps": 400, "checkpoint_every": 1, "log_every": 7}
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    clock = python_random.Random(0)
    kills, done = 0, False
    while not done:
        resume = bool(train.checkpoints(killed))
        process = spawn(job(killed, "gan", resume=resume, train=settings), out=tmp_path)
        before = len(train.read_log(killed))
        while process.poll() is None and len(train.read_log(killed)) == before:
            time.sleep(0.01)
        time.sleep(clock.uniform(0, 1))
        process.kill()
        error = process.communicate()[1].decode()
        assert "Error" not in error, error[-2000:]
        kills += process.returncode == -signal.SIGKILL
        done = process.returncode == 0
        for checkpoint in train.checkpoints(killed):
            assert _state.read_tensors(checkpoint / "state.safetensors")
            assert _state.read_json(checkpoint / "state.json")
    assert kills >= 2
    run(job(whole, "gan", train={**settings, "checkpoint_every": 400}))
    assert_same_end(killed, whole)
