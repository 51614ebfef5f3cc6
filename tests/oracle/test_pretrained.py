"""Saving and loading: exact, atomic, never a pickle, every fault named."""

import json
import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from gouache import pretrained
from gouache.check import InputError


@dataclass(frozen=True)
class ToyConfig:
    width: int
    scales: tuple[float, ...] = (1.0, 2.0)


class Toy(nn.Module):
    Config = ToyConfig

    def __init__(self, config):
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.width, 2)
        self.register_buffer("seen", torch.tensor(7))


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Let the name of the toy be found; other names go through the registry."""
    real = pretrained._class
    monkeypatch.setattr(pretrained, "_class", lambda n: Toy if n == "Toy" else real(n))


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(0)
    pretrained.save(Toy(ToyConfig(3, (0.1,))), tmp_path / "toy")
    return tmp_path / "toy"


def edit_config(folder, change):
    file = folder / pretrained.CONFIG
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_round_trip_is_exact(folder):
    torch.manual_seed(0)
    original, loaded = Toy(ToyConfig(3, (0.1,))), pretrained.load(folder)
    assert loaded.config == original.config
    assert not loaded.training
    for name, value in original.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_other_weights_take_the_place_of_the_models(tmp_path):
    model = Toy(ToyConfig(3))
    average = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    pretrained.save(model, tmp_path, average)
    assert float(pretrained.load(tmp_path).linear.weight.detach().abs().sum()) == 0


def test_shared_and_strided_tensors_are_stored_whole(tmp_path):
    base = torch.arange(12.0).view(3, 4)
    tensors = {"whole": base, "turned": base.T, "part": base[1:]}
    pretrained.write_tensors(tensors, tmp_path / "a.safetensors")
    for name, value in pretrained.read_tensors(tmp_path / "a.safetensors").items():
        assert torch.equal(value, tensors[name])


class Bomb:
    """A pickle that would leave a mark when loaded."""

    def __reduce__(self):
        return (exec, ("import builtins; builtins.gouache_bomb = True",))


@pytest.mark.parametrize("write", [pickle.dump, torch.save], ids=["pickle", "torch"])
def test_pickle_is_refused_and_not_run(folder, write):
    import builtins

    with open(folder / pretrained.WEIGHTS, "wb") as stream:
        write({"a": Bomb()}, stream)
    with pytest.raises(InputError, match=r"not a whole safetensors file; pickled weights are ref"):
        pretrained.load(folder)
    assert not hasattr(builtins, "gouache_bomb")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_truncated_weights_are_refused(folder, keep):
    file = folder / pretrained.WEIGHTS
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        pretrained.load(folder)


def test_missing_files_are_named(folder, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.config\.json does not exist"):
        pretrained.load(tmp_path / "nowhere")
    (folder / pretrained.WEIGHTS).unlink()
    with pytest.raises(InputError, match=r"weights .*model\.safetensors does not exist"):
        pretrained.load(folder)


BROKEN = {
    "nothing": "",
    "half": "{",
    "bytes": "\x00\xff",
    "cut": '{"model": "Toy"',
    "deep": "[" * 100_000,
    "a long number": "9" * 5000,
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_broken_json_is_named(folder, text):
    (folder / pretrained.CONFIG).write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"config\.json is not JSON"):
        pretrained.load(folder)


@pytest.mark.parametrize("content", [[], {}, {"model": "Toy"}, "Toy", None])
def test_json_of_something_else_is_named(folder, content):
    (folder / pretrained.CONFIG).write_text(json.dumps(content))
    with pytest.raises(InputError, match="is not a gouache model: it lacks model and config"):
        pretrained.load(folder)


def test_unknown_key_names_the_near_miss(folder):
    edit_config(folder, lambda content: content["config"].update(widht=3))
    with pytest.raises(InputError, match=r'unknown key in .* "widht"; did you mean "width"\?'):
        pretrained.load(folder)


def test_missing_key_is_named(folder):
    edit_config(folder, lambda content: content["config"].pop("width"))
    with pytest.raises(InputError, match=r"config\.json .*'width'"):
        pretrained.load(folder)


def test_config_that_is_no_mapping_is_named(folder):
    edit_config(folder, lambda content: content.update(config=[1, 2]))
    with pytest.raises(InputError, match=r"config\.json must map names to values, got list"):
        pretrained.load(folder)


def test_unknown_model_is_named(folder):
    edit_config(folder, lambda content: content.update(model="Dffusion"))
    with pytest.raises(InputError, match=r'unknown model "Dffusion"'):
        pretrained.load(folder)


def test_weights_of_another_size_are_named(folder):
    edit_config(folder, lambda content: content["config"].update(width=5))
    with pytest.raises(InputError, match=r"does not fit its config\.json: size mismatch for lin"):
        pretrained.load(folder)


def test_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file or lies below one"):
        pretrained.save(Toy(ToyConfig(3)), tmp_path / "file")


def test_failure_in_mid_write_leaves_the_old_file(folder, monkeypatch):
    before = (folder / pretrained.WEIGHTS).read_bytes()

    def broken(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pretrained, "save_file", broken)
    with pytest.raises(OSError, match="No space"):
        pretrained.save(Toy(ToyConfig(3)), folder)
    assert (folder / pretrained.WEIGHTS).read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]


def test_model_is_saved_once_its_configuration_is(tmp_path, monkeypatch):
    """Killed between the two files, which leaves weights alone."""

    def killed(*_):
        raise KeyboardInterrupt

    assert not pretrained.is_saved(tmp_path / "toy")
    with monkeypatch.context() as patch:
        patch.setattr(pretrained, "write_text", killed)
        with pytest.raises(KeyboardInterrupt):
            pretrained.save(Toy(ToyConfig(3)), tmp_path / "toy")
    assert [path.name for path in (tmp_path / "toy").iterdir()] == ["model.safetensors"]
    assert not pretrained.is_saved(tmp_path / "toy")
    pretrained.save(Toy(ToyConfig(3)), tmp_path / "toy")
    assert pretrained.is_saved(tmp_path / "toy")


def test_file_appears_only_when_whole(tmp_path):
    target = tmp_path / "a.txt"
    with pretrained.replacing(target) as temporary:
        temporary.write_text("half")
        assert not target.exists()
        assert temporary.parent == tmp_path, "a rename is atomic within one file system"
    assert target.read_text() == "half"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
