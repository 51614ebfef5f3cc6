"""The contract Trainable, on a toy GAN, a toy VAE and the tiny diffusion model."""

import itertools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from _job import run
from _toys import MODELS, Blobs, ToyGAN, ToyVAE, build
from torch import nn

from gouache import random, train
from gouache.check import InputError

JOB = Path(__file__).with_name("_job.py")
CPU = {"accelerator": "cpu", "precision": "32"}


@pytest.fixture(autouse=True)
def one_thread():
    """As in the processes that are compared with; and many tests at once would wait on threads."""
    with train.threads(1):
        yield


def config(**changes):
    return train.TrainConfig(**{**CPU, "steps": 4, "batch": 8, **changes})


def fit(model, **changes):
    return list(train.fit(model, Blobs(), config(**changes)))


class Recorded(ToyGAN):
    """A GAN that notes what happens to it."""

    def __init__(self):
        super().__init__()
        self.events = []

    def prepare(self, batch):
        self.events.append(f"prepare {len(batch['image'])}")
        super().prepare(batch)

    def training_losses(self, batch, rng):
        first = int(batch["draw"][0])
        for phase, loss in super().training_losses(batch, rng):
            self.events.append(f"{phase} {first}")
            for name, parameter in self.named_parameters():
                if parameter.grad is not None:
                    self.events.append(f"gradient {name.split('.')[0]}")
            yield phase, loss


def test_each_phase_advances_each_micro_batch_once_in_order():
    model = Recorded()
    fit(model, steps=2, batch=8, accumulate=2)
    seen = [event for event in model.events if event[0] != "g" or event[2] == "n"]
    assert seen == [
        "prepare 40",
        *("critic 0", "critic 4", "generator 0", "generator 4"),
        *("critic 8", "critic 12", "generator 8", "generator 12"),
    ]


def test_no_gradient_is_left_when_a_phase_begins():
    model = Recorded()
    fit(model, steps=3)
    assert not [event for event in model.events if event.startswith("gradient")]


def test_a_phase_changes_its_own_parameters_only():
    """The generator's loss has a gradient in the critic, whose weights must stay."""
    torch.manual_seed(0)
    model = ToyGAN()
    weights = []

    def losses(batch, rng, original=model.training_losses):
        for phase, loss in original(batch, rng):
            weights.append({k: v.detach().clone() for k, v in model.named_parameters()})
            yield phase, loss

    model.training_losses = losses
    fit(model, steps=2)
    for before, after, moved in zip(
        weights, weights[1:], itertools.cycle(["critic", "generator"]), strict=False
    ):
        for name in before:
            assert torch.equal(before[name], after[name]) != name.startswith(moved), name


@pytest.mark.parametrize(
    ("yields", "message"),
    [
        (["generator", "critic"], "expected critic, got generator"),
        (["critic"], "expected generator, got no more"),
        (["critic", "generator", "critic"], "must end after its phases"),
    ],
)
def test_wrong_phases_are_named(yields, message):
    model = ToyGAN()

    def losses(batch, rng):
        for phase in yields:
            yield phase, model.critic(batch["image"]).mean() + model.generator[0].weight.mean()

    model.training_losses = losses
    with pytest.raises(InputError, match=message):
        fit(model)


@pytest.mark.parametrize("change", ["left out", "twice", "other name"])
def test_parameters_that_do_not_belong_to_one_phase_are_named(change):
    model = ToyGAN()
    groups = model.parameter_groups()
    if change == "left out":
        groups["critic"] = groups["critic"][1:]
    elif change == "twice":
        groups["generator"].append(groups["critic"][0])
    else:
        groups["judge"] = groups.pop("critic")
    model.parameter_groups = lambda: groups
    with pytest.raises(InputError, match=r"critic\.0\.weight in none or several"):
        fit(model)


def test_average_follows_once_after_all_phases(monkeypatch):
    """The average of a GAN is the recursion over the weights at the ends of the steps."""
    torch.manual_seed(0)
    model, trail = ToyGAN(), []
    model.prepare = lambda batch: None
    expected = {k: v.detach().clone() for k, v in model.named_parameters()}
    for step in train.fit(model, Blobs(), config(steps=5, ema=0.3)):
        k = step.number - 1
        decay = min(0.3, (k + 1) / (k + 10))
        for name, value in model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * value.detach()
            assert torch.allclose(dict(step.average.named_parameters())[name], expected[name])
        assert torch.equal(step.average.seen, model.seen), "buffers are copied"
        assert not step.average.training
        trail.append(float(model.seen))
    assert trail == [1, 2, 3, 4, 5]


def test_prepare_comes_before_set_up_and_not_on_resume(tmp_path):
    model = Recorded()
    steps = list(train.fit(model, Blobs(), config(checkpoint_every=2), folder=tmp_path))
    assert model.events.count("prepare 40") == 1
    assert len(steps) == 4
    again = Recorded()
    assert list(train.fit(again, Blobs(), config(), folder=tmp_path, resume=True)) == []
    assert again.events == []
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


@pytest.mark.parametrize("name", MODELS)
def test_a_model_that_was_evaluated_trains_in_training_mode(name):
    model = build(name).eval()
    modes = []
    model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    fit(model, steps=1)
    assert all(modes)


@pytest.mark.parametrize("name", MODELS)
def test_accumulation_changes_nothing(name):
    """One batch of 16 and four of 4: the same noise, the same losses within 1e-5."""
    whole = run({"model": name, "train": {"steps": 12, "batch": 16}})["losses"]
    parts = run({"model": name, "train": {"steps": 12, "batch": 16, "accumulate": 4}})["losses"]
    for a, b in zip(whole, parts, strict=True):
        assert b == pytest.approx(a, rel=1e-5)


def test_accumulated_gradient_is_that_of_the_whole_batch():
    """The losses hardly feel the scale of the gradient under Adam, so it is compared itself."""
    gradients = []
    for accumulate in (1, 4):
        model = build("vae")
        fit(model, steps=1, batch=16, accumulate=accumulate, clip=0.0)
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-6)


def test_gradient_is_clipped_to_its_norm():
    model = build("vae")
    fit(model, steps=1, batch=16, clip=0.01)
    gradient = torch.cat([p.grad.flatten() for p in model.parameters()])
    assert float(gradient.norm()) == pytest.approx(0.01, rel=1e-3)


@pytest.mark.parametrize("name", MODELS)
def test_bf16_reaches_the_convolutions_and_leaves_the_weights(name):
    dtypes = set()
    model = build(name)

    def hook(module, inputs, output):
        dtypes.add(output.dtype)

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            module.register_forward_hook(hook)
    low = [dict(step.losses) for step in fit(model, steps=12, batch=16, precision="bf16")]
    assert dtypes == {torch.bfloat16}
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    high = run({"model": name, "train": {"steps": 12, "batch": 16}})["losses"]
    for a, b in zip(high, low, strict=True):
        assert b == pytest.approx(a, rel=0.03)
    assert low != high


@pytest.mark.parametrize("name", MODELS)
def test_training_leaves_the_global_generator_alone(name):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    model = build(name, dropout=0.2)
    fit(model, steps=2)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("name", MODELS)
def test_what_the_caller_draws_between_steps_changes_nothing(name):
    job = {"model": name, "dropout": 0.2, "train": {"steps": 6, "batch": 8}}
    quiet = run(job)["losses"]
    torch.manual_seed(99)
    steps = train.fit(build(name, 0.2), Blobs(), config(steps=6, batch=8))
    for expected, step in zip(quiet, steps, strict=True):
        torch.rand(17)
        assert dict(step.losses) == expected


def test_dropout_differs_from_step_to_step_and_with_the_seed():
    masks = []
    for seed in (0, 0, 1):
        model = build("vae", dropout=0.5)
        drawn = []
        model.decoder[2].register_forward_hook(
            lambda _, inputs, output, drawn=drawn: drawn.append(output == 0)
        )
        fit(model, steps=2, seed=seed)
        masks.append(torch.stack(drawn))
    assert torch.equal(masks[0], masks[1])
    assert not torch.equal(masks[0], masks[2])
    assert not torch.equal(masks[0][0], masks[0][1])


TWO = {"steps": 50, "batch": 16, "devices": 2}
TWO_RANKS = {
    "gan": {"model": "gan", "train": {**TWO, "strategy": "ddp"}},
    "vae": {"model": "vae", "train": {**TWO, "accumulate": 2}},
    "diffusion": {"model": "diffusion", "train": TWO},
    "sharded": {"model": "diffusion", "train": {**TWO, "strategy": "fsdp"}},
}


def launch(command, **environment):
    """Run a command to its end, single-threaded; return what it said on failure."""
    quiet = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    clean = {k: v for k, v in os.environ.items() if k not in {"LOCAL_RANK", "WORLD_SIZE"}}
    done = subprocess.run(
        command, env={**clean, **quiet, **environment}, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    """What both ranks saw of every job of TWO_RANKS, by torch's own launcher."""
    out = tmp_path_factory.mktemp("two")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    launch([sys.executable, *launcher, str(JOB), json.dumps(list(TWO_RANKS.values())), str(out)])
    threads = [json.loads((out / f"threads-{rank}.json").read_text()) for rank in (0, 1)]
    seen = [json.loads((out / f"rank-{rank}.json").read_text())["jobs"] for rank in (0, 1)]
    return seen, threads


@pytest.mark.parametrize("name", TWO_RANKS)
def test_two_ranks_walk_the_curve_of_one(name, two_ranks):
    job = TWO_RANKS[name]
    one = run({"model": job["model"], "train": {"steps": 50, "batch": 16}})["losses"]
    place = list(TWO_RANKS).index(name)
    for rank in (0, 1):
        two = two_ranks[0][rank][place]
        assert two["rank"] == rank
        assert len(two["losses"]) == 50
        for a, b in zip(one, two["losses"], strict=True):
            assert b == pytest.approx(a, rel=1e-4)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are listed in /proc")
def test_no_thread_of_a_process_group_outlives_a_run(two_ranks):
    """It would abort the process now and then, when the interpreter ends."""
    for names in two_ranks[1]:
        assert names
        assert not [name for name in names if "gloo" in name]


def test_a_plain_script_starts_its_ranks_and_only_the_first_writes(tmp_path):
    """Fabric starts the second process; its checkpoints, resumed on one rank, go on as one run."""
    folder = tmp_path / "run"
    job = {
        "model": "vae",
        "folder": str(folder),
        "train": {"steps": 12, "batch": 16, "devices": 2, "checkpoint_every": 6, "log_every": 1},
    }
    launch([sys.executable, str(JOB), json.dumps([job]), str(tmp_path)])
    first, second = (json.loads((tmp_path / f"rank-{r}.json").read_text()) for r in (0, 1))
    assert first["changed"]
    assert second["changed"] == []
    assert first["jobs"][0]["losses"] == second["jobs"][0]["losses"]
    assert [line["step"] for line in train.read_log(folder)] == list(range(1, 13))
    alone = run({"model": "vae", "train": {"steps": 12, "batch": 16}})["losses"]
    (folder / "checkpoints" / "step-0000012").rename(tmp_path / "aside")
    resumed = train.fit(
        build("vae"), Blobs(), config(steps=12, batch=16), folder=folder, resume=True
    )
    with pytest.warns(UserWarning, match="devices = 2, this run has 1"):
        losses = [dict(step.losses) for step in resumed]
    for a, b in zip(alone[6:], losses, strict=True):
        assert b == pytest.approx(a, rel=1e-4)


def test_number_of_processes_must_be_the_number_asked_for(monkeypatch):
    from gouache.train import _device

    class One:
        world_size = 1

        def launch(self):
            pass

    monkeypatch.setattr("lightning_fabric.Fabric", lambda **_: One())
    with pytest.raises(InputError, match="devices must be the number of processes, got 2 for 1"):
        _device.fabric(config(devices=2), 1)


def test_sharding_several_phases_is_refused():
    with pytest.raises(InputError, match="fsdp shards models with one phase, got 2; use ddp"):
        fit(ToyGAN(), strategy="fsdp")


@pytest.fixture
def rank_of_one(monkeypatch):
    """Let this process be a group of one rank, for a test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    group = {"LOCAL_RANK": 0, "NODE_RANK": 0, "WORLD_SIZE": 1, "OMP_NUM_THREADS": 1}
    for name, value in {**group, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}.items():
        monkeypatch.setenv(name, str(value))
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("rank_of_one")
def test_shards_are_whole_in_a_checkpoint_and_cut_again(tmp_path):
    """One rank, sharded: the checkpoint is that of a model that is not, and resumes."""
    plain, sharded = tmp_path / "plain", tmp_path / "sharded"
    for folder, strategy in ((plain, "auto"), (sharded, "fsdp")):
        job = {"model": "vae", "dropout": 0.2, "folder": str(folder)}
        settings = {"steps": 6, "batch": 8, "strategy": strategy, "checkpoint_every": 3}
        run({**job, "train": settings})
        (folder / "checkpoints" / "step-0000006").rename(folder / "whole")
        run({**job, "train": settings, "resume": True})
        for name in ("state.safetensors", "state.json"):
            again = folder / "checkpoints" / "step-0000006" / name
            assert (folder / "whole" / name).read_bytes() == again.read_bytes()
    a, b = (train.load_average(ToyVAE(), folder / "whole") for folder in (plain, sharded))
    for (name, x), y in zip(a.state_dict().items(), b.state_dict().values(), strict=True):
        assert torch.allclose(x, y, rtol=1e-5, atol=1e-7), name


def test_noise_is_keyed_by_the_draw():
    """Two ranks and four micro-batches draw for each image what one process draws for it."""
    model, seen = build("vae"), {}

    def losses(batch, rng, original=model.training_losses):
        keys = random.batch_keys(rng, batch)
        seen.update(zip(batch["draw"].tolist(), keys.tolist(), strict=True))
        yield from original(batch, rng)

    model.training_losses = losses
    fit(model, steps=3, batch=8)
    once, seen = seen.copy(), seen
    seen.clear()
    fit(model, steps=3, batch=8, accumulate=4)
    assert seen == once
    assert len(set(once.values())) == 24
