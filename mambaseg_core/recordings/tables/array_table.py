"""NumPy's `.npy` and `.npz` files of events: structured arrays, one array a column, or tables of four columns.

A `.npy` file is mapped, not read. The arrays of an `.npz` file are unpacked into memory.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt
from numpy.lib import format as npy

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.blocks import BlockSource
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.per_process import PerProcess
from mambaseg_core.recordings.reader import EventReader
from mambaseg_core.recordings.tables.table import (
    TableDecoder,
    check_columns,
    check_order,
    check_size,
    described,
    guess_columns,
    named_columns,
    required_size,
)
from mambaseg_core.recordings.tables.time_unit import check_unit, guess_unit

NPY: Final = b"\x93NUMPY"
NPZ: Final = b"PK\x03\x04"

_BLOCK: Final = 1 << 16  # rows
_SAMPLE: Final = 10_000  # rows that are looked at
_LONGEST: Final = 1 << 16  # bytes of a header; NumPy takes 10,000
_MOST_RATIO: Final = 1100  # of deflate's compression
_REMEDY: Final = "save it again with np.save or np.savez"


def open_array_table(
    path: str | Path,
    size: tuple[int, int] | None = None,
    time_unit: str | None = None,
    columns: str | None = None,
) -> EventReader:
    """Open a `.npy` or `.npz` file.

    Args:
        path: the file.
        size: (height, width) of the sensor, which the file does not contain.
        time_unit: s, ms, us or ns; None: from the name of the time's column, or guessed.
        columns: order of four columns without names, as `txyp`; None: guessed.

    Raises:
        EventFileError: the file has other arrays, no size was given, or a guess is not clear.
    """
    return EventReader(BlockSource(ArrayStream(Path(path), size, time_unit, columns)))


class ArrayStream:
    """A `PacketStream` over a `.npy` or `.npz` file, cut into blocks of rows; arguments as of `open_array_table`."""

    def __init__(
        self, path: Path, size: tuple[int, int] | None, time_unit: str | None = None, columns: str | None = None
    ) -> None:
        self.path = path
        with one_sentence(path, "a NumPy file", _REMEDY), path.open("rb") as file:
            self.format = "npy" if file.read(len(NPY)) == NPY else "npz"
        self._columns = PerProcess(partial(_open_columns, path, columns))
        table = self._columns.get()
        size = self.height, self.width = required_size(path, size)
        check_size(path, {name: values[:_SAMPLE] for name, values in table.columns.items()}, size)
        given = check_unit(path, time_unit) if time_unit else table.unit
        unit = given or guess_unit(path, table.columns["t"][:_SAMPLE])
        self.encoding = described(table.order, unit, guessed=(table.guessed, given is None))
        self._decoder = TableDecoder(path, unit, size)
        self._outside = 0

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Convert the rows in order."""
        self._outside, newest_ns = 0, -(1 << 62)
        for start in range(0, len(self._columns.get().columns["t"]), _BLOCK):
            events, outside = self._rows(start)
            self._outside += outside
            newest_ns = check_order(self.path, events, newest_ns)
            yield start, events

    def read(self, where: int) -> Events:
        """Convert one block again."""
        return self._rows(where)[0]

    def counters(self) -> dict[str, int]:
        """Return `outside`, the number of events dropped because they lay outside the sensor."""
        return {"outside": self._outside}

    def close(self) -> None:
        """Drop the arrays; they open again when needed."""
        self._columns.close()

    def _rows(self, start: int) -> tuple[Events, int]:
        columns = self._columns.get().columns
        return self._decoder.events(
            {name: np.array(values[start : start + _BLOCK]) for name, values in columns.items()}
        )


@dataclass
class _Columns:
    columns: dict[str, npt.NDArray[Any]]  # t, x, y, p: [N] each
    order: str
    guessed: bool
    unit: str | None  # from the name of the time's column

    def close(self) -> None:
        """Do nothing: maps close with their last view."""


def _open_columns(path: Path, order: str | None) -> _Columns:
    with one_sentence(path, "a NumPy file of events", _REMEDY):
        with path.open("rb") as file:
            mapped = file.read(len(NPY)) == NPY
        arrays = {"": _map(path)} if mapped else _unpack(path)
    found = named_columns(list(arrays))
    if found is None:
        return _of_array(path, _the_array(path, arrays), order)
    names, unit = found
    columns = {name: arrays[key] for name, key in names.items()}
    lengths = {name: list(values.shape) for name, values in columns.items()}
    if any(values.ndim != 1 for values in columns.values()) or len({str(shape) for shape in lengths.values()}) > 1:
        raise EventFileError(f"event file {path} has columns of shapes {lengths}, expected one length [N]; {_REMEDY}")
    return _Columns(columns, "txyp", False, unit)


def _the_array(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """Return the array that holds all columns."""
    tables = [array for array in arrays.values() if array.dtype.names or (array.ndim == 2 and 4 in array.shape)]
    if len(tables) == 1:
        return tables[0]
    got = {name or "array": f"{array.dtype} {list(array.shape)}" for name, array in list(arrays.items())[:6]}
    raise EventFileError(
        f"event file {path} has {got}, expected arrays t, x, y and p, or one array with these fields or four columns; "
        f"{_REMEDY}"
    )


def _of_array(path: Path, array: npt.NDArray[Any], order: str | None) -> _Columns:
    if array.dtype.names:
        found = named_columns(array.dtype.names)
        if found is None or array.ndim != 1:
            raise EventFileError(
                f"event file {path} has the fields {list(array.dtype.names)} [{'x'.join(map(str, array.shape))}], "
                f"expected t, x, y and p in one dimension; {_REMEDY}"
            )
        names, unit = found
        return _Columns({name: array[field] for name, field in names.items()}, "txyp", False, unit)
    rows = array if array.shape[1] == 4 else array.T
    if order:
        check_columns(path, order)
    if rows.dtype.kind not in "iuf":
        raise EventFileError(f"event file {path} has a table of {rows.dtype}, expected numbers; {_REMEDY}")
    found_order = order or (guess_columns(path, np.array(rows[:_SAMPLE])) if len(rows) else "txyp")
    return _Columns(dict(zip(found_order, rows.T, strict=True)), found_order, order is None, None)


def _map(path: Path) -> npt.NDArray[Any]:
    with path.open("rb") as file:
        shape, fortran, dtype = _header(file)
        at = file.tell()
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, mode="r", offset=at, shape=shape, order="F" if fortran else "C")


def _unpack(path: Path) -> dict[str, npt.NDArray[Any]]:
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.file_size > _MOST_RATIO * (info.compress_size + 1):
                raise ValueError(f"{info.filename} claims {info.file_size} bytes from {info.compress_size}")
            if info.filename.endswith(".npy"):
                stream = io.BytesIO(archive.read(info))
                shape, fortran, dtype = _header(stream)
                values = np.frombuffer(stream.getbuffer(), dtype, int(np.prod(shape, dtype=object)), stream.tell())
                arrays[info.filename.removesuffix(".npy")] = values.reshape(shape, order="F" if fortran else "C")
    return arrays


def _header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, npt.DTypeLike]:
    """Read the header of an array: shape, whether columns come first, dtype; the stream ends behind it."""
    head = io.BytesIO(stream.read(_LONGEST))  # a damaged header may claim gigabytes
    version = npy.read_magic(head)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(head)
    stream.seek(head.tell())
    if dtype.hasobject:
        raise ValueError(f"its dtype {dtype} has Python objects")
    return shape, fortran, dtype
