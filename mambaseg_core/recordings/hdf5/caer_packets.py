"""Packets of libcaer in the HDF5 recordings of DDD17 and DDD20, and the clock that they share.

`/dvs/data` has three byte strings a row: the host's time as decimal digits, microseconds; the packet's header of 28
bytes; its events. Rows at the end may be empty. Times in a packet are 31 bits of microseconds; the header counts how
often they wrapped. When the camera's clock is reset, times go on at the host's time.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

import h5py
import numpy as np

from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.hdf5.files import get_dataset, hdf5_errors, kept_open
from mambaseg_core.recordings.per_process import PerProcess

SPECIAL, POLARITY, FRAME = 0, 1, 2

ROWS: Final = 128
"""Rows of a block; the recorder's chunk."""

DATA: Final = "dvs/data"
"""The dataset of packets."""

_EXPECTED: Final = "a recording of DDD17 or DDD20 with packets in /dvs/data"
_REMEDY: Final = "download it again"
_HEADER: Final = np.dtype(
    [("kind", "<i2"), ("source", "<i2")]
    + [(name, "<i4") for name in ("size", "time_at", "overflow", "capacity", "number", "valid")]
)
_MOST_OVERFLOWS: Final = 1 << 20  # 71 years
_MOST_US: Final = 1 << 52  # 142 years
_RESET: Final = 1  # type of a special event


class CaerClock(NamedTuple):
    """How a packet's times become those of the recording, microseconds.

    Attributes:
        host_us: the host's time of the first packet with events; None before it.
        first_us: the camera's time of that packet.
        offset_us: added to the camera's times.
    """

    host_us: int | None = None
    first_us: int = 0
    offset_us: int = 0


class CaerPacket(NamedTuple):
    """One packet.

    Attributes:
        row: its row in the file.
        base_us: time to which the times of its events are added.
        size: bytes of an event.
        data: its events.
    """

    row: int
    base_us: int
    size: int
    data: bytes


class CaerFile:
    """The packets of one recording, in order.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = PerProcess(partial(_open, path))

    def __len__(self) -> int:
        """Return the number of rows; some may be empty."""
        return len(self._file.get()[DATA])

    def close(self) -> None:
        """Close the file; it opens again when needed."""
        self._file.close()

    def block(self, start: int, clock: CaerClock, kind: int) -> tuple[list[CaerPacket], CaerClock]:
        """Return the packets of one kind in `ROWS` rows, and the clock after them.

        Args:
            start: the first row.
            clock: the clock ahead of it.
            kind: `POLARITY` or `FRAME`.

        Raises:
            EventFileError: a packet is damaged.
        """
        packets = []
        with hdf5_errors(self.path, _EXPECTED):
            rows = self._file.get()[DATA]
            for row, header in enumerate(rows[start : start + ROWS, 1], start):
                if not len(header):
                    continue
                found = self._header(row, header.tobytes())
                if found["kind"] == SPECIAL:
                    clock = self._after_special(rows, row, found, clock)
                elif clock.host_us is None and found["kind"] in (POLARITY, FRAME):
                    data = self._data(rows, row, found)
                    first_us = int.from_bytes(data[found["time_at"] :][:4], "little")
                    clock = CaerClock(_host_us(rows, row), (int(found["overflow"]) << 31) + first_us)
                if found["kind"] == kind:
                    base_us = (int(found["overflow"]) << 31) + clock.offset_us
                    packets.append(CaerPacket(row, base_us, int(found["size"]), self._data(rows, row, found)))
        return packets, clock

    def data(self, row: int) -> bytes:
        """Return the events of the packet in a row.

        Raises:
            EventFileError: the packet is damaged.
        """
        with hdf5_errors(self.path, _EXPECTED):
            rows = self._file.get()[DATA]
            return self._data(rows, row, self._header(row, rows[row, 1].tobytes()))

    def blocks(self, kind: int) -> Iterator[tuple[int, CaerClock, list[CaerPacket]]]:
        """Yield the first row of each block, the clock ahead of it and its packets of one kind."""
        clock = CaerClock()
        for start in range(0, len(self), ROWS):
            packets, after = self.block(start, clock, kind)
            yield start, clock, packets
            clock = after

    def _header(self, row: int, data: bytes) -> np.void:
        if len(data) == _HEADER.itemsize:
            header: np.void = np.frombuffer(data, _HEADER)[0]
            sane = header["size"] >= 8 and 0 <= header["time_at"] <= header["size"] - 4 and header["number"] >= 0
            if sane and 0 <= header["overflow"] < _MOST_OVERFLOWS:
                return header
        raise EventFileError(
            f"row {row} of /{DATA} of {self.path} has the packet header {data[:28].hex()}, expected one of libcaer of "
            f"28 bytes; {_REMEDY}"
        )

    def _data(self, rows: h5py.Dataset, row: int, header: np.void) -> bytes:
        data: bytes = rows[row, 2].tobytes()
        needed = int(header["number"]) * int(header["size"])
        if len(data) < needed:
            raise EventFileError(
                f"row {row} of /{DATA} of {self.path} has {len(data)} bytes, expected {header['number']} events of "
                f"{header['size']} bytes; {_REMEDY}"
            )
        return data[:needed]

    def _after_special(self, rows: h5py.Dataset, row: int, header: np.void, clock: CaerClock) -> CaerClock:
        words = np.frombuffer(self._data(rows, row, header), "<u4").reshape(-1, header["size"] // 4)[:, 0]
        if clock.host_us is None or not (words >> 1 & 0x7F == _RESET).any():
            return clock
        return clock._replace(offset_us=max(0, clock.first_us + _host_us(rows, row) - clock.host_us))


def _host_us(rows: h5py.Dataset, row: int) -> int:
    return min(max(int(rows[row, 0].tobytes()), 0), _MOST_US)


def _open(path: Path) -> h5py.File:
    with kept_open(path, _EXPECTED) as file:
        rows = get_dataset(file, DATA, path, "O", 2)
        if rows.shape[1] != 3 or len(rows) > path.stat().st_size or h5py.check_vlen_dtype(rows.dtype) != np.uint8:
            raise EventFileError(
                f"/{DATA} of {path} ({path.stat().st_size} bytes) is {rows.dtype} {list(rows.shape)}, expected byte "
                f"strings [N, 3]; {_REMEDY}"
            )
        return file
