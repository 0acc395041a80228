"""Runs the compiled decoders of csrc/cpu/event_codec_*.cpp: plain C functions, called without the GIL.

ctypes rather than operators of torch: a packet may be a millisecond long and hold few events, and these calls cost a
microsecond, a fifth of what torch's dispatcher takes for nine arguments.
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
    """Why the compiled decoders cannot be used in this process; an empty string if they can."""
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
    """Decode a packet, and count what is wrong in it.

    The columns are allocated for as many events as the words can hold, 13 bytes each. A byte of `evt3` can hold 6
    events, of `libcaer_cmp` and `evt21` 4, of `evt2` a quarter, of the others an eighth; so the columns stay within
    78 times the packet's bytes, and a hostile packet costs no more.
    """
    bound, decode = _functions(encoding)
    at, size = octets.ctypes.data, len(octets)
    room = bound(at, size)
    x, y = np.empty(room, np.uint16), np.empty(room, np.uint16)
    t_ns, p = np.empty(room, np.int64), np.empty(room, np.int8)
    number = decode(at, size, time_base_ns, state, *(column.ctypes.data for column in (x, y, t_ns, p)))
    if 2 * number < room:  # do not keep what is not used
        return Columns(x[:number].copy(), y[:number].copy(), t_ns[:number].copy(), p[:number].copy())
    return Columns(x[:number], y[:number], t_ns[:number], p[:number])
