"""AEDAT4, iniVation's format: compressed packets of events and images on one clock (Unix time, microseconds)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.aedat.flatbuffer import Table
from mambaseg_core.recordings.blocks import BlockSource
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.images import HeldImages
from mambaseg_core.recordings.reader import EventReader
from mambaseg_core.recordings.zstd import zstd_library

_MAGIC: Final = b"#!AER-DAT4.0\r\n"
_EXPECTED: Final = "an AEDAT4 file"
_REMEDY: Final = "copy or export it again"
_MOST_BYTES: Final = 1 << 26  # of one unpacked packet; dv-runtime's have 10 ms of events, less than 1 MB
_NONE, _LZ4, _LZ4_HIGH, _ZSTD, _ZSTD_HIGH = range(5)
_PACKET_HEADER: Final = np.dtype([("stream", "<i4"), ("size", "<i4")])
_EVENT: Final = np.dtype(
    {"names": ["t", "x", "y", "p"], "formats": ["<i8", "<i2", "<i2", "?"], "offsets": [0, 8, 10, 12], "itemsize": 16}
)
_MAX_T_US: Final = (1 << 63) // 1000 - 1
_GRAY, _BGR, _BGRA = 0, 16, 24  # OpenCV's codes of 8-bit images, which the format uses


class Aedat4Frame(NamedTuple):
    """Image of the frame camera, stamped on the events' clock: gray uint8 [H, W] or RGB uint8 [H, W, 3]."""

    stamp_ns: int
    picture: npt.NDArray[np.uint8]


def open_aedat4(path: str | Path) -> EventReader:
    """Open the first event stream of an `.aedat4` file; `aedat4_frames` reads its images.

    Raises:
        EventFileError: the file is missing, is not AEDAT4, or has no event stream.
    """
    return EventReader(BlockSource(Aedat4Stream(Path(path))))


def aedat4_frames(path: str | Path) -> Iterator[Aedat4Frame]:
    """Yield the images of an `.aedat4` file in its order; there may be none.

    Raises:
        EventFileError: the file is missing or damaged.
    """
    path = Path(path)
    header = _read_header(path)
    for stream, at, size in _packets(path, header):
        if header.streams[stream].kind == "FRME":
            yield _frame(path, _unpacked(path, header, at, size))


def open_aedat4_images(path: str | Path) -> HeldImages:
    """Return the images of an `.aedat4` file; there may be none.

    Raises:
        EventFileError: the file is missing or damaged.
    """
    return HeldImages(list(aedat4_frames(path)))


@dataclass(frozen=True)
class _Stream:
    kind: str  # EVTS, FRME, IMUS or TRIG
    height: int
    width: int


@dataclass(frozen=True)
class _Header:
    compression: int
    data_at: int
    data_end: int
    streams: dict[int, _Stream]


class Aedat4Stream:
    """A `PacketStream` over an `.aedat4` file.

    Args:
        path: the file.
    """

    format = "aedat4"
    encoding = "aedat4"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._header = _read_header(path)
        found = [number for number, stream in self._header.streams.items() if stream.kind == "EVTS"]
        if not found:
            kinds = [stream.kind for stream in self._header.streams.values()]
            raise EventFileError(
                f"event file {path} has streams {kinds}, expected one of events (EVTS); record with the event "
                f"stream switched on"
            )
        self._stream = found[0]
        self.height, self.width = (getattr(self._header.streams[found[0]], side) for side in ("height", "width"))
        self._outside = 0

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Decode the packets in order."""
        self._outside = 0
        for stream, at, size in _packets(self.path, self._header):
            if stream == self._stream:
                events, outside = self._decode(at, size)
                self._outside += outside
                yield (at, size), events

    def read(self, where: tuple[int, int]) -> Events:
        """Decode one packet again."""
        return self._decode(*where)[0]

    def counters(self) -> dict[str, int]:
        """Return `outside`, the number of events dropped because they lay outside the sensor."""
        return {"outside": self._outside}

    def close(self) -> None:
        """Do nothing: the file is open only while a packet is read."""

    def _decode(self, at: int, size: int) -> tuple[Events, int]:
        with one_sentence(self.path, _EXPECTED, _REMEDY):
            data = _unpacked(self.path, self._header, at, size)
            begin, length = Table.root(data, b"EVTS").vector(0, _EVENT.itemsize)
            rows = np.frombuffer(data, _EVENT, count=length, offset=begin)
            t_ns = np.clip(rows["t"], -_MAX_T_US, _MAX_T_US) * 1000
            return Events.from_sensor(rows["x"], rows["y"], t_ns, rows["p"], height=self.height, width=self.width)


def _read_header(path: Path) -> _Header:
    with one_sentence(path, _EXPECTED, _REMEDY), path.open("rb") as file:
        magic = file.read(len(_MAGIC))
        if magic != _MAGIC:
            raise EventFileError(
                f"event file {path} begins with {magic!r}, expected AEDAT 2.0, 3.1 or 4.0; convert it with dv-gui"
            )
        prefix = file.read(4)
        size = int.from_bytes(prefix, "little")
        total = path.stat().st_size
        if len(prefix) < 4 or size > total:
            raise EventFileError(
                f"event file {path} ({total} bytes) is cut off in its header, expected {_EXPECTED}; {_REMEDY}"
            )
        table = Table.root(prefix + file.read(size), b"IOHE")
        index_at = table.scalar(1, "q", -1)
        end = index_at if len(_MAGIC) < index_at <= total else total
        return _Header(table.scalar(0, "i", 0), file.tell(), end, _streams(path, table.string(2)))


def _streams(path: Path, text: str) -> dict[int, _Stream]:
    """Return the streams listed in the header's XML, by number."""
    if re.search(r"<!(DOCTYPE|ENTITY)", text):
        raise EventFileError(f"event file {path} declares entities in its header, expected plain XML; {_REMEDY}")
    streams = {}
    for node in ElementTree.fromstring(text).iterfind("node[@name='outInfo']/node"):
        values = {attr.get("key"): attr.text or "" for attr in node.iter("attr")}
        height, width = int(values.get("sizeY", 0)), int(values.get("sizeX", 0))
        kind = values.get("typeIdentifier", "")
        if kind in ("EVTS", "FRME") and not (0 < height < 1 << 15 and 0 < width < 1 << 15):
            raise EventFileError(
                f"event file {path} has a stream {kind} of {width}x{height} pixels, expected a size above 0; {_REMEDY}"
            )
        streams[int(node.get("name", ""))] = _Stream(kind, height, width)
    return streams


def _packets(path: Path, header: _Header) -> Iterator[tuple[int, int, int]]:
    """Yield the stream, position and size of each packet; a packet cut off by the file's end is left out."""
    at = header.data_at
    while at + _PACKET_HEADER.itemsize <= header.data_end:
        with one_sentence(path, _EXPECTED, _REMEDY), path.open("rb") as file:
            file.seek(at)
            stream, size = np.frombuffer(file.read(_PACKET_HEADER.itemsize), _PACKET_HEADER)[0].tolist()
        if stream not in header.streams or size < 0:
            raise EventFileError(
                f"event file {path} has a packet of stream {stream} and {size} bytes at byte {at}, expected a stream "
                f"of {sorted(header.streams)}; {_REMEDY}"
            )
        at += _PACKET_HEADER.itemsize
        if at + size > header.data_end:
            return
        yield stream, at, size
        at += size


def _unpacked(path: Path, header: _Header, at: int, size: int) -> bytes:
    with one_sentence(path, _EXPECTED, _REMEDY), path.open("rb") as file:
        file.seek(at)
        packed = file.read(size)
        if header.compression == _NONE:
            return packed
        if header.compression in (_LZ4, _LZ4_HIGH):
            import lz4.frame

            data: bytes = lz4.frame.LZ4FrameDecompressor().decompress(packed, max_length=_MOST_BYTES)
        elif header.compression in (_ZSTD, _ZSTD_HIGH):
            data = zstd_library().ZstdDecompressor().decompress(packed, max_length=_MOST_BYTES)
        else:
            raise EventFileError(
                f"event file {path} has compression {header.compression}, expected 0 to 4 (none, LZ4, ZSTD); {_REMEDY}"
            )
        return data


def _frame(path: Path, data: bytes) -> Aedat4Frame:
    with one_sentence(path, _EXPECTED, _REMEDY):
        table = Table.root(data, b"FRME")
        code, width, height = table.scalar(5, "b", 0), table.scalar(6, "h", 0), table.scalar(7, "h", 0)
        channels = {_GRAY: 1, _BGR: 3, _BGRA: 4}.get(code)
        at, length = table.vector(10, 1)
        if channels is None or min(height, width) < 1 or length != height * width * channels:
            raise EventFileError(
                f"event file {path} has a frame of {width}x{height} pixels, format {code} and {length} bytes, "
                f"expected 8-bit gray, BGR or BGRA; {_REMEDY}"
            )
        pixels = np.frombuffer(data, np.uint8, count=length, offset=at)
        picture = pixels.reshape(height, width) if channels == 1 else pixels.reshape(height, width, -1)[..., 2::-1]
        stamp_us = table.scalar(0, "q", 0)
        return Aedat4Frame(min(max(stamp_us, -_MAX_T_US), _MAX_T_US) * 1000, picture)
