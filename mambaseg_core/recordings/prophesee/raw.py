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
from mambaseg_core.recordings.prophesee.raw_choice import (
    checked_size,
    given_encoding,
    header_encoding,
    header_size,
    look_of,
)
from mambaseg_core.recordings.prophesee.raw_header import read_raw_header
from mambaseg_core.recordings.prophesee.raw_words import SAMPLE_BYTES
from mambaseg_core.recordings.reader import EventReader
from mambaseg_core.recordings.resume import resume_words

_BLOCK_BYTES: Final = 1 << 18
_MOST_BAD: Final = 0.1  # of the words of a recording without events


def open_raw(path: str | Path, size: tuple[int, int] | None = None, encoding: str | None = None) -> EventReader:
    """Open a `.raw` file. Times are the sensor's own, unwrapped.

    Args:
        path: the file.
        size: (height, width) of the sensor if the header does not contain it.
        encoding: one of `raw_words.ENCODINGS`, instead of the header's.

    Raises:
        EventFileError: neither header nor caller has the encoding and the size, or the header contradicts itself or the
            events.
    """
    return EventReader(BlockSource(RawStream(Path(path), size, encoding)))


class _Where(NamedTuple):
    at: int
    length: int
    before: bytes  # words that restore the decoder's state


class RawStream:
    """A `PacketStream` over a `.raw` file, cut into blocks of whole words.

    Args:
        path: the file.
        size: (height, width) of the sensor; None: from the header.
        encoding: name for `Decoder`; None: from the header, checked by the words.
    """

    format = "raw"

    def __init__(self, path: Path, size: tuple[int, int] | None, encoding: str | None = None) -> None:
        header = read_raw_header(path)
        self.path = path
        self._data_at = header.data_at
        sample = self._bytes(self._data_at, SAMPLE_BYTES)
        self.encoding = given_encoding(path, encoding) if encoding else header_encoding(path, header, sample)
        if size is None:
            self.height, self.width = header_size(path, header, self.encoding, sample)
        else:
            self.height, self.width = checked_size(path, size, self.encoding, sample)
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
        self._check_some_events((at - self._data_at) // WORD_BYTES[self.encoding])

    def read(self, where: _Where) -> Events:
        """Decode one block again; its times may be off by a multiple of the clock's wrap."""
        return self._new_decoder().decode(where.before + self._bytes(where.at, where.length))

    def counters(self) -> dict[str, int]:
        """Return the decoder's counters from `scan`."""
        return dict(self._counts)

    def close(self) -> None:
        """Do nothing: the file is open only while a block is read."""

    def _check_some_events(self, words: int) -> None:
        bad = {name: self._counts[name] for name in ("unplaced", "outside", "unknown_words")}
        if self._counts["events"] == 0 and sum(bad.values()) > _MOST_BAD * words:
            raise EventFileError(
                f"event file {self.path} has {words} words and no event as {self.encoding} of {self.width}x"
                f"{self.height} ({', '.join(f'{name} {count}' for name, count in bad.items())}), expected events; "
                f"{look_of(self._bytes(self._data_at, SAMPLE_BYTES))}"
            )

    def _new_decoder(self) -> Decoder:
        return Decoder(self.encoding, height=self.height, width=self.width)

    def _bytes(self, at: int, length: int) -> bytes:
        with one_sentence(self.path, "a Prophesee .raw file", "check the disk"), self.path.open("rb") as file:
            file.seek(at)
            return file.read(length)
