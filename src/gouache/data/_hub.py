"""Data sets of the Hugging Face hub, or saved on the disk by its ``datasets`` library."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gouache import check
from gouache.check import InputError
from gouache.image import as_tensor, size_pair

from ._dataset import Card, Dataset, EmptySplit, Size
from ._fit import FITS, Fit, fit_to


def hub(
    name: str,
    split: str = "train",
    *,
    size: Size = None,
    fit: Fit = "crop",
    channels: int | None = None,
) -> Dataset:
    """Load a data set of images by its name on the Hugging Face hub; needs ``gouache[hub]``.

    The first column of images is taken, the first of class labels, and the first of the text
    columns ``text`` and ``caption``. Images are held in memory as uint8.

    Args:
        name: ``OWNER/NAME`` on the hub, or the folder that ``save_to_disk`` wrote.
        split: the hub's own name of a split (not every set has a validation one).
        size: (height, width) or one number; None if all pictures have one size already.
        fit: ``crop``, ``pad`` or ``stretch``, as for :func:`gouache.data.folder`.
        channels: 1 or 3; None is 3 if any picture has colour.

    Raises:
        InputError: the library is absent, the hub cannot be reached, no such data set or split,
            no column of images.
    """
    check.choice(fit, "fit", FITS)
    table = _table(name, split)
    image, label, text = _columns(table, name)
    pictures = [as_tensor(picture) for picture in table[image]]
    shape = _common(pictures, size, channels, name)
    rows = torch.stack([fit_to(picture, shape, fit) for picture in pictures])
    shown = Path(name).name if Path(name).is_dir() else name
    card = Card(
        name=f"hf:{shown}",
        title=f"{shown} of the Hugging Face hub",
        origin=f"hf:{shown}, split {split}",
        licence=str(table.info.license or "see its page on the hub"),
        shape=shape,
        size=len(rows),
        splits=(split,),
        notes=f"Cut to size by {fit}.",
        mirror=True,
    )
    labels = None if label is None else torch.tensor(list(table[label]), dtype=torch.int64)
    classes = () if label is None else tuple(table.features[label].names)
    captions = None if text is None else tuple(str(t) for t in table[text])
    return Dataset(rows, card, labels, classes, captions)


def _table(name: str, split: str) -> Any:
    """Return the split as the library's own table."""
    try:
        import datasets  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise InputError(
            f'hf:{name} needs the extra hub: pip install "gouache[hub]"; '
            "or load a folder of pictures instead"
        ) from None
    try:
        if Path(name).is_dir() and (Path(name) / "dataset_dict.json").exists():
            return datasets.load_from_disk(name)[split]
        return datasets.load_dataset(name, split=split)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).partition("\n")[0]
        absent = error.args == (split,) or reason.startswith("Unknown split")
        raise (EmptySplit if absent else InputError)(
            f"cannot load hf:{name}, split {split} ({type(error).__name__}: {reason}); check its "
            "name and splits on the hub and the network, or load a folder of pictures instead"
        ) from None


def _columns(table: Any, name: str) -> tuple[str, str | None, str | None]:
    """Return the names of the columns of images, labels and captions."""
    kinds = {column: type(feature).__name__ for column, feature in table.features.items()}
    images = [column for column, kind in kinds.items() if kind == "Image"]
    labels = [column for column, kind in kinds.items() if kind == "ClassLabel"]
    texts = [column for column in ("text", "caption") if kinds.get(column) == "Value"]
    if not images:
        raise InputError(f"hf:{name} has no column of images, but {', '.join(kinds) or 'none'}")
    return images[0], labels[0] if labels else None, texts[0] if texts else None


def _common(
    pictures: list[torch.Tensor], size: Size, channels: int | None, name: str
) -> tuple[int, int, int]:
    """Return the shape that every picture is to have."""
    sizes = {(int(p.shape[1]), int(p.shape[2])) for p in pictures}
    if not pictures:
        raise EmptySplit(f"hf:{name} is empty in this split")
    if size is None and len(sizes) > 1:
        raise InputError(f"the pictures of hf:{name} have {len(sizes)} sizes; pass a size, say 64")
    height, width = sizes.pop() if size is None else size_pair(size)
    return channels or max(int(p.shape[0]) for p in pictures), height, width
