"""PatchMatch in whole-image operations, for a GPU: matches jump several pixels at once.

Notation of ``_match.py``; matches are linear places ``(h w, k)``.
"""

from __future__ import annotations

import torch
from torch import Tensor

from gouache import random

from ._match import Field, Problem, distances, result

JUMPS = (8, 4, 2, 1)


def search(asked: Problem, start: Tensor, iterations: int, seed: int) -> Field:
    """Match from packed first places ``(h, w, k)``, -1 being random."""
    (h, w), (_, wide), device = asked.shape, asked.source_shape, asked.query.device
    start = start.reshape(h * w, asked.k).to(device).long()
    at = torch.arange(h * w, device=device)
    at = at if asked.looked is None else at[asked.looked.flatten()]
    known = (start >> 16) * wide + (start & 0xFFFF)
    first = torch.where(start < 0, _anywhere(asked, seed, asked.k), known)[at]
    state = _State(asked, at, seed)
    for j in range(asked.k):
        state.offer(first[:, j])
    for number in range(1, iterations + 1):
        _sweep(state, number)
    place = torch.full((h * w, asked.k), -1, device=device)
    distance = torch.full((h * w, asked.k), torch.inf, device=device)
    place[at], distance[at] = state.place, state.distance
    return result(torch.where(distance < torch.inf, place, -1), distance, asked)


class _State:
    """The lists of the places that are looked up, and how a candidate enters them."""

    def __init__(self, asked: Problem, at: Tensor, seed: int) -> None:
        self.asked, self.at, self.seed = asked, at, seed
        self.place = torch.full((len(at), asked.k), -1, device=at.device)
        self.distance = torch.full((len(at), asked.k), torch.inf, device=at.device)
        self.row = torch.full((asked.shape[0] * asked.shape[1],), -1, device=at.device)
        self.row[at] = torch.arange(len(at), device=at.device)

    def offer(self, q: Tensor) -> None:
        """Take linear places ``q (n,)``, -1 being none, into the lists they belong to."""
        asked, (_, wide), w = self.asked, self.asked.source_shape, self.asked.shape[1]
        apart = torch.maximum((q // wide - self.at // w).abs(), (q % wide - self.at % w).abs())
        fit = (q >= 0) & (apart >= asked.exclusion) & (q[:, None] != self.place).all(1)
        if asked.allowed is not None:
            fit &= asked.allowed.flatten()[q.clamp(min=0)]
        some = fit.nonzero()[:, 0]
        d = distances(asked, self.at[some], q[some, None])
        near, order = torch.cat([self.distance[some], d], 1).sort(dim=1, stable=True)
        place = torch.cat([self.place[some], q[some, None]], 1).gather(1, order)
        self.distance[some], self.place[some] = near[:, :-1], place[:, :-1]


def _sweep(state: _State, number: int) -> None:
    for jump in JUMPS:
        for dy, dx in ((-jump, 0), (jump, 0), (0, -jump), (0, jump)):
            for j in range(state.asked.k):
                state.offer(_handed_on(state, dy, dx, j))
    radius, level = max(state.asked.source_shape), 0
    while radius >= 1:
        state.offer(_around(state, radius, number * 64 + level))
        radius, level = radius // 2, level + 1


def _handed_on(state: _State, dy: int, dx: int, j: int) -> Tensor:
    """Return the j-th match of the place (dy, dx) away, moved back by as much; -1 if none."""
    (h, w), (high, wide) = state.asked.shape, state.asked.source_shape
    y, x = state.at // w + dy, state.at % w + dx
    inside = (y >= 0) & (y < h) & (x >= 0) & (x < w)
    row = torch.where(inside, state.row[(y * w + x).clamp(0, h * w - 1)], -1)
    q = torch.where(row >= 0, state.place[row, j], -1)
    v, u = q // wide - dy, q % wide - dx
    return torch.where((q >= 0) & (v >= 0) & (v < high) & (u >= 0) & (u < wide), v * wide + u, -1)


def _around(state: _State, radius: int, stream: int) -> Tensor:
    """Return a random place at most ``radius`` from the best match, -1 if there is none."""
    high, wide = state.asked.source_shape
    q = state.place[:, 0]
    keys = random.derive_keys(random.derive(state.seed, stream), state.at)
    chance = random.keyed_uniform(keys, (2,)).to(torch.float64)
    v = _between(q // wide - radius, q // wide + radius, high, chance[:, 0])
    u = _between(q % wide - radius, q % wide + radius, wide, chance[:, 1])
    return torch.where(q >= 0, v * wide + u, -1)


def _between(low: Tensor, high: Tensor, size: int, chance: Tensor) -> Tensor:
    low, high = low.clamp(min=0), high.clamp(max=size - 1)
    return low + ((high - low + 1) * chance).long()


def _anywhere(asked: Problem, seed: int, k: int) -> Tensor:
    """Return random places that may be taken ``(h w, k)``."""
    (h, w), (high, wide), device = asked.shape, asked.source_shape, asked.query.device
    choice = torch.arange(high * wide, device=device)
    choice = choice if asked.allowed is None else choice[asked.allowed.flatten()]
    keys = random.derive_keys(seed, torch.arange(h * w, device=device))
    return choice[(random.keyed_uniform(keys, (k,)) * len(choice)).long()]
