"""The start of `inpaint`: a hole filled layer by layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from gouache.patches import _onion_peel
from gouache.patches._onion_peel import onion_peel
from gouache.random import generator


def hole(height: int, width: int, rows: slice, cols: slice) -> Tensor:
    """Return what is known ``(H, W)``."""
    known = torch.ones(height, width, dtype=torch.bool)
    known[rows, cols] = False
    return known


def one_layer(u: np.ndarray, known: np.ndarray, p: int) -> np.ndarray:
    """Fill the pixels beside known ones, by loops over the definition."""
    high, wide = known.shape
    pad = np.pad(known, 1)
    near = np.zeros_like(known)
    for r in range(high):
        for s in range(wide):
            near[r, s] = pad[r : r + 3, s : s + 3].any() and not known[r, s]
    sources = [
        (v, w)
        for v in range(high - p + 1)
        for w in range(wide - p + 1)
        if known[v : v + p, w : w + p].all()
    ]
    matches = {}
    for y in range(high - p + 1):
        for x in range(wide - p + 1):
            if near[y : y + p, x : x + p].any():
                k = known[y : y + p, x : x + p]
                gaps = [
                    (((u[:, y : y + p, x : x + p] - u[:, v : v + p, w : w + p]) ** 2) * k).sum()
                    for v, w in sources
                ]
                best = int(np.argmin(gaps))
                matches[y, x] = (*sources[best], gaps[best], k.mean())
    q = np.quantile([m[2] for m in matches.values()], 0.75)
    out = u.copy()
    for r, s in zip(*np.nonzero(near), strict=True):
        total, norm = np.zeros(len(u)), 0.0
        for (y, x), (v, w, d, share) in matches.items():
            if y <= r < y + p and x <= s < x + p:
                weight = max(share**4 * np.exp(-d / (2 * q)), 1e-12)
                total += weight * u[:, v + r - y, w + s - x]
                norm += weight
        out[:, r, s] = total / norm
    return out


def test_a_layer_is_what_its_definition_says() -> None:
    u = torch.rand(2, 14, 15, generator=generator(1))
    known = hole(14, 15, slice(6, 8), slice(5, 9))  # all of it beside known pixels
    found = onion_peel(u, known, known, 3)
    expected = one_layer(torch.where(known, u, 0).numpy().astype(float), known.numpy(), 3)
    assert np.abs(found.numpy() - expected).max() < 1e-5


@pytest.mark.parametrize("period", [3, 5])
def test_stripes_go_on_through_many_layers(period: int) -> None:
    stripes = (torch.arange(40) % period == 0).float().expand(1, 30, 40)
    known = hole(30, 40, slice(9, 20), slice(12, 27))
    found = onion_peel(stripes * known, known, known, 7)
    assert float((found - stripes).abs().max()) < 0.1


def test_only_free_patches_are_copied_and_hidden_pixels_have_no_part() -> None:
    u = torch.rand(1, 20, 24, generator=generator(2))
    u[:, :, 12:] += 10
    known = hole(20, 24, slice(8, 12), slice(10, 14))
    free = known.clone()
    free[:, 12:] = False
    found = onion_peel(u.masked_fill(~known, torch.nan), known, free, 3)
    assert float(found[0, 8:12, 10:14].max()) <= 1 + 1e-5
    assert torch.equal(found[:, known], u[:, known])


def test_where_sources_are_many_every_nth_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    u = torch.rand(1, 20, 20, generator=generator(3))
    known = hole(20, 20, slice(9, 11), slice(9, 11))
    whole = onion_peel(u, known, known, 3)
    monkeypatch.setattr(_onion_peel, "MOST", 16 * 200)
    some = onion_peel(u, known, known, 3)
    assert torch.isfinite(some).all()
    assert not torch.equal(some, whole)
    copied = some[~known.expand_as(some)]
    assert float(copied.min()) >= 0
    assert float(copied.max()) <= 1
