"""The encoding and the size of a `.raw` file: from its header, confirmed by its words, or refused in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.prophesee.raw_header import RawHeader, Size, encoding_name
from mambaseg_core.recordings.prophesee.raw_words import ENCODINGS, contradicts, largest_place, likeliest, plausibility

_TINY: Final = 8  # bytes: the longest word
_OUTSIDE: Final = 0.9  # plausibility left when the events outside the sensor are counted


def given_encoding(path: Path, encoding: str) -> str:
    """Return the encoding that a caller names.

    Raises:
        EventFileError: it is none of `.raw` files.
    """
    name = encoding_name(encoding)
    if name not in ENCODINGS:
        raise EventFileError(
            f"encoding is {encoding!r} for event file {path}, expected one of {', '.join(ENCODINGS)}; choose one"
        )
    return name


def header_encoding(path: Path, header: RawHeader, words: bytes) -> str:
    """Return the encoding that the header names and a sample of the words confirms.

    Raises:
        EventFileError: the header has none, has several, or the words clearly have another one.
    """
    if not header.encodings:
        got = f"encoding {header.unknown[0]!r}" if header.unknown else "no encoding"
        raise EventFileError(
            f"event file {path} has {got} in its header (keys: {list(header.keys)[:12]}), expected '% evt 2.0', '2.1' "
            f"or '3.0' or '% format EVT2', 'EVT21' or 'EVT3'; {look_of(words)}"
        )
    chosen = likeliest(header.encodings, words)
    if not chosen:
        families = {name.removesuffix("_legacy") for name in header.encodings} | set(header.unknown)
        if len(families) > 1:
            raise EventFileError(
                f"the header of event file {path} names the encodings {sorted(families)}, expected one; "
                f"{look_of(words)}"
            )
        chosen = header.encodings[0]
    if other := contradicts(chosen, words):
        raise EventFileError(
            f"event file {path} has encoding {chosen} in its header, but its words look like {other}; give the "
            f"encoding: open_events(path, encoding={other!r}), or --encoding {other}"
        )
    return chosen


def header_size(path: Path, header: RawHeader, encoding: str, words: bytes) -> Size:
    """Return the (height, width) that the header names and a sample of the events does not contradict.

    Raises:
        EventFileError: the header has none, has several that fit, or events lie outside.
    """
    remedy = "give the size: open_events(path, size=(height, width)), or --height and --width"
    if not header.sizes:
        raise EventFileError(
            f"the header of event file {path} has no size of the sensor, expected '% geometry 1280x720' or "
            f"'% format EVT3;height=720;width=1280'; {remedy}"
        )
    row, column = largest_place(encoding, words)
    named = " and ".join(f"{width}x{height}" for height, width in header.sizes)
    if len(header.sizes) > 1:
        fitting = [size for size in header.sizes if row < size[0] and column < size[1]]
        if len(fitting) != 1:
            raise EventFileError(
                f"the header of event file {path} names the sizes {named}, and events reach column {column} and row "
                f"{row} in its beginning, expected one size; {remedy}"
            )
        return fitting[0]
    return checked_size(path, header.sizes[0], encoding, words)


def checked_size(path: Path, size: Size, encoding: str, words: bytes) -> Size:
    """Return the (height, width) that a header or a caller names.

    Raises:
        EventFileError: more than a few events of a sample of the words lie outside.
    """
    if plausibility(encoding, words, size) < _OUTSIDE * plausibility(encoding, words):
        row, column = largest_place(encoding, words)
        raise EventFileError(
            f"event file {path} is of a sensor of {size[1]}x{size[0]}, as its header or the caller says, but events "
            f"reach column {column} and row {row}, expected events inside; give the size: open_events(path, "
            f"size=(height, width)), or --height and --width"
        )
    return size


def look_of(words: bytes) -> str:
    """Return what a sample of words looks like, and what to do, as the end of an error."""
    found = likeliest(ENCODINGS, words) if len(words) >= _TINY else ""
    if found:
        return (
            f"its words look like {found}: give the encoding: open_events(path, encoding={found!r}), or --encoding "
            f"{found}"
        )
    return (
        f"its words ({words[:8].hex(' ')} ...) look like none of {', '.join(ENCODINGS)}: record it again in one of "
        f"these, or convert it with the camera maker's tools"
    )
