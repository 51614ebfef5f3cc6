"""Impulses: found, filled, and nothing else touched."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data

from gouache.check import InputError
from gouache.patches import impulse, impulses
from gouache.random import generator


def photograph():
    return torch.from_numpy(data.camera()[90:218, 150:278] / 255).float()[None].clamp(0.02, 0.98)


def hit(clean, rate, kind, seed=0):
    """Return the image with impulses, and where they are."""
    rng = generator(seed)
    where = torch.rand(clean.shape, generator=rng) < rate
    value = torch.rand(clean.shape, generator=rng)
    return torch.where(where, value.round() if kind == "salt" else value, clean), where


def psnr(a, b):
    return -10 * float((a - b).square().mean().log10())


def best_median(noisy, clean):
    """Return the PSNR of the best median filter of SciPy's, the size chosen in hindsight."""
    return max(
        psnr(torch.from_numpy(ndimage.median_filter(noisy[0].numpy(), side))[None], clean)
        for side in (3, 5, 7)
    )


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_salt_is_found_exactly_and_filled_better_than_by_the_best_median(rate):
    clean = photograph()
    noisy, where = hit(clean, rate, "salt")
    assert float((impulses(noisy) == where).float().mean()) > 0.998
    found = impulse(noisy, rng=generator(0))
    assert psnr(found, clean) > best_median(noisy, clean) + 8
    assert psnr(found, clean) > psnr(impulse(noisy, rounds=0), clean) + 3


@pytest.mark.parametrize(("rate", "gain"), [(0.1, 3), (0.3, 1.8), (0.5, 4)])
def test_random_values_are_found_and_filled_better_than_by_the_best_median(rate, gain):
    clean = photograph()
    noisy, _ = hit(clean, rate, "random")
    found = impulse(noisy, kind="random", rng=generator(0))
    assert psnr(found, clean) > best_median(noisy, clean) + gain


@pytest.mark.parametrize("kind", ["salt", "random"])
def test_what_is_not_hit_comes_back_bit_by_bit(kind):
    noisy, _ = hit(photograph(), 0.3, kind)
    where = impulses(noisy, kind=kind)[0]
    found = impulse(noisy, kind=kind, rng=generator(0))
    assert torch.equal(found[~where], noisy[~where])


def test_a_mask_says_what_was_hit():
    clean = photograph()
    where = torch.rand(clean.shape, generator=generator(3)) < 0.2
    dead = torch.where(where, 0.5, clean)
    found = impulse(dead, mask=where, rng=generator(0))
    assert torch.equal(found[~where], clean[~where])
    assert psnr(found, clean) > psnr(dead, clean) + 10
    assert torch.equal(impulse(dead, mask=where[0], rng=generator(0)), found)


def test_white_paper_and_black_ink_are_no_impulses():
    page = torch.ones(1, 180, 180)
    page[:, 60:120, 30:150] = 0.5
    page[:, 135:165, 30:150] = 0
    for rate in (0.02, 0.1, 0.3):
        noisy, where = hit(page, rate, "salt")
        changed = where & (noisy != page)
        assert float((impulses(noisy)[0] == changed).float().mean()) > 0.99
        found = impulse(noisy, rng=generator(0))
        assert float((found - page).abs().mean()) < 0.004
    assert not impulses(page)[0, :, 1:-1].any()


def test_statistic_is_the_definition():
    from gouache.patches._impulses import _rold

    u = np.random.default_rng(0).random((9, 11)).astype(np.float32)
    padded = np.pad(u, 2, "symmetric").astype(float)
    expected = np.empty(u.shape)
    for y in range(9):
        for x in range(11):
            gaps = np.abs(padded[y : y + 5, x : x + 5] - u[y, x]).ravel()
            gaps = np.delete(gaps, 12)
            with np.errstate(divide="ignore"):
                logs = 1 + np.maximum(np.log2(gaps), -5) / 5
            expected[y, x] = np.sort(logs)[:12].sum()
    t = torch.from_numpy(u)
    np.testing.assert_allclose(_rold(t, t, 2), expected, atol=1e-4)


def test_colours_are_hit_one_by_one():
    clean = photograph().repeat(3, 1, 1)
    noisy, where = hit(clean, 0.2, "salt")
    found = impulse(noisy, rng=generator(0))
    assert torch.equal(found[~where], clean[~where])
    assert psnr(found, clean) > psnr(noisy, clean) + 18


def test_seed_decides_and_batches_are_filled_in_turn():
    noisy = torch.stack([hit(photograph(), 0.3, "salt", seed)[0][:, :40, :40] for seed in (0, 1)])
    found = impulse(noisy, rng=generator(5))
    assert torch.equal(found, impulse(noisy, rng=generator(5)))
    assert torch.equal(found[0], impulse(noisy[0], rng=generator(5)))


@pytest.mark.parametrize("kind", ["salt", "random"])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 7)])
def test_constant_and_small_images_stay(kind, size):
    flat = torch.full((1, *size), 0.4)
    assert torch.equal(impulse(flat, kind=kind), flat)
    assert impulse(torch.rand(1, *size), kind=kind).shape == (1, *size)


def test_an_image_that_is_all_hit_stays():
    image = torch.rand(1, 9, 9)
    assert torch.equal(impulse(image, mask=torch.ones(9, 9, dtype=torch.bool)), image)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "pepper"}, 'unknown kind "pepper"'),
        ({"patch": -1}, "patch must be at least 0"),
        ({"rounds": 1.5}, "rounds must be a whole number"),
        ({"mask": torch.ones(3, 3, dtype=torch.bool)}, r"mask must be bool \(9, 9\)"),
        ({"mask": torch.ones(9, 9)}, "got .*float32"),
    ],
)
def test_bad_parameters_are_named(options, message):
    with pytest.raises(InputError, match=message):
        impulse(torch.rand(1, 9, 9), **options)
