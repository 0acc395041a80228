"""The clock of a bag, over real DDS: it stands still, goes slower, jumps back; images are missing by it alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from drive import DEGRADED, FRAME_NS, OK, SIZE, START_NS, send_events
from peer import Peer, stamp_of
from rosgraph_msgs.msg import Clock

pytestmark = pytest.mark.ros


@pytest.fixture
def bag(peer: Peer, start: Callable[..., Any], node_command: Callable[..., list[str]]) -> Any:
    """A peer with a node that lives by /clock and holds the last mask while images are missing for 500 ms."""
    peer.clock = peer.node.create_publisher(Clock, "/clock", 10)  # type: ignore[attr-defined]
    peer.process = start(*node_command(use_sim_time="true", when_images_missing="hold", timer_ms=20.0))
    peer.wait_until_connected()
    peer.spin_until(lambda: peer.clock.get_subscription_count() > 0, "the node hears /clock")  # type: ignore[attr-defined]
    return peer


def tick(peer: Any, time_ns: int) -> None:
    message = Clock()
    message.clock.sec, message.clock.nanosec = divmod(time_ns, 10**9)
    peer.clock.publish(message)


def play(peer: Any, begin_ns: int, length_ns: int, *, rate: float) -> None:
    """Ticks of 10 ms of the bag's time."""
    for time_ns in range(begin_ns, begin_ns + length_ns, 10_000_000):
        tick(peer, time_ns)
        peer.executor.spin_once(timeout_sec=0.0)
        time.sleep(0.01 / rate)


def segmented(peer: Any, stamp_ns: int) -> Any:
    """The status of an image at a time of the bag."""
    tick(peer, stamp_ns)
    send_events(peer, stamp_ns)
    return peer.exchange(stamp_ns, np.full(SIZE, 100, np.uint8))


def idle(peer: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        peer.executor.spin_once(timeout_sec=0.05)


def held(peer: Any) -> list[Any]:
    return [status for status in peer.statuses if status.policy == "hold"]


def test_a_paused_bag_is_not_silence_and_a_slow_one_is_slow(bag: Any) -> None:
    assert segmented(bag, START_NS).state == OK
    idle(bag, 1.0)  # /clock stands still
    assert held(bag) == []
    play(bag, START_NS, 8 * FRAME_NS, rate=0.2)  # 400 ms of the bag in 2 s
    assert held(bag) == []
    play(bag, START_NS + 8 * FRAME_NS, 8 * FRAME_NS, rate=1.0)  # beyond the 500 ms
    bag.spin_until(lambda: len(held(bag)) > 1, "held masks")
    assert {(status.state, stamp_of(status)) for status in held(bag)} == {(DEGRADED, START_NS)}
    assert "no image for more than images_stale_ms = 500" in held(bag)[0].message


def test_a_looped_bag_begins_anew(bag: Any) -> None:
    end_ns = START_NS + 10**10
    assert segmented(bag, end_ns).state == OK
    play(bag, end_ns, 14 * FRAME_NS, rate=1.0)
    bag.spin_until(lambda: len(held(bag)) > 0, "held masks")
    status = segmented(bag, START_NS)  # from the beginning; what came before this answer is of the old pass
    assert (status.state, status.resets, status.events_used) == (OK, 1, 99)
    bag.statuses.clear()
    idle(bag, 1.0)
    assert held(bag) == []  # the wait is measured from the new time
    assert segmented(bag, START_NS + FRAME_NS).state == OK
