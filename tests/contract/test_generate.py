"""What every generative model keeps to, over all registered names of the role ``generate``."""

import copy
import dataclasses

import pytest
import torch

from gouache import pretrained, registry, train
from gouache.check import InputError
from gouache.contracts import (
    GenerativeModel,
    HasDenoiser,
    HasEncoder,
    HasLogProb,
    HasTrajectory,
    Pretrained,
    SampleOptions,
    Trainable,
)
from gouache.generate import Diffusion
from gouache.random import generator

NAMES = registry.names("generate")


def having(*abilities):
    """Return the names of the models with all of these abilities."""
    found = {name: registry.find("generate", name) for name in NAMES}
    return [name for name, kind in found.items() if all(issubclass(kind, a) for a in abilities)]


@pytest.fixture(autouse=True)
def one_thread():
    with train.threads(1):
        yield


def build(name, noise=0.1):
    """Return the tiny model with its weights shaken, so that no layer is zero as it starts."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = registry.find("generate", name).tiny()
        for parameter in model.parameters():
            parameter.add_(noise * torch.randn_like(parameter))
    return model.eval()


def condition(model, n):
    return {"label": torch.arange(n) % model.classes} if model.classes else None


def draw(model, n, seed=0, **options):
    options = SampleOptions(**options) if options else None
    labels = condition(model, n)
    return model.sample(n, condition=labels, rng=generator(seed), options=options)


def batch_of(model, n=16, seed=1):
    """Return a training batch of random images in the model's shape."""
    shape = model.sample(1, rng=generator(0)).shape[1:]
    image = torch.rand(n, *shape, generator=generator(seed))
    return {"image": image, "index": torch.arange(n), **(condition(model, n) or {})}


class Fixed:
    """A data set of one batch."""

    def __init__(self, batch):
        self.columns = batch

    def __len__(self):
        return len(self.columns["image"])

    def batch(self, indices):
        return {name: column[indices] for name, column in self.columns.items()}


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_contracts(name):
    model = build(name)
    assert isinstance(model, GenerativeModel)
    assert isinstance(model, Pretrained)
    assert isinstance(model.config, model.Config)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("n", [1, 5])
def test_samples_are_images(name, n):
    x = draw(build(name), n)
    assert x.shape[0] == n
    assert x.ndim == 4
    assert x.shape[1] in (1, 3)
    assert x.dtype == torch.float32
    assert x.device.type == "cpu"
    assert not x.requires_grad
    assert 0 <= float(x.min()) <= float(x.max()) <= 1
    assert all(not torch.equal(x[0], other) for other in x[1:])


@pytest.mark.parametrize("name", having(HasTrajectory))
def test_trajectory_ends_at_the_samples(name):
    model = build(name)
    labels = condition(model, 3)
    held, expected = model.trajectory(3, condition=labels, rng=generator(0))
    assert held.shape == expected.shape
    assert held.shape[1:] == draw(model, 3).shape
    assert held.shape[0] > 1
    torch.testing.assert_close(held[-1].clamp(0, 1), draw(model, 3), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_samples(name):
    model = build(name)
    first = draw(model, 3)
    assert torch.equal(first, draw(model, 3))
    assert not torch.equal(first, draw(model, 3, seed=1))
    rng = generator(0)
    a, b = (model.sample(3, condition=condition(model, 3), rng=rng) for _ in range(2))
    assert torch.equal(a, first)
    assert not torch.equal(a, b), "a generator that went on gives other samples"


@pytest.mark.parametrize("name", NAMES)
def test_sample_does_not_depend_on_chunk_or_number(name):
    model = build(name)
    whole = draw(model, 9, chunk=256)
    for chunk in (1, 7):
        assert torch.allclose(draw(model, 9, chunk=chunk), whole, rtol=0, atol=1e-5)
    assert torch.allclose(draw(model, 4), whole[:4], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_sampling_leaves_all_as_it_was(name):
    """Weights, mode, gradients and, with an rng, the global generator."""
    for training in (False, True):
        model = build(name).train(training)
        before = copy.deepcopy(model.state_dict())
        torch.manual_seed(3)
        state = torch.get_rng_state()
        draw(model, 2)
        assert torch.equal(state, torch.get_rng_state())
        assert model.training == training
        assert all(torch.equal(value, before[k]) for k, value in model.state_dict().items())
        assert all(p.grad is None and p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", NAMES)
def test_without_a_generator_the_global_one_decides(name):
    model = build(name)
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append(model.sample(2))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_draws_the_same(name, tmp_path):
    model = build(name)
    pretrained.save(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    weights = (tmp_path / "model.safetensors").read_bytes()
    assert weights[8:9] == b"{", "safetensors: eight bytes of length, then JSON"
    assert weights[:2] not in (b"PK", b"\x80\x04"), "no zip, no pickle"
    loaded = pretrained.load(tmp_path)
    assert type(loaded) is type(model)
    assert torch.equal(draw(loaded, 3), draw(model, 3))


@pytest.mark.parametrize("name", NAMES)
def test_layout_in_memory_does_not_matter(name):
    """Training leaves the weights channels-last, loading does not."""
    model = build(name)
    turned = copy.deepcopy(model).to(memory_format=torch.channels_last)
    assert torch.allclose(draw(turned, 3), draw(model, 3), rtol=0, atol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", NAMES)
def test_devices_agree(name):
    model = build(name)
    here = draw(model, 5)
    there = draw(model.to("cuda"), 5)
    assert there.device.type == "cpu"
    assert torch.allclose(here, there, rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        ({"p_mean": float("nan")}, "p_mean must be a finite number"),
        ({"p_mean": 1e3}, "p_mean must be in"),
        ({"p_std": -1}, "p_std must be in"),
        ({"sigma_max": 1e300}, "sigma_max must be in"),
        ({"sigma_min": 20.0}, "sigma_min must be in"),
        ({"shape": (8, 8)}, r"shape must be \(C, H, W\)"),
        ({"shape": (1, 8, 0)}, r"shape \(C, H, W\) must be at least 1"),
        ({"shape": (1, 8, 8.5)}, r"shape \(C, H, W\) must be a whole number"),
        ({"widths": (), "blocks": (), "attention": ()}, "one entry a level"),
        ({"widths": (2**63, 8)}, "widths must be a whole number of at most 63 bits"),
    ],
)
def test_diffusion_config_is_checked(change, saying):
    config = Diffusion.tiny().config
    with pytest.raises(InputError, match=saying):
        dataclasses.replace(config, **change)


def test_diffusion_takes_widths_that_a_head_of_attention_does_not_divide():
    config = dataclasses.replace(Diffusion.tiny().config, widths=(8, 104))
    assert Diffusion(config).eval().sample(1, rng=generator(0)).shape == (1, 1, 8, 8)


def labelled():
    return [name for name in NAMES if build(name).classes]


@pytest.mark.parametrize("name", labelled())
@pytest.mark.parametrize(
    "labels",
    [
        torch.zeros(4, dtype=torch.long),
        torch.zeros(3, 1, dtype=torch.long),
        torch.zeros(3),
        torch.full((3,), 10_000),
        torch.full((3,), -2),
    ],
    ids=["too many", "a column", "floats", "too large", "too small"],
)
def test_labels_that_do_not_fit_are_errors(name, labels):
    with pytest.raises(InputError, match="label"):
        build(name).sample(3, condition={"label": labels}, rng=generator(0))


@pytest.mark.parametrize("name", labelled())
def test_condition_of_another_name_is_an_error(name):
    with pytest.raises(InputError, match="label"):
        build(name).sample(3, condition={"colour": torch.zeros(3)}, rng=generator(0))


@pytest.mark.parametrize("name", labelled())
def test_a_label_changes_its_own_sample_only(name):
    model = build(name)
    one, two = torch.zeros(4, dtype=torch.long), torch.tensor([0, 0, 1, 0])
    a, b = (model.sample(4, condition={"label": x}, rng=generator(0)) for x in (one, two))
    assert torch.allclose(a[[0, 1, 3]], b[[0, 1, 3]], rtol=0, atol=1e-5)
    assert not torch.allclose(a[2], b[2], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", having(Trainable))
def test_gradient_reaches_every_parameter_of_its_phase(name):
    model = build(name).train()
    batch = batch_of(model)
    model.prepare(batch)
    groups = model.parameter_groups()
    owned = [id(p) for group in groups.values() for p in group]
    assert sorted(owned) == sorted(id(p) for p in model.parameters() if p.requires_grad)
    seen = []
    for phase, loss in model.training_losses(batch, generator(0)):
        seen.append(phase)
        model.zero_grad()
        loss.backward()
        names = {id(p): name for name, p in model.named_parameters()}
        dead = [names[id(p)] for p in groups[phase] if p.grad is None or not p.grad.any()]
        assert dead == [], phase
    assert tuple(seen) == model.phases


@pytest.mark.parametrize("name", having(Trainable))
def test_loss_is_the_mean_over_the_batch(name):
    """Of its halves too, so that micro-batches and ranks may share a batch (no batch norm)."""
    model = build(name)
    batch = batch_of(model)
    model.prepare(batch)
    halves = [{k: v[part] for k, v in batch.items()} for part in (slice(8), slice(8, 16))]

    def first_loss(part):
        return float(next(model.training_losses(part, generator(0)))[1].detach())

    a, b = map(first_loss, halves)
    assert first_loss(batch) == pytest.approx((a + b) / 2, rel=1e-5)


def single_phased():
    """Return the models whose loss must fall; those of adversaries need not."""
    return [name for name in having(Trainable) if len(build(name).phases) == 1]


def ramps(like):
    """Return images that brighten from left to right, or darken, by their place in the batch."""
    slope = torch.linspace(-0.5, 0.5, len(like))[:, None, None, None]
    return (0.5 + slope * torch.linspace(-0.9, 0.9, like.shape[-1])).expand_as(like)


@pytest.mark.parametrize("name", single_phased())
def test_training_lowers_the_loss_on_a_fixed_batch(name):
    model = build(name, noise=0.0)
    batch = batch_of(model)
    batch["image"] = ramps(batch["image"])
    model.prepare(batch)

    def loss():
        with torch.no_grad():
            losses = [next(model.training_losses(batch, generator(s)))[1] for s in range(8)]
        return float(torch.stack(losses).mean())

    before = loss()
    config = train.TrainConfig(
        steps=100, batch=16, lr=1e-2, warmup=5, accelerator="cpu", precision="32"
    )
    for _ in train.fit(model, Fixed(batch), config):
        pass
    assert loss() < before - 0.2 * abs(before)


@pytest.mark.parametrize("name", having(HasLogProb))
def test_log_prob_is_a_finite_number_an_image(name):
    model = build(name)
    images = batch_of(model, 3)["image"]
    value = model.log_prob(images, condition(model, 3), rng=generator(0))
    assert value.shape == (3,)
    assert value.isfinite().all()
    again = model.log_prob(images, condition(model, 3), rng=generator(0))
    assert torch.allclose(value, again)
    assert len(value.unique()) == 3


@pytest.mark.parametrize("name", having(HasDenoiser))
def test_denoiser_of_next_to_no_noise_is_the_identity(name):
    """E[x0 | x0 + s n] goes to y as s goes to 0, for any y that it is given."""
    model = build(name)
    images = batch_of(model, 3)["image"]
    y = model.encode(images) if isinstance(model, HasEncoder) else 4 * images - 2
    with torch.no_grad():
        x0 = model.denoiser()(y, 1e-4, condition(model, 3))
    assert x0.shape == y.shape
    assert torch.allclose(x0, y, atol=1e-2)


@pytest.mark.parametrize("name", having(HasEncoder))
def test_latents_decode_to_images(name):
    model = build(name)
    images = batch_of(model, 3)["image"]
    with torch.no_grad():
        again = model.decode(model.encode(images, condition(model, 3)), condition(model, 3))
    assert again.shape == images.shape
    assert 0 <= float(again.min()) <= float(again.max()) <= 1
