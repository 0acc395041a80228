"""The part of FlatBuffers that AEDAT4 needs: tables, scalars, strings and vectors; every position is checked."""

from __future__ import annotations

import struct
from typing import NamedTuple


class Vector(NamedTuple):
    """Elements of a vector: position of the first, and their number."""

    at: int
    length: int


class Table:
    """A FlatBuffers table in a buffer that may be damaged.

    Reading outside the buffer always raises struct.error or ValueError.

    Args:
        data: the whole buffer.
        at: position of the table.
    """

    def __init__(self, data: bytes, at: int) -> None:
        self.data = data
        self._at = at
        self._vtable = at - _unpack("<i", data, at)
        (self._vtable_bytes,) = struct.unpack_from("<H", data, _inside(data, self._vtable))

    @classmethod
    def root(cls, data: bytes, identifier: bytes) -> Table:
        """Return the root table of a buffer with a size prefix.

        Raises:
            ValueError: the buffer has another identifier.
        """
        if data[8:12] != identifier:
            raise ValueError(f"block is of type {data[8:12]!r}, expected {identifier!r}")
        return cls(data, 4 + _unpack("<I", data, 4))

    def scalar(self, field: int, kind: str, default: int) -> int:
        """Return a number; kind as in `struct`, field counted from 0 in the schema's order."""
        at = self._field(field)
        return default if at is None else _unpack(f"<{kind}", self.data, at)

    def vector(self, field: int, element_bytes: int) -> Vector:
        """Return a vector of numbers or structs; an empty one if the field is absent."""
        at = self._field(field)
        if at is None:
            return Vector(0, 0)
        start = at + _unpack("<I", self.data, at)
        length = _unpack("<I", self.data, start)
        if start + 4 + length * element_bytes > len(self.data):
            raise ValueError(f"a vector claims {length} elements of {element_bytes} bytes, more than the block holds")
        return Vector(start + 4, length)

    def string(self, field: int) -> str:
        """Return a string; empty if the field is absent."""
        at, length = self.vector(field, 1)
        return self.data[at : at + length].decode("utf-8", "replace")

    def _field(self, field: int) -> int | None:
        entry = 4 + 2 * field
        if entry + 2 > self._vtable_bytes:
            return None
        offset = _unpack("<H", self.data, self._vtable + entry)
        return self._at + offset if offset else None


def _unpack(kind: str, data: bytes, at: int) -> int:
    (value,) = struct.unpack_from(kind, data, _inside(data, at))
    return int(value)


def _inside(data: bytes, at: int) -> int:
    if not 0 <= at < len(data):  # struct counts a negative position from the end
        raise ValueError(f"an offset points to byte {at} of a block of {len(data)} bytes")
    return at
