"""A verb on every picture of a folder: a new folder with the same names, whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ._screen import console, say


def each_picture(source: Path, out: Path, work: Callable[[Path, Path], str]) -> None:
    """Call ``work(file, target)`` for every picture below a folder, and list what failed.

    A target has its file's name below ``out``, with ``.png`` for what cannot be written. Work
    returns what to tell beside the name. Until all is done the pictures lie in a hidden folder.

    Raises:
        InputError: ``out`` is named as a picture or holds files, there is no picture, or none can
            be read.
    """
    from gouache import check, image

    if out.suffix.lower() in image.SUFFIXES:
        raise check.InputError(f"{source} is a folder, and so OUT must be one, got {out}")
    check.new_folder(out)
    targets = _targets(_pictures(source))
    failed = list[str]()
    with whole(out) as folder, _counting(len(targets)) as tell:
        for name, target in targets.items():
            try:
                tell(name.as_posix(), work(source / name, folder / target))
            except check.InputError as error:
                failed.append(f"{name.as_posix()}: {error}")
                tell(name.as_posix(), "skipped")
        if len(failed) == len(targets):
            raise check.InputError(f"no picture of {source} can be read; the first: {failed[0]}")
    for line in failed:
        say(f"skipped {line}")
    say(f"{len(targets) - len(failed)} of {len(targets)} pictures written")


def _pictures(source: Path) -> list[Path]:
    """Return the names of all pictures below a folder, in order; hidden ones do not count."""
    from gouache import check, image

    names = list[Path]()
    for place, folders, files in os.walk(source):
        folders[:] = [folder for folder in folders if not folder.startswith((".", "__MACOSX"))]
        files = [file for file in files if file.lower().endswith(image.SUFFIXES)]
        names += [Path(place, file).relative_to(source) for file in files if file[0] != "."]
    if not names:
        raise check.InputError(f"{source} holds no picture ({', '.join(image.SUFFIXES)})")
    return sorted(names, key=lambda name: name.as_posix())


def _targets(names: list[Path]) -> dict[Path, Path]:
    """Return the name that each picture is written under."""
    from gouache import image

    taken = {name for name in names if name.suffix.lower() in image.WRITTEN}
    targets = {name: name for name in taken}
    for name in names:
        if name not in taken:
            target, last = name.with_suffix(".png"), name
            while target in taken:
                target = last = last.with_name(f"{last.name}.png")
            targets[name] = target
            taken.add(target)
    return {name: targets[name] for name in names}


@contextlib.contextmanager
def whole(out: Path) -> Iterator[Path]:
    """Yield a hidden folder that becomes ``out``, or whose content becomes that of ``out``.

    Folders above it that are made here go again if nothing is written.
    """
    absent = not out.exists()
    place = out.parent if absent else out  # a folder may be a volume, or where one stands
    above = [folder for folder in (place, *place.parents) if not folder.exists()]
    place.mkdir(parents=True, exist_ok=True)
    partial = Path(tempfile.mkdtemp(dir=place, prefix=".partial-"))
    try:
        yield partial
        if absent:
            partial.chmod(0o755)
            partial.rename(out)
        else:
            for made in list(partial.iterdir()):
                made.rename(out / made.name)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):  # those that hold something stay
            for folder in above:
                folder.rmdir()


@contextlib.contextmanager
def _counting(count: int) -> Iterator[Callable[[str, str], None]]:
    """Yield what tells a picture done: on a terminal a bar, elsewhere a line each."""
    from rich import progress as rich

    screen = console()
    if not screen.is_terminal:
        done = iter(range(1, count + 1))
        yield lambda name, told: say(f"{next(done)}/{count} {name}: {told}")
        return
    columns = (rich.TextColumn("{task.description}"), rich.BarColumn(), rich.MofNCompleteColumn())
    with rich.Progress(*columns, rich.TimeRemainingColumn(), console=screen) as bar:
        task = bar.add_task("", total=count)
        yield lambda name, told: bar.update(task, advance=1, description=f"{name}: {told}")
