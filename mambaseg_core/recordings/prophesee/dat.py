"""Prophesee's `.dat` files of CD events, versions 1 and 2: the Gen1 and 1 Mpx automotive data sets, N-CARS.

Lines `% key value`, one byte of the events' type and one of their size, then 8 bytes an event: uint32 microseconds,
and uint32 with the place. From the lowest bit, version 1 has x in 9 bits, y in 8 and the polarity in 1; version 2 has
x in 14 bits, y in 14 and the polarity in 4. Time wraps after 2^32 us.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.blocks import BlockSource
from mambaseg_core.recordings.clock32 import Clock32
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.prophesee.raw_header import Size, prophesee_fields
from mambaseg_core.recordings.reader import EventReader

ATIS_SIZE: Final = (240, 304)
"""(height, width) of the sensor before Gen3, whose files may have no size."""

_EVENT: Final = np.dtype([("t", "<u4"), ("place", "<u4")])
_BLOCK: Final = 1 << 16  # events
_LONGEST: Final = 1 << 16  # bytes of a header
_EVENT_2D, _EVENT_CD = 0x00, 0x0C
_EXPECTED: Final = "a Prophesee .dat file"
_REMEDY: Final = "copy or download it again"


class _Layout(NamedTuple):
    x_bits: int
    y_bits: int
    bits: int


_LAYOUTS: Final = {1: _Layout(9, 8, 18), 2: _Layout(14, 14, 32)}


def is_dat(path: Path, head: bytes) -> bool:
    """Return whether a file is `.dat`: by its header, which has no key of `.raw` files."""
    keys = set(prophesee_fields(head)[0])
    if not keys or keys & {"evt", "format", "geometry", "plugin_name", "system_id"}:
        return False
    return path.suffix.lower() == ".dat" or "version" in keys or b"% Data file containing" in head


def open_dat(path: str | Path, size: Size | None = None) -> EventReader:
    """Open a `.dat` file. Times are the sensor's own, unwrapped.

    Args:
        path: the file.
        size: (height, width) of the sensor if the header does not contain it.

    Raises:
        EventFileError: it has no CD events, its version is unknown, or neither header nor caller has the size.
    """
    return EventReader(BlockSource(DatStream(Path(path), size)))


class DatStream:
    """A `PacketStream` over a `.dat` file, cut into blocks of events.

    Args:
        path: the file.
        size: (height, width) of the sensor; None: from the header.
    """

    format = "dat"

    def __init__(self, path: Path, size: Size | None = None) -> None:
        self.path = path
        with one_sentence(path, _EXPECTED, _REMEDY), path.open("rb") as file:
            head = file.read(_LONGEST)
            fields, at = prophesee_fields(head)
            self._total = path.stat().st_size
        kind, self._data_at = _event_kind(path, head, at)
        sample = self._rows(0, _BLOCK)["place"]
        self._version = _version(path, fields, sample)
        self.encoding = f"version {self._version}"
        self.height, self.width = size or _size(path, fields, kind, _places(sample, self._version))
        self._counts: dict[str, int] = {}

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Decode the file in order."""
        clock, outside = Clock32(), 0
        for start in range(0, (self._total - self._data_at) // _EVENT.itemsize, _BLOCK):
            events, dropped = self._decode(start, clock)
            outside += dropped
            yield start, events
        truncated = (self._total - self._data_at) % _EVENT.itemsize
        self._counts = {"outside": outside, "clock_resets": clock.resets, "truncated_bytes": truncated}

    def read(self, where: int) -> Events:
        """Decode one block again; its times may be off by a multiple of the clock's wrap."""
        return self._decode(where, Clock32())[0]

    def counters(self) -> dict[str, int]:
        """Return `outside`, `clock_resets` and `truncated_bytes`, counted by `scan`."""
        return dict(self._counts)

    def close(self) -> None:
        """Do nothing: the file is open only while a block is read."""

    def _decode(self, start: int, clock: Clock32) -> tuple[Events, int]:
        rows = self._rows(start, _BLOCK)
        x, y, p = _places(rows["place"], self._version)
        t_ns = clock.unwrap(rows["t"]) * 1000
        return Events.from_sensor(x, y, t_ns, p, height=self.height, width=self.width)

    def _rows(self, start: int, count: int) -> npt.NDArray[Any]:
        with one_sentence(self.path, _EXPECTED, "check the disk"), self.path.open("rb") as file:
            file.seek(self._data_at + start * _EVENT.itemsize)
            data = file.read(count * _EVENT.itemsize)
        return np.frombuffer(data, _EVENT, count=len(data) // _EVENT.itemsize)


def _places(place: npt.NDArray[Any], version: int) -> tuple[npt.NDArray[Any], ...]:
    """Return columns, rows and polarities of events."""
    layout = _LAYOUTS[version]
    x = place & ((1 << layout.x_bits) - 1)
    y = (place >> layout.x_bits) & ((1 << layout.y_bits) - 1)
    return x, y, place >> (layout.x_bits + layout.y_bits)


def _event_kind(path: Path, head: bytes, at: int) -> tuple[int, int]:
    """Return the events' type and their position in the file."""
    if at + 2 > len(head):
        raise EventFileError(f"event file {path} ends after its header, expected the type of its events; {_REMEDY}")
    kind, size = head[at], head[at + 1]
    if kind not in (_EVENT_2D, _EVENT_CD) or size != _EVENT.itemsize:
        raise EventFileError(
            f"event file {path} has events of type 0x{kind:02x} and {size} bytes, expected CD events (type 0x00 or "
            f"0x0c, 8 bytes); choose the file of CD events"
        )
    return kind, at + 2


def _version(path: Path, fields: dict[str, list[str]], sample: npt.NDArray[Any]) -> int:
    """Return 1 or 2: the header's, if the places of the events can have it."""
    text = fields.get("version", [""])[0]
    if text not in ("", "0", "1", "2"):
        raise EventFileError(f"event file {path} has version {text!r} in its header, expected 1 or 2; export it again")
    if len(sample) and int(sample.max()) >> _LAYOUTS[1].bits:  # bits that version 1 does not have
        return 2
    return 2 if text == "2" else 1


def _size(path: Path, fields: dict[str, list[str]], kind: int, places: tuple[npt.NDArray[Any], ...]) -> Size:
    height, width = (fields.get(key, [""])[0] for key in ("height", "width"))
    x, y, _ = places
    reach = (int(y.max()), int(x.max())) if len(x) else (-1, -1)
    if height.isdecimal() and width.isdecimal() and 0 < int(height) < 1 << 14 and 0 < int(width) < 1 << 14:
        return int(height), int(width)
    if kind == _EVENT_2D and reach[0] < ATIS_SIZE[0] and reach[1] < ATIS_SIZE[1]:
        return ATIS_SIZE
    raise EventFileError(
        f"the header of event file {path} has no size of the sensor (events reach column {reach[1]} and row {reach[0]} "
        f"in its beginning), expected '% Height 720' and '% Width 1280'; give the size: "
        f"open_events(path, size=(height, width)), or --height and --width"
    )
