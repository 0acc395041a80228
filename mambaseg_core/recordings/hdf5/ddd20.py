"""The HDF5 recordings of DDD17 and DDD20 as they were published: events and images of a DAVIS346 on its clock."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events
from mambaseg_core.events.decode.decoder import Decoder
from mambaseg_core.recordings.blocks import BlockSource
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.hdf5.caer_packets import DATA, FRAME, POLARITY, CaerClock, CaerFile, CaerPacket
from mambaseg_core.recordings.reader import EventReader

SENSOR_SIZE: Final = (260, 346)
"""(height, width) of the DAVIS346, pixels."""

_EVENT_BYTES: Final = 8
_FRAME_HEADER: Final = np.dtype(
    [("info", "<u4")]
    + [(name, "<i4") for name in ("start", "end", "exposed", "exposure_end", "width", "height", "x", "y")]
)


def open_ddd20(path: str | Path, size: tuple[int, int] | None = None) -> EventReader:
    """Open the events of a recording; times are the camera's, from its last reset.

    Args:
        path: the file.
        size: (height, width) of the sensor; None: the DAVIS346's.
    """
    return EventReader(BlockSource(Ddd20Stream(Path(path), size or SENSOR_SIZE)))


class _Where(NamedTuple):
    row: int
    clock: CaerClock


class Ddd20Stream:
    """A `PacketStream` over a recording.

    Args:
        path: the file.
        size: (height, width) of the sensor.
    """

    format = "ddd20"
    encoding = "libcaer"

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self.path = path
        self.height, self.width = size
        self._file = CaerFile(path)
        self._counts: dict[str, int] = {}

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Decode the packets in order."""
        decoder, raised = self._new_decoder(), 0
        for row, clock, packets in self._file.blocks(POLARITY):
            events, back = self._decode(decoder, packets)
            raised += back
            yield _Where(row, clock), events
        self._counts = asdict(decoder.counters)
        self._counts["stepped_back"] += raised

    def read(self, where: _Where) -> Events:
        """Decode one block again."""
        packets, _ = self._file.block(where.row, where.clock, POLARITY)
        return self._decode(self._new_decoder(), packets)[0]

    def counters(self) -> dict[str, int]:
        """Return the decoder's counters from `scan`; an event that the recorder marked invalid is an unknown word."""
        return dict(self._counts)

    def close(self) -> None:
        """Close the file; it opens again when needed."""
        self._file.close()

    def _new_decoder(self) -> Decoder:
        return Decoder("libcaer", height=self.height, width=self.width)

    def _decode(self, decoder: Decoder, packets: list[CaerPacket]) -> tuple[Events, int]:
        """Return the events of packets; raise times before the end of the packet ahead, and count these."""
        parts = [Events.empty(self.height, self.width)]
        for packet in packets:
            if packet.size != _EVENT_BYTES:
                raise EventFileError(
                    f"row {packet.row} of /{DATA} of {self.path} has events of {packet.size} bytes, expected "
                    f"{_EVENT_BYTES}; download it again"
                )
            parts.append(decoder.decode(packet.data, packet.base_us * 1000))
        x, y, t_ns, p = (np.concatenate([getattr(part, name) for part in parts]) for name in ("x", "y", "t_ns", "p"))
        ordered = np.maximum.accumulate(t_ns)
        return Events(x, y, ordered, p, self.height, self.width), int(np.count_nonzero(ordered != t_ns))


class _Frame(NamedTuple):
    stamp_us: int
    row: int  # of its packet
    begin: int  # of its pixels, byte of the packet
    height: int
    width: int


class Ddd20Images:
    """The images of a recording, on the events' clock; a pass over the file finds their times.

    An image's time is the end of its readout, as in the data set's own tools.

    Args:
        path: the file.

    Raises:
        EventFileError: the file is damaged.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = CaerFile(Path(path))
        frames = [
            frame for _, _, packets in self._file.blocks(FRAME) for packet in packets for frame in self._frames(packet)
        ]
        self._kept = sorted(frames, key=lambda frame: frame.stamp_us)
        self.times_ns = np.array([frame.stamp_us * 1000 for frame in self._kept], np.int64)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return the upper 8 of 16 bits of an image, gray uint8 [H, W].

        Raises:
            EventFileError: it cannot be read.
        """
        frame = self._kept[index]
        with one_sentence(self._file.path, "a recording that does not change", "open it again"):
            data = self._file.data(frame.row)
            pixels = np.frombuffer(data, "<u2", count=frame.height * frame.width, offset=frame.begin)
        return (pixels >> 8).astype(np.uint8).reshape(frame.height, frame.width)

    def _frames(self, packet: CaerPacket) -> Iterator[_Frame]:
        """Yield the valid frames of a packet."""
        for at in range(0, len(packet.data), packet.size):
            begin = _FRAME_HEADER.itemsize
            header = np.frombuffer(packet.data[at : at + begin].ljust(begin, b"\0"), _FRAME_HEADER)[0]
            height, width = int(header["height"]), int(header["width"])
            if not header["info"] & 1:
                continue
            if height < 1 or width < 1 or begin + 2 * height * width > packet.size:
                raise EventFileError(
                    f"row {packet.row} of /{DATA} of {self._file.path} has a frame of {width}x{height} pixels in "
                    f"{packet.size} bytes, expected 16-bit gray; download it again"
                )
            yield _Frame(packet.base_us + int(header["end"]), packet.row, at + begin, height, width)
