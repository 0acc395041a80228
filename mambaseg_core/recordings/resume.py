"""State of a decoder before a block of a stream, as words of the stream itself."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt


class _Words(NamedTuple):
    """Words that carry the state of an encoding.

    Attributes:
        dtype: NumPy dtype of a word.
        shift: the type of a word is `word >> shift & 15`.
        latest: types of which only the last word matters.
        base: type of the word that begins a vector.
        steps: (type, step) of each vector word: how far it advances the vector.
        wrapped: the clock's largest word; with it, a wrap inside the block is recognized.
    """

    dtype: str
    shift: int
    latest: tuple[int, ...] = ()
    base: int | None = None
    steps: tuple[tuple[int, int], ...] = ()
    wrapped: int | None = None


_ENCODINGS: Final = {
    "evt3": _Words("<u2", 12, latest=(8, 6, 0), base=3, steps=((4, 12), (5, 8)), wrapped=0x8FFF),
    "evt2": _Words("<u4", 28, latest=(8,), wrapped=0x8FFF_FFFF),
    "evt21": _Words("<u8", 60, latest=(8,), wrapped=0x8FFF_FFFF_0000_0000),
    "evt21_legacy": _Words("<u8", 28, latest=(8,), wrapped=0x8FFF_FFFF),
    "libcaer_cmp": _Words("<u2", 12, latest=(2,), base=4, steps=((5, 8),)),
}


def resume_words(encoding: str, before: bytes) -> bytes:
    """Return words that put a new decoder into the state after `before`, up to a multiple of its clock's wrap.

    Args:
        encoding: any of `Decoder`; an encoding without state across packets has no words.
        before: `resume_words` of the previous block, and that block's bytes.
    """
    if encoding not in _ENCODINGS:
        return b""
    words = _ENCODINGS[encoding]
    size = np.dtype(words.dtype).itemsize
    data = np.frombuffer(before, words.dtype, count=len(before) // size)
    kind = (data >> np.uint64(words.shift) if size == 8 else data >> words.shift) & data.dtype.type(15)
    kept = [data[at[-1:]] for at in (np.flatnonzero(kind == wanted) for wanted in words.latest)]
    if words.wrapped is not None and len(kept[0]):
        kept.insert(0, np.array([words.wrapped], words.dtype))
    if words.base is not None:
        kept.append(_vector_base(data, kind, words))
    return b"".join(part.tobytes() for part in kept)


def _vector_base(data: npt.NDArray[Any], kind: npt.NDArray[Any], words: _Words) -> npt.NDArray[Any]:
    """Return the last word that begins a vector, advanced by the vector words after it."""
    begins = np.flatnonzero(kind == words.base)
    if not len(begins):
        return data[:0]
    word, after = int(data[begins[-1]]), kind[begins[-1] :]
    moved = (word & 0x7FF) + sum(step * int(np.count_nonzero(after == wanted)) for wanted, step in words.steps)
    return np.array([word & 0xF800 | min(moved, 0x7FF)], words.dtype)
