"""Event messages to `Events`. Pure functions: no node, no clock, no state."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mambaseg_core.events import Events
from mambaseg_ros.messages.stamps import stamp_to_ns


class RawArray(NamedTuple):
    """An EventArray of dvs_msgs or prophesee_event_msgs as its CDR bytes.

    Attributes:
        package: of the message.
        data: its bytes.
    """

    package: str
    data: bytes


def events_from_message(message: Any) -> tuple[Events, int]:
    """Return the events of a mambaseg_ros/EventArray.

    Returns:
        events, and how many were refused because they lie outside the sensor.

    Raises:
        ValueError: columns of different lengths, or a size of 0.
    """
    lengths = {name: len(getattr(message, name)) for name in ("x", "y", "t_offset_ns", "p")}
    if len(set(lengths.values())) != 1:
        raise ValueError(f"EventArray has columns of lengths {lengths}; expected equal lengths: check the publisher")
    t_ns = stamp_to_ns(message.header.stamp) + np.asarray(message.t_offset_ns, np.uint32).astype(np.int64)
    return Events.from_sensor(
        np.asarray(message.x, np.uint16),
        np.asarray(message.y, np.uint16),
        t_ns,
        np.asarray(message.p, np.uint8) != 0,
        height=int(message.height),
        width=int(message.width),
    )
