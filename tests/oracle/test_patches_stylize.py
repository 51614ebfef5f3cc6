"""Stylisation and image analogies against identities, filters and naive loops."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data as photographs

from gouache import image, patches
from gouache.check import InputError
from gouache.patches._image_analogy import Level, filled
from gouache.patches._luminance import equalised, rescaled, with_luminance
from gouache.patches._match import Field
from gouache.patches._patch_stylize import begun, optimised
from gouache.patches._texture import wanted
from gouache.patches._texture_scales import scales
from gouache.patches._uniform import Given, swept, use
from gouache.random import generator


def photograph(name, top, left, side=96):
    u = getattr(photographs, name)()[top : top + side, left : left + side]
    return torch.from_numpy(np.ascontiguousarray(u)).float().permute(2, 0, 1) / 255


@pytest.fixture(scope="module")
def cat():
    return photograph("chelsea", 60, 120)


@pytest.fixture(scope="module")
def cup():
    return photograph("coffee", 120, 300)


def blurred(u, sigma):
    return torch.from_numpy(ndimage.gaussian_filter(u.numpy(), (0, sigma, sigma)))


def rmse(a, b):
    return float((a - b).square().mean().sqrt())


# Luminance


def test_equalised_values_have_the_distribution_of_others_and_their_own_order():
    values, like = torch.randn(1, 20, 30, generator=generator(0)), torch.rand(1, 20, 30)
    found = equalised(values, like)
    assert torch.equal(found.flatten().sort().values, like.flatten().sort().values)
    assert torch.equal(found.flatten().argsort(), values.flatten().argsort())


def test_equal_values_become_the_median_of_their_share():
    values = torch.tensor([[[0.2] * 50 + [0.7] * 50]])
    like = torch.linspace(0, 1, 101)[None, None]
    assert equalised(values, like)[0, 0, ::99].tolist() == pytest.approx([0.25, 0.75], abs=0.01)
    assert torch.equal(equalised(values, values), values)


def test_rescaled_values_have_the_moments_of_others(cat, cup):
    a, b = (image.as_channels(u, 1) for u in (cat, cup))
    found = rescaled(a, a, b)
    for of in (torch.mean, torch.std):
        assert float(of(found)) == pytest.approx(float(of(b)), abs=1e-5)
    flat = torch.full_like(a, 0.3)
    assert float((rescaled(flat, flat, b) - b.mean()).abs().max()) < 1e-6


def test_another_luminance_leaves_differences_of_channels(cat):
    grey = image.as_channels(cat, 1)
    found = with_luminance(cat, 0.9 * grey + 0.03, grey)
    torch.testing.assert_close(found[0] - found[2], cat[0] - cat[2], atol=1e-6, rtol=0)
    torch.testing.assert_close(image.as_channels(found, 1), 0.9 * grey + 0.03, atol=1e-5, rtol=0)


# Uniform matches


def given_problem(seed=0, p=3):
    rng = generator(seed)
    query, source = torch.rand(2, 9, 11, generator=rng), torch.rand(2, 8, 7, generator=rng)
    limit = torch.tensor([8 - p + 1, 7 - p + 1])
    places = [(torch.rand(n, 7, 9, 2, generator=rng) * limit).to(torch.int32) for n in (1, 4)]
    return query, source, Field(places[0], torch.zeros(1, 7, 9), p), places[1]


def naive_distance(query, source, at, to, p):
    (y, x), (v, u) = at, to
    return float((query[:, y : y + p, x : x + p] - source[:, v : v + p, u : u + p]).square().sum())


def naive_sweep(query, source, start, offered, price):
    """Let every place take the patch of least cost, in plain Python."""
    p, place = start.patch, start.place[0].tolist()
    held = use(start, source)
    for y, x in np.ndindex(7, 9):
        v, u = place[y][x]
        held[v : v + p, u : u + p] -= 1
        tried = [(v, u), *map(tuple, offered[:, y, x].tolist())]
        for dy, dx in ((1, 0), (0, 1)):
            if y >= dy and x >= dx:
                v, u = place[y - dy][x - dx]
                tried.append((v + dy, u + dx))
        tried = [(v, u) for v, u in tried if v <= 8 - p and u <= 7 - p]
        cost = [
            naive_distance(query, source, (y, x), (v, u), p)
            + price * int(held[v : v + p, u : u + p].sum())
            for v, u in tried
        ]
        v, u = place[y][x] = tried[int(np.argmin(cost))]
        held[v : v + p, u : u + p] += 1
    return torch.tensor(place)


@pytest.mark.parametrize("price", [0.0, 0.01, 0.3])
def test_a_sweep_is_the_naive_loop(price):
    query, source, start, offered = given_problem()
    found = swept(Given(query, source, offered, price), start)
    assert torch.equal(found.place[0].long(), naive_sweep(query, source, start, offered, price))
    for y, x in ((0, 0), (3, 5), (6, 8)):
        exact = naive_distance(query, source, (y, x), found.place[0, y, x].tolist(), 3)
        assert float(found.distance[0, y, x]) == pytest.approx(exact, rel=1e-5)


def test_sweeps_lower_the_energy_that_they_are_made_for():
    query, source, field, offered = given_problem(1)
    price = 0.05

    def energy(field):
        exact = sum(
            naive_distance(query, source, (y, x), field.place[0, y, x].tolist(), 3)
            for y, x in np.ndindex(7, 9)
        )
        return exact + price / 2 * float(use(field, source).square().sum())

    told = [energy(field)]
    for k in range(4):
        field = swept(Given(query, source, offered, price), field, back=bool(k % 2))
        told.append(energy(field))
    assert all(b <= a + 1e-4 for a, b in pairwise(told))
    assert told[-1] < 0.8 * told[0]


def test_use_counts_the_matches_that_hold_a_pixel():
    _, source, start, _ = given_problem(2)
    held = torch.zeros(8, 7, dtype=torch.int32)
    for v, u in start.place.view(-1, 2).tolist():
        held[v : v + 3, u : u + 3] += 1
    assert torch.equal(use(start, source), held)


# Stylisation


def test_a_picture_in_its_own_style_stays(cat):
    assert rmse(patches.patch_stylize(cat, cat, rng=generator(0)), cat) < 1e-3


def test_uniformity_lowers_the_largest_use_and_the_pixels_never_used(cat, cup):
    start, shown, guides = begun(cat, cup, False)
    levels = scales(wanted(shown, (96, 96), False, guides), 6, 18, 1.5)
    most, never = [], []
    for uniformity in (0.0, 0.3, 3.0):
        counts = [3] * len(levels)
        field = optimised(start, levels, counts, uniformity, generator(0))
        held = use(field, cup).float()
        most.append(float(held.max() / held.mean()))
        never.append(float((held == 0).float().mean()))
    assert most[0] > 2 * most[1] > 2 * most[2]
    assert never[0] > never[1] > never[2]


def test_the_more_the_content_leads_the_nearer_its_luminance(cat, cup):
    wish = equalised(image.as_channels(cat, 1), image.as_channels(cup, 1))
    off = [
        rmse(
            image.as_channels(patches.patch_stylize(cat, cup, lead=lead, rng=generator(0)), 1), wish
        )
        for lead in (0, 0.5, 8)
    ]
    assert off[0] > 1.5 * off[1] > 1.5 * off[2]


def detail(u):
    grey = image.as_channels(u, 1)
    return float(grey.diff(dim=1).abs().mean() + grey.diff(dim=2).abs().mean())


def test_it_has_the_detail_of_a_texture(cat):
    gravel = torch.from_numpy(photographs.gravel()[:96, :96] / np.float32(255))[None]
    made = patches.patch_stylize(cat, gravel, rng=generator(0))
    assert 0.8 < detail(made) / detail(gravel) < 1.15
    assert (
        float(np.corrcoef(*(blurred(u.mean(0)[None], 2).ravel() for u in (made, cat)))[0, 1]) > 0.8
    )


def test_its_patches_are_nearer_to_the_styles_than_those_of_recoloured_content(cat, cup):
    def off(u):
        return float(patches.brute_force(u, cup, patch=5).distance.mean())

    made = patches.patch_stylize(cat, cup, lead=0.3, rng=generator(0))
    assert off(made) < 0.5 * off(patches.color_transport(cat, cup))


# Analogies


def naive_fill(level, before, kappa, n, offered, guess):
    """Copy pixels one after the other, in plain Python; windows reach beyond borders' pixels."""
    r = n // 2
    at = np.arange(-r, r + 1)
    line = np.exp(-np.square(at) / (2 * (n / 4) ** 2))
    weight = np.outer(line, line) / line.sum() ** 2
    known = []
    for u, coarse in ((level.a, before[0]), (level.b, before[1])):
        up = coarse.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, : u.shape[1], : u.shape[2]]
        both = torch.cat([u / len(u) ** 0.5, up / len(up) ** 0.5]).numpy().astype(np.float64)
        known.append(np.pad(both, ((0, 0), (r, r), (r, r)), mode="edge"))
    made = np.pad(level.a_prime.numpy(), ((0, 0), (r, r), (r, r)), mode="edge").astype(np.float64)
    (h, w), (high, wide) = level.b.shape[1:], level.a.shape[1:]
    place = {}

    def distance(y, x, v, u):
        e = known[1][:, y : y + n, x : x + n] - known[0][:, v : v + n, u : u + n]
        total, sums, part = float((weight * np.square(e).sum(0)).sum()), 0.0, 0.0
        for dy, dx in earlier:
            if (y + dy, x + dx) in place:
                i, j = place[y + dy, x + dx]
                here = made[:, i + r, j + r] - made[:, v + dy + r, u + dx + r]
                part += weight[dy + r, dx + r] * float(np.square(here).mean())
                sums += weight[dy + r, dx + r]
        return total + (part / sums if sums else 0.0)

    earlier = [(k // n - r, k % n - r) for k in range(n * n // 2)]
    for y, x in np.ndindex(h, w):
        tried = [tuple(guess[y, x].tolist()), *map(tuple, offered[:, y, x].tolist())]
        far = [distance(y, x, *q) for q in tried]
        best = tried[int(np.argmin(far))]
        near = [
            (place[y + dy, x + dx][0] - dy, place[y + dy, x + dx][1] - dx)
            for dy, dx in earlier
            if (y + dy, x + dx) in place
        ]
        near = [(v, u) for v, u in near if 0 <= v < high and 0 <= u < wide]
        if near:
            d = [distance(y, x, *q) for q in near]
            if min(d) <= (1 + kappa) * min(far):
                best = near[int(np.argmin(d))]
        place[y, x] = best
    return torch.tensor([place[at][0] << 16 | place[at][1] for at in np.ndindex(h, w)]).view(h, w)


@pytest.mark.parametrize("kappa", [0.0, 0.5])
def test_a_level_is_filled_as_the_naive_loop_does(kappa):
    rng = generator(3)
    a, a_prime = torch.rand(1, 12, 10, generator=rng), torch.rand(3, 12, 10, generator=rng)
    level = Level(a, a_prime, torch.rand(1, 9, 13, generator=rng))
    before = Level(torch.rand(1, 6, 5), torch.rand(3, 6, 5, generator=rng), torch.rand(1, 5, 7))
    rows, cols = torch.randint(6, (5, 7), generator=rng), torch.randint(5, (5, 7), generator=rng)
    place = (rows << 16 | cols).to(torch.int32)
    found = filled(level, (before, place), kappa, 5, 4, generator(0))

    coarse = before.a_prime, before.a_prime[:, rows, cols]
    offered = patches_near(level, coarse, 5, 4)
    y, x = torch.arange(9), torch.arange(13)
    guess = torch.stack(
        [
            2 * rows[y // 2][:, x // 2] + (y % 2)[:, None],
            2 * cols[y // 2][:, x // 2] + (x % 2)[None],
        ],
        -1,
    )
    assert torch.equal(found.long(), naive_fill(level, coarse, kappa, 5, offered, guess))


def patches_near(level, coarse, n, k):
    """Return what PatchMatch, of the same seed, offers."""
    known = []
    for u, c in ((level.a, coarse[0]), (level.b, coarse[1])):
        up = c.repeat_interleave(2, 1).repeat_interleave(2, 2)[:, : u.shape[1], : u.shape[2]]
        both = torch.cat([u / len(u) ** 0.5, up / len(up) ** 0.5])
        known.append(torch.nn.functional.pad(both[None], (n // 2,) * 4, mode="replicate")[0])
    return patches.patchmatch(known[1], known[0], patch=n, k=k, rng=generator(0)).place


def test_of_a_picture_itself_the_other_is_made(cat):
    other = blurred(1 - cat, 1.5)
    assert torch.equal(patches.image_analogy(cat, other, cat, rng=generator(0)), other)


def test_of_a_part_the_part_of_the_other_is_made(cat):
    other, inside = blurred(1 - cat, 1), (slice(None), slice(20, 80), slice(10, 90))
    given = {"luminance": False, "rng": generator(0)}
    found = patches.image_analogy(cat, other, cat[inside], **given)
    assert rmse(found[:, 4:-4, 4:-4], other[inside][:, 4:-4, 4:-4]) < 5e-3


def test_a_negative_is_learnt(cat, cup):
    a, b = (image.as_channels(u, 1) for u in (cat, cup))
    b = rescaled(b, b, a).clamp(float(a.min()), float(a.max()))
    found = patches.image_analogy(a, 1 - a, b, luminance=False, lead=30, rng=generator(0))
    assert rmse(found, 1 - b) < 0.25 * float(b.std())


def test_colours_are_kept(cat, cup):
    a = blurred(cup, 2)
    found = patches.image_analogy(a, cup, cat, keep_colors=True, rng=generator(0))
    within = (found > 0).all(0) & (found < 1).all(0)
    moved = (found - cat)[:, within]
    assert float((moved - moved[:1]).abs().max()) < 1e-5
    assert rmse(found, cat) < 0.15


def test_kappa_lets_copies_hang_together(cat, cup):
    """The share of pixels that go on with their left neighbour's copy grows."""

    def hanging(kappa):
        a = blurred(cup, 3)[:1]
        where = torch.stack(torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij"))
        coordinates = torch.cat([where / 95, torch.zeros(1, 96, 96)])
        given = {"luminance": False, "kappa": kappa, "lead": 30.0, "rng": generator(0)}
        found = patches.image_analogy(a, coordinates, cat[:1], **given)[:2] * 95
        step = (found[:, :, 1:] - found[:, :, :-1]).round()
        return float(((step[0] == 0) & (step[1] == 1)).float().mean())

    low, some, much = map(hanging, (0.0, 1.0, 20.0))
    assert low < some < much


def test_texture_by_numbers_puts_every_texture_where_its_label_is(cat, cup):
    labels = torch.zeros(1, 64, 96)
    labels[:, :, 48:] = 1
    dark, light = 0.4 * cat[:, :64, :48], 0.6 + 0.4 * cup[:, :64, :48]
    y, x = torch.arange(70)[:, None], torch.arange(80)
    wish = ((y - 35) ** 2 + (x - 40) ** 2 < 24**2).float()[None]
    texture = torch.cat([dark, light], 2)
    found = patches.image_analogy(labels, texture, wish, luminance=False, rng=generator(0))
    agrees = (found.mean(0) > 0.5) == wish[0].bool()
    assert agrees.float().mean() > 0.97
    assert torch.cdist(found.flatten(1).T, texture.flatten(1).T).amin(1).max() < 1e-3


def test_what_does_not_fit_is_refused(cat):
    with pytest.raises(InputError, match="window must be odd"):
        patches.image_analogy(cat, cat, cat, window=4)
    with pytest.raises(InputError, match="the same channels"):
        patches.image_analogy(cat, cat, cat[:1], luminance=False)
    with pytest.raises(InputError, match="luminance=True"):
        patches.image_analogy(cat, cat, cat, luminance=False, keep_colors=True)
    with pytest.raises(InputError, match="largest must be a power of 2"):
        patches.split_match(cat, cat, largest=48)


@pytest.mark.parametrize("name", ["patch_stylize", "image_analogy"])
def test_threads_do_not_matter_where_there_is_enough_for_two(name):
    u, v = photograph("chelsea", 20, 100, 200), photograph("coffee", 100, 250, 200)
    found, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            given = (u, v) if name == "patch_stylize" else (v, v, u)
            options = {"rounds": 1} if name == "patch_stylize" else {"k": 2}
            found.append(getattr(patches, name)(*given, rng=generator(0), **options))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*found)
