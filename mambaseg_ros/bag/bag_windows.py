"""Windows of the events of a bag, as the node would cut them, without reading the bag twice."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from mambaseg_core.events import EventBuffer, Events, Window
from mambaseg_core.recordings.images import RecordedImages
from mambaseg_ros.bag.bag_sequence import BagSequence

_CHUNK_NS = 20_000_000
_MARGIN_NS = 2_000_000_000  # kept beyond the window: events may come late


class BagImages:
    """`RecordedImages` of a bag.

    Args:
        sequence: the bag.
    """

    def __init__(self, sequence: BagSequence) -> None:
        self.times_ns = sequence.image_times_ns
        self.image = sequence.image


class BagWindows:
    """`EventWindows` of a bag. Windows in the order of their ends are cut in one pass; an earlier one begins anew.

    Args:
        sequence: the bag.

    Raises:
        ValueError: it has no events that can be read.
    """

    def __init__(self, sequence: BagSequence) -> None:
        self._sequence = sequence
        self._chunks: Iterator[Events] = iter(())
        self._buffer: EventBuffer | None = None
        self._last_ns = 0
        first = next(sequence.iter_events(_CHUNK_NS), None)
        if first is None:
            raise ValueError(f"bag {sequence.path} has no events that can be read; expected some: check its topics")
        self.size = first.height, first.width

    def window(self, end_ns: int, window: Window, bins: int) -> Events:
        """Return the raw events that `window.cut` selects from those of the bag.

        Raises:
            ValueError: the bag is damaged, or its sensor changes its size.
        """
        age_ns = end_ns - window.start_ns(end_ns, bins) + _MARGIN_NS
        if self._buffer is None or end_ns < self._last_ns or age_ns > self._buffer.max_age_ns:
            self._buffer = EventBuffer(*self.size, max_age_ns=age_ns)
            self._chunks = self._sequence.iter_events(_CHUNK_NS)
        self._last_ns = end_ns
        for chunk in self._chunks:
            if chunk.t_ns[0] >= end_ns:  # kept outside: it might drop what this window needs by its age
                self._chunks = chain([chunk], self._chunks)
                break
            self._buffer.push(chunk)
        return self._buffer.window(end_ns, window, bins)


def open_bag_windows(path: Path, image_topic: str = "", events_topic: str = "") -> tuple[RecordedImages, BagWindows]:
    """Open the images and the windows of events of a bag; the arguments are those of `BagSequence`.

    Raises:
        ValueError: as of `BagSequence` and `BagWindows`.
    """
    both = "make a bag of both: `mambaseg bag convert BAG NEW --images FOLDER`"
    sequence = BagSequence(path, image_topic, events_topic, without=both)
    return BagImages(sequence), BagWindows(sequence)
