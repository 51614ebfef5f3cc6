"""The picture of an explanation: the image, the patches taken from it, their weights."""

from __future__ import annotations

import math
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from gouache import image as images
from gouache.check import InputError

from ._explain import Block, Explanation

Box: TypeAlias = tuple[int, int, int, int]
PANEL, GAP, LINE, THUMB = 336, 12, 18, 40
WIDTH = 3 * PANEL + 4 * GAP
RED, GREEN, ORANGE, BLACK = (214, 39, 40), (44, 200, 44), (230, 140, 0), (20, 20, 20)


def draw(explanation: Explanation, image: Tensor) -> Tensor:
    """Draw where the value of a pixel comes from ``(3, H', W')``.

    From left to right: the image with the window; the window, with the patch that is explained in
    red, those taken in green and those left out in orange; the same with the weights, yellow to
    red where above 0 and blue where below, by the square root of their size. Below, the patches
    before and, if whole patches are filtered, after it, with their root mean square difference from
    the first.

    Args:
        explanation: of a pixel of the image.
        image: the noisy image ``(C, H, W)``, C = 1 or 3; for the picture it is clipped to [0, 1].

    Raises:
        InputError: the image is not of the explanation's size.

    Example:
        >>> import torch
        >>> from gouache import patches
        >>> image = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(0))
        >>> found = patches.explain_nlmeans(image, 0.2, at=(3, 4))
        >>> patches.draw(found, image).shape
        torch.Size([3, 488, 1056])
    """
    if tuple(image.shape[-2:]) != tuple(explanation.weights.shape):
        raise InputError(
            f"the explanation is of {tuple(explanation.weights.shape)} pixels, "
            f"the image of {tuple(image.shape[-2:])}"
        )
    picture, box = _picture(image), _box(explanation)
    strip = _thumbnails(explanation.blocks)
    top = GAP + 2 * LINE
    page = Image.new("RGB", (WIDTH, top + PANEL + GAP + strip.height + GAP), "white")
    write = ImageDraw.Draw(page)
    write.text((GAP, GAP), _headline(explanation), BLACK, _font())
    panels = (
        _whole(picture, box),
        _patches(picture, box, explanation),
        _heat(picture, box, explanation),
    )
    for k, (panel, caption) in enumerate(zip(panels, _captions(explanation), strict=True)):
        left = GAP + k * (PANEL + GAP)
        write.text((left, GAP + LINE), caption, BLACK, _font())
        page.paste(panel, (left, top + GAP // 2))
    page.paste(strip, (GAP, top + PANEL + GAP))
    return images.as_tensor(page)


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(13)


def _picture(image: Tensor) -> Image.Image:
    return images.as_pil(image.detach().cpu().float().clamp(0, 1)).convert("RGB")


def _box(found: Explanation) -> Box:
    """Return the part of the image that holds the window, every patch, and every weight to see."""
    height, width = found.weights.shape
    left, top, right, bottom = found.window
    large = found.weights.abs() > 0.01 * found.weights.max()
    rows, cols = (
        large.any(1).nonzero().flatten().tolist(),
        large.any(0).nonzero().flatten().tolist(),
    )
    xs, ys = [block.x for block in found.blocks], [block.y for block in found.blocks]
    return (
        max(0, min(left, *xs, *cols)),
        max(0, min(top, *ys, *rows)),
        min(width, max(right, *(x + found.side for x in xs), cols[-1] + 1)),
        min(height, max(bottom, *(y + found.side for y in ys), rows[-1] + 1)),
    )


def _headline(found: Explanation) -> str:
    before, after = (
        ", ".join(f"{value:.3f}" for value in part.tolist()) for part in (found.before, found.after)
    )
    text = f"{found.method} at x {found.at[0]}, y {found.at[1]}, sigma {found.sigma:.4f}"
    text = f"{text}: {before} before, {after} after"
    whole = found.blocks[0].after is not None
    return f"{text}; {100 * found.kept:.1f} % of the stack is kept" if whole else text


def _captions(found: Explanation) -> tuple[str, str, str]:
    taken = sum(block.kept for block in found.blocks)
    what = "the likest" if found.blocks[0].after is None else "one stack"
    low, high = float(found.weights.min()), float(found.weights.max())
    return (
        "image and window",
        f"{what}: {taken} patches of {found.side}x{found.side}",
        f"weights from {low:.3g}{' (blue)' if low < 0 else ''} to {high:.3g} (red), in sum 1",
    )


def _whole(picture: Image.Image, box: Box) -> Image.Image:
    scale = PANEL / max(picture.size)
    panel = _scaled(picture, scale)
    corners = [round(place * scale) for place in box]
    corners[2:] = (max(corners[0], corners[2] - 1), max(corners[1], corners[3] - 1))
    ImageDraw.Draw(panel).rectangle(corners, outline=RED, width=2)
    return panel


def _scaled(picture: Image.Image, scale: float) -> Image.Image:
    size = tuple(max(1, round(n * scale)) for n in picture.size)
    how = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.LANCZOS
    return picture.resize((size[0], size[1]), how)


def _zoom(picture: Image.Image, box: Box) -> tuple[Image.Image, float]:
    scale = PANEL / max(box[2] - box[0], box[3] - box[1])
    return _scaled(picture.crop(box), scale), scale


def _patches(picture: Image.Image, box: Box, found: Explanation) -> Image.Image:
    panel, scale = _zoom(picture, box)
    pen = ImageDraw.Draw(panel)
    for block in found.blocks[:0:-1]:
        _outline(pen, block, found.side, box, scale, GREEN if block.kept else ORANGE)
    _outline(pen, found.blocks[0], found.side, box, scale, RED)
    _mark(pen, found, box, scale)
    return panel


def _outline(
    pen: ImageDraw.ImageDraw, block: Block, side: int, box: Box, scale: float,
    colour: tuple[int, int, int],
) -> None:  # fmt: skip
    left, top = (block.x - box[0]) * scale, (block.y - box[1]) * scale
    pen.rectangle((left, top, left + side * scale - 1, top + side * scale - 1), outline=colour,
                  width=2 if colour == RED else 1)  # fmt: skip


def _mark(pen: ImageDraw.ImageDraw, found: Explanation, box: Box, scale: float) -> None:
    """Frame the pixel that is explained."""
    left, top = (found.at[0] - box[0]) * scale, (found.at[1] - box[1]) * scale
    pen.rectangle((left - 1, top - 1, left + scale, top + scale), outline=RED, width=1)


def _heat(picture: Image.Image, box: Box, found: Explanation) -> Image.Image:
    """Return the window in grey, with the weights over it."""
    left, top, right, bottom = box
    weights = found.weights.numpy()[top:bottom, left:right]
    others = np.abs(found.weights.numpy())
    others[found.at[1], found.at[0]] = 0
    part = np.sqrt((np.abs(weights) / max(float(others.max()), 1e-12)).clip(0, 1))[..., None]
    warm = np.array([255, 225, 0]) + part * (np.array([200, 0, 0]) - np.array([255, 225, 0]))
    colour = np.where(weights[..., None] > 0, warm, np.array([0, 80, 255]))
    grey = 0.6 * np.asarray(picture.crop(box).convert("L"), np.float64)[..., None] + 40
    levels = (1 - part) * grey + part * colour
    heat = Image.fromarray(levels.round().astype(np.uint8))
    panel, scale = _zoom(heat, (0, 0, *heat.size))
    _mark(ImageDraw.Draw(panel), found, box, scale)
    return panel


def _thumbnails(blocks: tuple[Block, ...]) -> Image.Image:
    """Return the patches in rows, each with its distance, and below it what became of it."""
    across = (WIDTH - 2 * GAP) // (THUMB + 4)
    lines = 1 if blocks[0].after is None else 2
    step = LINE + lines * (THUMB + 4)
    height = LINE + math.ceil(len(blocks) / across) * step
    strip = Image.new("RGB", (WIDTH - 2 * GAP, height), "white")
    pen = ImageDraw.Draw(strip)
    rows = "the patches" if lines == 1 else "the patches, noisy and filtered"
    pen.text((0, 0), f"{rows}; above, how far each is from the first, in 255ths", BLACK, _font())
    for k, block in enumerate(blocks):
        left, top = k % across * (THUMB + 4), LINE + k // across * step
        colour = RED if k == 0 else BLACK if block.kept else ORANGE
        pen.text((left, top), f"{255 * math.sqrt(block.distance):.1f}", colour, _font())
        for line, part in enumerate((block.before, block.after)):
            if part is not None:
                thumb = _picture(part).resize((THUMB, THUMB), Image.Resampling.NEAREST)
                strip.paste(thumb, (left, top + LINE + line * (THUMB + 4)))
    return strip
