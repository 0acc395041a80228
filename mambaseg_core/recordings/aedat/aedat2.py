"""AEDAT 2.0, jAER's files: big-endian pairs of address and microseconds after lines that begin with `#`.

The chip, named in the header, gives the meaning of an address. jAER's origin is the lower left corner and it mirrors
the columns of events; here the origin is the upper left one, as everywhere.

    DVS128   [14:8] row from below, [7:1] column from the right, [0] polarity: 0 is ON; [31] or [15] set: no event
    DAVIS    [30:22] row from below, [21:12] column from the right, [11] polarity: 1 is ON;
             [31] set: a sample of the image or of the IMU; [10] set: an external event

These are the rules of jAER's own extractors (DVS128.java, DavisBaseCamera.java); iniVation's page on the format has the
polarity of the DVS128 the other way round, against jAER's and libcaer's code. Times have 32 bits and wrap.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.aedat.chips import Size, chip_size
from mambaseg_core.recordings.blocks import BlockSource
from mambaseg_core.recordings.clock32 import Clock32
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.reader import EventReader

RECORD: Final = np.dtype([("address", ">u4"), ("t", ">u4")])
"""Address and microseconds."""

BLOCK: Final = 1 << 16
"""Records read at once."""

_LONGEST_LINE: Final = 1 << 16
_EXPECTED: Final = "an AEDAT 2.0 file"
_DVS128: Final = (128, 128)


def open_aedat2(path: str | Path, size: Size | None = None) -> EventReader:
    """Open the events of an AEDAT 2.0 file. Times are the camera's own, unwrapped.

    Args:
        path: the file.
        size: (height, width) of a DAVIS if the header does not name the chip.

    Raises:
        EventFileError: the chip is unknown, or neither header nor caller has it.
    """
    return EventReader(BlockSource(Aedat2Stream(Path(path), size)))


class Aedat2Stream:
    """A `PacketStream` over an AEDAT 2.0 file, cut into blocks of records.

    Args:
        path: the file.
        size: (height, width) of a DAVIS if the header does not name the chip.
    """

    format = "aedat2"

    def __init__(self, path: Path, size: Size | None = None) -> None:
        self.path = path
        chip, self._data_at = _read_header(path)
        with one_sentence(path, _EXPECTED, "check that it is readable"):
            self._total = path.stat().st_size
        self.height, self.width = self._size(chip, size)
        self.davis = not _is_dvs128(chip) and not (chip == "" and self._fits_dvs128())
        self.encoding = "DAVIS" if self.davis else "DVS128"
        self._counts: dict[str, int] = {}

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Decode the file in order."""
        outside = 0
        clock = Clock32()
        for start, records in self.blocks():
            events, dropped = self._events(records, clock)
            outside += dropped
            yield start, events
        truncated = (self._total - self._data_at) % RECORD.itemsize
        self._counts = {"outside": outside, "clock_resets": clock.resets, "truncated_bytes": truncated}

    def read(self, where: int) -> Events:
        """Decode one block again; its times may be off by one constant."""
        return self._events(self.records(where, where + BLOCK), Clock32())[0]

    def counters(self) -> dict[str, int]:
        """Return `outside`, `clock_resets` and `truncated_bytes`, counted by `scan`."""
        return dict(self._counts)

    def close(self) -> None:
        """Do nothing: the file is open only while a block is read."""

    def blocks(self) -> Iterator[tuple[int, npt.NDArray[Any]]]:
        """Yield the number of the first record of each block, and its records."""
        for start in range(0, (self._total - self._data_at) // RECORD.itemsize, BLOCK):
            yield start, self.records(start, start + BLOCK)

    def records(self, start: int, stop: int) -> npt.NDArray[Any]:
        """Return records number start to stop (exclusive), fewer at the end of the file."""
        with one_sentence(self.path, _EXPECTED, "check the disk"), self.path.open("rb") as file:
            file.seek(self._data_at + start * RECORD.itemsize)
            data = file.read((stop - start) * RECORD.itemsize)
        return np.frombuffer(data, RECORD, count=len(data) // RECORD.itemsize)

    def _events(self, records: npt.NDArray[Any], clock: Clock32) -> tuple[Events, int]:
        address, t_us = records["address"].astype(np.int64), clock.unwrap(records["t"])
        other = 0x8000_0400 if self.davis else 0x8000_8000
        kept = address & other == 0
        address, t_us = address[kept], t_us[kept]
        if self.davis:
            x, y, on = address >> 12 & 0x3FF, address >> 22 & 0x1FF, address >> 11 & 1
        else:
            x, y, on = address >> 1 & 0x7F, address >> 8 & 0x7F, ~address & 1
        return Events.from_sensor(
            self.width - 1 - x, self.height - 1 - y, t_us * 1000, on, height=self.height, width=self.width
        )

    def _size(self, chip: str, size: Size | None) -> Size:
        if _is_dvs128(chip) or (chip == "" and self._fits_dvs128()):
            return _DVS128
        found = chip_size(chip) or (size if chip in ("", "davis") else None)
        if found is None:
            got = f"the chip {chip!r}" if chip else "no chip"
            raise EventFileError(
                f"event file {self.path} has {got} in its header, expected a DVS128 or a DAVIS as '# AEChip: "
                f"eu.seebetter.ini.chips.davis.Davis346blue'; give the size of a DAVIS: open_events(path, "
                f"size=(height, width)), or --height and --width"
            )
        return found

    def _fits_dvs128(self) -> bool:
        """Return whether the addresses have 16 bits, as files of a DVS128 without a chip in their header."""
        address = self.records(0, BLOCK)["address"]
        return bool(len(address)) and int((address & 0x7FFF_FFFF).max()) < 1 << 16


def _is_dvs128(chip: str) -> bool:
    return chip.startswith(("dvs128", "tmpdiff128"))


def _read_header(path: Path) -> tuple[str, int]:
    """Return the chip's name in lower case, an empty string without one, and the position of the first record."""
    chip = ""
    with one_sentence(path, _EXPECTED, "check that it is readable"), path.open("rb") as file:
        at = 0
        while (line := file.readline(_LONGEST_LINE)).startswith(b"#") and line.endswith(b"\n"):
            if re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]", line):  # a record that begins like a line
                break
            at += len(line)
            if match := re.match(rb"#\s*AEChip:\s*(?:[\w.$]*\.)?(\w+)", line):
                chip = match[1].decode("ascii", "replace").lower()
            if re.match(rb"#!?\s*end[ -]of[ -]ascii[ -]header|#!END-HEADER", line, re.IGNORECASE):
                break
    return chip, at
