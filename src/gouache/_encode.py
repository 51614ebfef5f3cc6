"""From 16-bit levels to the bytes of a picture file, for Pillow writes no colour of 16 bits.

Notation: ``levels`` is an array ``(H, W, C)`` of uint16, C = 1 (grey) or 3 (colour), 65535 being
white.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

Levels = NDArray[np.uint16]


def png(levels: Levels) -> bytes:
    """Encode a picture as PNG, each row filtered by its left neighbour."""
    h, w, c = levels.shape
    rows = np.frombuffer(levels.astype(">u2").tobytes(), np.uint8).reshape(h, w * c * 2)
    left = np.pad(rows, ((0, 0), (2 * c, 0)))[:, : rows.shape[1]]
    data = np.insert(rows - left, 0, 1, axis=1).tobytes()
    head = struct.pack(">IIBBBBB", w, h, 16, 0 if c == 1 else 2, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(data, 6)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in chunks
    )


def tiff(levels: Levels) -> bytes:
    """Encode a picture as TIFF of one deflated strip, each pixel less its left neighbour."""
    h, w, c = levels.shape
    steps = levels.astype("<u2")
    steps[:, 1:] -= levels[:, :-1]
    strip, bits = zlib.compress(steps.tobytes(), 6), struct.pack(f"<{c}H", *[16] * c)
    strip += bytes(len(strip) % 2)  # what follows begins at an even byte
    after = 8 + len(strip)
    fields = [
        (256, w),
        (257, h),
        (258, after if c > 1 else 16),  # of one channel the bits stand in the field itself
        (259, 8),  # deflated
        (262, 1 if c == 1 else 2),  # 0 is black; colour
        (273, 8),  # where the strip begins
        (277, c),
        (278, h),
        (279, len(strip)),
        (317, 2),  # differences along rows
    ]
    entries = [
        struct.pack("<HHII", tag, *((3, c) if tag == 258 else (4, 1)), value)
        for tag, value in fields
    ]
    head = struct.pack("<2sHI", b"II", 42, after + len(bits))
    table = struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4)
    return head + strip + bits + table
