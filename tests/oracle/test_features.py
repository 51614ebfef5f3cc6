"""Features against definitions: PCA by scikit-learn, Inception's resize and pooling by loops."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gouache.features import PCA, Inception, RandomFilters
from gouache.features._inception import _pool, resize_tf1
from gouache.random import generator


@pytest.mark.parametrize("n", [200, 30])
def test_pca_is_scikit_learns(n):
    from sklearn.decomposition import PCA as Peer

    x = torch.rand(n, 1, 8, 8, generator=generator(0))
    ours = PCA(x, 5)(x).double().numpy()
    theirs = Peer(5, svd_solver="full").fit_transform(x.flatten(1).double().numpy())
    signs = np.sign((ours * theirs).sum(0))
    assert np.allclose(ours, theirs * signs, atol=1e-5)


def test_inception_has_the_published_tensors():
    state = Inception().state_dict()
    assert len(state) == 566
    assert sum(v.numel() for v in state.values()) == 23_885_486
    shapes = {
        "Conv2d_1a_3x3.conv.weight": (32, 3, 3, 3),
        "Mixed_5b.branch5x5_2.conv.weight": (64, 48, 5, 5),
        "Mixed_6a.branch3x3dbl_3.bn.running_var": (96,),
        "Mixed_6c.branch7x7dbl_4.conv.weight": (160, 160, 7, 1),
        "Mixed_7a.branch7x7x3_4.conv.weight": (192, 192, 3, 3),
        "Mixed_7c.branch3x3dbl_3b.conv.weight": (384, 384, 3, 1),
        "fc.weight": (1008, 2048),
    }
    assert {name: tuple(state[name].shape) for name in shapes} == shapes


def test_inception_maps_have_the_papers_sizes():
    maps = Inception().maps(torch.rand(1, 3, 8, 8))
    sizes = [tuple(level.shape[1:]) for level in maps]
    assert sizes == [(64, 73, 73), (192, 35, 35), (768, 17, 17), (2048, 8, 8)]


@pytest.mark.parametrize(("height", "width", "side"), [(4, 7, 11), (9, 6, 5), (5, 5, 5)])
def test_resize_follows_tensorflow_1_pixel_by_pixel(height, width, side):
    x = torch.rand(1, 1, height, width, generator=generator(0), dtype=torch.float64)
    expected = torch.empty(side, side, dtype=torch.float64)
    for i in range(side):
        for j in range(side):
            u, v = i * height / side, j * width / side
            top, left = math.floor(u), math.floor(v)
            a, b = u - top, v - left
            below, right = min(top + 1, height - 1), min(left + 1, width - 1)
            upper = (1 - b) * x[0, 0, top, left] + b * x[0, 0, top, right]
            lower = (1 - b) * x[0, 0, below, left] + b * x[0, 0, below, right]
            expected[i, j] = (1 - a) * upper + a * lower
    assert torch.allclose(resize_tf1(x, side)[0, 0], expected, atol=1e-6)


def test_average_pooling_leaves_the_padding_out():
    ones = torch.ones(1, 2, 5, 4)
    assert torch.equal(_pool(ones, "average"), ones)
    x = torch.rand(1, 1, 5, 4)
    assert torch.allclose(_pool(x, "average")[0, 0, 0, 0], x[0, 0, :2, :2].mean())
    assert torch.allclose(_pool(x, "maximum")[0, 0, 0, 0], x[0, 0, :2, :2].max())


def test_unbiased_logits_are_the_linear_head_without_its_bias():
    torch.manual_seed(0)
    net, x = Inception("logits_unbiased"), torch.rand(1, 3, 8, 8)
    logits = net(x)
    net.layer = "2048"
    assert torch.allclose(F.linear(net(x), net.fc.weight), logits, atol=1e-6)


def test_random_filters_ignore_a_shift_of_brightness_and_scale_with_contrast():
    bank = RandomFilters(6, scales=1)
    x = torch.rand(2, 3, 12, 12, generator=generator(0))
    (plain,), (brighter,), (dimmer,) = bank.maps(x / 2), bank.maps(x / 2 + 0.5), bank.maps(x / 4)
    assert torch.allclose(plain, brighter, atol=1e-5)
    assert torch.allclose(plain, 2 * dimmer, atol=1e-5)
    assert torch.allclose(bank.bank.flatten(1).norm(dim=1), torch.ones(6))
