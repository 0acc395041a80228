"""Prophesee's `.raw` files: EVT2, EVT2.1 and EVT3 words after a text header."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from mambaseg_core.events.array import Events
from mambaseg_core.events.decode import Decoder
from mambaseg_core.events.decode.reference import WORD_BYTES
from mambaseg_core.recordings.blocks import BlockSource
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.raw_header import read_raw_header
from mambaseg_core.recordings.reader import EventReader
from mambaseg_core.recordings.resume import resume_words

_BLOCK_BYTES: Final = 1 << 18


def open_raw(path: str | Path, size: tuple[int, int] | None = None) -> EventReader:
    """Open a `.raw` file. Times are the sensor's own, unwrapped.

    Args:
        path: the file.
        size: (height, width) of the sensor if the header does not contain it.

    Raises:
        EventFileError: the header is missing, its encoding is unknown, or neither header nor caller has the size.
    """
    return EventReader(BlockSource(RawStream(Path(path), size)))


class _Where(NamedTuple):
    at: int
    length: int
    before: bytes  # words that restore the decoder's state


class RawStream:
    """A `PacketStream` over a `.raw` file, cut into blocks of whole words.

    Args:
        path: the file.
        size: (height, width) of the sensor; None: from the header.
    """

    format = "raw"

    def __init__(self, path: Path, size: tuple[int, int] | None) -> None:
        header = read_raw_header(path)
        size = size or header.size
        if size is None:
            raise EventFileError(
                f"the header of event file {path} has no size of the sensor, expected '% geometry 1280x720' or "
                f"'% format EVT3;height=720;width=1280'; give the size: open_events(path, size=(height, width)), or "
                f"--height and --width"
            )
        self.path = path
        self.encoding = header.encoding
        self.height, self.width = size
        self._data_at = header.data_at
        self._counts: dict[str, int] = {}

    def scan(self) -> Iterator[tuple[Any, Events]]:
        """Decode the file in order."""
        decoder = self._new_decoder()
        before, at = b"", self._data_at
        while data := self._bytes(at, _BLOCK_BYTES):
            yield _Where(at, len(data), before), decoder.decode(data)
            before = resume_words(self.encoding, before + data)
            at += len(data)
        self._counts = asdict(decoder.counters)

    def read(self, where: _Where) -> Events:
        """Decode one block again; its times may be off by a multiple of the clock's wrap."""
        return self._new_decoder().decode(where.before + self._bytes(where.at, where.length))

    def counters(self) -> dict[str, int]:
        """Return the decoder's counters from `scan`."""
        return dict(self._counts)

    def close(self) -> None:
        """Do nothing: the file is open only while a block is read."""

    def _new_decoder(self) -> Decoder:
        return Decoder(self.encoding, height=self.height, width=self.width)

    def _bytes(self, at: int, length: int) -> bytes:
        assert length % WORD_BYTES[self.encoding] == 0 or length < _BLOCK_BYTES
        with one_sentence(self.path, "a Prophesee .raw file", "check the disk"), self.path.open("rb") as file:
            file.seek(at)
            return file.read(length)
