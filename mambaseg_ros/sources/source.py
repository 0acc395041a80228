"""The second input as the worker sees it: a `Source`, of events or of the images of a second camera.

Nothing in `sources` knows ROS.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from mambaseg_core.events import Events
from mambaseg_core.events.buffer import BufferCounters
from mambaseg_core.preprocessing import Reading
from mambaseg_ros.policy import Health


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
    packets_refused: int = 0
    sensor_changes: int = 0


class Source(Protocol):
    """Holds second inputs. The feeder's thread calls `add`, the worker's thread all else."""

    counts: SourceCounts
    frame_id: str
    last_refused: bool

    def add(self, message: Any) -> None:
        """Take a message; count it and raise ValueError if it cannot be read."""

    @property
    def newest_ns(self) -> int | None:
        """Time of the newest that is held, None where there is none."""

    def reaches(self, stamp_ns: int) -> bool:
        """Return True if nothing better is to come for an image of that stamp."""

    def beside(self, stamp_ns: int) -> Second | None:
        """Return what belongs to an image of that stamp, None where there is nothing."""

    def judge(self, stamp_ns: int, second: Second | None, stale_ns: int) -> tuple[Health, str]:
        """Return the health, and a sentence where it must not be used."""

    def forget_after(self, stamp_ns: int) -> bool:
        """Clear the buffer if its newest entry is later than `stamp_ns`; return True if cleared."""

    @property
    def buffered(self) -> BufferCounters:
        """Counts of what the buffer took and dropped."""

    @property
    def fill(self) -> tuple[int, float]:
        """How many are held, and the memory in use, per cent of its bound."""
