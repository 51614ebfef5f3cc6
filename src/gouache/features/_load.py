"""Features by name, for the command line and for measures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import Tensor

from gouache import pretrained
from gouache.check import InputError, choice
from gouache.contracts import Features
from gouache.registry import ROOT

from ._digits_net import DigitsNet
from ._filters import RandomFilters
from ._inception import Inception
from ._pca import PCA
from ._pixels import Pixels

_DIGITS = ROOT / "weights" / "digits-features"


def load(
    name: str, *, reference: Tensor | None = None, weights: str | Path | None = None
) -> Features:
    """Return the features called ``name``.

    ``pixels``; ``pca`` or ``pca-K`` (K components, 20 by default, fitted to ``reference``);
    ``random`` (a random filter bank); ``digits`` (gouache's own digits network); ``inception`` or
    ``inception-LAYER`` (LAYER 64, 192, 768, 2048 or logits_unbiased).

    Args:
        name: one of the names above.
        reference: images ``(N, C, H, W)`` in [0, 1] to which ``pca`` is fitted.
        weights: a file (inception) or a model folder (digits) other than the default.

    Raises:
        InputError: an unknown name, ``pca`` without a reference, or weights that are not there.

    Example:
        >>> load("random").name
        'random'
    """
    kind, _, detail = name.partition("-")
    return _BY_WORD[choice(kind, "features", _BY_WORD)](detail, reference, weights)


def _pca(detail: str, reference: Tensor | None) -> PCA:
    if detail and not detail.isdecimal():
        raise InputError(f'pca must be named pca-K, K components, got "pca-{detail}"')
    if reference is None:
        raise InputError("pca features need images to be fitted to; pass reference=images")
    return PCA(reference, int(detail or 20))


def _digits(weights: str | Path | None) -> DigitsNet:
    folder = _DIGITS if weights is None else weights
    if not Path(folder).is_dir():
        raise InputError(f'no digits network in {folder}; train one, or use features="pca"')
    network = pretrained.load(folder)
    if not isinstance(network, DigitsNet):
        raise InputError(f"{folder} holds a {type(network).__name__}, not a DigitsNet")
    return network


# Each takes what follows the hyphen, the reference images, and the weights.
_BY_WORD: dict[str, Callable[[str, Tensor | None, str | Path | None], Features]] = {
    "pixels": lambda *_: Pixels(),
    "pca": lambda detail, reference, _: _pca(detail, reference),
    "random": lambda *_: RandomFilters(),
    "digits": lambda _, __, weights: _digits(weights),
    "inception": lambda detail, _, weights: Inception.load(weights, layer=detail or "2048"),
}
