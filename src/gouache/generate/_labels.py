"""Labels of classes: checked, hidden at random in training, cut into chunks."""

from __future__ import annotations

import torch
from torch import Tensor

from gouache import check, random
from gouache.contracts import Condition, SampleOptions


def checked_label(
    condition: Condition, n: int, classes: int, options: SampleOptions | None = None
) -> Tensor | None:
    """Return ``condition["label"]`` ``(n,)``, or None if there is none.

    Raises:
        InputError: another condition than labels, labels that do not fit, guidance without them.
    """
    if condition is None:
        if options is not None and options.guidance != 1:
            raise check.InputError(
                f"guidance {options.guidance} needs labels to guide towards; pass condition, or 1"
            )
        return None
    label = condition.get("label")
    if label is None or not classes:
        raise check.InputError(
            f"a model of {classes} classes takes no such condition: {sorted(condition)}; "
            "pass label, or none"
        )
    if not isinstance(label, Tensor):
        raise check.InputError(f"label must be a tensor ({n},), got {type(label).__name__}")
    if label.shape != (n,) or label.is_floating_point():
        raise check.InputError(
            f"label must be whole numbers ({n},), got {label.dtype} {tuple(label.shape)}"
        )
    return in_classes(label, classes)


def in_classes(label: Tensor, classes: int) -> Tensor:
    """Return labels, checked to name a class each, or none (-1).

    Raises:
        InputError: one that does not.
    """
    for end in (int(label.min()), int(label.max())) if len(label) else ():
        check.count(end, "label", -1, classes - 1)
    return label


def hidden_label(label: Tensor, keys: Tensor, share: float, stream: int) -> Tensor:
    """Return labels ``(B,)``, a share of them hidden (-1), for guidance."""
    hidden = random.keyed_uniform(keys, (), stream) < share
    return torch.where(hidden.to(label.device), -1, label)


def rows(label: Tensor | None, index: Tensor) -> Tensor | None:
    """Return the labels of some samples."""
    return None if label is None else label[index]


def on(label: Tensor | None, device: torch.device) -> Tensor | None:
    """Return labels on a device."""
    return None if label is None else label.to(device)
