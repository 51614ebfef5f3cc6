"""The parts of networks against their formulas."""

import math

import pytest
import torch
from torch import nn

from gouache import nets, train
from gouache.random import generator


@pytest.fixture(autouse=True)
def one_thread():
    with train.threads(1):
        yield


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


def shaken(module):
    """Shake the weights, so that no layer is zero as it starts."""
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            parameter.add_(0.1 * normal(*parameter.shape, seed=i))
    return module


def unet(**changes):
    settings = {
        "channels": 1,
        "widths": (8, 16),
        "blocks": (1, 2),
        "attention": (False, True),
        "classes": 3,
    }
    return nets.UNet(**{**settings, **changes}).eval()


def test_fourier_is_cosines_and_sines_from_1_to_the_highest():
    value = torch.tensor([0.0, 0.7, -2.0])
    embedded = nets.fourier(value, 6, highest=100.0)
    for i, v in enumerate(value.tolist()):
        expected = [f(w * v) for f in (math.cos, math.sin) for w in (1, 10, 100)]
        assert embedded[i].tolist() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("width", [1, 3, 8, 32])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_group_norm_is_its_formula_in_float32(width, dtype):
    x = (3 * normal(4, width, 5, 5) + 2).to(dtype)
    norm = shaken(nets.GroupNorm(width))
    groups = min(8, width)
    y = x.double().reshape(4, groups, -1)
    y = (y - y.mean(-1, keepdim=True)) / (y.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    y = y.reshape(4, width, 5, 5) * norm.weight[:, None, None] + norm.bias[:, None, None]
    assert norm(x).dtype == torch.float32
    assert torch.allclose(norm(x).double(), y.double(), atol=1e-5)


def attention_by_hand(module, x):
    """Every query, key and head in a loop, in float64."""
    module, x = module.double(), x.double()
    B, C, H, W = x.shape
    h = nn.functional.group_norm(x, min(8, C), module.norm.weight, module.norm.bias)
    q, k, v = module.qkv(h).flatten(2).chunk(3, dim=1)
    size = C // module.heads
    out = torch.zeros_like(v)
    for b in range(B):
        for head in range(module.heads):
            rows = slice(head * size, (head + 1) * size)
            for i in range(H * W):
                score = (q[b, rows, i, None] * k[b, rows]).sum(0) / math.sqrt(size)
                out[b, rows, i] = (v[b, rows] * score.softmax(0)).sum(1)
    return x + module.out(out.view(B, C, H, W))


@pytest.mark.parametrize(
    ("width", "head", "heads"),
    [(8, 32, 1), (16, 8, 2), (32, 8, 4), (104, 32, 2), (40, 16, 2), (7, 2, 1)],
)
def test_attention_is_its_formula(width, head, heads):
    module, x = shaken(nets.SelfAttention(width, head)), normal(2, width, 3, 2)
    assert module.heads == heads
    result = module(x)
    assert torch.allclose(result.double(), attention_by_hand(module, x), atol=1e-5)


def test_attention_knows_no_place():
    module, x = shaken(nets.SelfAttention(16)), normal(2, 16, 3, 4)
    order = torch.randperm(12, generator=generator(1))
    turned = module(x.flatten(2)[:, :, order].view_as(x))
    assert torch.allclose(turned.flatten(2), module(x).flatten(2)[:, :, order], atol=1e-5)


def test_attention_in_bf16_is_near():
    module, x = shaken(nets.SelfAttention(16)), normal(2, 16, 3, 4)
    with torch.autocast("cpu", torch.bfloat16):
        low = module(x)
    assert torch.allclose(low.float(), module(x), atol=0.05)


@pytest.mark.parametrize("outside", [8, 16])
def test_residual_block_starts_as_its_skip(outside):
    block, x = nets.ResBlock(8, outside, 12), normal(2, 8, 5, 5)
    result = block(x, normal(2, 12, seed=1))
    skip = block.skip(x) + block.conv2.bias[:, None, None]
    assert torch.allclose(result, skip, atol=1e-6)
    if outside == 8:
        assert torch.allclose(result - block.conv2.bias[:, None, None], x, atol=1e-6)


def test_residual_block_is_its_formula():
    block = shaken(nets.ResBlock(8, 16, 12)).double()
    x, c = normal(2, 8, 5, 5).double(), normal(2, 12, seed=1).double()

    def norm(layer, h):
        return nn.functional.group_norm(h, 8, layer.weight, layer.bias)

    silu = nn.functional.silu
    block_f = block.float()
    result = block_f(x.float(), c.float())
    block = block.double()
    scale, shift = block.modulation(c)[:, :, None, None].chunk(2, 1)
    h = (1 + scale) * norm(block.norm2, block.conv1(silu(norm(block.norm1, x)))) + shift
    assert torch.allclose(result.double(), block.skip(x) + block.conv2(silu(h)), atol=1e-4)


def test_dropout_acts_in_training_alone():
    block = shaken(nets.ResBlock(8, 8, 12, dropout=0.5))
    x, c = normal(2, 8, 5, 5), normal(2, 12, seed=1)
    assert torch.equal(block.eval()(x, c), block(x, c))
    torch.manual_seed(0)
    assert not torch.equal(block.train()(x, c), block(x, c))


def channels_seen(block):
    """Return what the second convolution is given, ``(B, C, H W)``."""
    seen = []
    block.conv2.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].flatten(2)))
    block(normal(40, 8, 5, 5), normal(40, 12, seed=1))
    return seen[0]


def test_dropout_leaves_out_whole_channels():
    torch.manual_seed(0)
    block = shaken(nets.ResBlock(8, 32, 12, dropout=0.25))
    kept, whole = channels_seen(block.train()), channels_seen(block.eval())
    gone = (kept == 0).all(2)
    assert torch.equal((kept == 0).any(2), gone), "a channel is left out whole or not at all"
    assert float(gone.float().mean()) == pytest.approx(0.25, abs=0.05)  # 4 deviations of 1280
    assert torch.allclose(kept[~gone], whole[~gone] / 0.75)
    assert not (whole == 0).any()


def test_no_label_is_the_label_minus_one():
    embedding = nets.ConditionEmbedding(8, classes=3)
    c_noise = normal(4)
    none = embedding(c_noise)
    assert torch.equal(none, embedding(c_noise, {"label": torch.full((4,), -1)}))
    assert torch.equal(none, embedding(c_noise, {"text": torch.zeros(4)}))
    rows = [embedding(c_noise, {"label": torch.full((4,), k)}) for k in (-1, 0, 1, 2)]
    assert len({tuple(row[0].tolist()) for row in rows}) == 4


def test_model_without_labels_has_no_table():
    embedding = nets.ConditionEmbedding(8)
    assert embedding.label is None
    assert embedding(normal(2)).shape == (2, 8)


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 1), (16, 9)])
@pytest.mark.parametrize("widths", [(8, 16), (8, 8, 16)])
def test_unet_takes_any_size(size, widths):
    levels = len(widths)
    net = shaken(unet(widths=widths, blocks=(1,) * levels, attention=(False,) * levels))
    x = normal(2, 1, *size)
    assert net(x, normal(2)).shape == x.shape


def test_unet_starts_at_zero():
    net = unet()
    assert torch.equal(
        net(normal(2, 1, 8, 8), normal(2)), net.last.bias.expand(2, 8, 8, 1).movedim(-1, 1)
    )


def test_unet_keeps_the_samples_apart():
    net, x, c = shaken(unet()), normal(5, 1, 8, 8), normal(5, seed=1)
    label = torch.tensor([0, 1, 2, -1, 0])
    whole = net(x, c, {"label": label})
    for i in range(5):
        alone = net(x[i : i + 1], c[i : i + 1], {"label": label[i : i + 1]})
        assert torch.allclose(alone, whole[i : i + 1], atol=1e-5)


def test_unet_sees_level_label_and_the_whole_image():
    net, x, c = shaken(unet()), normal(2, 1, 8, 8), normal(2, seed=1)
    base = net(x, c, {"label": torch.tensor([0, 0])})
    other = net(x, c + torch.tensor([0.0, 1.0]), {"label": torch.tensor([1, 0])})
    assert not torch.allclose(base[0], other[0])
    assert not torch.allclose(base[1], other[1])
    x = x.requires_grad_()
    net(x, c)[0, 0, 0, 0].backward()
    assert (x.grad[0] != 0).all(), "attention makes the field of view the image"
    assert not x.grad[1].any()


def test_every_parameter_of_the_unet_learns():
    net = shaken(unet())
    label = torch.tensor([0, 1, 2, -1])
    net(normal(4, 1, 8, 8), normal(4), {"label": label}).square().mean().backward()
    assert [name for name, p in net.named_parameters() if not p.grad.any()] == []
