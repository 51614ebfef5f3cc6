"""Cells, their candidates and belief propagation against naive loops and exhaustive search."""

import itertools

import numpy as np
import pytest
import torch

from gouache import patches
from gouache.patches._cells import (
    Cells,
    believed,
    disagreement,
    matched,
    neighbours,
    origins,
    repeats,
)
from gouache.patches._split_match import split
from gouache.random import generator


def test_matches_are_the_nearest_of_each_square():
    rng = generator(0)
    source, pieces = torch.rand(17, 21, generator=rng), torch.rand(6, 6, 6, generator=rng)
    place, far = matched(pieces, source, 4, 3)
    for n in range(6):
        d = np.full((12, 16), np.inf)
        for v, u in np.ndindex(12, 16):
            d[v, u] = float((source[v : v + 6, u : u + 6] - pieces[n]).square().sum())
        least = d.reshape(3, 4, 4, 4).min((1, 3)).ravel()
        assert far[n].tolist() == pytest.approx(np.sort(least)[:3], abs=1e-4)
        assert far[n].tolist() == pytest.approx([d[v, u] for v, u in place[n].tolist()], abs=1e-4)
        assert len({(v // 4, u // 4) for v, u in place[n].tolist()}) == 3


def test_places_are_repeated_where_there_are_too_few_squares():
    place, far = matched(torch.rand(2, 4, 4), torch.rand(5, 5), 4, 3)
    assert torch.equal(place[:, 0], place[:, 2])
    assert torch.equal(far[:, 0], far[:, 1])


def test_neighbours_are_the_cells_that_touch():
    corner = torch.tensor([[0, 0], [0, 8], [0, 12], [4, 8], [4, 12], [8, 0], [8, 8]])
    side = torch.tensor([8, 4, 4, 4, 4, 8, 8])
    naive = [
        (i, j)
        for i, j in itertools.combinations(range(7), 2)
        if all(
            corner[i, k] <= corner[j, k] + side[j] and corner[j, k] <= corner[i, k] + side[i]
            for k in (0, 1)
        )
    ]
    assert [tuple(pair) for pair in neighbours(corner, side, 4).tolist()] == naive


def test_disagreement_is_the_difference_where_both_lie():
    rng = generator(1)
    source = torch.rand(3, 20, 20, generator=rng)
    corner, side = torch.tensor([[0, 0], [1, 4], [4, -2]]), torch.tensor([6, 6, 9])
    place = torch.randint(11, (3, 2, 2), generator=rng)
    cells = Cells(corner, corner, side, place, torch.zeros(3, 2))
    pairs = torch.tensor([[0, 1], [0, 2], [1, 2]])
    found = disagreement(cells, pairs, source)
    for n, (i, j) in enumerate(pairs.tolist()):
        for a, b in np.ndindex(2, 2):
            total = 0.0
            for y, x in itertools.product(range(-2, 14), repeat=2):
                p, q = torch.tensor([y, x]) - corner[i], torch.tensor([y, x]) - corner[j]
                if min(*p, *q) >= 0 and p.max() < side[i] and q.max() < side[j]:
                    one, other = (source[:, z[0], z[1]] for z in (place[i, a] + p, place[j, b] + q))
                    total += float((one - other).square().mean())
            assert float(found[n, a, b]) == pytest.approx(total, rel=1e-4)


def best(cost, pairs, between):
    """Return the cheapest choice of candidates, of all."""
    n, k = cost.shape

    def price(labels):
        own = sum(float(cost[i, a]) for i, a in enumerate(labels))
        return own + sum(
            float(between[e, labels[i], labels[j]]) for e, (i, j) in enumerate(pairs.tolist())
        )

    return min(itertools.product(range(k), repeat=n), key=price)


@pytest.mark.parametrize("seed", range(4))
def test_belief_propagation_is_exact_on_a_tree(seed):
    rng = generator(seed)
    pairs = torch.tensor([[0, 1], [1, 2], [1, 3], [3, 4], [3, 5]])
    cost, between = torch.rand(6, 3, generator=rng), 2 * torch.rand(5, 3, 3, generator=rng)
    found = believed(cost, pairs, between, 40)
    assert tuple(found.tolist()) == best(cost, pairs, between)


def test_belief_propagation_without_pairs_takes_the_nearest():
    cost = torch.rand(5, 4)
    none = torch.empty(0, 2, dtype=torch.long)
    assert torch.equal(believed(cost, none, torch.empty(0, 4, 4), 3), cost.argmin(1))


def test_cells_tile_the_picture_and_are_small_where_it_is_not_plain():
    led = torch.zeros(50, 70)
    led[:, 40:44] = 1
    cells = split(led, led, (32, 8), 2, 0.1)
    sides, seen = cells.side * 2 // 3, torch.zeros(64, 96)
    for (y, x), (v, u), s in zip(
        cells.at.tolist(), cells.corner.tolist(), cells.side.tolist(), strict=True
    ):
        t = s * 2 // 3
        seen[y : y + t, x : x + t] += 1
        piece = led[v : v + s, u : u + s]
        assert piece.shape == (s, s)
        assert v <= y
        assert v + s >= min(50, y + t)
        assert t == 8 or piece.std(correction=0) <= 0.1
    assert (seen[:50, :70] == 1).all()
    assert (sides[(cells.at[:, 1] >= 32) & (cells.at[:, 1] < 48)] == 8).all()
    assert sides.max() == 16
    assert float(cells.cost[:, 0].max()) < 1e-3


def test_what_is_shown_twice_is_counted_and_what_goes_on_is_not():
    at = torch.tensor([[0, 0], [0, 8], [8, 0]])
    place = torch.randint(14, (3, 6, 2), generator=generator(5))
    place[1, 0] = place[0, 0] + torch.tensor([0, 4])  # goes on, as its corner is 4 further
    corner, side = torch.tensor([[0, 0], [0, 4], [6, 0]]), torch.tensor([12, 12, 12])
    pairs = torch.tensor([[0, 1], [0, 2], [1, 2]])
    found = repeats(Cells(at, corner, side, place, torch.zeros(3, 6)), pairs)
    for m, (i, j) in enumerate(pairs.tolist()):
        for a, b in np.ndindex(6, 6):
            dy, dx = (place[j, b] - place[i, a]).tolist()
            same = max(abs(dy), abs(dx)) < 6 and [dy, dx] != (corner[j] - corner[i]).tolist()
            assert found[m, a, b] == 144 * same
    assert found[0, 0, 0] == 0
    assert found.any()


def test_pixels_are_of_the_piece_of_their_cell():
    at = torch.tensor([[0, 0], [0, 8], [0, 12], [4, 8], [4, 12], [8, 0], [8, 8]])
    side = torch.tensor([12, 6, 6, 6, 6, 12, 12])
    corner = torch.minimum((at - side[:, None] // 6).clamp(min=0), 15 - side[:, None])
    place = torch.randint(30, (7, 2, 2), generator=generator(0))
    chosen = torch.tensor([0, 1, 0, 1, 1, 0, 1])
    found = origins(Cells(at, corner, side, place, torch.zeros(7, 2)), chosen)
    assert found.shape == (2, 15, 15)
    for y, x in np.ndindex(15, 15):
        n = next(
            n
            for n, ((v, u), s) in enumerate(zip(at.tolist(), side.tolist(), strict=True))
            if 0 <= y - v < s * 2 // 3 and 0 <= x - u < s * 2 // 3
        )
        expected = place[n, chosen[n]] + torch.tensor([y, x]) - corner[n]
        assert torch.equal(found[:, y, x], expected)


def test_more_lead_makes_smaller_pieces_and_less_difference():
    rng = generator(2)
    style = torch.nn.functional.avg_pool2d(torch.rand(1, 120, 120, generator=rng), 5, 1)
    x = torch.linspace(0, 9, 96)
    content = (0.5 + 0.5 * (x[:, None].sin() * (x**1.5).cos()))[None]
    given = {"rounds": 1, "candidates": 1, "keep_colors": True}
    off = [
        float((patches.split_match(content, style, lead=lead, **given) - content).square().mean())
        for lead in (0, 0.125, 2)
    ]
    assert off[0] > off[1] > off[2]
