"""What the words of a `.raw` file look like: which encoding they have, where its header is silent or wrong."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from mambaseg_core.events.decode import Decoder

ENCODINGS: Final = ("evt2", "evt21", "evt21_legacy", "evt3")
"""Encodings of `.raw` files."""

SAMPLE_BYTES: Final = 1 << 18
"""Bytes at the beginning of the events that are looked at."""

_LARGEST: Final = (2048, 2048)  # columns and rows have 11 bits
_CLEAR: Final = 0.95
_MUCH_LESS: Final = 0.9  # on real recordings, a wrong encoding has at most 0.81 of the right one's plausibility


def plausibility(encoding: str, words: bytes, size: tuple[int, int] | None = None) -> float:
    """Return the share of a sample's events that make sense in an encoding, 0 to 1; 0.5 without any event.

    An event makes sense if its time, row and column were sent, it lies inside the sensor, and time does not step back.
    """
    height, width = size or _LARGEST
    decoder = Decoder(encoding, height=height, width=width)
    decoder.decode(words[: len(words) // 8 * 8])
    counters = decoder.counters
    good = counters.events - counters.stepped_back
    bad = counters.outside + counters.unplaced + counters.unknown_words + counters.stepped_back
    return (good + 1) / (good + bad + 2)


def likeliest(encodings: Iterable[str], words: bytes) -> str:
    """Return the one of some encodings that a sample confirms and no other; an empty string if that is not clear."""
    scores = {encoding: plausibility(encoding, words) for encoding in encodings}
    best = max(scores, key=lambda encoding: scores[encoding])
    others = [score for encoding, score in scores.items() if encoding != best]
    clear = scores[best] >= 0.5 and all(score < _MUCH_LESS * scores[best] for score in others)
    return best if clear else ""


def contradicts(encoding: str, words: bytes) -> str:
    """Return the encoding that a sample clearly has instead of the one given; an empty string if there is none."""
    score = plausibility(encoding, words)
    if score >= _MUCH_LESS:
        return ""
    scores = {other: plausibility(other, words) for other in ENCODINGS if other != encoding}
    found = [other for other, much in scores.items() if much >= _CLEAR and score < _MUCH_LESS * much]
    return found[0] if len(found) == 1 else ""


def largest_place(encoding: str, words: bytes) -> tuple[int, int]:
    """Return the largest (row, column) of a sample's events; (-1, -1) without events."""
    height, width = _LARGEST
    events = Decoder(encoding, height=height, width=width).decode(words[: len(words) // 8 * 8])
    return (int(events.y.max()), int(events.x.max())) if len(events) else (-1, -1)
