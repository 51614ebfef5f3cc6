"""A picture of square pieces of a style, large where the content is plain and small where not.

Notation: a *cell* i is a square of t_i pixels of the content; its *piece* has t_i / 4 more on every
side, so that pieces overlap, and is moved inside where it would reach beyond the border. l is the
content's luminance, matched to the style's, m, both blurred by a pixel; y_i the place in the style
that the piece of cell i is copied from.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from gouache import check, image
from gouache.check import InputError
from gouache.registry import method

from ._cells import Cells, believed, disagreement, matched, neighbours, origins, repeats
from ._luminance import as_alike, with_luminance
from ._patch_stylize import begun
from ._recompose import recompose
from ._texture_scales import blurred

PLAIN = 0.05  # at lead 1: what a cell may deviate from flat and from the style, and not be split
AGAIN = 0.01  # what a pixel costs that is shown twice side by side
SCREEN, ANY = 0.01, 1.0  # see `_recompose.py`: steps fade over some 10 pixels
ENTRIES = 1 << 25  # distances that are held at once


@method("stylize")
def split_match(
    content: Tensor,
    style: Tensor,
    *,
    lead: float = 0.5,
    keep_colors: bool = False,
    largest: int = 64,
    smallest: int = 4,
    candidates: int = 5,
    rounds: int = 10,
    rng: torch.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Tensor:
    """Show a content in square pieces of a style, as large as the content allows.

    A cell is split into four while ``std(l_i) + min_y rms(l_i - m(y)) > 0.05 / lead``. Each keeps
    the K places nearest to it of which no two are in the same square of t_i / 2 pixels, and among
    those y is chosen by min-sum belief propagation:

    ``min_y sum_i |l_i - m(y_i)|^2 + sum_ij |v(y_i) - v(y_j)|^2`` where pieces i and j overlap

    Neighbours that show the same place side by side cost more, which the paper does not ask for.
    Every cell is copied from its piece, and the copies are joined by their gradients: so edges stay
    sharp, and steps between plain cells, as of a sky, fade. The paper's pieces fade into each other
    linearly, which halves detail where they overlap and leaves squares.

    Args:
        content: ``(C, H, W)`` in [0, 1]; if either is colour, grey counts as three equal channels.
        style: v, likewise, of any size.
        lead: how firmly the content leads; at 0 all cells are of the largest size.
        keep_colors: whether only luminance is made, and the content's colours are kept. The
            style's luminance then gets the distribution of the content's.
        largest: side of a cell, a power of 2; less where the style is small.
        smallest: likewise, at least 4.
        candidates: K.
        rounds: of belief propagation.
        rng: not used: nothing is random.
        progress: hears of (steps done, steps in all).

    Returns:
        ``(C, H, W)`` in [0, 1].

    Raises:
        InputError: no images, sides that are no powers of 2, numbers out of range.

    Reference:
        O. Frigo, N. Sabater, J. Delon, P. Hellier, "Split and match: example-based adaptive patch
        sampling for unsupervised style transfer", 2016; P. Perez, M. Gangnet, A. Blake, "Poisson
        image editing", 2003 (gradients).

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(3, 40, 50)
        >>> found = patches.split_match(image, image)
        >>> bool((found - image).abs().mean() < 0.01)
        True
    """
    check.between(lead, "lead", 0)
    for name, side, low in (("smallest", smallest, 4), ("largest", largest, smallest)):
        if check.count(side, name, low).bit_count() != 1:
            raise InputError(f"{name} must be a power of 2, such as 8 or 64, got {side}")
    check.count(candidates, "candidates")
    check.count(rounds, "rounds")
    u, v = as_alike(("content", content), ("style", style))
    _, shown, (theirs, led) = begun(u, v, keep_colors)
    largest = min(largest, _fitting(theirs), _fitting(led))
    smallest = min(smallest, largest)
    softer = (shown, blurred(theirs), blurred(led))
    shown, theirs, led = (_extended(x, 3 * smallest // 2) for x in softer)
    tell = progress or (lambda done, total: None)
    plain = PLAIN / lead if lead else torch.inf
    cells = split(led[0], theirs[0], (largest, smallest), candidates, plain)
    tell(1, 3)
    pairs = neighbours(cells.at, cells.side * 2 // 3, smallest)
    between = disagreement(cells, pairs, shown) + AGAIN * repeats(cells, pairs)
    chosen = believed(cells.cost, pairs, between, rounds)
    tell(2, 3)
    made = _joined(shown, origins(cells, chosen))[:, : u.shape[1], : u.shape[2]]
    tell(3, 3)
    return with_luminance(u, made, image.as_channels(u, 1)) if keep_colors else made


def _joined(source: Tensor, origin: Tensor) -> Tensor:
    """Return the copies of pixels ``(2, H, W)``, joined by their gradients."""
    every, seen = (torch.ones_like(x, dtype=torch.bool) for x in (origin[0], source[0]))
    empty = source.new_zeros(len(source), *origin.shape[1:])
    made = recompose(empty, every, source, seen, origin, screen=SCREEN, beyond=ANY)
    return made.clamp(0, 1)


def split(led: Tensor, m: Tensor, sides: tuple[int, int], k: int, plain: float) -> Cells:
    """Return cells that tile ``led (H, W)``, and their candidates in ``m (H', W')``.

    Args:
        led: l.
        m: see the head of the file.
        sides: of the largest and of the smallest cells.
        k: candidates.
        plain: what a cell may deviate and not be split.
    """
    (height, width), (t, last), found = led.shape, sides, list[Cells]()
    at = torch.cartesian_prod(torch.arange(0, height, t), torch.arange(0, width, t)).to(led.device)
    while len(at):
        side = t + t // 2
        limit = torch.tensor([height - side, width - side], device=led.device)
        corner = torch.minimum((at - t // 4).clamp(min=0), limit)
        place, far = _searched(led, corner, side, m, t // 2, k)
        off = _pieces(led, corner, side).std((1, 2), correction=0) + far[:, 0].sqrt() / side
        kept = (off <= plain) | (t == last)
        sizes = torch.full((int(kept.sum()),), side, device=led.device)
        found.append(Cells(at[kept], corner[kept], sizes, place[kept], far[kept]))
        at, t = _quartered(at[~kept], t // 2, (height, width)), t // 2
    return Cells(*(torch.cat(x) for x in zip(*found, strict=True)))


def _searched(
    led: Tensor, corner: Tensor, side: int, m: Tensor, apart: int, k: int
) -> tuple[Tensor, Tensor]:
    """Match pieces, some at a time."""
    found = [
        matched(_pieces(led, some, side), m, apart, k)
        for some in corner.split(max(1, ENTRIES // m.numel()))
    ]
    place, far = (torch.cat(x) for x in zip(*found, strict=True))
    return place, far


def _pieces(x: Tensor, corner: Tensor, side: int) -> Tensor:
    """Return squares ``(n, s, s)`` of an image ``(H, W)``."""
    at = torch.arange(side, device=x.device)
    return x[(corner[:, :1] + at)[:, :, None], (corner[:, 1:] + at)[:, None]]


def _quartered(at: Tensor, half: int, size: tuple[int, int]) -> Tensor:
    """Return the quarters of cells that show something of the content."""
    steps = torch.tensor([[0, 0], [0, half], [half, 0], [half, half]], device=at.device)
    quarters = (at[:, None] + steps).flatten(0, 1)
    return quarters[(quarters < torch.tensor(size, device=at.device)).all(1)]


def _fitting(style: Tensor) -> int:
    """Return the largest power of 2, at least 4, whose piece fits into the style."""
    return 4 << max(0, (min(style.shape[1:]) // 6).bit_length() - 1)


def _extended(x: Tensor, side: int) -> Tensor:
    """Repeat the last pixels until a piece fits."""
    over = [max(0, side - n) for n in x.shape[1:]]
    return F.pad(x[None], (0, over[1], 0, over[0]), mode="replicate")[0]
