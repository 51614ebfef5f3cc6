"""The Gaussian, bilateral and guided filters against their definitions and other libraries."""

import math
import subprocess
import sys

import numpy as np
import pytest
import torch
from scipy import ndimage

from gouache.check import InputError
from gouache.patches import _guided, bilateral, gaussian, guided

SIZES = [(1, 13, 17), (3, 12, 9), (2, 5, 20), (1, 3, 2)]


def example(channels, height, width, seed=0):
    rng = np.random.default_rng(seed)
    ramp = np.broadcast_to(np.linspace(0, 1, height)[:, None], (channels, height, width))
    return (ramp + 0.1 * rng.standard_normal(ramp.shape)).astype(np.float32)


def falling(height, width, low, high):
    return np.tile(np.linspace(low, high, width, dtype=np.float32), (height, 1))


def windows(height, width, r):
    """Yield every pixel and the slices of its window, cut at the border."""
    for y in range(height):
        for x in range(width):
            yield y, x, slice(max(0, y - r), y + r + 1), slice(max(0, x - r), x + r + 1)


def slope(run, image, at, step=1e-2):
    """Return the derivative of a scalar by one pixel, from its ends."""
    ends = [image.detach().clone(), image.detach().clone()]
    ends[0][at] -= step
    ends[1][at] += step
    low, high = (float(run(end)) for end in ends)
    return (high - low) / (2 * step)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("width", [0.0, 0.6, 2.0])
def test_gaussian_is_scipys(size, width):
    u = example(*size)
    expected = ndimage.gaussian_filter(u.astype(float), (0, width, width), mode="reflect")
    found = gaussian(torch.from_numpy(u), width=width)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("width", [4.0, 9.0, 17.0])
def test_gaussian_wider_than_the_image_is_scipys_too(width):
    u = example(2, 9, 14).astype(np.float64)
    expected = [ndimage.gaussian_filter(plane, width, mode="reflect") for plane in u]
    found = gaussian(torch.from_numpy(u), 0.1, width=width)
    np.testing.assert_allclose(found.numpy(), expected, atol=2e-6, rtol=0)


def test_a_width_beyond_all_bounds_costs_no_more_than_the_image():
    u = torch.from_numpy(example(1, 9, 14))
    mean = u.mean().expand_as(u)
    torch.testing.assert_close(gaussian(u, 0.1, width=1e9), mean, atol=1e-4, rtol=0)
    u = u.requires_grad_()
    for image in (u, u.detach()):
        found = bilateral(image, 0.1, width=1e9, contrast=1e9)
        torch.testing.assert_close(found, mean, atol=1e-5, rtol=0)
        whole = bilateral(image, 0.1, radius=13)
        assert torch.equal(bilateral(image, 0.1, radius=10_000), whole)


def test_gaussian_of_a_varying_width_is_the_definition():
    u, (height, width) = example(2, 12, 15), (12, 15)
    sigma = falling(height, width, 0.0, 0.3)
    reach = 4 * 3.5 * math.sqrt(0.3)
    r = math.ceil(reach)
    padded = np.pad(u.astype(float), ((0, 0), (r, r), (r, r)), "symmetric")
    step = np.arange(-r, r + 1)
    expected = np.empty(u.shape)
    for y in range(height):
        for x in range(width):
            w = max(3.5 * math.sqrt(sigma[y, x]), 1e-3)
            line = np.exp(-0.5 * (step / w) ** 2) * (np.abs(step) <= math.floor(4 * w + 0.5))
            g = np.outer(line, line) / line.sum() ** 2
            expected[:, y, x] = (g * padded[:, y : y + 2 * r + 1, x : x + 2 * r + 1]).sum((1, 2))
    found = gaussian(torch.from_numpy(u), torch.from_numpy(sigma))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_array_equal(found[:, :, 0], u[:, :, 0])


@pytest.mark.parametrize("width", [1.0, 2.0])
def test_gaussian_leaves_the_noise_that_theory_says(width):
    y = torch.randn(1, 600, 600, generator=torch.Generator().manual_seed(0)) / 4
    left = float(gaussian(y, width=width)[:, 20:-20, 20:-20].var() / y.var())
    assert left == pytest.approx(1 / (4 * math.pi * width**2), rel=0.05)


def bilateral_by_loops(u, g, contrast, width, r):
    u, g, out = u.astype(float), g.astype(float), np.empty(u.shape)
    for y, x, rows, cols in windows(*u.shape[1:], r):
        yy, xx = np.mgrid[: u.shape[1], : u.shape[2]][:, rows, cols]
        d2 = ((g[:, rows, cols] - g[:, y, x][:, None, None]) ** 2).mean(0)
        k = np.exp(-((yy - y) ** 2 + (xx - x) ** 2) / (2 * width**2))
        k *= np.exp(-d2 / (2 * contrast[y, x] ** 2))
        out[:, y, x] = (k * u[:, rows, cols]).sum((1, 2)) / k.sum()
    return out


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("guide", [None, 1, 4])
def test_bilateral_kernels_and_tensors_are_the_definition(size, guide):
    u = example(*size)
    g = u if guide is None else example(guide, *size[1:], seed=1)
    sigma = falling(*size[1:], 0.05, 0.2)
    expected = bilateral_by_loops(u, g, 2.5 * sigma, 1.5, 4)
    for image in (torch.from_numpy(u), torch.from_numpy(u).requires_grad_()):
        other = None if guide is None else torch.from_numpy(g)
        found = bilateral(image, torch.from_numpy(sigma), guide=other, width=1.5, radius=4)
        np.testing.assert_allclose(found.detach(), expected, atol=1e-5)


def test_bilateral_of_any_contrast_is_the_gaussian_of_what_lies_in_the_image():
    u = example(2, 20, 15)
    options = {"radius": 6, "mode": "constant"}
    weights = ndimage.gaussian_filter(np.ones((20, 15)), 1.7, **options)
    sums = np.stack([ndimage.gaussian_filter(a.astype(float), 1.7, **options) for a in u])
    found = bilateral(torch.from_numpy(u), width=1.7, contrast=1e5)
    np.testing.assert_allclose(found, sums / weights, atol=1e-5)


def test_bilateral_of_no_contrast_is_the_image():
    u = torch.from_numpy(example(3, 20, 15))
    assert torch.equal(bilateral(u, 0.1, contrast=0.0), u)
    torch.testing.assert_close(bilateral(u, 0.1, contrast=1e-5), u)


def test_bilateral_does_not_look_across_an_edge_of_the_guide():
    u, guide = torch.from_numpy(example(1, 16, 16)), torch.zeros(1, 16, 16)
    guide[..., 8:] = 1
    other = u.clone()
    other[..., 8:] += 1
    left, shifted = (bilateral(a, 0.1, guide=guide, contrast=0.02) for a in (u, other))
    torch.testing.assert_close(left[..., :8], shifted[..., :8])
    torch.testing.assert_close(left[..., 8:] + 1, shifted[..., 8:])


def test_bilateral_with_a_guide_serves_every_image_or_its_own():
    u = torch.from_numpy(np.stack([example(1, 16, 16, seed) for seed in (1, 2)]))
    guide = torch.from_numpy(example(3, 16, 16, 3))
    both = bilateral(u, 0.1, guide=guide)
    assert torch.equal(both[1], bilateral(u[1], 0.1, guide=guide))
    assert torch.equal(both, bilateral(u, 0.1, guide=torch.stack([guide, guide])))


def test_bilateral_runs_in_a_process_forked_from_one_that_has_run_it():
    program = """
import os, torch
from gouache.patches import bilateral
u = torch.linspace(0, 1, 4000).view(1, 100, 40)
torch.set_num_threads(2)
bilateral(u, 0.1)
child = os.fork()
if not child:
    torch.set_num_threads(2)
    bilateral(u, 0.1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)


def test_bilateral_is_opencvs_inside():
    cv2 = pytest.importorskip("cv2")
    u = example(1, 40, 40)
    expected = cv2.bilateralFilter(u[0], 17, 0.25, 1.8)
    found = bilateral(torch.from_numpy(u), width=1.8, contrast=0.25, radius=8)
    np.testing.assert_allclose(found[0, 8:-8, 8:-8], expected[8:-8, 8:-8], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_bilateral_is_scikit_images_inside(channels):
    """Without distance: of an odd window, scikit-image's table of distances has a row too many.

    Its distance of colours is Euclidean, then divided by the number of channels.
    """
    from skimage.restoration import denoise_bilateral

    u = np.abs(example(channels, 40, 40))
    expected = denoise_bilateral(
        u.transpose(1, 2, 0).astype(float).squeeze(),
        win_size=11,
        sigma_color=0.25 / channels**0.5,
        sigma_spatial=1e6,
        bins=100_000,
        channel_axis=2 if channels == 3 else None,
    ).reshape(40, 40, channels)
    found = bilateral(torch.from_numpy(u), width=1e6, contrast=0.25, radius=5)
    inside = found.permute(1, 2, 0)[5:-5, 5:-5]
    np.testing.assert_allclose(inside, expected[5:-5, 5:-5], atol=1e-4)


def guided_by_loops(p, guide, eps, r):
    """Return He's filter from its windows, each with its own least squares."""
    p, guide = p.astype(float), guide.astype(float)
    (channels, height, width), size = p.shape, len(guide)
    out, count = np.zeros(p.shape), np.zeros((height, width))
    for y, x, rows, cols in windows(height, width, r):
        i = guide[:, rows, cols].reshape(size, -1)
        v = p[:, rows, cols].reshape(channels, -1)
        n = i.shape[1]
        rows_of = np.vstack([i.T, np.sqrt(n * eps[y, x]) * np.eye(size)])
        design = np.hstack([rows_of, np.r_[np.ones(n), np.zeros(size)][:, None]])
        wanted = np.vstack([v.T, np.zeros((size, channels))])
        found = np.linalg.lstsq(design, wanted, rcond=None)[0]
        here = guide[:, rows, cols].transpose(1, 2, 0) @ found[:-1] + found[-1]
        out[:, rows, cols] += here.transpose(2, 0, 1)
        count[rows, cols] += 1
    return out / count


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("guide", [None, 1, 3])
def test_guided_is_least_squares_in_every_window(size, guide):
    p = example(*size)
    g = p if guide is None else example(guide, *size[1:], seed=1)
    sigma = falling(*size[1:], 0.05, 0.2)
    other = None if guide is None else torch.from_numpy(g)
    found = guided(torch.from_numpy(p), torch.from_numpy(sigma), guide=other, radius=2)
    np.testing.assert_allclose(found, guided_by_loops(p, g, 4 * sigma**2.0, 2), atol=1e-5)


def test_guided_is_opencvs_inside():
    cv2 = pytest.importorskip("cv2")
    filters = pytest.importorskip("cv2.ximgproc", reason="opencv-contrib has it")
    assert cv2.__version__
    p, g = example(1, 40, 40), example(3, 40, 40, 1)
    expected = filters.guidedFilter(g.transpose(1, 2, 0).copy(), p[0], 4, 0.01)
    found = guided(torch.from_numpy(p), guide=torch.from_numpy(g), radius=4, eps=0.01)
    np.testing.assert_allclose(found[0, 8:-8, 8:-8], expected[8:-8, 8:-8], atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_guided_without_penalty_is_the_image_and_with_all_of_it_two_box_means(channels):
    p = example(channels, 30, 20)
    np.testing.assert_allclose(guided(torch.from_numpy(p), radius=3, eps=1e-11), p, atol=1e-4)
    inside = (slice(None), slice(6, -6), slice(6, -6))
    boxes = ndimage.uniform_filter(ndimage.uniform_filter(p.astype(float), (0, 7, 7)), (0, 7, 7))
    found = guided(torch.from_numpy(p), radius=3, eps=1e7)
    np.testing.assert_allclose(found[inside], boxes[inside], atol=1e-5)


def test_guided_returns_any_linear_function_of_its_guide():
    guide = torch.from_numpy(example(3, 20, 20))
    p = (guide * torch.tensor([0.5, -0.3, 0.2]).view(3, 1, 1)).sum(0, keepdim=True) + 0.4
    torch.testing.assert_close(guided(p, guide=guide, radius=4, eps=1e-10), p, atol=1e-5, rtol=0)


def test_guided_does_not_lose_small_noise_on_bright_images():
    y = 1e-3 * torch.randn(1, 300, 40, generator=torch.Generator().manual_seed(0)).double()
    low, high = (guided(y + level, 1e-3).double() - level for level in (0, 3.5))
    torch.testing.assert_close(low, high, atol=1e-6, rtol=0)


def test_guided_in_bands_is_guided_at_once(monkeypatch):
    y = torch.from_numpy(example(3, 100, 20))
    whole = guided(y, 0.1, radius=5)
    monkeypatch.setattr(_guided, "BAND", 16)
    torch.testing.assert_close(guided(y, 0.1, radius=5), whole, atol=1e-7, rtol=0)


@pytest.mark.parametrize("filtered", [gaussian, bilateral, guided])
def test_gradient_is_that_of_finite_differences(filtered):
    image = torch.from_numpy(example(1, 6, 5)).requires_grad_()
    weight = torch.linspace(-1, 1, 30).view(1, 6, 5)

    def run(u):
        return (weight * filtered(u, 0.1)).sum()

    run(image).backward()
    for at in ((0, 0, 0), (0, 3, 2), (0, 5, 4)):
        assert float(image.grad[at]) == pytest.approx(slope(run, image, at), abs=0.05)


@pytest.mark.parametrize("filtered", [bilateral, guided])
@pytest.mark.parametrize("size", [(1, 9, 8), (2, 1, 9, 9)])
def test_guides_of_another_size_are_refused(filtered, size):
    images = torch.rand(3, 1, 9, 9)
    with pytest.raises(
        InputError, match=r"guide must be \(G, 9, 9\) or one such for each of the 3"
    ):
        filtered(images, 0.1, guide=torch.rand(size))


@pytest.mark.parametrize(
    ("filtered", "options", "message"),
    [
        (gaussian, {"width": -1.0}, "width must be at least 0"),
        (bilateral, {"width": 0.0}, "width must be at least"),
        (bilateral, {"contrast": -0.1}, "contrast must be at least 0"),
        (bilateral, {"radius": 1.5}, "radius must be a whole number"),
        (bilateral, {"guide": torch.rand(1, 9, 9) * 255}, "guide must be in units"),
        (guided, {"eps": -1.0}, "eps must be at least 0"),
        (guided, {"radius": -1}, "radius must be at least 0"),
    ],
)
def test_bad_parameters_are_named(filtered, options, message):
    with pytest.raises(InputError, match=message):
        filtered(torch.rand(1, 9, 9), 0.1, **options)


@pytest.mark.parametrize(
    ("filtered", "options"),
    [(gaussian, {"width": 1.0}), (bilateral, {"contrast": 0.2}), (guided, {"eps": 0.02})],
)
def test_where_a_map_of_sigma_is_0_the_pixel_stays(filtered, options):
    u, sigma = torch.from_numpy(example(1, 20, 20)), torch.full((20, 20), 0.1)
    sigma[:, 10:] = 0
    found = filtered(u, sigma, **options)
    assert not torch.equal(found[..., :5], u[..., :5])
    assert torch.equal(found[..., 10:], u[..., 10:])
