"""The average, the learning rate and the log against what they must be."""

import json
import math

import numpy as np
import pytest
import torch
from _toys import Blobs, build
from torch import nn

from gouache import train


class Two(nn.Module):
    """One parameter and one buffer."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(3))
        self.register_buffer("level", torch.zeros(()))


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99, 1.0])
def test_average_is_the_recursion(decay):
    rng = np.random.default_rng(0)
    model = Two()
    average, expected = train.Average(model, decay), np.zeros(3)
    for k in range(200):
        weights = rng.normal(size=3).astype(np.float32)
        with torch.no_grad():
            model.weight.copy_(torch.from_numpy(weights))
            model.level.fill_(k)
        average.update(model, k)
        d = min(decay, (k + 1) / (k + 10))
        expected = d * expected + (1 - d) * weights
        np.testing.assert_allclose(average.model.weight.numpy(), expected, atol=1e-6)
        assert float(average.model.level) == k
    if decay == 0:
        assert torch.equal(average.model.weight, model.weight.detach()), "the model itself"


def test_average_of_constant_weights_is_the_mean_at_small_k():
    """With d_k = (k + 1) / (k + 10), the start is forgotten as a polynomial: 9! k! / (k + 9)!."""
    model = Two()
    average = train.Average(model, 1.0)
    with torch.no_grad():
        model.weight.fill_(1.0)
    for k in range(20):
        average.update(model, k)
        left = math.prod((j + 1) / (j + 10) for j in range(k + 1))
        assert float(average.model.weight[0]) == pytest.approx(1 - left, abs=1e-5)
    assert left == pytest.approx(math.factorial(9) * math.factorial(20) / math.factorial(29))


def test_average_is_a_copy_that_needs_no_gradient():
    model = Two().train()
    average = train.Average(model, 0.9)
    assert not average.model.training
    assert not average.model.weight.requires_grad
    assert average.model.weight.data_ptr() != model.weight.data_ptr()


@pytest.mark.parametrize("warmup", [0, 1, 10])
def test_learning_rate_is_its_closed_form(warmup):
    config = train.TrainConfig(steps=100, lr=0.3, warmup=warmup)
    flat = train.TrainConfig(steps=100, lr=0.3, warmup=warmup, decay="constant")
    for k in range(100):
        ramp = min(1, (k + 1) / warmup) if warmup else 1
        assert train.learning_rate(flat, k) == pytest.approx(0.3 * ramp)
        fall = math.cos(math.pi * k / 200) ** 2
        assert train.learning_rate(config, k) == pytest.approx(0.3 * ramp * fall)


def test_the_optimizer_gets_that_learning_rate():
    """From the log and from the steps; the weights of a step at rate 0 do not move."""
    config = train.TrainConfig(steps=6, batch=8, lr=0.0, accelerator="cpu")
    model = build("vae")
    before = [p.detach().clone() for p in model.parameters()]
    list(train.fit(model, Blobs(), config))
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    config = train.TrainConfig(steps=6, batch=8, accelerator="cpu")
    rates = [step.lr for step in train.fit(build("vae"), Blobs(), config)]
    assert rates == [train.learning_rate(config, k) for k in range(6)]


def test_log_holds_every_nth_step_and_the_last(tmp_path):
    config = train.TrainConfig(steps=11, batch=8, log_every=4, accelerator="cpu")
    steps = list(train.fit(build("gan"), Blobs(), config, folder=tmp_path))
    lines = train.read_log(tmp_path)
    assert [line["step"] for line in lines] == [4, 8, 11]
    for line in lines:
        step = steps[line["step"] - 1]
        assert line["critic"] == step.losses["critic"]
        assert line["generator"] == step.losses["generator"]
        assert line["lr"] == step.lr
    seconds = [step.seconds for step in steps]
    assert seconds == sorted(seconds)
    assert lines[-1]["seconds"] == round(seconds[-1], 4)


def test_half_a_line_is_left_out_and_overwritten(tmp_path):
    log = train.Log(tmp_path)
    for step in (1, 2, 3):
        log.write(step, loss=step / 3)
    log.close()
    with open(log.file, "a") as stream:
        stream.write('{"step": 4, "lo')
    assert [line["step"] for line in train.read_log(tmp_path)] == [1, 2, 3]
    log = train.Log(tmp_path, 2)
    log.write(3, loss=9.0)
    log.close()
    text = log.file.read_text().splitlines()
    assert [json.loads(line) for line in text] == [
        {"step": 1, "loss": 1 / 3},
        {"step": 2, "loss": 2 / 3},
        {"step": 3, "loss": 9.0},
    ]


def test_log_of_no_run_is_empty(tmp_path):
    assert train.read_log(tmp_path) == []


def test_tensorboard_gets_the_same_numbers(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    log = train.Log(tmp_path)
    for step in (1, 2, 3):
        log.write(step, loss=step / 3, lr=0.1)
    log.close()
    log = train.Log(tmp_path, 1)
    log.write(2, loss=7.0, lr=0.1)
    log.close()
    events = accumulator.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert set(events.Tags()["scalars"]) == {"loss", "lr"}
    seen = [(event.step, event.value) for event in events.Scalars("loss")]
    assert seen == [(1, pytest.approx(1 / 3)), (2, 7.0)], "what came after the step is purged"


def test_without_tensorboard_there_is_the_log_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    log = train.Log(tmp_path)
    log.write(1, loss=1.0)
    log.close()
    assert [path.name for path in tmp_path.iterdir()] == ["log.jsonl"]
