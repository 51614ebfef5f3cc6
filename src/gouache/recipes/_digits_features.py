"""The recipe of the digits network, gouache's own features of digits."""

from __future__ import annotations

from gouache.check import InputError
from gouache.features import DigitsNet, DigitsNetConfig
from gouache.registry import method
from gouache.train import TrainConfig

from ._plan import Plan
from ._source import settle


@method("recipe")
def digits_features(source: str = "digits", *, size: int | None = None) -> Plan:
    """Plan the small classifier whose last layer is the feature ``digits``.

    Command: ``gouache train digits_features --out run``; 15 seconds on two cores.
    To expect: the figures on the card of the weights ``digits-features``.

    Args:
        source: a labelled source.
        size: pixels a side; None as for the recipe ``diffusion``.

    Raises:
        InputError: images without classes.

    Reference: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to
    document recognition", 1998.
    """
    source, size, dataset = settle(source, size)
    if dataset.labels is None:
        raise InputError(
            f"digits_features learns classes, and the images of {source} have none; sort them "
            "into two or more sub-folders, one a class"
        )
    config = DigitsNetConfig(channels=dataset.shape[0], classes=len(dataset.classes))
    train = TrainConfig(steps=600, batch=64, lr=2e-3, weight_decay=0.05, ema=0.98)
    return Plan("digits_features", source, size, dataset, DigitsNet, config, train)
