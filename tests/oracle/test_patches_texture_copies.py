"""Textures that copy: cuts, distances and choices against naive loops; periods, bytes, seams."""

import itertools

import numpy as np
import pytest
import torch
from skimage import data

from gouache.check import InputError
from gouache.patches import _copies as copies
from gouache.patches import _efros_leung as efros
from gouache.patches import _graphcut_seams as seams
from gouache.patches import _neighbourhood_kernels as growth
from gouache.patches import _quilting_kernels as cuts
from gouache.patches import efros_leung, graphcut, quilting, wei_levoy
from gouache.patches._blocks import Span, spans_of, waves_of
from gouache.patches._quilting import sewn
from gouache.patches._texture import wanted
from gouache.patches._wei_levoy import Options, _Pass
from gouache.patches._wei_levoy_levels import children, doubled, stack_of
from gouache.random import generator

METHODS = [quilting, efros_leung, graphcut, wei_levoy]


def gravel(side=48):
    return torch.from_numpy(data.gravel()[:side, 7 : side + 7] / 255).float()[None]


def colours(side=40):
    return torch.from_numpy(data.coffee()[100 : 100 + side, 60 : 60 + side] / 255).float()


def paths(lines, places):
    """Return all paths of a strip: one place per line, moving by at most one."""
    every = itertools.product(range(places), repeat=lines)
    return [p for p in every if all(abs(a - b) <= 1 for a, b in itertools.pairwise(p))]


def length(e, path, first=0):
    return sum(float(e[first + i, j]) for i, j in enumerate(path))


@pytest.mark.parametrize("seed", range(5))
def test_a_straight_cut_is_the_best_of_all_paths(seed):
    e = np.random.default_rng(seed).random((6, 3), np.float32)
    found = np.zeros(6, np.int64)
    total = cuts.straight(e, found)
    least = min(length(e, p) for p in paths(6, 3))
    assert length(e, found) == pytest.approx(least, rel=1e-6)
    assert total == pytest.approx(least, rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_a_cut_round_the_corner_is_the_best_of_all_that_meet_in_it(seed):
    """Every meeting pixel with every path below it and every path to its right."""
    e = np.random.default_rng(seed).random((6, 7), np.float32)
    left, top = np.ascontiguousarray(e[:, :3]), np.ascontiguousarray(e[:2].T)
    least = min(
        length(left, (x, *down), y) + length(top, (y, *along), x) - float(e[y, x])
        for y, x in np.ndindex(2, 3)
        for down in paths(5 - y, 3)
        if abs(down[0] - x) <= 1
        for along in paths(6 - x, 2)
        if abs(along[0] - y) <= 1
    )
    rows, cols = np.zeros(6, np.int64), np.zeros(7, np.int64)
    assert cuts.corner(left, top, rows, cols) == pytest.approx(least, rel=1e-6)
    meets = [(y, x) for y, x in np.ndindex(2, 3) if rows[y] == x and cols[x] == y]
    assert any(
        length(left, rows[y:], y) + length(top, cols[x:], x) - float(e[y, x])
        == pytest.approx(least, rel=1e-6)
        for y, x in meets
    )


def test_what_is_sewn_keeps_the_old_sides_and_the_new_middle():
    e = np.random.default_rng(0).random((14, 16), np.float32)
    new = sewn(e, Span(0, 14, 4, 3), Span(0, 16, 5, 4))
    assert new[4:-3, 5:-4].all()
    for old in (~new[:5], ~new[:, :6].T, ~new[::-1][:4], ~new[:, ::-1][:, :5].T):
        for line in old.T[6:8]:  # old on the outside, new from the cut on
            assert not line[-1]
            assert (np.diff(line.astype(int)) <= 0).all()


def test_a_cut_follows_a_free_path():
    """A path of zeros, round the corner, among ones: the cut runs there and nowhere else."""
    e = np.ones((9, 9), np.float32)
    e[2:, 1], e[2, 1:] = 0, 0
    new = sewn(e, Span(0, 9, 4, 0), Span(0, 9, 4, 0))
    expected = np.zeros((9, 9), bool)
    expected[2:, 1:] = True
    np.testing.assert_array_equal(new, expected)


@pytest.mark.parametrize("tileable", [False, True])
@pytest.mark.parametrize("n", [1, 2, 5, 11, 12, 13, 47, 48, 100])
@pytest.mark.parametrize(("side", "overlap"), [(2, 1), (12, 2), (12, 6), (13, 4)])
def test_blocks_cover_an_axis_and_overlap_by_what_they_say(n, side, overlap, tileable):
    spans = spans_of(n, side, overlap, tileable)
    known = np.zeros(n, bool)
    for span in spans:
        at = span.pixels(n)
        assert len(set(at)) == span.length <= min(side, n)
        assert span.before + span.after <= span.length
        expected = np.zeros(span.length, bool)
        expected[: span.before] = True
        expected[span.length - span.after :] = True
        np.testing.assert_array_equal(known[at], expected)
        known[at] = True
    assert known.all()


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (2, 5), (5, 3), (4, 7)])
def test_blocks_of_a_wave_do_not_touch(height, width):
    waves = waves_of(height, width)
    assert sorted(itertools.chain(*waves)) == list(np.ndindex(height, width))
    for wave in waves:
        for a, b in itertools.combinations(wave, 2):
            apart = [
                min(abs(s - t), n - abs(s - t))
                for s, t, n in zip(a, b, (height, width), strict=True)
            ]
            assert max(apart) > 1


def sources_of(exemplars, guides=None, size=(9, 9)):
    return copies.sources(wanted(exemplars, size, False, guides))


def test_errors_are_those_of_a_naive_loop():
    rng = np.random.default_rng(0)
    first, second = colours(19).permute(2, 0, 1), colours(33).permute(2, 0, 1)[:, 5:22, :14]
    guides = ([first[:2], second[:2]], torch.zeros(2, 9, 9))
    source = sources_of([first, second], guides)
    patch, known = rng.random((3, 6, 5), np.float32), rng.random((6, 5)) < 0.5
    wish = rng.random((2, 6, 5), np.float32)
    found = copies.Errors(source, 0.7)(patch, known, wish)
    high, wide = source.free.shape
    assert found.shape == (high - 5, wide - 4)
    for y, x in np.ndindex(found.shape):
        here = np.s_[y : y + 6, x : x + 5]
        e = (known * (source.values[(slice(None), *here)] - patch) ** 2).sum()
        e += 0.7 * ((source.guide[(slice(None), *here)] - wish) ** 2).sum()
        e = e if source.free[here].all() else np.inf
        assert found[y, x] == pytest.approx(e, abs=2e-5)


def test_places_that_go_on_with_a_copy_are_left_out_unless_there_are_no_others():
    errors = np.arange(48, dtype=np.float32).reshape(6, 8)
    place = np.full((2, 2), -1, np.int32)
    place[0] = 2 * 10 + 4, 2 * 10 + 5
    at = copies.continued(place, place >= 0, 10)
    assert at.tolist() == [24]
    kept = copies.fresh(errors, at, 10, 1)
    assert np.isinf(kept[1:4, 3:6]).all()
    assert np.isfinite(kept).sum() == 48 - 9
    assert copies.fresh(errors, at, 10, 9) is errors


@pytest.mark.parametrize("wraps", [False, True])
def test_distances_of_efros_leung_are_those_of_a_naive_loop(wraps):
    """Gaussian weights over known pixels, normalised; candidates within the limit, no others."""
    rng = np.random.default_rng(1)
    u = gravel(20)
    source = sources_of(u, (u.flip(2), torch.rand(1, 9, 11, generator=generator(0))), (9, 11))
    task = efros._task(source, 5, 0.3, 0.4, wraps, 0)
    place = np.where(rng.random((9, 11)) < 0.6, rng.integers(0, 400, (9, 11)), -1).astype(np.int32)
    place[1, 2] = place[8, 10] = -1
    for y, x in ((1, 2), (8, 10)):
        most = 25 * 2
        terms = (np.empty(most, np.int64), np.empty(most, np.float32), np.empty(most, np.float32))
        n = growth.collect(task, y, x, place, *terms)
        far = np.full(400, np.inf, np.float32)
        lanes = np.zeros(growth.LANES, np.float32)
        limit = growth.scan(task, *terms, n, np.float32(np.inf), lanes, far)
        naive = np.full(400, np.inf)
        for q in np.flatnonzero(task.allowed):
            naive[q] = gaussian_distance(source, place, (y, x), divmod(int(q), 20), wraps)
        assert limit == pytest.approx(1.3 * naive.min() + task.unseen, rel=1e-4)
        near = np.isfinite(far)
        np.testing.assert_allclose(far[near], naive[near], rtol=1e-4)
        assert naive[~near].min() >= limit * (1 - 1e-4)


def gaussian_distance(source, place, at, q, wraps, window=5, weight=0.4):
    """Return d, written down as in the paper."""
    (height, width), values = place.shape, source.values[0].ravel()
    sums = np.zeros(4)
    for dy, dx in itertools.product(range(-(window // 2), window // 2 + 1), repeat=2):
        y, x = at[0] + dy, at[1] + dx
        if not wraps and not (0 <= y < height and 0 <= x < width):
            continue
        g = np.exp(-(dy**2 + dx**2) / (2 * (window / 6.4) ** 2))
        there, y, x = (q[0] + dy, q[1] + dx), y % height, x % width
        if place[y, x] >= 0:
            sums[:2] += g * (source.values[0][there] - values[place[y, x]]) ** 2, g
        sums[2:] += g * (source.guide[0][there] - source.wish[0, y, x]) ** 2, g
    return sums[0] / sums[1] + weight * sums[2] / sums[3]


def test_efros_leung_fills_what_has_most_neighbours_first():
    known = np.zeros((9, 9), bool)
    known[2:6, 2:6], known[6, 3] = True, True
    task = efros._task(sources_of(gravel(20)), 5, 0.1, 1.0, False, 0)
    ring = efros._ring(known, task, np.random.default_rng(0).random((9, 9)))
    at = [divmod(int(p), 9) for p in ring]
    count = [known[max(0, y - 2) : y + 3, max(0, x - 2) : x + 3].sum() for y, x in at]
    assert count == sorted(count, reverse=True)
    assert len(at) == len(set(at)) == 22
    assert not known.ravel()[ring].any()


def total_cost(source, old, new, taken):
    """Return what all seams of a block cost, neighbour by neighbour, if some pixels are new."""
    place = np.where(taken, new, old)
    return float(seams.seam_costs(source, place, False).sum(dtype=np.float64))


@pytest.mark.parametrize("seed", range(6))
def test_a_cut_costs_least_of_all_divisions_into_old_and_new(seed):
    """All 2^n divisions of 3 x 5 pixels, old seams among them, some held and some not yet there."""
    source = sources_of(torch.rand(3, 12, 14, generator=generator(seed)))
    old = np.where(np.arange(5) < 2, 3 * 14 + 1, 5 * 14 + 6) + np.arange(3)[:, None] * 14
    old = (old + np.arange(5)).astype(np.int32)  # two copies side by side
    new = (7 * 14 + 4 + np.arange(3)[:, None] * 14 + np.arange(5)).astype(np.int32)
    held = np.zeros((3, 5), bool)
    held[:, 0], held[0, 4] = True, True
    unset = np.zeros((3, 5), bool)
    unset[2, 3:] = seed % 2 == 1
    loose = ~held & ~unset
    free = np.argwhere(loose)
    found = seams.cut(source, np.where(unset, -1, old).astype(np.int32), new, held)
    assert not found[held].any()
    assert found[unset].all()
    least = np.inf
    for choice in itertools.product([False, True], repeat=len(free)):
        taken = unset.copy()
        taken[tuple(free.T)] = choice
        least = min(least, total_cost(source, old, new, taken))
    assert total_cost(source, old, new, found) == pytest.approx(least, abs=15 / seams.UNITS)


def test_seams_cost_less_after_more_patches():
    u = gravel(64)
    costs = []
    for more in (0, 12, 40):
        made = graphcut(u, 96, patch=32, refinements=more, rng=generator(3))
        place = (made.origin[1] * 64 + made.origin[2]).numpy()
        costs.append(float(seams.seam_costs(sources_of(u), place, False).sum()))
    assert costs[2] <= costs[1] <= costs[0]
    assert costs[2] < 0.97 * costs[0]


def test_a_texture_without_seams_costs_nothing():
    u = gravel(30)
    place = (np.arange(20)[:, None] * 30 + np.arange(20)).astype(np.int32)
    assert not seams.seam_costs(sources_of(u), place, False).any()
    assert seams.seam_costs(sources_of(u), place, True)[0, :, -1].all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("tileable", [False, True])
def test_pixels_are_copies_bit_by_bit(method, tileable):
    few = [colours(40).permute(2, 0, 1), colours(60).permute(2, 0, 1)[:, 9:40, 13:60]]
    made = method(few, (37, 29), tileable=tileable, rng=generator(0))
    number, row, col = made.origin.long()
    assert set(number.unique().tolist()) <= {0, 1}
    for k, u in enumerate(few):
        here = number == k
        assert torch.equal(made.image[:, here], u[:, row[here], col[here]])


@pytest.mark.parametrize("method", [quilting, efros_leung, graphcut])
@pytest.mark.parametrize("tileable", [False, True])
def test_a_periodic_exemplar_is_continued_without_fault(method, tileable):
    checks = torch.eye(2).kron(torch.ones(4, 4)).repeat(6, 6)[None]
    options = {"block": 16, "overlap": 5} if method is quilting else {}  # more than a square's side
    made = method(checks, (40, 72), tileable=tileable, rng=generator(1), **options).image
    if tileable:
        made = made.repeat(1, 2, 2)
    assert torch.equal(made[:, 4:], 1 - made[:, :-4])
    assert torch.equal(made[:, :, 4:], 1 - made[:, :, :-4])


@pytest.mark.parametrize("coherence", [None, 4])
def test_wei_levoy_goes_round_the_ends_of_stripes(coherence):
    stripes = torch.arange(64).remainder(8).lt(4).float().expand(1, 64, 64)
    options = {"tileable": True, "coherence": coherence, "rng": generator(0)}
    made = wei_levoy(stripes, (32, 64), **options).image
    assert float((made == made.roll(1, 1)).float().mean()) > 0.95


@pytest.mark.parametrize("method", METHODS)
def test_most_of_the_contrast_is_kept(method):
    u = gravel(96)
    made = method(u, 96, rng=generator(1)).image
    assert 0.7 < float(made.std() / u.std()) < 1.2


@pytest.mark.parametrize("method", METHODS)
def test_bytes_do_not_depend_on_the_number_of_threads(method):
    u, threads, found = gravel(40), torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(method(u, 60, tileable=True, rng=generator(5)).origin)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def test_quilting_shows_more_than_one_part_of_the_exemplar():
    """A block that goes on with its neighbour has no error, and must not win every time."""
    made = quilting(gravel(96), 96, rng=generator(0))
    row, col = made.origin[1:] - torch.stack(torch.meshgrid(*[torch.arange(96)] * 2, indexing="ij"))
    assert len(torch.stack([row, col]).flatten(1).unique(dim=1).T) > 20


def test_a_level_begins_where_its_parent_was_copied_from():
    asked = wanted([gravel(24), gravel(41)[:, :, :30]], (11, 14), False, None)
    above, level = stack_of(asked, 2)
    assert above.size == (6, 7)
    rng = np.random.default_rng(0)
    place = rng.choice(np.flatnonzero(above.atlas.free.numpy()), (6, 7)).astype(np.int32)
    found = children(above, level, place)
    for y, x in np.ndindex(11, 14):
        row, col = divmod(int(place[y // 2, x // 2]), above.atlas.free.shape[1])
        second = col >= above.atlas.lefts[1]
        left, low = (made.lefts[second] for made in (level.atlas, above.atlas))
        at = (2 * row + y % 2, left + 2 * (col - low) + x % 2)
        assert found[y, x] == at[0] * level.atlas.free.shape[1] + at[1]


def test_the_coarser_exemplar_lies_under_the_finer():
    """A ramp halves to a ramp: parents have their children's value to half a step."""
    ramp = torch.linspace(0, 1, 33).expand(1, 33, 33)
    level = stack_of(wanted(ramp, 8, False, None), 3)[-1]
    inside = np.s_[:, 4:-4, 4:-4]
    apart = (level.coarse[inside] - level.atlas.image[inside]).abs()
    assert float(apart.max()) <= 1 / 32 + 1e-5


def pass_over(k):
    """Return the pass over the finer of two levels, the coarser texture being random pixels."""
    above, level = stack_of(wanted(colours(24).permute(2, 0, 1), (10, 12), True, None), 2)
    rng = np.random.default_rng(2)
    coarse = rng.choice(144, above.size).astype(np.int32)
    seen = doubled(above.atlas.image.flatten(1)[:, torch.from_numpy(coarse).long()], (0, 10, 12))
    hint = children(above, level, coarse) if k else None
    return _Pass(level, seen, hint, Options(5, k, 3.0, 1.0, True, 0), 0)


def causal_distance(run, place, at, q):
    """Return d over the pixels before and over the coarser window, written down as in the paper."""
    u, coarse = run.level.atlas.image, run.level.coarse
    flat, (height, width) = u.flatten(1), place.shape
    total = 0.0
    for dy, dx in itertools.product(range(-2, 3), repeat=2):
        if (dy, dx) < (0, 0):
            x = flat[:, int(place[(at[0] + dy) % height, (at[1] + dx) % width])]
            total += float((u[:, q[0] + dy, q[1] + dx] - x).square().sum())
        if dy % 2 == 0 and dx % 2 == 0:
            x = run.seen[:, (at[0] + dy) % height, (at[1] + dx) % width]
            total += 3 * float((coarse[:, q[0] + dy, q[1] + dx] - x).square().sum())
    return total


@pytest.mark.parametrize("at", [(0, 0), (4, 7), (9, 11)])
def test_wei_levoy_takes_the_nearest_of_all(at):
    run = pass_over(0)
    place = run.noise()
    naive = {
        int(q): causal_distance(run, place, at, divmod(int(q), 24))
        for q in np.flatnonzero(run.allowed)
    }
    run(np.array([at[0] * 12 + at[1]], np.int32), place)
    assert naive[int(place[at])] == pytest.approx(min(naive.values()), rel=1e-4)


@pytest.mark.parametrize("at", [(0, 0), (4, 7), (9, 11)])
def test_what_goes_on_with_a_neighbour_is_taken_unless_another_is_much_nearer(at):
    run = pass_over(3)
    assert run.hint is not None
    assert run.alike is not None
    place = run.noise()
    tried = [(4.0, int(run.hint[at]))]
    for dy, dx in itertools.product(range(-2, 3), repeat=2):
        if (dy, dx) < (0, 0):
            alike = run.alike[place[(at[0] + dy) % 10, (at[1] + dx) % 12]]
            for s, q in enumerate(alike.tolist()):
                y, x = divmod(q, 24)
                if q >= 0 and 0 <= x - dx < 24:
                    tried.append((4.0 if s else 1.0, (y - dy) * 24 + x - dx))
    allowed, naive = set(np.flatnonzero(run.allowed).tolist()), {}
    for price, q in tried:
        if q in allowed:
            d = price * causal_distance(run, place, at, divmod(q, 24))
            naive[q] = min(d, naive.get(q, np.inf))
    run(np.array([at[0] * 12 + at[1]], np.int32), place)
    assert naive[int(place[at])] == pytest.approx(min(naive.values()), rel=1e-4)


def test_wei_levoy_keeps_the_grain_of_grass():
    """Where the nearest place is always taken, a third of the contrast is lost."""
    u = torch.from_numpy(data.grass()[:192, :192] / np.float32(255))[None]
    made = wei_levoy(u, 96, rng=generator(0)).image
    for of in (torch.std, lambda x: x.diff(dim=2).abs().mean()):
        assert 0.8 < float(of(made) / of(u)) < 1.15


def test_places_alike_are_the_nearest_windows():
    run = pass_over(3)
    u = (
        run.level.atlas.image.unfold(1, 5, 1)
        .unfold(2, 5, 1)
        .permute(1, 2, 0, 3, 4)
        .reshape(400, -1)
    )
    far = torch.cdist(u, u).fill_diagonal_(torch.inf).topk(3, largest=False).values
    alike = torch.from_numpy(run.alike).view(24, 24, 4)[2:-2, 2:-2].reshape(400, 4)
    assert torch.equal(alike[:, 0], torch.arange(576).view(24, 24)[2:-2, 2:-2].flatten().int())
    y, x = alike[:, 1:].long() // 24 - 2, alike[:, 1:].long() % 24 - 2
    found = (u[y * 20 + x] - u[:, None]).norm(dim=2)
    assert float(found.mean()) < 1.05 * float(far.mean())


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (quilting, {"block": 1}, "block must be at least 2"),
        (quilting, {"block": 41}, "block must be at most the sides .* smaller block"),
        (quilting, {"exemplar": gravel(1)}, "at least 2 pixels to be cut into blocks, got 1"),
        (graphcut, {"exemplar": gravel(40)[:, :1]}, "at least 2 pixels to be cut into blocks"),
        (graphcut, {"patch": 41}, "patch must be at most the sides"),
        (graphcut, {"patch": 0}, "patch must be at least 2"),
        (efros_leung, {"window": 41}, "window must be at most the sides .* smaller window"),
        (quilting, {"block": 10, "overlap": 6}, r"overlap must be in \[1, 5\]"),
        (quilting, {"tolerance": -1}, "tolerance"),
        (wei_levoy, {"window": 41}, "window must be at most the sides .* smaller window"),
        (efros_leung, {"window": 4}, "odd"),
        (graphcut, {"placement": "matched"}, 'did you mean "matching"'),
        (graphcut, {"randomness": -0.1}, "randomness"),
        (wei_levoy, {"levels": 6}, "take fewer"),
        (wei_levoy, {"window": 3}, "at least 5"),
        (wei_levoy, {"coherence": 0}, "coherence"),
    ],
)
def test_bad_options_are_refused(method, options, message):
    with pytest.raises(InputError, match=message):
        method(**{"exemplar": gravel(40), "size": 20, **options})
