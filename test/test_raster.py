"""Bytes of images: whatever they are, they are changed or returned, and the pixels stay."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st

from mambaseg_core.raster import upright, with_indices

PNG_HEAD = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"MM\0+\0\x08\0\0")


@given(st.sampled_from(TIFF_HEADS), st.binary(max_size=200))
def test_a_tiff_keeps_its_length_and_all_but_one_value(head: bytes, rest: bytes) -> None:
    data = head + rest
    changed = upright(data)
    assert len(changed) == len(data)
    assert sum(a != b for a, b in zip(data, changed, strict=True)) <= 2


@given(st.integers(0, 65_535), st.integers(0, 30), st.sampled_from("<>"))
def test_only_the_orientation_of_the_first_image_is_set(orientation: int, before: int, order: str) -> None:
    entries = [struct.pack(f"{order}HHII", 700 + n, 4, 1, n) for n in range(before)]
    entries.append(struct.pack(f"{order}HHIHH", 274, 3, 1, orientation, 0))
    second = struct.pack(f"{order}HHHIHHI", 1, 274, 3, 1, 6, 0, 0)
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8)
    first = struct.pack(f"{order}H", len(entries)) + b"".join(entries)
    data = head + first + struct.pack(f"{order}I", 8 + len(first) + 4) + second
    expected = data.replace(entries[-1], struct.pack(f"{order}HHIHH", 274, 3, 1, 1, 0), 1)
    assert upright(data) == expected


@given(st.binary(max_size=200), st.sampled_from([1, 2, 4, 8, 16, 255]), st.integers(0, 255))
def test_a_png_becomes_one_with_indices_or_is_left(rest: bytes, depth: int, color: int) -> None:
    data = PNG_HEAD + struct.pack(">IIBB", 3, 4, depth, color) + rest
    changed = with_indices(data)
    if len(data) >= 33 and depth <= 8 and (color == 3 or (color == 0 and depth < 8)):
        assert changed is not None
        assert (changed[:24], changed[24], changed[25]) == (data[:24], depth, 3)
        assert changed[37:41] == b"PLTE"
    else:
        assert changed is None


@given(st.binary(max_size=100))
def test_other_bytes_are_left(data: bytes) -> None:
    assert with_indices(data) is None or data.startswith(b"\x89PNG")
    assert upright(data) == data or data[:2] in (b"II", b"MM")
