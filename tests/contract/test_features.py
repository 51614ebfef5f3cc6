"""What every representation keeps to: vectors per image, frozen, independent of the batch."""

import hashlib

import pytest
import torch

from gouache import pretrained, registry
from gouache.check import InputError
from gouache.contracts import Features, Pretrained, Trainable
from gouache.features import PCA, DigitsNet, Inception, Pixels, RandomFilters, load
from gouache.random import generator


def images(n=24, channels=1, side=8, seed=0):
    return torch.rand(n, channels, side, side, generator=generator(seed))


def build(name):
    """Return one instance of a registered representation, ready for 8 x 8 grey images."""
    target = registry.find("features", name)
    if name == "PCA":
        return target(images(seed=1), 8)
    if name == "Inception":
        return target("64")
    return target.tiny() if issubclass(target, Pretrained) else target()


NAMES = registry.names("features")


@pytest.mark.parametrize("name", NAMES)
def test_is_features_with_a_name(name):
    features = build(name)
    assert isinstance(features, Features)
    assert isinstance(features.name, str)
    assert features.name


@pytest.mark.parametrize("name", NAMES)
def test_one_float_vector_an_image_whatever_the_batch(name):
    torch.manual_seed(0)
    features, x = build(name), images(6)
    whole = features(x)
    assert whole.shape[0] == 6
    assert whole.ndim == 2
    assert whole.dtype == torch.float32
    assert not whole.requires_grad
    parts = torch.cat([features(x[:1]), features(x[1:5]), features(x[5:])])
    assert torch.allclose(whole, parts, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_tells_images_apart_and_repeats_itself(name):
    torch.manual_seed(0)
    features, x = build(name), images(6)
    assert torch.equal(features(x), features(x.clone()))
    assert torch.pdist(features(x)).min() > 0


@pytest.mark.parametrize("name", NAMES)
def test_maps_begin_with_the_batch(name):
    torch.manual_seed(0)
    maps = build(name).maps(images(3))
    assert maps
    assert all(level.ndim == 4 and len(level) == 3 for level in maps)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (torch.full((2, 1, 8, 8), float("nan")), "finite"),
        (torch.full((2, 1, 8, 8), 255.0), "divide 8-bit levels by 255"),
        (torch.zeros(2, 8, 8), "must have shape"),
        (torch.zeros(2, 8, 8, 3), "channels-last"),
        (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "divide by 255"),
    ],
)
def test_refuses_what_is_no_image(name, bad, message):
    with pytest.raises(InputError, match=message):
        build(name)(bad)


@pytest.mark.parametrize("name", ["pixels", "random", "pca-8"])
def test_load_gives_the_name_it_was_asked_for(name):
    assert load(name, reference=images()).name == name


@pytest.mark.parametrize(("n", "side", "name"), [(60, 8, "20"), (14, 8, "13"), (60, 3, "9")])
def test_pca_without_a_number_takes_what_the_images_allow(n, side, name):
    features = load("pca", reference=images(n, side=side))
    assert features.name == f"pca-{name}"
    assert features(images(2, side=side)).shape == (2, int(name))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("pixel", 'did you mean "pixels"'),
        ("pca", "pass reference=images"),
        ("pca-x", "pca-K"),
        ("pca-", 'named pca or pca-K, got "pca-"'),
        ("pixels-7", 'named pixels, got "pixels-7"'),
        ("digits-foo", 'named digits, got "digits-foo"'),
        ("random-", 'named random, got "random-"'),
        ("digits", "no digits network"),
        ("inception-99", "unknown layer"),
        ("inception", "no Inception weights"),
    ],
)
def test_load_names_the_mend(name, message, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    weights = tmp_path / "none" if name == "digits" else None
    with pytest.raises(InputError, match=message):
        load(name, weights=weights)


@pytest.mark.parametrize("name", ["pixels", "pca", "pca-4", "random"])
def test_load_refuses_weights_where_there_are_none(name, tmp_path):
    with pytest.raises(InputError, match="leave weights out"):
        load(name, reference=images(), weights=tmp_path)


def test_pca_needs_two_images():
    with pytest.raises(InputError, match="2 images or more"):
        load("pca", reference=images(1))


def test_pca_refuses_too_few_images_and_other_shapes():
    with pytest.raises(InputError, match="fewer components"):
        PCA(images(10), 20)
    with pytest.raises(InputError, match="fitted to images"):
        PCA(images(), 4)(images(2, side=9))


def test_random_filters_take_grey_colour_and_odd_sizes():
    bank = RandomFilters(4)
    grey = images(2, side=13)
    assert torch.allclose(bank(grey), bank(grey.expand(-1, 3, -1, -1)))
    assert bank(images(2, 3, 4)).shape[0] == 2
    with pytest.raises(InputError, match="4 pixels"):
        bank(images(2, side=3))
    assert not torch.equal(bank(grey), RandomFilters(4, seed=1)(grey))


def test_pixels_scale():
    assert torch.equal(Pixels(scale=16)(images()), 16 * Pixels()(images()))


def test_digits_net_learns_and_survives_saving(tmp_path):
    """A few dozen steps on two separable classes; the loop calls it with its generator."""
    torch.manual_seed(0)
    net = DigitsNet.tiny()
    label = torch.arange(24) % 2
    batch = {"image": 0.2 * images() + 0.6 * label[:, None, None, None], "label": label}
    optimizer = torch.optim.Adam(net.parameters(), 0.01)
    for _ in range(40):
        phase, loss = net(net.training_losses(batch, generator(0)))
        assert phase == "model"
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
    assert (net.logits(batch["image"]).argmax(1) == label).float().mean() == 1
    pretrained.save(net, tmp_path)
    again = load("digits", weights=tmp_path)
    assert again.name.startswith(f"digits ({tmp_path.name} ")
    assert net.name != "digits"
    assert torch.equal(again(batch["image"]), net(batch["image"]))
    assert isinstance(net, Trainable)


def test_weights_that_ship_are_digits_wherever_they_lie(tmp_path):
    pretrained.save(load("digits"), tmp_path)
    assert load("digits").name == "digits"
    assert load("digits", weights=tmp_path).name == "digits"


def test_digits_net_is_small_and_takes_other_sizes():
    net = DigitsNet()
    assert sum(p.numel() for p in net.parameters()) < 100_000
    assert net(images(2, side=15)).shape == (2, 64)


def test_inception_refuses_wrong_weights(tmp_path):
    file = tmp_path / "inception.pth"
    torch.save({"x": torch.zeros(1)}, file)
    with pytest.raises(InputError, match="SHA-256 begins"):
        Inception.load(file)
    with pytest.raises(InputError, match="do not exist"):
        Inception.load(tmp_path / "none.pth")
    with pytest.raises(InputError, match="566 tensors differ"):
        Inception().adopt({"x": torch.zeros(1)}, "file")


def test_inception_of_the_published_hash_has_the_plain_name(tmp_path, monkeypatch):
    file = tmp_path / "inception.pth"
    torch.save(Inception().state_dict(), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    monkeypatch.setattr("gouache.features._inception._SHA256", digest[:8])
    assert Inception.load(file, layer="192").name == "inception-192"


def test_inception_reads_safetensors_from_the_cache_and_does_not_vouch_for_them(
    tmp_path, monkeypatch
):
    net = Inception("192")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    pretrained.write_tensors(net.state_dict(), folder / "inception-2015-12-05.safetensors")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    again = load("inception-192")
    assert again.name == "inception-192 (unverified)"
    assert torch.equal(again(images(2)), net(images(2)))
