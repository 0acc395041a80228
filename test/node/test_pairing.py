from __future__ import annotations

import threading
import time

from mambaseg_ros.pairing import Inbox


def test_newest_image_wins_and_the_replaced_one_is_counted() -> None:
    inbox = Inbox(max_packet_bytes=100)
    inbox.put_image("old")
    inbox.put_image("new")
    arrival = inbox.take_image(timeout=0)
    assert arrival is not None
    assert arrival.message == "new"
    assert inbox.take_image(timeout=0) is None
    assert (inbox.images_received, inbox.images_replaced) == (2, 1)


def test_packets_come_in_order_and_are_bounded_by_bytes() -> None:
    inbox = Inbox(max_packet_bytes=100)
    for number in range(5):
        inbox.put_packet(number, 40)
    assert inbox.take_packets() == [3, 4]
    assert (inbox.packets_received, inbox.packets_overwritten) == (5, 3)
    assert inbox.take_packets() == []


def test_one_packet_larger_than_the_bound_is_kept() -> None:
    inbox = Inbox(max_packet_bytes=100)
    inbox.put_packet("huge", 1000)
    assert inbox.take_packets() == ["huge"]


def test_wait_until_wakes_with_the_packet_that_makes_it_ready() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    seen: list[str] = []

    def ready() -> bool:
        seen.extend(inbox.take_packets())
        return "b" in seen

    threading.Timer(0.05, inbox.put_packet, ("a", 1)).start()
    threading.Timer(0.10, inbox.put_packet, ("b", 1)).start()
    start = time.monotonic()
    assert inbox.wait_until(ready, timeout=30)
    assert time.monotonic() - start < 20


def test_wait_until_gives_up_even_while_packets_flood_in() -> None:
    inbox = Inbox(max_packet_bytes=1000)

    def never() -> bool:
        inbox.put_packet("flood", 1)
        return False

    assert not inbox.wait_until(never, timeout=0.05)


def test_close_wakes_a_waiting_worker() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    threading.Timer(0.05, inbox.close).start()
    start = time.monotonic()
    assert inbox.take_image(timeout=60) is None
    assert time.monotonic() - start < 30
    assert inbox.closed
