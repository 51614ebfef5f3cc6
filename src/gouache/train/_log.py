"""The log of a run: one JSON object a line, and TensorBoard when it is installed."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

from gouache.check import InputError
from gouache.pretrained import write_text

NAME = "log.jsonl"


class Log:
    """Appends lines to ``log.jsonl``; opened at a step, it forgets what came after that step.

    With ``tensorboard`` installed the same numbers go to ``tensorboard/`` beside it.
    """

    def __init__(self, folder: Path, step: int = 0) -> None:
        self.file = folder / NAME
        kept = [line for line in read_log(folder) if line["step"] <= step]
        write_text("".join(json.dumps(line) + "\n" for line in kept), self.file)
        self._stream = open(self.file, "ab", buffering=0)  # noqa: SIM115
        self._board = _board(folder / "tensorboard", step)

    def write(self, step: int, **values: float) -> None:
        """Append one line.

        Raises:
            InputError: the disk is full.
        """
        try:
            self._stream.write((json.dumps({"step": step, **values}) + "\n").encode())
        except OSError as error:
            raise InputError(f"cannot write {self.file}: {error}; mend that and resume") from error
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Close the files."""
        self._stream.close()
        if self._board is not None:
            self._board.close()


def read_log(folder: str | Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log; a last line cut short by a crash is left out."""
    file = Path(folder) / NAME
    if not file.exists():
        return []
    lines = []
    for line in file.read_text("utf-8").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return lines


def seconds_until(folder: str | Path | None, step: int) -> float:
    """Return the seconds that a run's log counts up to a step; 0 for step 0."""
    lines = [] if folder is None else [x for x in read_log(folder) if x["step"] <= step]
    return float(lines[-1]["seconds"]) if lines and step else 0.0


def _board(folder: Path, step: int) -> Any:
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard.writer import SummaryWriter

    return SummaryWriter(str(folder), purge_step=step + 1)
