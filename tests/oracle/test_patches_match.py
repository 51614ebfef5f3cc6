"""Nearest-neighbour fields against all distances in float64, and on photographs."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data, transform

from gouache import patches
from gouache.check import InputError
from gouache.patches import _match, _patchmatch_tensors
from gouache.random import generator


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
    assert 1 <= found[-1] < 1.05


def test_patchmatch_with_weights_has_no_keys_and_still_finds():
    query, source = pair()
    weight = torch.ones(65, 96)
    exact = patches.brute_force(query, source, weight=weight)
    plain = patches.brute_force(query, source)
    torch.testing.assert_close(exact.distance, plain.distance, atol=1e-5, rtol=1e-5)
    field = patches.patchmatch(query, source, weight=weight, iterations=8, rng=generator(0))
    assert ratio(field, exact) < 1.25


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
