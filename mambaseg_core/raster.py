"""Bytes of a TIFF or PNG, changed so that OpenCV decodes the raster as it is stored."""

from __future__ import annotations

import struct
import zlib
from typing import Final

_ORIENTATION: Final = 274  # tag of TIFF, which libtiff applies whatever OpenCV's flags say
_SHORT: Final = 3
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_GRAY, _PALETTE = 0, 3  # PNG's color types


def upright(data: bytes) -> bytes:
    """Return a TIFF whose first image has no orientation; return other bytes, or a cut TIFF, unchanged."""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None:
        return data
    changed = bytearray(data)
    try:
        at = _orientation_at(changed, order)
        if at is not None:
            struct.pack_into(f"{order}H", changed, at, 1)
    except (struct.error, OverflowError):  # cut off or false, which OpenCV reports
        return data
    return bytes(changed)


def _orientation_at(data: bytearray, order: str) -> int | None:
    """Return the position of the orientation's value in a classic TIFF or BigTIFF; None without the tag."""
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    if version == 43:
        at, number, head, step, value = 8, "Q", 8, 20, 12
    else:
        at, number, head, step, value = 4, "I", 2, 12, 8
    (directory,) = struct.unpack_from(order + number, data, at)
    (count,) = struct.unpack_from(f"{order}{'Q' if version == 43 else 'H'}", data, directory)
    for entry in range(directory + head, directory + head + count * step, step):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag == _ORIENTATION:
            return entry + value if kind == _SHORT else None
    return None


def with_indices(data: bytes) -> bytes | None:
    """Return a PNG that decodes to the stored values, in each of three channels, in place of colors or stretched grays.

    OpenCV replaces the indices of a palette by its colors, and stretches grays of 1, 2 and 4 bits to 0..255.

    Returns:
        None if the data are no such PNG: they decode to what is stored anyway, or are damaged.
    """
    if not data.startswith(_PNG) or len(data) < 33:
        return None
    depth, color = data[24], data[25]
    if depth > 8 or not (color == _PALETTE or (color == _GRAY and depth < 8)):
        return None
    header = data[16:25] + bytes([_PALETTE]) + data[26:29]
    palette = bytes(value for value in range(1 << depth) for _ in range(3))
    parts = [_PNG, _chunk(b"IHDR", header), _chunk(b"PLTE", palette)]
    at = 33
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big") + 12
        if data[at + 4 : at + 8] in (b"IDAT", b"IEND"):
            parts.append(data[at : at + size])
        at += size
    return b"".join(parts)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
