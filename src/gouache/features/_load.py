"""Features by name, for the command line and for measures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from torch import Tensor

from gouache import pretrained
from gouache.check import InputError, choice
from gouache.check import images as check_images
from gouache.contracts import Features
from gouache.registry import ROOT

from ._digits_net import DigitsNet
from ._filters import RandomFilters
from ._inception import Inception
from ._pca import PCA
from ._pixels import Pixels

_DIGITS = ROOT / "weights" / "digits-features"


def names() -> tuple[str, ...]:
    """Return the words that begin the names that :func:`load` takes.

    Example:
        >>> "pca" in names()
        True
    """
    return tuple(_BY_WORD)


def load(
    name: str, *, reference: Tensor | None = None, weights: str | Path | None = None
) -> Features:
    """Return the features called ``name``.

    ``pixels``; ``pca-K`` (K components, fitted to ``reference``) or ``pca`` (20, or as many as N
    images of D pixels allow: ``min(20, N - 1, D)``); ``random`` (a random filter bank); ``digits``
    (gouache's own digits network); ``inception`` or ``inception-LAYER`` (LAYER 64, 192, 768, 2048
    or logits_unbiased).

    Args:
        name: one of the names above.
        reference: images ``(N, C, H, W)`` in [0, 1] to which ``pca`` is fitted.
        weights: a file (inception) or a model folder (digits) other than the default.

    Raises:
        InputError: an unknown name, a detail or weights that these features do not take, ``pca``
            without a reference, or weights that are not there.

    Example:
        >>> load("random").name
        'random'
    """
    word, hyphen, detail = name.partition("-")
    kind = _BY_WORD[choice(word, "features", _BY_WORD)]
    if hyphen and not (kind.detail and detail):
        form = f"{word} or {word}-{kind.detail}" if kind.detail else word
        raise InputError(f'{word} features must be named {form}, got "{name}"')
    if weights is not None and not kind.weights:
        raise InputError(f"{word} features have no weights, got {weights}; leave weights out")
    return kind.build(detail, reference, weights)


def _pca(detail: str, reference: Tensor | None) -> PCA:
    if detail and not detail.isdecimal():
        raise InputError(f'pca must be named pca-K, K components, got "pca-{detail}"')
    if reference is None:
        raise InputError("pca features need images to be fitted to; pass reference=images")
    if detail:
        return PCA(reference, int(detail))
    n, pixels = check_images(reference, "reference").flatten(1).shape
    if n < 2:
        raise InputError("pca features need 2 images or more to be fitted to, got 1; add more")
    return PCA(reference, min(20, n - 1, pixels))


def _digits(weights: str | Path | None) -> DigitsNet:
    folder = _DIGITS if weights is None else Path(weights)
    if not folder.is_dir():
        raise InputError(f'no digits network in {folder}; train one, or use features="pca"')
    network = pretrained.load(folder)
    if not isinstance(network, DigitsNet):
        raise InputError(f"{folder} holds a {type(network).__name__}, not a DigitsNet")
    digest = hashlib.sha256((folder / pretrained.WEIGHTS).read_bytes()).hexdigest()
    shipped = digest == pretrained.read_json(_DIGITS / "card.json")["sha256"]
    network.name = "digits" if shipped else f"digits ({folder.resolve().name} {digest[:8]})"
    return network


_Build: TypeAlias = Callable[[str, Tensor | None, str | Path | None], Features]


class _Kind(NamedTuple):
    """How features are built of detail, reference and weights, and which of these they take."""

    build: _Build
    detail: str = ""
    weights: bool = False


_BY_WORD: dict[str, _Kind] = {
    "pixels": _Kind(lambda *_: Pixels()),
    "pca": _Kind(lambda detail, reference, _: _pca(detail, reference), detail="K"),
    "random": _Kind(lambda *_: RandomFilters()),
    "digits": _Kind(lambda _, __, weights: _digits(weights), weights=True),
    "inception": _Kind(
        lambda detail, _, weights: Inception.load(weights, layer=detail or "2048"),
        detail="LAYER",
        weights=True,
    ),
}
