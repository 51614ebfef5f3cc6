"""What is explained is what the filters did: weights, stacks and blocks against the filters."""

import numpy as np
import pytest
import torch
from skimage import data

from gouache import patches, registry
from gouache.check import InputError
from gouache.patches import _bm3d, _explain_draw
from gouache.random import generator

METHODS = [entry.name.removeprefix("explain_") for entry in registry.entries("explain")]
PLACES = [(30, 21), (0, 0), (47, 39)]


def noisy(channels=1, height=40, width=48, sigma=0.1):
    photograph = torch.from_numpy(data.astronaut()[40:, 200:]).permute(2, 0, 1).float() / 255
    clean = photograph[:channels, :height, :width]
    return clean + sigma * torch.randn(clean.shape, generator=generator(0))


def explained(method, image, sigma, at, **options):
    return registry.find("explain", f"explain_{method}")(image, sigma, at=at, **options)


@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("method", METHODS)
def test_weights_sum_to_1_and_give_the_filtered_pixel(method, channels, at):
    image = noisy(channels)
    found = explained(method, image, 0.1, at)
    after = registry.find("denoise", method)(image, 0.1)[:, at[1], at[0]]
    assert float(found.weights.sum()) == pytest.approx(1, abs=1e-5)
    assert float((found.weights * image.mean(0)).sum()) == pytest.approx(
        float(after.mean()), abs=1e-5
    )
    torch.testing.assert_close(found.after, after, atol=1e-5, rtol=0)
    assert torch.equal(found.before, image[:, at[1], at[0]])


@pytest.mark.parametrize("sigma", [0.04, 0.2])
def test_the_first_step_of_bm3d_is_explained_too(sigma):
    image = noisy(1, sigma=sigma)
    found = explained("bm3d", image, sigma, (20, 20), steps=1)
    after = patches.bm3d(image, sigma, steps=1)[0, 20, 20]
    assert float((found.weights * image[0]).sum()) == pytest.approx(float(after), abs=1e-5)
    assert 0 < found.kept < 0.5


def test_a_stack_of_bm3d_counts_the_noise_of_all_its_blocks():
    image, level = noisy(), torch.full((40, 48), 0.1)
    level[15:31, 20:36] = 0
    for at in ((18, 21), (38, 12)):
        found = patches.explain_bm3d(image, level, at=at)
        filtered = patches.bm3d(image, level)[:, at[1], at[0]]
        torch.testing.assert_close(found.after, filtered, atol=2e-5, rtol=0)


@pytest.mark.parametrize("method", METHODS)
def test_a_map_and_an_estimate_of_the_noise_count(method):
    image = noisy()
    level = torch.linspace(0.05, 0.2, 48).expand(40, 48)
    for sigma in (level, None):
        found = explained(method, image, sigma, (30, 21))
        after = registry.find("denoise", method)(image, sigma)[0, 21, 30]
        assert float((found.weights * image[0]).sum()) == pytest.approx(float(after), abs=1e-5)
    assert explained(method, image, level, (30, 21)).sigma == pytest.approx(float(level[21, 30]))


def test_bm3d_shows_the_blocks_that_are_nearest_by_definition():
    image, at = noisy(), (25, 18)
    found = explained("bm3d", image, 0.1, at, steps=1)
    own = found.blocks[0]
    assert max(abs(own.x + 3.5 - at[0]), abs(own.y + 3.5 - at[1])) <= 2
    windows = image[0].unfold(0, 8, 1).unfold(1, 8, 1)
    far = (windows - windows[own.y, own.x]).square().mean((2, 3))
    near = far[max(0, own.y - 19) : own.y + 20, max(0, own.x - 19) : own.x + 20]
    expected = near.reshape(-1).sort().values[:16]
    torch.testing.assert_close(
        torch.tensor([block.distance for block in found.blocks]), expected, atol=1e-6, rtol=1e-4
    )
    for block in found.blocks:
        assert torch.equal(block.before, image[:, block.y : block.y + 8, block.x : block.x + 8])
        assert block.distance == pytest.approx(float(far[block.y, block.x]), abs=1e-6)
    assert all(block.kept for block in found.blocks)


def test_blocks_beyond_a_power_of_two_are_left_out():
    step = torch.zeros(1, 24, 24)
    step[:, :, 11:] = 1
    image = step + 0.02 * torch.randn(1, 24, 24, generator=generator(0))
    found = explained("bm3d", image, 0.02, (9, 9))
    kept = [block.kept for block in found.blocks]
    assert len(kept) == 17
    assert sum(kept) == 16
    assert kept == sorted(kept, reverse=True)
    assert [block.after is not None for block in found.blocks] == kept


def test_after_is_the_stack_without_what_the_threshold_removes():
    image = noisy()
    found = explained("bm3d", image, 0.1, (25, 18), steps=1, threshold=0.0)
    assert found.kept == 1
    for block in found.blocks:
        torch.testing.assert_close(block.after, block.before, atol=1e-5, rtol=0)


def test_nlmeans_shows_the_patches_with_the_largest_weights():
    image = noisy(3)
    found = explained("nlmeans", image, 0.1, (25, 18), patch=5, window=9, h=0.6)
    assert (found.blocks[0].x, found.blocks[0].y) == (23, 16)
    shown = [float(found.weights[b.y + 2, b.x + 2]) for b in found.blocks]
    assert shown[0] == float(found.weights.max())
    assert sorted(shown[1:]) == pytest.approx(
        sorted(found.weights.reshape(-1).sort().values.tolist())[-len(shown) : -1]
    )
    for block in found.blocks:
        inside = image[:, block.y : block.y + 5, block.x : block.x + 5]
        assert torch.equal(block.before, inside)
    assert found.window == (21, 14, 30, 23)


def test_of_equal_weights_the_nearest_patches_are_shown():
    image = 0.5 + 0.1 * torch.randn(1, 20, 20, generator=generator(0))
    found = explained("nlmeans", image, 0.2, (9, 9), patch=3, window=9)
    windows = image[0].unfold(0, 3, 1).unfold(1, 3, 1)[4:13, 4:13]
    far = (windows - windows[4, 4]).square().mean((2, 3)).reshape(-1).sort().values
    torch.testing.assert_close(torch.tensor([b.distance for b in found.blocks]), far[:16])
    assert len({float(found.weights[b.y + 1, b.x + 1]) for b in found.blocks}) == 1


def test_haar_of_the_explanation_is_that_of_the_kernel():
    from gouache.patches import _bm3d_kernels as kernels
    from gouache.patches._explain_bm3d import _haar

    H = _haar(8)
    np.testing.assert_allclose(H @ H.T, np.eye(8), atol=1e-12)
    image = noisy().numpy()[None]
    places = np.arange(16, dtype=np.int32)
    both, eye = np.zeros((2, 16, 64), np.float32), np.stack([np.eye(8, dtype=np.float32)] * 4)
    kernels.spectrum(image, 0, places, places, 8, eye, np.float32(1), np.float32(0), both)
    blocks = np.stack([image[0, 0, k : k + 8, k : k + 8].reshape(-1) for k in range(8)])
    np.testing.assert_allclose(both[0, :8], H @ blocks, atol=1e-6)


@pytest.mark.parametrize("size", [(20, 6000), (6000, 20)])
@pytest.mark.parametrize("share", [0.0, 0.31, 0.499, 1.0])
def test_very_wide_and_tall_pictures_are_drawn(size, share):
    image = torch.full((1, *size), 0.5)
    at = tuple(int(share * (n - 1)) for n in reversed(size))
    found = patches.explain_nlmeans(image, 0.1, at=at, window=3)
    assert patches.draw(found, image).shape[2] == _explain_draw.WIDTH


def test_a_picture_of_another_size_is_refused():
    found = explained("nlmeans", noisy(), 0.1, (3, 3))
    with pytest.raises(InputError, match=r"the explanation is of \(40, 48\) pixels"):
        patches.draw(found, noisy(1, 20, 20))


def test_progress_counts_the_strips_of_both_steps():
    told = []
    patches.bm3d(
        noisy(1, 90, 20)[None].repeat(2, 1, 1, 1), 0.1, progress=lambda k, n: told.append((k, n))
    )
    count = 2 * 2 * -(-len(_bm3d._starts(90)) // 12)
    assert told == [(k, count) for k in range(1, count + 1)]
