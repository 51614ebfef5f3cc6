"""Sets of images by one word: a folder, bundled data, a run, or weights that ship."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Images:
    """Images of one source.

    Attributes:
        name: of the source.
        images: ``(N, C, H, W)`` in [0, 1].
        labels: class numbers ``(N,)``, or None.
        classes: the name of each class of the source, whether or not an image here has it.
    """

    name: str
    images: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]


def read(source: str, size: int | None, n: int, seed: int, default: str = "") -> Images:
    """Return the images that ``source`` names, resized if ``size`` is given.

    A run or weights that ship draw ``n`` samples; all else is what ``gouache.data.load`` takes,
    perhaps with the split, ``digits:train`` or ``my_folder:train``. Without one it is ``default``:
    a split, ``held-out`` (validation and test), or if empty, all pictures of a folder and what is
    held out of other data. A bundled name wins over a folder of that name, which ``./digits``
    reaches.

    Raises:
        InputError: there is no such thing, or its pictures have several sizes.
    """
    from gouache import data

    if _is_model(source):
        return _drawn(source, size, n, seed)
    word, split = data.source_and_split(source)
    split = split or default or ("all" if data.is_folder(word) else "held-out")
    _check_known(word)
    dataset = data.load(word, split, size=size)
    return Images(source, dataset.all(), dataset.labels, dataset.classes)


def same(a: str, b: str) -> bool:
    """Tell whether two words name the same source, whatever their splits."""
    from gouache import data

    words = (data.source_and_split(source)[0] for source in (a, b))
    first, second = map(data.resolve, words)
    return first == second


def run_of(source: str) -> dict[str, Any] | None:
    """Return what ``run.json`` of a run tells; None of all else.

    Raises:
        InputError: the file is not one that a run wrote.
    """
    from gouache import recipes, weights

    folder = weights.locate(source) if _is_model(source) else None
    if folder is None or not (folder / "run.json").is_file():
        return None
    return recipes.read_run(folder)


def check_data(source: str) -> None:
    """Check that a word for training images does not name a model.

    Raises:
        InputError: it does.
    """
    from gouache import check

    if _is_model(source):
        run = run_of(source)
        known = f": --train {run['data']}" if run else ", such as digits:train"
        raise check.InputError(
            f"--train takes the images that a model was trained on, and {source} is a model; "
            f"name the data{known}"
        )


def common(sets: list[Images]) -> list[Images]:
    """Return the sets with one number of channels; sizes must agree already.

    Raises:
        InputError: the sizes differ.
    """
    from gouache import check, image

    first = sets[0]
    for other in sets[1:]:
        a, b = first.images.shape[-2:], other.images.shape[-2:]
        if a != b:
            raise check.InputError(
                f"{first.name} has images of {a[0]}x{a[1]} pixels and {other.name} of "
                f"{b[0]}x{b[1]}; pass --size {min(*a, *b)} to resize all of them"
            )
    channels = max(one.images.shape[1] for one in sets)
    return [replace(one, images=image.as_channels(one.images, channels)) for one in sets]


def numbered(sets: list[Images]) -> list[Tensor | None]:
    """Return each set's class numbers as those of the first set, REAL; None where unknown.

    Training images have none if they show a class that REAL does not know.

    Raises:
        InputError: the second set, FAKE, shows a class that REAL does not know.
    """
    from gouache import check

    real, fake = sets[:2]
    found = [_numbered(one, real) for one in sets]
    if found[1] is None and fake.labels is not None and real.labels is not None:
        raise check.InputError(
            f"the classes of {fake.name} ({_listed(fake.classes)}) are not those of {real.name} "
            f"({_listed(real.classes)}); name the sub-folders alike"
        )
    return found


def _numbered(one: Images, real: Images) -> Tensor | None:
    """Return class numbers as those of ``real``; None where it does not know all that are shown."""
    import torch

    place = {name: k for k, name in enumerate(real.classes)}
    if one.labels is None or real.labels is None:
        return None
    if not place.keys() >= {one.classes[k] for k in one.labels.unique().tolist()}:
        return None
    return torch.tensor([place.get(name, -1) for name in one.classes])[one.labels]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _is_model(source: str) -> bool:
    from gouache import registry, weights

    return source not in registry.names("data") and weights.locate(source) is not None


def _check_known(word: str) -> None:
    """Name a near miss among weights too, if a word means nothing."""
    from gouache import check, data, registry, weights

    if not word.startswith("hf:") and not data.is_folder(word):
        known = (*registry.names("data"), *weights.names())
        check.choice(word, "folder, data or weights", known)


def _drawn(source: str, size: int | None, n: int, seed: int) -> Images:
    from gouache import image, samples

    model, names = samples.open_model(source)
    drawn = samples.draw(model, n, seed=seed, names=names)
    images = drawn.images if size is None else image.resize(drawn.images, size)
    return Images(source, images, drawn.labels, names)
