"""Files that come inside the wheels of scikit-learn, scikit-image and matplotlib, by path.

Nothing is imported from those packages, and nothing is downloaded. ``stratified`` cuts what they
hold into fixed splits.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import torch
from torch import Tensor

from gouache.check import InputError
from gouache.random import derive_keys, keyed_uniform


def bundled(package: str, path: str) -> Path:
    """Return the path of a file inside an installed package.

    Raises:
        InputError: the package is absent, or this release of it does not ship the file.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(f"{package} is not installed; install gouache with its dependencies")
    file = Path(spec.submodule_search_locations[0]) / path
    if not file.is_file():
        raise InputError(
            f"the installed {package} does not ship {path}; install the release that gouache's "
            "constraints.txt names"
        )
    return file


def stratified(labels: Tensor, sizes: tuple[int, ...], seed: int) -> tuple[Tensor, ...]:
    """Split 0..N-1 at random into parts of exactly these sizes, each class alike in all of them.

    Member r (in random order) of a class of n takes the place (r + u) / n, u uniform in (0, 1);
    the parts are consecutive runs of the images sorted by place. So a class has its share of each
    part to within two images, and any run of a part is itself a random, stratified draw.
    """
    uniform = keyed_uniform(derive_keys(seed, torch.arange(len(labels))), (2,))
    place = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = (labels == label).nonzero()[:, 0]
        rank = uniform[members, 0].argsort(stable=True).argsort(stable=True)
        place[members] = (rank + uniform[members, 1]) / len(members)
    return place.argsort(stable=True)[: sum(sizes)].split(sizes)
