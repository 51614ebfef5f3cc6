"""Non-local means as a matrix, against the filter itself and against what such a matrix must be."""

import pytest
import torch

from gouache.check import InputError
from gouache.patches import nlmeans, nlmeans_graph
from gouache.random import generator

CASES = [
    ((1, 20, 17), {"patch": 3, "window": 7}),
    ((3, 9, 40), {"patch": 5, "window": 5, "h": 0.8}),
    ((1, 3, 5), {"patch": 5, "window": 9}),
    ((1, 70, 9), {}),
    ((5, 8, 8), {"patch": 1, "window": 1}),
]


def noisy(shape):
    ramp = torch.linspace(0.2, 0.8, shape[-1]).expand(shape)
    return ramp + 0.1 * torch.randn(shape, generator=generator(0))


def filtered(W, image):
    pixels = image.reshape(len(image), -1).T
    return ((W @ pixels) / (W @ torch.ones(len(pixels), 1))).T.reshape(image.shape)


@pytest.mark.parametrize(("shape", "options"), CASES)
def test_rows_divided_by_their_sums_are_the_filter(shape, options):
    image = noisy(shape)
    W = nlmeans_graph(image, 0.1, **options)
    assert W.layout is torch.sparse_csr
    assert W.dtype is torch.float32
    torch.testing.assert_close(
        filtered(W, image), nlmeans(image, 0.1, aggregate="pixel", **options), atol=1e-5, rtol=0
    )


def test_a_map_of_noise_levels_counts():
    image, level = noisy((1, 12, 12)), torch.linspace(0.05, 0.2, 12).expand(12, 12)
    W = nlmeans_graph(image, level, patch=3, window=5)
    torch.testing.assert_close(
        filtered(W, image),
        nlmeans(image, level, patch=3, window=5, aggregate="pixel"),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize("keep", [None, 4])
def test_it_is_symmetric_to_the_bit_and_each_pixel_weighs_1_in_itself(keep):
    W = nlmeans_graph(noisy((1, 15, 11)), 0.1, patch=3, window=7, keep=keep).to_dense()
    assert torch.equal(W, W.T)
    assert torch.equal(W.diagonal(), torch.ones(165))
    assert float(W.min()) >= 0
    assert float(W.max()) == 1


@pytest.mark.parametrize("keep", [None, 3])
def test_eigenvalues_of_the_filter_lie_above_minus_1_and_up_to_that_of_constants(keep):
    W = nlmeans_graph(noisy((1, 9, 8)), 0.05, patch=3, window=5, keep=keep).to_dense().double()
    values = torch.linalg.eigvals(W / W.sum(1, keepdim=True))
    assert float(values.imag.abs().max()) < 1e-7
    assert float(values.real.min()) > -1
    assert float(values.real.max()) == pytest.approx(1, abs=1e-7)


def test_keep_leaves_the_strongest_edges_of_either_end():
    image, options = noisy((1, 13, 10)), {"patch": 3, "window": 7, "h": 3.0}
    whole = nlmeans_graph(image, 0.05, **options).to_dense()
    others = whole - torch.eye(len(whole))
    least = others.topk(5, dim=1).values[:, -1:]
    strong = others >= least
    expected = torch.where(strong | strong.T, others, 0) + torch.eye(len(whole))
    kept = nlmeans_graph(image, 0.05, **options, keep=5)
    torch.testing.assert_close(kept.to_dense(), expected, atol=0, rtol=0)
    assert len(kept.values()) < len(nlmeans_graph(image, 0.05, **options).values())


def test_more_neighbours_than_there_are_is_all_of_them():
    image = noisy((1, 6, 5))
    whole, kept = (nlmeans_graph(image, 0.1, patch=3, window=5, keep=k) for k in (None, 99))
    assert torch.equal(kept.to_dense(), whole.to_dense())


def test_a_window_ends_with_the_image():
    image = noisy((1, 6, 9))
    sigma = torch.tensor(0.1, requires_grad=True)
    whole, more = (nlmeans_graph(image, sigma, window=side) for side in (17, 100_001))
    assert torch.equal(more.to_dense(), whole.to_dense())


def test_without_noise_a_pixel_has_no_neighbour():
    assert torch.equal(nlmeans_graph(noisy((1, 4, 6)), 0.0).to_dense(), torch.eye(24))


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (torch.rand(1, 1300, 1300), {"window": 21}, r"a window of 21 takes 5.5 GiB, and the most"),
        (torch.rand(1, 1500, 1500), {"keep": 20}, "a keep of 20 takes 5.3 GiB"),
        (torch.rand(2, 1, 8, 8), {}, "of one image"),
        (torch.rand(1, 8, 8), {"window": 4}, "window must be odd"),
        (torch.rand(1, 8, 8), {"keep": 0}, "keep must be"),
        (torch.rand(8, 8), {}, "image must be"),
    ],
)
def test_what_does_not_fit_is_told_before_any_work(image, options, message):
    with pytest.raises(InputError, match=message):
        nlmeans_graph(image, 0.1, **options)
