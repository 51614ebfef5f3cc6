"""The posterior mean of patches against a loop, closed forms, its score and other denoisers."""

import itertools

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from gouache import data, diffuse, patches
from gouache.check import InputError
from gouache.contracts import Denoiser
from gouache.patches import PatchPosterior
from gouache.random import generator

CLOSE = {"rtol": 0, "atol": 2e-5}


def rand(*shape, seed=0):
    return torch.rand(*shape, generator=generator(seed))


def noisy(*shape, sigma=0.3, seed=1):
    noise = torch.randn(*shape, generator=generator(seed), dtype=torch.float64)
    return rand(*shape, seed=seed + 1).double() + sigma * noise


def all_patches(image, side):
    """Return every patch ``(M, C, side, side)``, row by row."""
    rows, cols = (range(n - side + 1) for n in image.shape[1:])
    return torch.stack([image[:, r : r + side, c : c + side] for r in rows for c in cols])


def means(patch, scale):
    """Return the means of the blocks of a patch, each by itself."""
    *_, high, wide = patch.shape
    cells = itertools.product(range(0, high, scale), range(0, wide, scale))
    found = [patch[..., i : i + scale, j : j + scale].mean((-2, -1)) for i, j in cells]
    return torch.stack(found, -1)


def grid(n, side, scale, periodic):
    if periodic:
        return list(range(0, n, scale))
    return sorted({*range(0, n - side + 1, scale), n - side})


def kept(place, n, side, margin, periodic):
    low = 0 if not periodic and place == 0 else margin
    high = side if not periodic and place == n - side else side - margin
    return range(low, high)


def naive(y, exemplars, sigma, patch, scale=1, core=None, periodic=False):
    """Return the answer for one image ``(C, H, W)`` pixel by pixel; ``sigma`` is one or a map."""
    side, margin = patch * scale, scale * (patch - (core or patch)) // 2
    p = torch.cat([all_patches(u.double(), side) for u in exemplars])
    sigma = torch.as_tensor(sigma, dtype=y.dtype).expand(y.shape)
    _, high, wide = y.shape
    total, count = torch.zeros_like(y), torch.zeros_like(y)
    axes = [grid(n, side, scale, periodic) for n in (high, wide)]
    for r, c in itertools.product(*axes):
        rows, cols = [(r + i) % high for i in range(side)], [(c + j) % wide for j in range(side)]
        a, s = y[:, rows][:, :, cols], sigma[:, rows][:, :, cols]
        variance = means(s.square(), scale) / scale**2
        d = ((means(a, scale) - means(p, scale)).square() / (2 * variance)).sum((1, 2))
        answer = ((-d).softmax(0)[:, None, None, None] * p).sum(0)
        for i in kept(r, high, side, margin, periodic):
            for j in kept(c, wide, side, margin, periodic):
                total[:, rows[i], cols[j]] += answer[:, i, j]
                count[:, rows[i], cols[j]] += 1
    return total / count


@pytest.mark.parametrize(
    ("patch", "scale", "core"),
    [(3, 1, None), (3, 1, 1), (5, 1, 3), (4, 1, 2), (1, 1, 1), (3, 2, None), (3, 2, 1), (1, 3, 1)],
)
@pytest.mark.parametrize("periodic", [False, True])
@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_against_a_loop(patch, scale, core, periodic, sigma):
    exemplars, y = [rand(2, 9, 8), rand(2, 7, 10, seed=5)], noisy(2, 2, 9, 11)
    given = {"scale": scale, "core": core, "periodic": periodic}
    found = PatchPosterior(exemplars, patch, **given)(y, sigma)
    expected = [naive(u, exemplars, sigma, patch, **given) for u in y]
    torch.testing.assert_close(found, torch.stack(expected), **CLOSE)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("shape", [(2, 2, 8, 8), (8, 8), (1, 2, 1, 1)])
def test_map_of_noise_against_a_loop(scale, shape):
    exemplar, y, sigma = rand(2, 9, 9), noisy(2, 2, 8, 8), 0.1 + rand(*shape, seed=9).double()
    found = PatchPosterior(exemplar, 3, scale=scale, core=1)(y, sigma)
    levels = sigma.expand(2, 2, 8, 8)
    expected = [naive(u, [exemplar], s, 3, scale, core=1) for u, s in zip(y, levels, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), **CLOSE)


def within(monkeypatch, queries, block, numbers):
    """Set what is summed at a time."""
    for name, value in (("QUERIES", queries), ("BLOCK", block), ("NUMBERS", numbers)):
        monkeypatch.setattr(f"gouache.patches._patch_posterior.{name}", value)


@pytest.mark.parametrize(
    "limits", [(7, 1000, 10**6), (1000, 3, 10**6), (1000, 1000, 75), (9, 9, 1)]
)
def test_blocks_do_not_matter(limits, monkeypatch):
    denoiser, y = PatchPosterior(rand(1, 20, 20), 5, core=3), noisy(1, 1, 16, 16)
    whole = denoiser(y, 0.2)
    within(monkeypatch, *limits)
    torch.testing.assert_close(denoiser(y, 0.2), whole, rtol=0, atol=1e-6)


class Largest(TorchDispatchMode):
    """Notes the bytes of the largest tensor that torch makes."""

    bytes = 0

    def __torch_dispatch__(self, call, types, args=(), kwargs=None):
        found = call(*args, **(kwargs or {}))
        for x in torch.utils._pytree.tree_leaves(found):
            if isinstance(x, torch.Tensor):
                self.bytes = max(self.bytes, x.untyped_storage().nbytes())
        return found


@pytest.mark.parametrize(
    ("given", "size", "sigma"),
    [
        ({"patch": 3, "scale": 9}, (40, 40), 0.3),
        ({"patch": 3, "scale": 9}, (40, 40), rand(40, 40) + 0.1),
        ({"patch": 5, "core": 1}, (6, 3000), 0.3),
        ({"patch": 9, "nearest": 64, "below": 1.0}, (24, 24), 0.3),
    ],
)
def test_no_tensor_grows_with_the_patches_or_the_image(given, size, sigma, monkeypatch):
    """Unbounded, one would have 3 to 30 times as many bytes."""
    exemplar, y = rand(3, 40, 40), rand(1, 3, *size, seed=1)
    denoiser = PatchPosterior(exemplar, **given, rng=generator(0))
    expected = denoiser(y, sigma)
    within(monkeypatch, 256, 512, 1 << 17)
    with Largest() as largest:
        found = denoiser(y, sigma)
    assert largest.bytes <= 4 << 17
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("sigma", [0.01, 0.3, 5.0])
def test_one_patch_is_the_answer(sigma):
    patch = rand(3, 6, 6)
    denoiser = PatchPosterior(patch, 6)
    torch.testing.assert_close(
        denoiser(noisy(2, 3, 6, 6), sigma), patch.double().expand(2, -1, -1, -1)
    )


def test_much_noise_gives_the_mean_patch():
    u, y = rand(1, 12, 12), noisy(1, 1, 5, 5)
    found = PatchPosterior(u, 5)(y, 1e5)
    torch.testing.assert_close(found[0], all_patches(u.double(), 5).mean(0), **CLOSE)


def test_little_noise_gives_the_nearest_patch():
    u, y = rand(1, 12, 12), noisy(1, 1, 5, 5)
    row, col = patches.brute_force(y[0].float(), u, patch=5).place[0, 0, 0].tolist()
    found = PatchPosterior(u, 5)(y, 0.02)
    torch.testing.assert_close(found[0], u[:, row : row + 5, col : col + 5].double(), **CLOSE)


def test_no_denoiser_of_a_patch_has_less_error():
    """Over draws of the model: any change of the answer, by y or at large, costs error."""
    u, sigma, n = rand(1, 12, 12), 0.4, 4000
    drawn = all_patches(u, 3)[torch.randint(100, (n,), generator=generator(3))]
    y = drawn + sigma * torch.randn(drawn.shape, generator=generator(4))
    found = PatchPosterior(u, 3)(y, sigma)

    def error(x):
        return float((x - drawn).square().mean())

    least = error(found)
    directions = [y - found, found - found.mean(), torch.ones_like(y), found.square() - 0.3]
    for step, direction in itertools.product((-0.1, 0.1), directions):
        assert error(found + step * direction) > least
    assert least < error(y)
    assert least < float((drawn - drawn.mean(0)).square().mean())


def test_core_of_one_is_the_score_of_a_patch_at_its_centre():
    u, y, sigma = rand(1, 10, 10), noisy(1, 1, 7, 8), 0.3
    found = PatchPosterior(u, 3, core=1)(y, sigma)
    p = all_patches(u.double(), 3).flatten(1)
    for r, c in itertools.product(range(5), range(6)):
        patch = y[0, :, r : r + 3, c : c + 3].clone().requires_grad_()
        log_density = (-(patch.flatten() - p).square().sum(1) / (2 * sigma**2)).logsumexp(0)
        (score,) = torch.autograd.grad(log_density, patch)
        ours = (found - y)[0, 0, r + 1, c + 1] / sigma**2
        torch.testing.assert_close(ours, score[0, 1, 1], rtol=0, atol=1e-3)


@pytest.mark.parametrize("core", [None, 2])
@pytest.mark.parametrize("sigma", [0.2, torch.tensor([0.1, 0.5, 2.0])])
def test_patch_of_the_whole_image_is_the_empirical_denoiser(core, sigma):
    images, y = rand(5, 3, 8, 8), noisy(3, 3, 8, 8)
    found = PatchPosterior(list(images), 8, core=core)(y, sigma)
    torch.testing.assert_close(found, diffuse.EmpiricalDenoiser(images)(y, sigma), **CLOSE)


def test_at_a_scale_only_means_of_blocks_decide():
    denoiser, y = PatchPosterior(rand(1, 14, 14), 3, scale=2), noisy(1, 1, 6, 6)
    board = (-1.0) ** (torch.arange(6)[:, None] + torch.arange(6))
    torch.testing.assert_close(denoiser(y + 3 * board, 0.2), denoiser(y, 0.2))
    assert not torch.allclose(denoiser(y + 0.3 * board.abs(), 0.2), denoiser(y, 0.2), atol=1e-3)


def test_shifted_torus_is_shifted():
    denoiser, y = PatchPosterior(rand(1, 14, 14), 5, core=1, periodic=True), noisy(1, 1, 9, 10)
    shifted = denoiser(y.roll((3, 4), (2, 3)), 0.2)
    torch.testing.assert_close(shifted, denoiser(y, 0.2).roll((3, 4), (2, 3)), **CLOSE)


def test_an_image_does_not_depend_on_its_batch():
    denoiser, y, sigma = PatchPosterior(rand(1, 14, 14), 5), noisy(3, 1, 9, 10), [0.1, 1.0, 9.0]
    both = denoiser(y, torch.tensor(sigma))
    alone = [denoiser(u[None], s)[0] for u, s in zip(y, sigma, strict=True)]
    assert isinstance(denoiser, Denoiser)
    assert torch.equal(both, torch.stack(alone))


@pytest.fixture(scope="module")
def brick():
    return data.textures(size=64, n=3, seed=3).all()


@pytest.mark.parametrize(("sigma", "most"), [(0.02, 2e-3), (0.05, 0.01)])
def test_nearest_patches_give_the_sum(brick, sigma, most):
    """The k found by PatchMatch against all: the error that is left, over the noise."""
    u = brick[0]
    y = (u + sigma * torch.randn(u.shape, generator=generator(0)))[None, :, :40, :40]
    exact = PatchPosterior(u[:, 8:], 7)(y, sigma)
    near = PatchPosterior(u[:, 8:], 7, nearest=32, below=0.05, rng=generator(1))
    assert (near(y, sigma) - exact).square().mean().sqrt() < most
    assert torch.equal(near(y, sigma), near(y, sigma)), "a call has no history"
    assert torch.equal(near(y, 0.06), PatchPosterior(u[:, 8:], 7)(y, 0.06))


def test_part_of_the_patches(brick):
    u, y = brick[1], brick[2][None, :, :20, :20]
    whole = PatchPosterior(u, 5)(y, 0.1)
    assert torch.equal(PatchPosterior(u, 5, most=10**6)(y, 0.1), whole)
    one, same, other = (PatchPosterior(u, 5, most=1800, rng=generator(k)) for k in (0, 0, 1))
    assert torch.equal(one(y, 0.1), same(y, 0.1))
    assert not torch.equal(one(y, 0.1), other(y, 0.1))
    assert (one(y, 0.1) - whole).square().mean() < 0.1 * (y - whole).square().mean()


@pytest.mark.parametrize("sigma", [0.3, "map"])
@pytest.mark.parametrize("nearest", [None, 4])
def test_gradient(sigma, nearest):
    denoiser = PatchPosterior(rand(1, 7, 7), 3, core=1, nearest=nearest, below=1.0)
    level = 0.3 + 0.2 * rand(1, 1, 5, 4).double() if sigma == "map" else sigma
    y = noisy(1, 1, 5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: denoiser(x, level), y, eps=1e-5, atol=1e-4)


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 80.0])
def test_any_values_are_finite(sigma):
    y = 1e3 * torch.randn(1, 1, 9, 9, generator=generator(0))
    found = PatchPosterior(rand(1, 12, 12), 5)(y, sigma)
    assert found.dtype == torch.float32
    assert 0 <= found.min() <= found.max() <= 1


@pytest.mark.parametrize("range_of", [1.0, 1e6])
def test_sigma_so_small_that_its_square_is_none_gives_the_nearest_patch(range_of):
    u, y = range_of * rand(1, 12, 12), range_of * rand(1, 1, 9, 9, seed=1)
    denoiser = PatchPosterior(u, 5)
    assert torch.equal(denoiser(y, 1e-30), denoiser(y, range_of * 1e-5))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_numbers_are_summed_as_whole_ones(dtype):
    denoiser, y = PatchPosterior(rand(1, 24, 24), 5), rand(1, 1, 16, 16, seed=1).to(dtype)
    found = denoiser(y, 0.3)
    assert found.dtype == dtype
    assert torch.equal(found, denoiser(y.float(), 0.3).to(dtype))


@pytest.mark.parametrize(
    ("given", "saying"),
    [
        ({"exemplar": []}, "no exemplar"),
        ({"exemplar": torch.zeros(5, 5)}, r"exemplar must be a tensor \(C, H, W\)"),
        ({"exemplar": [rand(1, 9, 9), rand(3, 9, 9)]}, "same channels"),
        ({"patch": 10}, "patch times scale"),
        ({"patch": 5, "scale": 2}, "patch times scale"),
        ({"patch": 5, "core": 2}, "patch - core must be even"),
        ({"patch": 3, "core": 5}, "core must be in"),
        ({"patch": 3, "scale": 2, "nearest": 4}, "scale 1 only"),
        ({"patch": 3, "most": 0}, "most must be at least 1"),
        ({"patch": 3, "nearest": 0}, "nearest must be at least 1"),
    ],
)
def test_what_cannot_be_made_is_an_error(given, saying):
    with pytest.raises(InputError, match=saying):
        PatchPosterior(**{"exemplar": rand(1, 9, 9), **given})


@pytest.mark.parametrize(
    ("y", "sigma", "condition", "saying"),
    [
        (rand(1, 3, 9, 9), 0.1, None, r"y must be \(B, 1, H, W\)"),
        (rand(1, 1, 9, 4), 0.1, None, "sides of at least 5"),
        (rand(1, 1, 9, 9) / 0, 0.1, None, "y must be finite"),
        (rand(1, 1, 9, 9)[:0], 0.1, None, r"got \(0, 1, 9, 9\)"),
        (rand(1, 1, 9, 9).byte(), 0.1, None, "y must be a float tensor, got torch.uint8"),
        (rand(1, 1, 9, 9).numpy(), 0.1, None, "y must be a float tensor, got ndarray"),
        (rand(1, 1, 9, 9), 0.0, None, "sigma must be positive"),
        (rand(2, 1, 9, 9), torch.ones(3), None, "a map that broadcasts"),
        (rand(1, 1, 9, 9), 0.1, {"label": torch.zeros(1)}, "no condition"),
    ],
)
def test_what_cannot_be_denoised_is_an_error(y, sigma, condition, saying):
    with pytest.raises(InputError, match=saying):
        PatchPosterior(rand(1, 9, 9), 5)(y, sigma, condition)
