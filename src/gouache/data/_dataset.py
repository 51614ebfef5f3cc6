"""What every source returns: images with their labels, captions and card.

Notation: N images of C channels, H rows and W columns; ``index`` is an image's place in its split.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gouache import check
from gouache.check import InputError
from gouache.image import resize

SPLITS = ("train", "validation", "test")
Size: TypeAlias = int | tuple[int, int] | None


class EmptySplit(InputError):
    """A split has no image, or there is no such split; what joins several splits goes on."""


@dataclass(frozen=True)
class Card:
    """Where images come from, and what they are.

    Attributes:
        name: the word that ``gouache.data.load`` takes.
        title: one line for a reader.
        origin: who made the images, and where they lie.
        licence: under what terms they may be used.
        shape: (C, H, W) of every image.
        size: how many images this split has.
        splits: the splits that there are.
        notes: how the splits were made, and what to beware of.
        mirror: whether a mirrored image is as likely as the image; false where it reads otherwise.
    """

    name: str
    title: str
    origin: str
    licence: str
    shape: tuple[int, int, int]
    size: int
    splits: tuple[str, ...] = SPLITS
    notes: str = ""
    mirror: bool = False


@dataclass(frozen=True, eq=False)
class Dataset:
    """Images of one shape, with what is known of each.

    A data set is cheap to send to a worker process: a memory map travels as its path.

    Attributes:
        images: ``(N, C, H, W)``, a tensor or a memory map; uint8 (255 is white) or float32 in
            [0, 1].
        card: where the images come from.
        labels: class numbers ``(N,)`` int64, or None.
        classes: the name of each class.
        captions: one sentence an image, or None.
        levels: how many grey levels a pixel can take; 0 if it is continuous.
        skipped: files that could not be read.

    Raises:
        InputError: the parts do not fit each other.

    Example:
        >>> import torch
        >>> from gouache.data import digits
        >>> ds = digits("train")
        >>> len(ds), ds.shape, ds.captions[0]
        (1000, (1, 8, 8), 'a handwritten three')
        >>> sorted(ds.batch(torch.tensor([0, 5])))
        ['image', 'index', 'label']
    """

    images: Tensor | NDArray[np.uint8]
    card: Card
    labels: Tensor | None = None
    classes: tuple[str, ...] = ()
    captions: tuple[str, ...] | None = None
    levels: int = 256
    skipped: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.images.ndim != 4:
            raise InputError(f"images must be (N, C, H, W), got {tuple(self.images.shape)}")
        if str(self.images.dtype) not in ("uint8", "torch.uint8", "torch.float32"):
            raise InputError(f"images must be uint8 or float32 in [0, 1], got {self.images.dtype}")
        for name, part in (("labels", self.labels), ("captions", self.captions)):
            if part is not None and len(part) != len(self):
                raise InputError(f"{len(part)} {name} do not fit {len(self)} images")

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of every image."""
        c, h, w = self.images.shape[1:]
        return int(c), int(h), int(w)

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """Return ``image`` float32 in [0, 1], ``index`` int64 and, if known, ``label``.

        Args:
            indices: places in this data set ``(B,)``, int64, in any order, on the CPU.
        """
        batch = {"image": _unit(self._rows(indices)), "index": indices}
        if self.labels is not None:
            batch["label"] = self.labels[indices]
        return batch

    def subset(self, indices: Tensor) -> Dataset:
        """Return the data set of these images alone, held in memory."""
        rows = self._rows(indices)
        return replace(
            self,
            images=rows,
            card=replace(self.card, size=len(rows)),
            labels=None if self.labels is None else self.labels[indices],
            captions=self.captions and tuple(self.captions[i] for i in indices.tolist()),
        )

    def all(self) -> Tensor:
        """Return every image ``(N, C, H, W)`` as float32 in [0, 1], held in memory."""
        return _unit(self._rows(torch.arange(len(self))))

    def _rows(self, indices: Tensor) -> Tensor:
        if isinstance(self.images, Tensor):
            return self.images[indices]
        return torch.from_numpy(np.asarray(self.images[indices.numpy()]))

    def __getstate__(self) -> dict[str, Any]:
        state = dict(self.__dict__)
        rows = self.images
        if isinstance(rows, np.memmap) and isinstance(rows.base, mmap.mmap):
            state["images"] = (rows.filename, rows.dtype, rows.shape, rows.offset)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        if isinstance(state["images"], tuple):
            file, dtype, shape, offset = state["images"]
            rows = np.memmap(file, dtype, "r", offset, shape)
            state = {**state, "images": rows}
        self.__dict__.update(state)


def split_name(split: str) -> str:
    """Check the name of a split."""
    return check.choice(split, "split", SPLITS)


def joined(parts: Sequence[Dataset]) -> Dataset:
    """Return several splits of one source as one data set, held in memory.

    Raises:
        InputError: their images have several shapes.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    shapes = {part.shape: "x".join(map(str, part.shape)) for part in parts}
    if len(shapes) > 1:
        raise InputError(
            f"the splits of {first.card.name} have images of several shapes "
            f"(channels, height, width): {', '.join(shapes.values())}; take one split alone, or "
            "make them alike in colour and pass a size (--size on the command line)"
        )
    labels = [part.labels for part in parts if part.labels is not None]
    captions = [part.captions for part in parts if part.captions is not None]
    return replace(
        first,
        images=torch.cat([part._rows(torch.arange(len(part))) for part in parts]),
        card=replace(first.card, size=sum(map(len, parts))),
        labels=torch.cat(labels) if len(labels) == len(parts) else None,
        captions=tuple(chain(*captions)) if len(captions) == len(parts) else None,
        skipped=tuple(chain(*(part.skipped for part in parts))),
    )


def resized(dataset: Dataset, size: Size) -> Dataset:
    """Return the data set at another size, its pixels continuous from then on."""
    if size is None:
        return dataset
    images = resize(dataset.all(), size)
    if images.shape[1:] == dataset.images.shape[1:]:
        return dataset
    shape = cast(tuple[int, int, int], tuple(images.shape[1:]))
    card = replace(dataset.card, shape=shape)
    return replace(dataset, images=images, card=card, levels=0)


def _unit(rows: Tensor) -> Tensor:
    return rows.float().div_(255) if rows.dtype == torch.uint8 else rows
