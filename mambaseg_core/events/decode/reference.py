"""The Python reference decoders, and the table of encodings."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mambaseg_core.events.decode.evt2 import Event, evt2, evt21, evt21_legacy
from mambaseg_core.events.decode.evt3 import evt3
from mambaseg_core.events.decode.libcaer import libcaer, libcaer_cmp, mono
from mambaseg_core.events.decode.state import DecoderState

WORDS: Final[dict[str, Callable[[bytes, int, DecoderState], Iterator[Event]]]] = {
    "evt3": evt3,
    "evt2": evt2,
    "evt21": evt21,
    "evt21_legacy": evt21_legacy,
    "libcaer": libcaer,
    "libcaer_cmp": libcaer_cmp,
    "mono": mono,
}
"""Generator of a packet's events, word by word, for each encoding."""

WORD_BYTES: Final = {
    "evt3": 2,
    "evt2": 4,
    "evt21": 8,
    "evt21_legacy": 8,
    "libcaer": 8,
    "libcaer_cmp": 2,
    "mono": 8,
}

_RAISES: Final = ("libcaer_cmp",)  # its encoder leaves out time words, so a time may be stale but never ahead


class Columns(NamedTuple):
    """Events inside the sensor, in the order of their words."""

    x: NDArray[np.uint16]  # [M]
    y: NDArray[np.uint16]  # [M]
    t_ns: NDArray[np.int64]  # [M]
    p: NDArray[np.int8]  # [M], +1 or -1

    def at(self, rows: slice | NDArray[Any]) -> Columns:
        """Return the events of a slice, a mask, or indices."""
        return Columns(self.x[rows], self.y[rows], self.t_ns[rows], self.p[rows])


def run(encoding: str, octets: NDArray[np.uint8], time_base_ns: int, state: DecoderState) -> Columns:
    """Decode a packet in plain Python and count its faults."""
    kept: list[Event] = []
    newest = -(2**63)
    for x, y, t_ns, on in WORDS[encoding](octets.tobytes(), time_base_ns, state):
        if x >= state.width or y >= state.height:
            state.outside += 1
            continue
        state.stepped_back += t_ns < newest
        newest = max(newest, t_ns)
        kept.append((x, y, newest if encoding in _RAISES else t_ns, on))
    x_all, y_all, t_all, on_all = zip(*kept, strict=True) if kept else ((), (), (), ())
    p = np.where(np.array(on_all, np.bool_), 1, -1).astype(np.int8)
    return Columns(np.array(x_all, np.uint16), np.array(y_all, np.uint16), np.array(t_all, np.int64), p)
