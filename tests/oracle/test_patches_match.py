"""Nearest-neighbour fields against all distances in float64, and on photographs."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data, transform

from gouache import patches, train
from gouache.check import InputError
from gouache.patches import _match, _match_kernels, _match_tree, _patchmatch, _patchmatch_tensors
from gouache.random import generator

NONE, NONE_F = np.empty(0, np.int32), np.empty(0, np.float32)


def photograph(height=60, width=80):
    picture = transform.resize(data.chelsea(), (height, width), anti_aliasing=True)
    return torch.from_numpy(picture).permute(2, 0, 1).float()


def pair():
    left, right, _ = data.stereo_motorcycle()
    views = [transform.resize(v, (65, 96), anti_aliasing=True) for v in (left, right)]
    return [torch.from_numpy(v).permute(2, 0, 1).float() for v in views]


def vectors(image, patch):
    return image.double().unfold(1, patch, 1).unfold(2, patch, 1).permute(1, 2, 0, 3, 4).flatten(2)


@settings(max_examples=25, deadline=None)
@given(
    sides=st.tuples(*[st.integers(5, 14)] * 4),
    patch=st.integers(1, 5),
    channels=st.integers(1, 4),
    k=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_brute_force_finds_the_smallest_of_all_distances(sides, patch, channels, k, seed):
    rng = generator(seed)
    query = torch.rand(channels, *sides[:2], generator=rng)
    source = torch.rand(channels, *sides[2:], generator=rng)
    field = patches.brute_force(query, source, patch=patch, k=k)
    a, b = vectors(query, patch), vectors(source, patch)
    every = torch.cdist(a.flatten(0, 1), b.flatten(0, 1)).square()
    every = torch.nn.functional.pad(every, (0, k), value=torch.inf)  # fewer than k exist
    smallest = every.topk(k, largest=False).values.T.reshape(k, *a.shape[:2])
    torch.testing.assert_close(field.distance.double(), smallest, atol=1e-5, rtol=1e-5)


def test_brute_force_over_many_blocks(monkeypatch):
    image, whole = photograph(), patches.brute_force(photograph(), patch=5, k=2)
    for name, size in (("ROWS", 100), ("COLUMNS", 150)):
        monkeypatch.setattr(f"gouache.patches._brute_force.{name}", size)
    seen = []
    parts = patches.brute_force(image, patch=5, k=2, progress=lambda *at: seen.append(at))
    assert (whole.place == parts.place).float().mean() > 0.999
    torch.testing.assert_close(whole.distance, parts.distance, atol=1e-6, rtol=1e-4)
    assert seen[-1] == (len(seen), len(seen))
    assert len(seen) > 40


def test_a_tree_of_all_components_without_slack_is_exact():
    query, source = pair()
    tree = patches.kdtree(query, source, patch=3, components=27, slack=0, k=2)
    exact = patches.brute_force(query, source, patch=3, k=2)
    torch.testing.assert_close(tree.distance, exact.distance, atol=1e-5, rtol=1e-4)


def ratio(field, exact):
    return float(field.distance.mean() / exact.distance.mean())


def test_patchmatch_is_near_the_exact_field_and_better_with_every_sweep():
    query, source = pair()
    exact = patches.brute_force(query, source)
    found = [
        ratio(patches.patchmatch(query, source, iterations=n, rng=generator(0)), exact)
        for n in (0, 1, 2, 5)
    ]
    assert found == sorted(found, reverse=True)
    assert found[0] > 2
    assert 1 <= found[-1] < 1.02


@settings(max_examples=20, deadline=None)
@given(
    sides=st.tuples(*[st.integers(5, 24)] * 2),
    patch=st.integers(1, 5),
    channels=st.integers(1, 3),
    scale=st.sampled_from([1e-3, 1.0, 300.0]),
    offset=st.sampled_from([0.0, 1.0, 1000.0]),
    large=st.sampled_from([0, 10**9]),
    seed=st.integers(0, 2**31),
)
def test_codes_never_claim_more_than_the_distance(
    sides, patch, channels, scale, offset, large, seed
):
    rng = generator(seed)
    image = scale * (offset + torch.rand(channels, *sides, generator=rng) ** 3)
    other = scale * (offset + torch.rand(channels, *sides[::-1], generator=rng))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(_match_tree, "LARGE", large)
        found = codes(_match.problem(image, other, patch, 1, (None, None), None, None, None))
    assert found.query.shape[1] == (16 if large else 10)
    a, b = vectors(image, patch).flatten(0, 1), vectors(other, patch).flatten(0, 1)
    every = torch.cdist(a, b).square().numpy()
    unit = found.weight[: found.query.shape[1]]
    apart = np.abs(found.query[:, None].astype(int) - found.source[None]) - 1
    claimed = (np.maximum(0, apart) ** 2 * unit).sum(-1)
    assert (claimed <= every * (1 + 1e-4) + 1e-6 * scale**2).all()
    for at, to in zip(range(0, len(a), 5), range(len(b)), strict=False):
        known = _match_kernels.bound(found, at, to)
        assert known == pytest.approx(claimed[at, to], rel=1e-5)


def codes(asked, listed=NONE):
    return _patchmatch.task(asked, listed).codes


@pytest.mark.parametrize(("channels", "side", "rank"), [(1, 70, 16), (3, 40, 16), (60, 12, 16)])
def test_components_are_nearly_those_of_largest_variance(channels, side, rank):
    step = torch.rand(channels, side, side, generator=generator(0)).cumsum(1).cumsum(2)
    asked = _match.problem(step / step.max(), None, 5, 1, (None, None), None, None, None)
    basis = _match_tree.components(asked, NONE)
    np.testing.assert_allclose(basis.main.T @ basis.main, np.eye(16), atol=1e-5)
    view = asked.source.double().unfold(1, 5, 1).unfold(2, 5, 1).permute(1, 2, 3, 4, 0)
    view = view.flatten(2).flatten(0, 1).numpy()
    most = np.linalg.eigvalsh(np.cov(view.T))[::-1][:rank].sum()
    assert 0.9 * most < np.square(basis.spread, dtype=np.float64).sum() < 1.1 * most
    assert np.linalg.norm(view.mean(0) - basis.mean) < 0.1 * np.sqrt(most)


def test_components_that_there_are_not_are_nothing():
    image = torch.rand(2, 20, 20, generator=generator(0))
    basis = _match_tree.components(
        _match.problem(image, None, 2, 1, (None, None), None, None, None), NONE
    )
    np.testing.assert_allclose(basis.main.T @ basis.main, np.diag([1.0] * 8 + [0.0] * 8), atol=1e-5)
    even = _match.problem(torch.ones(1, 20, 20), None, 5, 1, (None, None), None, None, None)
    assert not codes(even).weight.any()
    ramp = torch.arange(20.0).expand(1, 20, 20)
    ramp = _match.problem(ramp, None, 5, 1, (None, None), None, None, None)
    assert (codes(ramp).weight > 0).sum() == 1


def test_components_do_not_depend_on_threads():
    disc = (torch.linspace(-1, 1, 90).square()[:, None] + torch.linspace(-1, 1, 90).square()) < 0.5
    for image in (disc.float()[None], photograph(200, 300), torch.rand(9, 50, 40)):
        asked = _match.problem(image, None, 7, 1, (None, None), None, None, None)
        found = []
        for count in (1, 2):
            with train.threads(count):
                found.append(_match_tree.components(asked, NONE))
        for one, two in zip(*found, strict=True):
            np.testing.assert_array_equal(one, two)


def test_what_may_not_be_taken_has_no_influence():
    query, source = pair()
    mask = torch.rand(65, 96, generator=generator(4)) > 0.01
    given = {"source_mask": mask, "iterations": 2}
    field = patches.patchmatch(query, source, **given, rng=generator(0))
    hidden = torch.where(mask, source, 1e4)
    other = patches.patchmatch(query, hidden, **given, rng=generator(0))
    assert torch.equal(field.place, other.place)


@pytest.mark.parametrize(("count", "levels"), [(50, 1), (3000, 3), (3000, 256)])
def test_every_patch_is_in_the_leaf_that_its_code_leads_to(count, levels):
    rng = np.random.default_rng(0)
    code = rng.integers(0, levels, (count, 16), np.uint8)
    listed = rng.permutation(count)[: count - 7].astype(np.int32)
    known = _match_tree.Codes(code, code, np.ones(16, np.float32))
    cuts, starts, order = _match_tree.grown(known, listed, 5)
    assert sorted(order) == sorted(listed)
    assert starts[0] == 0
    assert starts[-1] == len(order)
    for leaf, (low, high) in enumerate(itertools.pairwise(starts)):
        for place in order[low:high]:
            node = 1
            while node < len(starts) - 1:
                cut = cuts[node]
                node = 2 * node + int(code[place, cut >> 8] >= cut & 255)
            assert node - len(starts) + 1 == leaf
    if levels == 256:
        assert np.diff(starts).min() >= 10
        assert np.diff(starts).max() <= 400
    other = _match_tree.grown(known, listed, 6)
    assert levels == 1 or not np.array_equal(cuts, other.cuts)


def leaf_of(code, unit, order, weight=NONE, allowed=NONE, exclusion=0):
    """Return a function that looks into a tree of one leaf, for images 10 patches wide."""
    starts = np.array([0, len(order)], np.int32)
    tree = _match_tree.Tree(np.zeros(1, np.int32), starts, order.astype(np.int32))
    known = _match_tree.Codes(code, code, unit)
    given = (NONE_F, NONE_F, known, weight.astype(np.float32), allowed.astype(np.bool_), exclusion)
    task = _patchmatch.Task(*given, 10, len(code) // 10, 10, 1, 1)

    def look(place, word=0, limit=np.inf, most=4):
        alike, bounds = np.empty(most, np.int32), np.empty(most, np.float32)
        y, x = divmod(place, 10)
        found = _match_kernels.leaf(task, y, x, tree, word, np.float32(limit), alike, bounds)
        return alike[:found].tolist(), bounds[:found]

    return look


def test_a_leaf_says_which_of_its_patches_look_most_alike():
    rng = np.random.default_rng(0)
    code = rng.integers(0, 256, (100, 16), np.uint8)
    unit, allowed = rng.random(16).astype(np.float32), rng.random(100) < 0.8
    far = (np.maximum(0, np.abs(code[34].astype(int) - code) - 1) ** 2 * unit).sum(1)
    rows, cols = np.divmod(np.arange(100), 10)
    free = allowed & (np.maximum(abs(rows - 3), abs(cols - 4)) >= 3)
    best = np.argsort(np.where(free, far, np.inf))[:4]
    order = rng.permutation(100)
    alike, bounds = leaf_of(code, unit, order, allowed=allowed, exclusion=3)(34)
    assert alike == best.tolist()
    np.testing.assert_allclose(bounds, far[best], rtol=1e-5)
    limit = far[best[2]]
    assert len(leaf_of(code, unit, order, allowed=allowed, exclusion=3)(34, limit=limit)[0]) == 2
    weighted = leaf_of(code, unit, order, np.ones(100), allowed, 3)
    assert weighted(34, limit=limit)[0] == best.tolist()


def test_of_a_large_leaf_some_neighbours_in_order_are_looked_at():
    look = leaf_of(np.zeros((1000, 16), np.uint8), np.ones(16, np.float32), np.arange(1000))
    assert sorted(look(5, word=0, most=300)[0]) == list(range(192))
    assert sorted(look(5, word=2**32 - 1, most=300)[0]) == list(range(808, 1000))


def test_patchmatch_finds_several_apart_from_the_place_itself():
    image = photograph()
    given = {"k": 3, "exclusion": 2, "patch": 5}
    exact = patches.brute_force(image, **given)
    found = patches.patchmatch(image, **given, rng=generator(0))
    assert ratio(found, exact) < 1.02


def test_patchmatch_with_weights_still_finds():
    query, source = pair()
    weight = torch.ones(65, 96)
    exact = patches.brute_force(query, source, weight=weight)
    plain = patches.brute_force(query, source)
    torch.testing.assert_close(exact.distance, plain.distance, atol=1e-5, rtol=1e-5)
    weight[:, ::2] = 0.01
    exact = patches.brute_force(query, source, weight=weight)
    field = patches.patchmatch(query, source, weight=weight, rng=generator(0))
    assert ratio(field, exact) < 1.1


def test_values_whose_squares_are_not_numbers_are_refused():
    for image in (torch.full((1, 9, 9), 1e20), torch.full((1, 9, 9), 1e39, dtype=torch.float64)):
        for name in ("brute_force", "patchmatch", "kdtree"):
            with pytest.raises(InputError, match="must lie within 1e\\+15"):
                getattr(patches, name)(image, patch=3)


def test_a_start_is_kept_where_it_is_good():
    query, source = pair()
    exact = patches.brute_force(query, source)
    kept = patches.patchmatch(query, source, iterations=0, start=exact)
    assert torch.equal(kept.place, exact.place)
    with pytest.raises(InputError, match="start must have places"):
        patches.patchmatch(query, source, patch=5, start=exact)
    with pytest.raises(InputError, match="point into the source"):
        patches.patchmatch(query, source[:, :40], start=exact)


def test_sides_beyond_what_a_packed_place_holds_are_refused():
    with pytest.raises(InputError, match="at most 32767 pixels"):
        patches.patchmatch(torch.zeros(1, 4, 40000), torch.zeros(1, 4, 8), patch=3)


def test_the_seed_decides():
    query, source = pair()
    one, same, other = (
        patches.patchmatch(query, source, iterations=1, rng=generator(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(one.place, same.place)
    assert not torch.equal(one.place, other.place)


@pytest.mark.parametrize("k", [1, 3])
def test_whole_image_operations_find_as_much(k):
    query, source = pair()
    mask = torch.rand(65, 96, generator=generator(4)) > 0.01
    asked = _match.problem(query, source, 7, k, (None, mask), None, 2, None)
    start = torch.full((*asked.shape, k), -1, dtype=torch.int32)
    field = _patchmatch_tensors.search(asked, start, 4, seed=0)
    exact = patches.brute_force(query, source, k=k, source_mask=mask, exclusion=2)
    assert ratio(field, exact) < 1.15
    again = _patchmatch_tensors.search(asked, start, 4, seed=0)
    assert torch.equal(field.place, again.place)


def test_vote_of_true_matches_is_the_image_and_of_none_is_nan():
    image = photograph(20, 24)
    mask = torch.zeros(20, 24, dtype=torch.bool)
    mask[5, 5] = True
    whole = patches.brute_force(image, image, patch=5)
    torch.testing.assert_close(patches.vote(whole, image), image)
    one = patches.vote(patches.brute_force(image, image, patch=5, query_mask=mask), image)
    torch.testing.assert_close(one[:, 3:8, 3:8], image[:, 3:8, 3:8])
    assert one.isnan().sum() == 3 * (20 * 24 - 25)
    weight = torch.zeros_like(whole.distance)
    weight[0, 0, 0] = 2
    torch.testing.assert_close(
        patches.vote(whole, image, weight=weight)[:, :5, :5], image[:, :5, :5]
    )
    with pytest.raises(InputError, match="smaller than what the field points to"):
        patches.vote(whole, image[:, :10])


@pytest.mark.parametrize(("height", "width"), [(1, None), (3, None), (2, 5), (11, 1), (11, 13)])
def test_whole_patches_are_those_of_a_loop(height, width):
    free = torch.rand(11, 13, generator=generator(0)) < 0.9
    free[2:9, 3:12] = True
    found = _match.whole(free, height, width)
    wide = width or height
    for r, c in itertools.product(range(12 - height), range(14 - wide)):
        assert found[r, c] == free[r : r + height, c : c + wide].all()
    assert found.shape == (12 - height, 14 - wide)


@pytest.mark.parametrize(("first", "message"), [(-1, "first must be at least 0"), (0.5, "whole")])
def test_a_matcher_counts_its_sweeps_from_0(first, message):
    image = photograph(12, 14)
    with pytest.raises(InputError, match=message):
        patches.Matcher(image, patch=3)(image, first=first)


def test_a_share_of_copies_needs_a_distance():
    with pytest.raises(InputError, match="near must be at least 0, got -1"):
        patches.copy_rate(photograph(12, 14), photograph(12, 14), near=-1)


@pytest.mark.parametrize("stride", [1, 3, 4])
def test_bands_cover_the_image_and_their_mean_is_it(stride):
    image = photograph(19, 23)
    seen, mean = 0, patches.Aggregate(image.shape, 4)
    for band in patches.bands(image, 4, stride=stride, most=9):
        seen += len(band.patches)
        at = (int(band.rows[-1]), int(band.cols[-1]))
        last = image[:, at[0] : at[0] + 4, at[1] : at[1] + 4].flatten()
        assert torch.equal(band.patches[-1], last)
        mean.add(band, band.patches)
    assert seen == {1: 16 * 20, 3: 6 * 8, 4: 5 * 6}[stride]
    torch.testing.assert_close(mean.mean(), image)


def test_the_wheel_turns_as_the_places_do():
    place = torch.zeros(1, 4, 4, 2, dtype=torch.int32)
    steps = {(0, 1): (1, 0, 0), (0, -1): (0, 1, 1), (1, 0): (0.5, 1, 0), (-1, 0): (0.5, 0, 1)}
    for (dy, dx), colour in steps.items():
        place[0, 2, 2] = torch.tensor([2 + dy, 2 + dx])
        drawn = patches.colour_wheel(patches.Field(place, torch.zeros(1, 4, 4), 1), most=1)
        torch.testing.assert_close(drawn[:, 2, 2], torch.tensor(colour).float())
    place[0, 2, 2] = 2
    assert (patches.colour_wheel(patches.Field(place, torch.zeros(1, 4, 4), 1))[:, 2, 2] == 1).all()
    place[0, 2, 2] = -1
    assert (patches.colour_wheel(patches.Field(place, torch.zeros(1, 4, 4), 1))[:, 2, 2] == 0).all()
