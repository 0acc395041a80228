"""What good input is and what good answers are: for tests that break something and look whether it heals."""

from __future__ import annotations

from typing import Any

import numpy as np
from mambaseg_ros.msg import SegmentationStatus
from peer import stamp_of

SIZE, OTHER_SIZE = (52, 70), (40, 66)
START_NS = 1_700_000_000_000_000_000
FRAME_NS = 50_000_000
OK, DEGRADED, ERROR = SegmentationStatus.STATE_OK, SegmentationStatus.STATE_DEGRADED, SegmentationStatus.STATE_ERROR
times = iter(range(START_NS, START_NS + 10**18, 200_000_000))


def send_events(peer: Any, end_ns: int, size: tuple[int, int] = SIZE) -> None:
    """99 events in the 50 ms before end_ns and one just after it, in three messages."""
    t_ns = np.append(end_ns - FRAME_NS + np.arange(99) * (FRAME_NS // 99), end_ns + 1000)
    for part in np.split(np.arange(100), [20, 60]):
        peer.send_events(part % size[1], part % size[0], t_ns[part], part % 2, height=size[0], width=size[1])


def exchange(peer: Any, stamp_ns: int, size: tuple[int, int] = SIZE, **image: Any) -> Any:
    """Send one image and return the status that answers it."""
    return peer.exchange(stamp_ns, image.pop("picture", np.full(size, 100, np.uint8)), **image)


def all_is_well(peer: Any, size: tuple[int, int] = SIZE, stamp_ns: int | None = None) -> Any:
    """Good input gives a good mask."""
    stamp_ns = next(times) if stamp_ns is None else stamp_ns
    send_events(peer, stamp_ns, size)
    status = exchange(peer, stamp_ns, size)
    assert (status.state, status.message, status.events_used) == (OK, "", 99), status
    peer.spin_until(lambda: any(stamp_of(mask) == stamp_ns for mask in peer.masks), "the mask")
    assert (peer.masks[-1].height, peer.masks[-1].width) == size
    return status


def named(peer: Any, text: str) -> None:
    """The fault stands in /diagnostics, with how often it came, and the level is up while that was lately."""
    entry = peer.diagnosed("faults")
    sentence = next((sentence for sentence in entry.values if text in sentence), "")
    assert sentence, (text, entry.values)
    count, last = entry.values[sentence].split(" times, last ")
    assert int(count) > 0
    assert entry.level > 0 or int(last.removesuffix(" s ago")) >= 4


def count(peer: Any, topic: str, what: str) -> str:
    """A value of /diagnostics: of images or packets, such as `received`."""
    entry, name = ("images", "images") if topic == "image" else ("events", "packets")
    return str(peer.diagnosed(entry).values[f"{name}_{what}"])


def settle(peer: Any, topic: str) -> None:
    """Wait until a node that was stopped or flooded runs, and has got nothing between two /diagnostics since then."""
    count(peer, topic, "received")
    peer.spin_until(lambda: count(peer, topic, "received [1/s]") == "0.0", "the end of what was sent")
