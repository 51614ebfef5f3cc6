"""Images from one image: scores against loops, distances against SciPy, objects kept in shape."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import wasserstein_distance
from skimage.data import coffee
from skimage.measure import label, regionprops

from gouache import image, patches
from gouache.check import InputError
from gouache.patches._complete import exact, near
from gouache.patches._pyramid import scales, wanted
from gouache.patches._sliced import wasserstein
from gouache.random import generator


@pytest.fixture(scope="module")
def cup():
    return image.resize(image.as_tensor(coffee()[:400, 100:500]), (96, 96))


def mean_squares(query, source, p):
    """Return D of every pair of patches, by a loop."""
    a, b = (
        [u[:, y : y + p, x : x + p] for y in range(u.shape[1] - p + 1)
         for x in range(u.shape[2] - p + 1)]
        for u in (query.double(), source.double())
    )  # fmt: skip
    return torch.stack([torch.stack([(i - j).square().mean() for j in b]) for i in a])


@pytest.mark.parametrize("alpha", [1e-3, 0.05])
def test_exact_scores_are_those_of_a_loop(alpha):
    query, source = (torch.rand(3, *s, generator=generator(s[0])) for s in ((10, 12), (11, 9)))
    d = mean_squares(query, source, 4)
    score = d / (alpha + d.amin(0))
    found = exact(query, source, 4, alpha)
    place = found.place[..., 0] * 6 + found.place[..., 1]
    assert torch.equal(place.flatten().long(), score.argmin(1))
    chosen = d.gather(1, score.argmin(1, keepdim=True))[:, 0]
    torch.testing.assert_close(found.distance.flatten() / 48, chosen.float())


def test_large_alpha_takes_the_nearest_patch(cup):
    query, source = cup[:, :30, :30], cup[:, 20:60, 10:60]
    nearest = patches.brute_force(query, source, patch=5)
    assert torch.equal(exact(query, source, 5, 1e6).place, nearest.place)


def test_small_alpha_shows_more_of_the_source(cup):
    """A flat query: by nearness alone one patch is taken; by completeness, many are."""
    query = torch.full((3, 40, 40), 0.4)
    shown = [len(exact(query + 0.01 * torch.rand(3, 40, 40), cup, 7, a).place.view(-1, 2).unique(
        dim=0)) for a in (1e-3, 1e6)]  # fmt: skip
    assert shown[0] > 3 * shown[1]


def test_approximate_scores_are_nearly_the_least(cup):
    query = (cup.flip(2) + 0.05 * torch.randn(cup.shape, generator=generator(0)))[:, :60, :60]
    source, alpha = cup[:, :64, :64], 0.005
    best, found = exact(query, source, 7, alpha), near(query, source, 7, alpha, generator(1))
    back = exact(source, query, 7, 1e6).distance.flatten() / 147

    def score(field):
        m = back[(field.place[..., 0] * 58 + field.place[..., 1]).long()]
        return float((field.distance / 147 / (alpha + m)).mean())

    plain = score(patches.brute_force(query, source, patch=7))
    assert score(best) < score(found) < plain
    assert score(found) < 1.15 * score(best)


def test_the_image_as_its_own_start_comes_back(cup):
    found = patches.gpnn(cup, start=cup, rng=generator(0))
    assert (found - cup).abs().mean() < 2e-3


def test_variations_differ_and_show_what_the_image_shows(cup):
    made = torch.stack([patches.gpnn(cup, rng=generator(s)) for s in range(3)])
    assert made.std(0).mean() > 0.2 * cup.std()
    for y in made:
        shown, seen = (patches.brute_force(*pair).distance / 147 for pair in ((y, cup), (cup, y)))
        assert shown.mean() < 1e-3
        assert seen.mean() < 2e-2


def discs(side=128):
    """Return light discs on dark grain."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    u = 0.25 + 0.1 * y / side + 0.02 * torch.randn(side, side, generator=generator(0))
    for row, col, radius in ((32, 36, 14), (80, 70, 18), (40, 100, 10), (100, 24, 12)):
        part = (radius + 0.5 - ((y - row) ** 2 + (x - col) ** 2).float().sqrt()).clamp(0, 1)
        u = u * (1 - part) + 0.9 * part
    return u[None].clamp(0, 1)


def test_discs_stay_round_in_twice_the_width():
    made = patches.gpnn(discs(), (128, 256), noise=0, rng=generator(0))
    found = [r.bbox for r in regionprops(label((made[0] > 0.6).numpy())) if r.area > 30]
    ratios = [
        (right - left) / (low - top)
        for top, left, low, right in found
        if top > 0 and left > 0 and low < 128 and right < 256
    ]
    assert len(ratios) >= 4
    assert all(0.9 < r < 1.1 for r in ratios)


@pytest.mark.parametrize(("n", "m"), [(50, 50), (50, 75), (31, 17), (1, 9)])
def test_distance_on_a_line_is_that_of_scipy(n, m):
    x, y = (torch.randn(3, k, generator=generator(k), dtype=torch.float64) for k in (n, m))
    expected = [wasserstein_distance(a, b) for a, b in zip(x.numpy(), y.numpy(), strict=True)]
    np.testing.assert_allclose(wasserstein(x, y).numpy(), expected, rtol=1e-12)


def test_distance_has_the_gradient_of_its_differences():
    x, y = (torch.randn(k, generator=generator(k), dtype=torch.float64) for k in (9, 7))
    assert torch.autograd.gradcheck(wasserstein, (x.requires_grad_(), y))


def test_one_pixel_patches_do_not_tell_permuted_pixels(cup):
    """The distance is 0 and so is its gradient: gpdm leaves a permutation as it is."""
    pixels = torch.randperm(96 * 96, generator=generator(0))
    moved = cup.flatten(1)[:, pixels]
    theta = torch.nn.functional.normalize(torch.randn(5, 3, generator=generator(1)))
    assert wasserstein(theta @ moved, theta @ cup.flatten(1)).max() < 1e-7


def test_gpdm_brings_the_patches_nearer(cup):
    small = image.resize(cup, (40, 40))
    start = torch.full_like(small, 0.5) + 0.1 * torch.randn(small.shape, generator=generator(0))
    made = patches.gpdm(small, start=start.clamp(0, 1), steps=150, rng=generator(0))
    near = [float(patches.brute_force(y, small, patch=5).distance.mean()) for y in (start, made)]
    assert near[1] < 0.25 * near[0]


def test_gpdm_leaves_the_image_as_it_is(cup):
    small = image.resize(cup, (40, 40))
    made = patches.gpdm(small, start=small, coarsest=40, steps=20, rng=generator(0))
    assert (made - small).abs().mean() < 5e-3


def test_gpdm_learns_where_torch_only_infers(cup):
    small, given = image.resize(cup, (16, 16)), {"steps": 5, "coarsest": 16}
    with torch.inference_mode():
        made = patches.gpdm(small.clone(), rng=generator(0), **given)
    assert torch.equal(made, patches.gpdm(small, rng=generator(0), **given))


def test_levels_are_geometric_and_end_at_the_sizes_asked_for(cup):
    assert scales(20, 20, 4 / 3) == [1.0]
    factors = scales(20, 96, 4 / 3)
    steps = [b / a for a, b in pairwise(factors)]
    np.testing.assert_allclose(steps, (96 / 20) ** (1 / len(steps)))
    levels = wanted(cup, (96, 192), None, 0, patch=7, coarsest=20, ratio=4 / 3).levels
    assert levels[-1].size == (96, 192)
    assert [x.size[0] for x in levels] == sorted(x.size[0] for x in levels)
    widths = [x.size[1] for x in levels if x.size[0] == 20]
    assert widths[-1] == 40
    assert all(b <= a * 1.03 + 1 for a, b in zip([20, *widths], widths, strict=False))


def test_options_out_of_range_are_named(cup):
    with pytest.raises(InputError, match="alpha"):
        patches.gpnn(cup, alpha=0.0)
    with pytest.raises(InputError, match="directions"):
        patches.gpdm(cup, directions=0)
    with pytest.raises(InputError, match="rate"):
        patches.gpdm(cup, rate=0.0)
