"""The compiled decoders of csrc/cpu/event_codec_*.cpp: plain C functions, called without the GIL.

They are called through ctypes, not as operators of torch. A packet may be a millisecond long and hold few events. These
calls cost a microsecond, a fifth of the time of torch's dispatcher for nine arguments.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from mambaseg_core import extension
from mambaseg_core.events.decode.reference import WORDS, Columns
from mambaseg_core.events.decode.state import DecoderState

_Bound = Callable[[int, int], int]
_Decode = Callable[[int, int, int, Any, int, int, int, int], int]
_POINTER: Final = ctypes.c_void_p
_INTEGER: Final = ctypes.c_int64


@functools.cache
def missing() -> str:
    """Return why the compiled decoders cannot be used in this process; an empty string if they can."""
    if extension.MISSING:
        return extension.MISSING
    try:
        size = extension.symbol("mambaseg_decoder_state_bytes", [])()
        for encoding in WORDS:
            _functions(encoding)
    except AttributeError as error:
        return f"{extension.LIBRARY} is older than this code ({error})"
    if size != ctypes.sizeof(DecoderState):
        return f"{extension.LIBRARY} is of another version than this code (a state of {size} bytes)"
    return ""


@functools.cache
def _functions(encoding: str) -> tuple[_Bound, _Decode]:
    bound = extension.symbol(f"mambaseg_{encoding}_bound", [_POINTER, _INTEGER])
    arguments = [_POINTER, _INTEGER, _INTEGER, ctypes.POINTER(DecoderState), *[_POINTER] * 4]
    return bound, extension.symbol(f"mambaseg_{encoding}_decode", arguments)


def run(encoding: str, octets: NDArray[np.uint8], time_base_ns: int, state: DecoderState) -> Columns:
    """Decode a packet and count its faults.

    The columns are allocated for as many events as the words can hold, 13 bytes each. A byte can hold 6 events in
    `evt3`, 4 in `libcaer_cmp` and `evt21`, a quarter in `evt2`, and an eighth in the others. So the columns stay within
    78 times the packet's bytes, also for a hostile packet.
    """
    bound, decode = _functions(encoding)
    at, size = octets.ctypes.data, len(octets)
    room = bound(at, size)
    x, y = np.empty(room, np.uint16), np.empty(room, np.uint16)
    t_ns, p = np.empty(room, np.int64), np.empty(room, np.int8)
    number = decode(at, size, time_base_ns, state, *(column.ctypes.data for column in (x, y, t_ns, p)))
    if 2 * number < room:  # free the unused memory
        return Columns(x[:number].copy(), y[:number].copy(), t_ns[:number].copy(), p[:number].copy())
    return Columns(x[:number], y[:number], t_ns[:number], p[:number])
