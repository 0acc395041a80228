"""CSV and text files of events: a row an event, as RPG's `events.txt` or Prophesee's CSV.

Columns are parted by blanks or by a comma, semicolon or tab. A header line may name them. Lines that begin with `#` or
`%` are comments; one like `%geometry:1280,720`, or a first row `240 180`, has the size of the sensor (width, height).
Rows are converted in blocks, so that a file may be larger than memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.blocks import BlockSource
from mambaseg_core.recordings.errors import EventFileError, one_sentence
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

_BLOCK_BYTES: Final = 1 << 20
_SAMPLE: Final = 10_000  # rows that are looked at
_EXPECTED: Final = "a table of numbers, a row an event"
_REMEDY: Final = "mend that row, or export the file again"
_MARK: Final = b"\xef\xbb\xbf"  # a byte order mark, as spreadsheets write
_NUMBER: Final = re.compile(rb"[-+]?(\d+\.?\d*([eE][-+]?\d+)?|\.\d+([eE][-+]?\d+)?)|true|false", re.IGNORECASE)


class _Head(NamedTuple):
    """Content of a file ahead of its rows."""

    names: tuple[str, ...]  # of the columns; empty if there is no header line
    size: tuple[int, int] | None
    separator: str | None  # None: blanks
    data_at: int
    first_row: tuple[bytes, ...]


def is_text_table(_: Path, head: bytes) -> bool:
    """Return whether a file begins with rows of four numbers or more, or with the names of such columns."""
    found = _read_head(head[: head.rfind(b"\n") + 1] or head)
    return found is not None and (len(found.first_row) >= 4 or named_columns(found.names) is not None)


def open_text_table(
    path: str | Path,
    size: tuple[int, int] | None = None,
    time_unit: str | None = None,
    columns: str | None = None,
) -> EventReader:
    """Open a text file of events.

    Args:
        path: the file.
        size: (height, width) of the sensor if the file does not contain it.
        time_unit: s, ms, us or ns; None: from the name of the time's column, or guessed.
        columns: order of four columns without names, as `txyp`; None: guessed.

    Raises:
        EventFileError: the columns are others, neither file nor caller has the size, or a guess is not clear.
    """
    return EventReader(BlockSource(TextStream(Path(path), size, time_unit, columns)))


class TextStream:
    """A `PacketStream` over a text file, cut into blocks of whole lines; arguments as of `open_text_table`."""

    format = "text"

    def __init__(
        self, path: Path, size: tuple[int, int] | None, time_unit: str | None = None, columns: str | None = None
    ) -> None:
        self.path = path
        sample = self._bytes(0, _BLOCK_BYTES)
        head = _read_head(sample)
        if head is None:
            raise EventFileError(f"event file {path} begins with {sample[:40]!r}, expected {_EXPECTED}; {_REMEDY}")
        self._head = head
        found = self.height, self.width = required_size(path, size or head.size)
        lines = sample[head.data_at : sample.rfind(b"\n") + 1 or None].split(b"\n")[:_SAMPLE]
        self._dtypes = _dtypes(lines)
        self._places, named_unit, guessed = self._columns(columns, lines)
        rows = self._parse(lines)
        check_size(path, {name: rows[name] for name in "xy"}, found)
        given = check_unit(path, time_unit) if time_unit else named_unit
        unit = given or guess_unit(path, rows["t"])
        shown = "".join(sorted(self._places, key=lambda name: self._places[name]))
        self.encoding = described(shown, unit, guessed=(guessed, given is None))
        self._decoder = TableDecoder(path, unit, found)
        self._outside = 0

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Convert the rows in order."""
        self._outside, newest_ns, at = 0, -(1 << 62), self._head.data_at
        while length := self._block(at):
            events, outside = self._events(at, length)
            self._outside += outside
            newest_ns = check_order(self.path, events, newest_ns)
            yield (at, length), events
            at += length

    def read(self, where: tuple[int, int]) -> Events:
        """Convert one block again."""
        return self._events(*where)[0]

    def counters(self) -> dict[str, int]:
        """Return `outside`, the number of events dropped because they lay outside the sensor."""
        return {"outside": self._outside}

    def close(self) -> None:
        """Do nothing: the file is open only while a block is read."""

    def _columns(self, order: str | None, lines: list[bytes]) -> tuple[dict[str, int], str | None, bool]:
        """Return the place of t, x, y and p in a row, the unit in the time's name, and if the order was guessed."""
        named = named_columns(self._head.names)
        if named is not None:
            return {column: self._head.names.index(name) for column, name in named[0].items()}, named[1], False
        count = len(self._head.first_row)
        if count != 4:
            raise EventFileError(
                f"event file {self.path} has columns {list(self._head.names) or count}, expected t, x, y and p, or "
                f"four without names; name them in the first line"
            )
        if order is not None:
            return {name: place for place, name in enumerate(check_columns(self.path, order))}, None, False
        self._places = {name: place for place, name in enumerate("abcd")}
        rows = self._parse(lines)
        guess = guess_columns(self.path, np.stack([rows[name].astype(float) for name in "abcd"], -1))
        return {name: place for place, name in enumerate(guess)}, None, True

    def _block(self, at: int) -> int:
        """Return the length of the block of whole lines at a position; 0 at the end."""
        data = self._bytes(at, _BLOCK_BYTES)
        if len(data) < _BLOCK_BYTES:
            return len(data)
        length = data.rfind(b"\n") + 1
        if not length:
            raise EventFileError(
                f"event file {self.path} has a line of more than {_BLOCK_BYTES} bytes at byte {at}, expected "
                f"{_EXPECTED}; {_REMEDY}"
            )
        return length

    def _events(self, at: int, length: int) -> tuple[Events, int]:
        rows = self._parse(self._bytes(at, length).split(b"\n"))
        return self._decoder.events({name: rows[name] for name in "txyp"})

    def _parse(self, lines: list[bytes]) -> npt.NDArray[Any]:
        """Return the columns of `_places`, structured [N]."""
        text = b"\n".join(lines)
        if re.search(rb"[a-zA-Z]", text):
            text = re.sub(rb"true", b"1", re.sub(rb"false", b"0", text, flags=re.IGNORECASE), flags=re.IGNORECASE)
        comments = ["#", "%"] if b"#" in text or b"%" in text else None
        dtype = np.dtype([(name, self._dtypes.get(place, "i8")) for name, place in self._places.items()])
        kept = [line for line in text.decode("latin-1").splitlines() if line and not line.isspace()]
        if not any(line[0] not in "#%" for line in kept):
            return np.empty(0, dtype)
        with one_sentence(self.path, _EXPECTED, _REMEDY):
            return np.loadtxt(
                kept,
                dtype,
                comments=comments,
                delimiter=self._head.separator,
                usecols=list(self._places.values()),
                ndmin=1,
            )

    def _bytes(self, at: int, length: int) -> bytes:
        with one_sentence(self.path, _EXPECTED, "check the disk"), self.path.open("rb") as file:
            file.seek(at)
            return file.read(length)


def _dtypes(lines: list[bytes]) -> dict[int, str]:
    """Return the dtype of each column: int64, or float64 if any number has a fraction or an exponent."""
    dtypes: dict[int, str] = {}
    for line in lines:
        if not line.lstrip().startswith((b"#", b"%")):
            for place, part in enumerate(_split(line)[0]):
                fraction = part.lower() not in (b"true", b"false") and re.search(rb"[.eE]", part)
                dtypes[place] = "f8" if fraction or dtypes.get(place) == "f8" else "i8"
    return dtypes


def _read_head(data: bytes) -> _Head | None:
    """Return what stands ahead of the rows; None if the lines are no table."""
    names: tuple[str, ...] = ()
    size = None
    at = len(_MARK) if data.startswith(_MARK) else 0
    while at < len(data):
        end = data.find(b"\n", at) + 1 or len(data)
        line = data[at:end].strip()
        if re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]", line):
            return None
        if line.startswith((b"#", b"%")):
            size = _geometry(line) or size
            comment = tuple(part.decode() for part in _split(line.lstrip(b"#% \t"))[0])
            names = comment if named_columns(comment) else names
        elif line:
            parts, separator = _split(line)
            numeric = all(_NUMBER.fullmatch(part) for part in parts)
            if numeric and len(parts) == 2 and size is None:
                size = int(float(parts[1])), int(float(parts[0]))
            elif numeric or named_columns(names):
                return _Head(names, size, separator, at, tuple(parts))
            elif names or not all(re.fullmatch(rb"[\w ()\[\]./-]*", part) for part in parts):
                return None
            else:
                names = tuple(part.decode() for part in parts)
        at = end
    return _Head(names, size, None, at, ()) if names else None


def _split(line: bytes) -> tuple[list[bytes], str | None]:
    for separator in (b",", b";", b"\t"):
        if separator in line:
            parts = [part.strip().strip(b'"') for part in line.split(separator)]
            return parts[:-1] if parts[-1] == b"" else parts, separator.decode()
    return line.split(), None


def _geometry(comment: bytes) -> tuple[int, int] | None:
    match = re.search(rb"(?:geometry|resolution|size)\W+(\d{1,5})\s*[,x ]\s*(\d{1,5})", comment, re.IGNORECASE)
    return (int(match[2]), int(match[1])) if match and int(match[1]) and int(match[2]) else None
