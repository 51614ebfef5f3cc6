"""Votes, pyramids of holes, joints by gradients, and what they add up to."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, sparse
from scipy.sparse import linalg

from gouache import patches, train
from gouache.check import InputError
from gouache.patches import _criminisi_kernels, _inpaint, _recompose, _scales, _vote
from gouache.patches._match import Field
from gouache.random import generator


def some_field(rng, k=2, size=(9, 11), source=(14, 12), patch=3):
    h, w = (n - patch + 1 for n in size)
    rows = torch.randint(source[0] - patch + 1, (k, h, w), generator=rng)
    cols = torch.randint(source[1] - patch + 1, (k, h, w), generator=rng)
    place = torch.stack([rows, cols], -1).to(torch.int32)
    lost = torch.rand(k, h, w, generator=rng) < 0.2
    place[lost] = -1
    distance = torch.where(lost, torch.inf, torch.rand(k, h, w, generator=rng))
    return Field(place, distance, patch)


@pytest.mark.parametrize("channels", [1, 3, 5])
def test_kernels_vote_as_tensors_do(channels):
    rng = generator(0)
    field, source = some_field(rng), torch.rand(channels, 14, 12, generator=rng)
    weight = torch.rand(field.distance.shape, generator=rng)
    torch.testing.assert_close(
        patches.vote(field, source, weight=weight),
        _vote.vote_by_tensors(field, source, weight),
        equal_nan=True,
    )


def test_best_vote_is_the_cheapest_patch_that_holds_a_pixel():
    field = some_field(generator(1))
    expected = torch.full((2, 9, 11), -1, dtype=torch.int32)
    for y, x in itertools.product(range(9), range(11)):
        held = [
            (float(field.distance[k, p, q]), k, p, q)
            for k, p, q in itertools.product(range(2), range(7), range(9))
            if field.place[k, p, q, 0] >= 0 and 0 <= y - p < 3 and 0 <= x - q < 3
        ]
        if held:
            _, k, p, q = min(held)
            expected[:, y, x] = field.place[k, p, q] + torch.tensor([y - p, x - q])
    assert torch.equal(patches.vote_best(field), expected)
    turned = Field(field.place, -field.distance, 3)
    assert torch.equal(patches.vote_best(turned, cost=field.distance), expected)


def test_weights_that_do_not_fit_are_refused():
    field = some_field(generator(0))
    with pytest.raises(InputError, match="weight must be"):
        patches.vote(field, torch.rand(1, 14, 12), weight=torch.ones(3, 3))
    with pytest.raises(InputError, match="smaller than what"):
        patches.vote(field, torch.rand(1, 5, 5))


def test_a_matcher_finds_what_patchmatch_finds():
    rng = generator(3)
    image = torch.rand(3, 60, 50, generator=rng).cumsum(1) / 10
    query, free = image[:, 5:40, 4:30], torch.rand(60, 50, generator=rng) < 0.995
    matcher = patches.Matcher(image, patch=5, source_mask=free, rng=generator(0))
    exact = patches.brute_force(query, image, patch=5, source_mask=free)
    found = matcher(query)
    for _ in range(3):
        found = matcher(query, start=found)
    assert found.distance.mean() <= 1.01 * exact.distance.mean() + 1e-6
    rows, cols = found.place[0].long().unbind(-1)
    windows = free.unfold(0, 5, 1).unfold(1, 5, 1).flatten(2).all(2)
    assert windows[rows, cols].all()
    again = patches.Matcher(image, patch=5, source_mask=free, rng=generator(0))(query)
    with train.threads(1):
        one = patches.Matcher(image, patch=5, source_mask=free, rng=generator(0))(query)
    assert torch.equal(one.place, again.place)
    assert torch.equal(matcher.vote(found), patches.vote(found, image))
    assert torch.equal(matcher(query, first=0).place, again.place)
    with pytest.raises(InputError, match="3 channels"):
        matcher(query[:1])
    with pytest.raises(InputError, match="weight must be"):
        matcher.vote(found, weight=torch.ones(2, 2))
    with pytest.raises(InputError, match="smaller than what"):
        matcher.vote(Field(found.place + 40, found.distance, 5))
    with pytest.raises(InputError, match="at most 32767"):
        patches.Matcher(torch.zeros(1, 7, 40_000))


@settings(max_examples=20, deadline=None)
@given(height=st.integers(2, 13), width=st.integers(2, 13), seed=st.integers(0, 99))
def test_halving_is_the_mean_of_what_is_known(height, width, seed):
    rng = generator(seed)
    u = torch.rand(2, height, width, generator=rng)
    known = torch.rand(height, width, generator=rng) < 0.7
    found, k = _scales.halved(torch.where(known, u, 0), known)
    assert found.shape == (2, -(-height // 2), -(-width // 2))
    taps = np.array([1.0, 3, 3, 1])
    at = [np.clip(np.arange(-1, n + n % 2 + 1), 0, n - 1) for n in (height, width)]
    for y, x in itertools.product(*(range(n) for n in k.shape)):
        rows, cols = at[0][2 * y : 2 * y + 4], at[1][2 * x : 2 * x + 4]
        weight = np.outer(taps, taps) * known[rows][:, cols].numpy()
        values = u[0][rows][:, cols].numpy()
        mean = (weight * values).sum() / weight.sum() if weight.sum() else 0
        assert float(found[0, y, x]) == pytest.approx(mean, abs=1e-6)
        inner = known[at[0][2 * y + 1 : 2 * y + 3]][:, at[1][2 * x + 1 : 2 * x + 3]]
        assert bool(k[y, x]) == bool(inner.sum() >= 2)


def test_a_smooth_fill_is_smooth_and_keeps_what_is_known():
    ramp = torch.linspace(0, 1, 64).expand(1, 48, 64)
    known = torch.ones(48, 64, dtype=torch.bool)
    known[10:38, 20:50] = False
    found = _scales.smooth_fill(torch.where(known, ramp, 9.0), known)
    assert torch.equal(found[:, known], ramp[:, known])
    assert (found - ramp).abs().max() < 0.15
    assert torch.equal(_scales.smooth_fill(ramp, torch.zeros_like(known)), torch.zeros_like(ramp))


def test_a_field_of_twice_the_size_keeps_parity():
    image = torch.rand(1, 40, 44, generator=generator(0))
    coarse = torch.stack(torch.meshgrid(torch.arange(16), torch.arange(18), indexing="ij"), -1)
    field = Field(coarse[None].to(torch.int32), torch.zeros(1, 16, 18), 5)
    found = _scales.upsampled(field, (0, 0), (0, 0), (32, 36), torch.tensor([36, 40]))
    torch.testing.assert_close(patches.vote(found, image), image[:, :36, :40])


def joined_by_a_direct_solver(u, inside, source, seen, origin, screen):
    """The least squares of `recompose` with the larger of two steps, one equation a pixel."""
    at = {tuple(p): i for i, p in enumerate(inside.nonzero().tolist())}
    matrix, right = sparse.lil_matrix((len(at), len(at))), np.zeros(len(at))

    def there(v, w):
        return 0 <= v < seen.shape[0] and 0 <= w < seen.shape[1] and bool(seen[v, w])

    for (y, x), i in at.items():
        (v, w), copied = origin[:, y, x].tolist(), float(source[0, *origin[:, y, x]])
        matrix[i, i], right[i] = screen, screen * copied
        for dy, dx in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            if not (0 <= y + dy < u.shape[1] and 0 <= x + dx < u.shape[2]):
                continue
            steps = [copied - float(source[0, v + dy, w + dx])] if there(v + dy, w + dx) else []
            matrix[i, i] += 1
            if (y + dy, x + dx) in at:
                matrix[i, at[y + dy, x + dx]] -= 1
                a, b = origin[:, y + dy, x + dx].tolist()
                if there(a - dy, b - dx):
                    steps.append(float(source[0, a - dy, b - dx]) - float(source[0, a, b]))
            else:
                right[i] += float(u[0, y + dy, x + dx])
            tied = len(steps) == 2 and abs(steps[1]) == abs(steps[0])
            turn = tied and at[y + dy, x + dx] < i
            right[i] += steps[1] if turn else max(steps, key=abs, default=0)
    return linalg.spsolve(matrix.tocsr(), right)


@pytest.mark.parametrize("screen", [0.03, 1.0])
def test_joints_solve_their_equations(screen):
    rng = generator(5)
    u, source = (torch.rand(2, *n, generator=rng) for n in ((12, 15), (9, 8)))
    inside, seen = torch.zeros(12, 15, dtype=torch.bool), torch.rand(9, 8, generator=rng) < 0.8
    inside[:7, 4:11] = True
    origin = torch.stack([torch.randint(n, (12, 15), generator=rng) for n in (9, 8)])
    given = (u, inside, source, seen, origin)
    found = _recompose.recompose(*given, screen=screen, beyond=9)
    assert torch.equal(found[:, ~inside], u[:, ~inside])
    for c in range(2):
        given = (u[c : c + 1], inside, source[c : c + 1], seen, origin)
        expected = joined_by_a_direct_solver(*given, screen)
        np.testing.assert_allclose(found[c, inside], expected, atol=2e-4)


def test_a_link_pulls_both_of_its_ends_alike():
    """Of two values steps are often as large and opposite: what one end gains the other loses."""
    rng = generator(6)
    u, inside = torch.zeros(1, 8, 9), torch.ones(8, 9, dtype=torch.bool)
    source = (torch.rand(1, 9, 8, generator=rng) < 0.5).float()
    origin = torch.stack([torch.randint(n, (8, 9), generator=rng) for n in (9, 8)])
    given = (u, inside, source, torch.ones(9, 8, dtype=torch.bool), origin)
    found = _recompose.recompose(*given, screen=0.5, beyond=9, rounds=500)
    copied = source[:, origin[0], origin[1]]
    torch.testing.assert_close(found.sum(), copied.sum(), atol=0.05, rtol=0)


def test_copies_of_one_place_that_differ_by_a_shift_are_joined_without_a_trace():
    image = torch.rand(1, 30, 30, generator=generator(0))
    inside = torch.zeros(30, 30, dtype=torch.bool)
    inside[8:20, 9:22] = True
    rows, cols = torch.meshgrid(torch.arange(30), torch.arange(30), indexing="ij")
    given = (image, inside, image + 0.2, torch.ones_like(inside), torch.stack([rows, cols]))
    found = _recompose.recompose(*given, screen=1e-9, beyond=1, rounds=500)
    torch.testing.assert_close(found, image, atol=1e-3, rtol=0)


def test_an_edge_that_ends_at_the_border_does_not_bleed_into_what_is_flat():
    image, inside = torch.full((1, 20, 20), 0.5), torch.zeros(20, 20, dtype=torch.bool)
    inside[5:15, 5:15] = True
    source = torch.full((1, 20, 20), 0.5)
    source[:, :, 4] = 1  # what lies beside the copies on the left is light, and here it is not
    rows, cols = torch.meshgrid(torch.arange(20), torch.arange(20), indexing="ij")
    given = (image, inside, source, torch.ones_like(inside), torch.stack([rows, cols]))
    assert _recompose.recompose(*given, beyond=1).min() < 0.3
    torch.testing.assert_close(_recompose.recompose(*given), image, atol=0.0201, rtol=0)


def test_texture_is_the_mean_of_known_steps():
    rng = generator(0)
    u, known = torch.rand(3, 24, 30, generator=rng), torch.rand(24, 30, generator=rng) < 0.8
    grey, w = u.mean(0), _inpaint.WINDOW
    y, x = 11, 7
    right = [
        float((grey[r, s + 1] - grey[r, s]).abs())
        for r in range(max(0, y - w), min(24, y + w + 1))
        for s in range(max(0, x - w), min(29, x + w + 1))
        if known[r, s] and known[r, s + 1]
    ]
    found = _inpaint.texture(u, known)
    assert float(found[0, y, x]) == pytest.approx(np.mean(right), rel=1e-4)
    turned = _inpaint.texture(u.transpose(1, 2), known.T)
    torch.testing.assert_close(turned[1].T, found[0], atol=1e-6, rtol=0)


def bricks(size=96):
    y, x = np.mgrid[:size, :size]
    row = y // 12
    mortar = (y % 12 < 2) | ((x + 10 * (row % 2)) % 20 < 2)
    return torch.from_numpy(np.where(mortar, 0.8, 0.3 + 0.02 * (row % 2))).float()[None]


@pytest.mark.parametrize("name", ["inpaint", "criminisi"])
def test_a_pattern_goes_on_through_the_hole(name):
    image = bricks()
    mask = torch.zeros(96, 96, dtype=torch.bool)
    mask[32:52, 34:58] = True
    found = getattr(patches, name)(image.masked_fill(mask, 0), mask, rng=generator(0))
    diffused = ndimage.gaussian_filter(image[0].numpy(), 8)
    worst = float((torch.from_numpy(diffused) - image[0])[mask].abs().mean())
    assert (found - image)[:, mask].abs().mean() < 0.15 * worst


def test_a_scratch_that_the_coarser_scale_has_not_is_filled_beside_a_large_hole():
    image = bricks(128)
    mask = torch.zeros(128, 128, dtype=torch.bool)
    mask[40:75, 30:70] = True
    mask[5:120, 101] = True
    found = patches.inpaint(image.masked_fill(mask, 0), mask, rng=generator(0))
    assert (found - image)[0, 5:120, 101].abs().mean() < 0.1


def test_a_fill_does_not_depend_on_the_number_of_threads():
    rng = generator(0)
    image = torch.rand(1, 300, 310, generator=rng).cumsum(1).cumsum(2)
    image = 0.5 + 0.5 * (image / image.max() * 40).sin()
    mask = torch.zeros(300, 310, dtype=torch.bool)
    mask[40:250, 40:255] = True
    found = list[torch.Tensor]()
    for count in (1, 2):
        with train.threads(count):
            found.append(patches.inpaint(image, mask, rng=generator(0)))
    assert torch.equal(*found)


def test_an_image_of_another_range_is_not_cut_off():
    image = 2 * bricks() - 1
    mask = torch.zeros(96, 96, dtype=torch.bool)
    mask[32:52, 34:58] = True
    found = patches.inpaint(image, mask, rng=generator(0))
    assert (found - image)[:, mask].abs().mean() < 0.15
    assert found[:, mask].min() < -0.2


def test_an_edge_is_carried_before_flat_parts():
    """Criminisi's order: at the end of an edge the data term is the largest."""
    grey = torch.zeros(20, 20)
    grey[:, 10:] = 1
    known = torch.ones(20, 20, dtype=torch.bool)
    known[6:14, 5:15] = False
    sure, at = known.float().numpy(), np.empty(2, np.int64)
    _criminisi_kernels.foremost((grey * known).numpy(), known.numpy(), sure, 5, at)
    assert at[0] in (6, 13)
    assert abs(int(at[1]) - 9.5) < 3.5


def test_criminisi_takes_the_nearest_patch_by_what_is_known():
    rng = generator(0)
    image = torch.rand(2, 18, 22, generator=rng)
    known = torch.rand(18, 22, generator=rng) < 0.6
    allowed = torch.rand(14, 18, generator=rng) < 0.5
    u = image.permute(1, 2, 0).contiguous().numpy()
    cost, place = np.empty(1, np.float32), np.empty(1, np.int64)
    given = (known.numpy(), allowed.numpy(), 6, 9, 5, 2, cost, place)
    _criminisi_kernels.nearest(0, u.reshape(-1), *given)
    seen, best = known[6:11, 9:14], (np.inf, -1)
    for v, w in itertools.product(range(14), range(18)):
        e = (image[:, 6:11, 9:14] - image[:, v : v + 5, w : w + 5])[:, seen]
        if allowed[v, w]:
            best = min(best, (float(e.square().sum()), v * 18 + w))
    assert (float(cost[0]), int(place[0])) == (pytest.approx(best[0], rel=1e-5), best[1])
