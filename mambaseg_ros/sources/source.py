"""The second input as the worker sees it: a `Source`, of events or of the images of a second camera.

Nothing in `sources` knows ROS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mambaseg_core.events import Events
from mambaseg_core.events.buffer import BufferCounters
from mambaseg_core.preprocessing import Reading
from mambaseg_ros.policy import Judgement, Limits


class Second(NamedTuple):
    """A model's second input for one image.

    Attributes:
        data: raw events, or a second image.
        events: how many events; 0 of a second image.
        start_ns: time of the first event, or the second image's stamp.
        edges_ns: edges of the events' window.
        size: (height, width) of the sensor, pixels.
    """

    data: Events | Reading
    events: int
    start_ns: int
    edges_ns: npt.NDArray[np.int64] | None
    size: tuple[int, int]


@dataclass
class SourceCounts:
    """What became of the messages since the node was activated."""

    events_received: int = 0
    events_refused: int = 0
    packets_read: int = 0
    bytes_read: int = 0
    packets_refused: int = 0
    sensor_changes: int = 0


def say_nothing(sentence: str) -> None:
    """Ignore a sentence: where nobody reads warnings."""


def jump_sentence(what: str, jump_ns: int) -> str:
    """Return the sentence on messages that were refused since their time jumped."""
    side = "before" if jump_ns < 0 else "after"
    return (
        f"{what} whose times are {abs(jump_ns) / 1e9:.3f} s {side} those already held were refused; expected times "
        "that go on: check the driver's stamps (a jump is believed at the third message in a row)"
    )


def add_each(add: Callable[[Any], None], messages: Sequence[Any]) -> list[Exception]:
    """Call `add` with one message after the other; return what it raised."""
    errors: list[Exception] = []
    for message in messages:
        try:
            add(message)
        except Exception as error:  # hostile bytes raise what they like, and the next message is a new one
            errors.append(error)
    return errors


class Source(Protocol):
    """Holds second inputs. The feeder's thread calls `add_all`, the worker's thread all else."""

    counts: SourceCounts
    frame_id: str
    last_refused: bool

    def add(self, message: Any) -> None:
        """Take a message; count it and raise ValueError if it cannot be read."""

    def add_all(self, messages: Sequence[Any]) -> list[Exception]:
        """Take messages in order; return what `add` would have raised for those that cannot be read."""

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest that is held, None where there is none."""

    @property
    def settled_ns(self) -> int | None:
        """Time of the newest that no jump can undo, None where there is none."""

    @property
    def reach_ns(self) -> int:
        """How far before an image's stamp that lies what belongs to it, nanoseconds."""

    def reaches(self, stamp_ns: int) -> bool:
        """Return True if nothing better is to come for an image of that stamp."""

    def beside(self, stamp_ns: int) -> Second | None:
        """Return what belongs to an image of that stamp, None where there is nothing."""

    def judge(self, stamp_ns: int, second: Second | None, limits: Limits) -> Judgement:
        """Return whether it is fit for use, and what is wrong with it."""

    def diagnose(self) -> tuple[dict[str, str], str]:
        """Return values for /diagnostics, and a sentence if something is wrong with the recent messages."""

    def agree(self, stamp_ns: int) -> bool:
        """Believe messages held back for their time if `stamp_ns`, of an image, is of it too; return True if so."""

    def forget_after(self, stamp_ns: int) -> bool:
        """Clear the buffer if its newest entry is later than `stamp_ns`; return True if cleared."""

    @property
    def buffered(self) -> BufferCounters:
        """Counts of what the buffer took and dropped."""

    @property
    def fill(self) -> tuple[int, float]:
        """How many are held, and the memory in use, per cent of its bound."""
