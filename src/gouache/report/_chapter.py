"""A part of a page that is not of the run itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Chapter:
    """Pictures with words.

    Attributes:
        title: of the chapter.
        words: what it is about, one sentence or two.
        figures: a caption and a picture ``(C, H, W)`` in [0, 1] each.
        command: that makes such pictures; empty for none.

    Example:
        >>> import torch
        >>> from gouache import report
        >>> report.Chapter("Grey", "A picture.", (("grey", torch.zeros(1, 8, 8)),)).title
        'Grey'
    """

    title: str
    words: str
    figures: tuple[tuple[str, Tensor], ...]
    command: str = ""
