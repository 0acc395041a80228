"""The images of a DAVIS in AEDAT 2.0 files: samples of single pixels among the events.

An address with bit 31 set and bit 11 clear is a sample: [30:22] row from below, [21:12] column, [10] 0 for the pixel's
reset level and 1 for its signal, [9:0] the value. The image is reset minus signal. A readout visits the pixels in an
order where only one coordinate jumps at a time, so both jump where the next readout begins.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from mambaseg_core.recordings.aedat.aedat2 import Aedat2Stream
from mambaseg_core.recordings.aedat.chips import Size
from mambaseg_core.recordings.clock32 import Clock32

_TYPE: Final = 0x8000_0C00
_RESET, _SIGNAL = 0x8000_0000, 0x8000_0400


class _Readout(NamedTuple):
    start: int  # number of its first record
    stop: int  # 1 after its last record
    samples: int
    stamp_us: int


class Aedat2Images:
    """`RecordedImages` of an AEDAT 2.0 file; read when requested.

    An image is stamped at the first sample of its signal, the end of the exposure of a global shutter. Images that
    lack pixels are left out.

    Args:
        path: the file.
        size: (height, width) of a DAVIS if the header does not name the chip.

    Raises:
        EventFileError: as of `open_aedat2`.
    """

    def __init__(self, path: str | Path, size: Size | None = None) -> None:
        self._stream = Aedat2Stream(Path(path), size)
        self._pixels = self._stream.height * self._stream.width
        found = self._readouts() if self._stream.davis else {_RESET: [], _SIGNAL: []}
        self._images: list[tuple[_Readout, _Readout]] = []
        resets = [readout for readout in found[_RESET] if readout.samples == self._pixels]
        for signal in (readout for readout in found[_SIGNAL] if readout.samples == self._pixels):
            before = [reset for reset in resets if reset.start < signal.start]
            if before:
                self._images.append((before[-1], signal))
                resets = [before[-1], *resets[len(before) :]]
        self.times_ns = np.maximum.accumulate(
            np.array([signal.stamp_us * 1000 for _, signal in self._images], np.int64)
        )

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image, gray uint8 [H, W]; its 10 bits are cut to 8.

        Raises:
            EventFileError: it cannot be read.
        """
        reset, signal = (
            self._level(readout, kind) for readout, kind in zip(self._images[index], (_RESET, _SIGNAL), strict=True)
        )
        return np.asarray(np.clip(reset - signal, 0, 1023) >> 2, np.uint8)

    def _level(self, readout: _Readout, kind: int) -> npt.NDArray[np.int64]:
        address = self._stream.records(readout.start, readout.stop)["address"].astype(np.int64)
        address = address[address & _TYPE == kind]
        height, width = self._stream.height, self._stream.width
        level = np.zeros((height, width), np.int64)
        x, y = np.minimum(address >> 12 & 0x3FF, width - 1), np.minimum(address >> 22 & 0x1FF, height - 1)
        level[height - 1 - y, x] = address & 0x3FF
        return level

    def _readouts(self) -> dict[int, list[_Readout]]:
        """Return the readouts of reset levels and of signals, in the order of the file."""
        clock = Clock32()
        found: dict[int, list[_Readout]] = {_RESET: [], _SIGNAL: []}
        last: dict[int, tuple[int, int]] = {}
        for start, records in self._stream.blocks():
            t_us, address = clock.unwrap(records["t"]), records["address"].astype(np.int64)
            for kind, readouts in found.items():
                numbers = np.flatnonzero(address & _TYPE == kind)
                if len(numbers):
                    _add(readouts, start + numbers, address[numbers], t_us[numbers], last.get(kind))
                    last[kind] = _place(int(address[numbers[-1]]))
        return found


def _place(address: int) -> tuple[int, int]:
    return address >> 12 & 0x3FF, address >> 22 & 0x1FF


def _add(
    readouts: list[_Readout],
    numbers: npt.NDArray[Any],
    address: npt.NDArray[np.int64],
    t_us: npt.NDArray[np.int64],
    last: tuple[int, int] | None,
) -> None:
    """Add the samples of one block to readouts of one kind; the first may go on with the last readout."""
    x, y = address >> 12 & 0x3FF, address >> 22 & 0x1FF
    before_x, before_y = last or (-2, -2)
    jumps = (np.abs(np.diff(x, prepend=before_x)) > 1) & (np.abs(np.diff(y, prepend=before_y)) > 1)
    if last is None:
        jumps[0] = True
    begins = np.flatnonzero(jumps).tolist()
    if not jumps[0]:
        begins = [0, *begins]
    for begin, end in zip(begins, [*begins[1:], len(numbers)], strict=True):
        stop, samples = int(numbers[end - 1]) + 1, end - begin
        if begin == 0 and not jumps[0]:
            readouts[-1] = readouts[-1]._replace(stop=stop, samples=readouts[-1].samples + samples)
        else:
            readouts.append(_Readout(int(numbers[begin]), stop, samples, int(t_us[begin])))
