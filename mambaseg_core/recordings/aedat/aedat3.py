"""AEDAT 3.1, libcaer's files: little-endian packets of events of one type and camera; see `open_aedat3`.

A packet has 28 bytes: int16 type and source, int32 size of an event, position of the time in it, upper bits of all
times (above 31), capacity, number and valid events. Then come the events. The origin is the upper left corner.

    type 1, polarity   uint32 [0] valid, [1] ON, [16:2] row, [31:17] column; int32 us
    type 2, frame      uint32 [0] valid, [3:1] channels; int32 us of start and end of the readout, start and end of the
                       exposure; int32 columns, rows, first column, first row; uint16 pixels, row by row
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.aedat.chips import Size, chip_size
from mambaseg_core.recordings.blocks import BlockSource
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.reader import EventReader

_PACKET: Final = np.dtype(
    [("type", "<i2"), ("source", "<i2")]
    + [(name, "<i4") for name in ("size", "time_at", "overflow", "capacity", "number", "valid")]
)
_EVENT: Final = np.dtype([("data", "<u4"), ("t", "<i4")])
FRAME: Final = np.dtype(
    [("info", "<u4")]
    + [(name, "<i4") for name in ("read", "read_end", "exposure", "exposure_end", "width", "height", "x", "y")]
)
"""Head of a frame."""
POLARITY, FRAMES = 1, 2
_RESET_US: Final = 100_000  # a smaller step back is jitter
_MOST_BYTES: Final = 1 << 28  # of a packet; libcaer's have less than 10 MB
_MOST_TYPES: Final = 100  # libcaer has 14
_MOST_OVERFLOWS: Final = 1 << 21  # 142 years
_EXPECTED: Final = "an AEDAT 3.1 file"
_REMEDY: Final = "copy or record it again"


def open_aedat3(path: str | Path, size: Size | None = None) -> EventReader:
    """Open the events of the first camera of an AEDAT 3.1 file; events of others are counted.

    Args:
        path: the file.
        size: (height, width) of the sensor if its name in the header is unknown.

    Raises:
        EventFileError: the header is damaged, or neither it nor the caller has the size.
    """
    return EventReader(BlockSource(Aedat3Stream(Path(path), size)))


class Aedat3Packet(NamedTuple):
    """A packet of the file."""

    type: int
    at: int  # of its first event
    size: int  # of an event
    number: int
    base_us: int


class Aedat3Stream:
    """A `PacketStream` over the polarity events of an AEDAT 3.1 file.

    Args:
        path: the file.
        size: (height, width) of the sensor if its name in the header is unknown.
    """

    format = "aedat3"

    def __init__(self, path: Path, size: Size | None = None) -> None:
        self.path = path
        sources, self._data_at = _read_header(path)
        self._source = self._first_camera(next(iter(sources), 0))
        name = sources.get(self._source, "") if len(sources) != 1 else next(iter(sources.values()))
        found = chip_size(name) or size
        if found is None:
            raise EventFileError(
                f"event file {path} has the cameras {sorted(sources.values())} in its header, expected one of a known "
                f"size as '#Source 1: DAVIS346'; give the size: open_events(path, size=(height, width)), or --height "
                f"and --width"
            )
        self.height, self.width = found
        self.encoding = name or "polarity"
        self._counts: dict[str, int] = {}

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Decode the packets in order."""
        self._counts = dict.fromkeys(("outside", "invalid", "clock_resets", "other_cameras"), 0)
        for packet, rows in self.packets(self._counts):
            if packet.type == POLARITY:
                yield packet, self._decode(packet, rows, self._counts)

    def read(self, where: Aedat3Packet) -> Events:
        """Decode one packet again."""
        rows = np.frombuffer(self.bytes_at(where.at, where.number * _EVENT.itemsize), _EVENT)
        return self._decode(where, rows, {"outside": 0, "invalid": 0})

    def counters(self) -> dict[str, int]:
        """Return `outside`, `invalid`, `clock_resets` and `other_cameras` (their events), counted by `scan`."""
        return dict(self._counts)

    def close(self) -> None:
        """Do nothing: the file is open only while it is read."""

    def packets(self, counts: dict[str, int]) -> Iterator[tuple[Aedat3Packet, npt.NDArray[Any]]]:
        """Yield the packets of events and frames of the first camera, and the records of events.

        A packet that is cut off by the file's end is left out.

        Args:
            counts: adds to `clock_resets` and `other_cameras`.
        """
        newest_us, shift_us = -(1 << 62), 0
        with one_sentence(self.path, _EXPECTED, _REMEDY), self.path.open("rb") as file:
            for packet, source in self._heads(file):
                rows = np.empty(0, _EVENT)
                if packet.type == POLARITY:
                    rows = np.frombuffer(_read(file, packet.at, packet.number * _EVENT.itemsize), _EVENT)
                if source != self._source:
                    counts["other_cameras"] += len(rows)
                    continue
                if len(rows):
                    first_us = packet.base_us + int(rows["t"][0])
                    if first_us + shift_us <= newest_us - _RESET_US:
                        counts["clock_resets"] += 1
                        shift_us = newest_us - first_us
                    newest_us = max(newest_us, packet.base_us + int(rows["t"].max()) + shift_us)
                yield packet._replace(base_us=packet.base_us + shift_us), rows

    def bytes_at(self, at: int, length: int) -> bytes:
        """Return bytes of the file."""
        with one_sentence(self.path, _EXPECTED, "check the disk"), self.path.open("rb") as file:
            return _read(file, at, length)

    def _first_camera(self, default: int) -> int:
        """Return the number of the camera of the first packet of events."""
        with one_sentence(self.path, _EXPECTED, _REMEDY), self.path.open("rb") as file:
            return next((source for packet, source in self._heads(file) if packet.type == POLARITY), default)

    def _heads(self, file: BinaryIO) -> Iterator[tuple[Aedat3Packet, int]]:
        """Yield each packet of events or frames, and the number of its camera."""
        total = self.path.stat().st_size
        at = self._data_at
        while at + _PACKET.itemsize <= total:
            values = np.frombuffer(_read(file, at, _PACKET.itemsize), _PACKET)[0].tolist()
            head = dict(zip(_PACKET.names or (), values, strict=True))
            at += _PACKET.itemsize
            stored = self._stored(file, head, at, total)
            end = at + stored * head["size"]
            if end > total:
                return
            if head["type"] in (POLARITY, FRAMES) and head["number"]:
                yield (
                    Aedat3Packet(head["type"], at, head["size"], head["number"], head["overflow"] << 31),
                    head["source"],
                )
            at = end

    def _stored(self, file: BinaryIO, head: dict[str, int], at: int, total: int) -> int:
        """Return how many events a packet takes in the file: its number, or its capacity where a writer pads."""
        size, number, capacity = head["size"], head["number"], head["capacity"]
        least = FRAME.itemsize if head["type"] == FRAMES else 1
        if not _sane(head) or size < least or (head["type"] == POLARITY and size != _EVENT.itemsize):
            raise EventFileError(
                f"event file {self.path} has a packet of type {head['type']} with {number} of {capacity} events of "
                f"{size} bytes at byte {at - _PACKET.itemsize}, expected {_EXPECTED}; {_REMEDY}"
            )
        next_at = at + number * size
        if number == capacity or next_at == total:
            return number
        following = np.frombuffer(_read(file, next_at, _PACKET.itemsize), np.uint8)
        if len(following) < _PACKET.itemsize:
            return capacity
        values = following.view(_PACKET)[0].tolist()
        return number if _sane(dict(zip(_PACKET.names or (), values, strict=True))) else capacity

    def _decode(self, packet: Aedat3Packet, rows: npt.NDArray[Any], counts: dict[str, int]) -> Events:
        valid = rows["data"] & 1 == 1
        counts["invalid"] += int(len(rows) - np.count_nonzero(valid))
        rows = rows[valid]
        x, y, on = rows["data"] >> 17, rows["data"] >> 2 & 0x7FFF, rows["data"] >> 1 & 1
        t_ns = (rows["t"].astype(np.int64) + packet.base_us) * 1000
        events, outside = Events.from_sensor(x, y, t_ns, on, height=self.height, width=self.width)
        counts["outside"] += outside
        return events


def _sane(head: dict[str, int]) -> bool:
    return (
        0 <= head["type"] < _MOST_TYPES
        and head["source"] >= 0
        and 0 <= head["time_at"] < head["size"]
        and 0 <= head["valid"] <= head["number"] <= head["capacity"]
        and head["capacity"] * head["size"] <= _MOST_BYTES
        and 0 <= head["overflow"] < _MOST_OVERFLOWS
    )


def _read(file: BinaryIO, at: int, length: int) -> bytes:
    file.seek(at)
    return file.read(length)


def _read_header(path: Path) -> tuple[dict[int, str], int]:
    """Return the names of the cameras by their numbers, and the position of the first packet."""
    sources: dict[int, str] = {}
    with one_sentence(path, _EXPECTED, _REMEDY), path.open("rb") as file:
        while (line := file.readline(1 << 16)).startswith(b"#"):
            if match := re.match(rb"#Source (\d{1,4}): *(\S+)", line):
                sources[int(match[1])] = match[2].decode("ascii", "replace")
            if line.startswith(b"#!END-HEADER"):
                return sources, file.tell()
    raise EventFileError(f"event file {path} has no line '#!END-HEADER', expected {_EXPECTED}; {_REMEDY}")
