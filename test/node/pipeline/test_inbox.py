from __future__ import annotations

import threading
import time

from mambaseg_ros.pipeline.inbox import Inbox

FOREVER = 10_000.0  # seconds; pytest ends a test that waits so long


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
    assert [inbox.take_packet(), inbox.take_packet()] == [3, 4]
    assert (inbox.packets_received, inbox.packets_overwritten, inbox.packets_done) == (5, 3, 3)


def test_packets_that_waited_too_long_are_dropped_and_counted() -> None:
    inbox = Inbox(max_packet_bytes=100, max_packet_age_s=0.0)
    inbox.put_packet("old", 1)
    time.sleep(0.01)
    inbox.put_packet("new", 1)
    assert inbox.take_packet() == "new"
    assert inbox.packets_overwritten == 1


def test_one_packet_larger_than_the_bound_is_kept() -> None:
    inbox = Inbox(max_packet_bytes=100)
    inbox.put_packet("huge", 1000)
    assert inbox.take_packet() == "huge"


def test_wait_until_wakes_with_the_packet_that_makes_it_ready() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    threading.Timer(0.05, inbox.packet_done).start()
    threading.Timer(0.10, inbox.packet_done).start()
    assert inbox.wait_until(lambda: inbox.packets_done == 2, timeout=FOREVER)


def test_wait_until_gives_up_even_while_packets_flood_in() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    over = threading.Event()
    flood = threading.Thread(target=lambda: [inbox.packet_done() for _ in iter(over.is_set, True)])
    flood.start()
    assert inbox.wait_until(lambda: inbox.packets_done > 0, timeout=FOREVER)
    assert not inbox.wait_until(lambda: False, timeout=0.05)
    over.set()
    flood.join()


def test_an_image_tells_how_many_packets_came_before_it() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    inbox.put_packet("a", 1)
    inbox.put_image("image")
    arrival = inbox.take_image(timeout=0)
    assert arrival is not None
    assert arrival.packets_before == 1


def test_close_wakes_a_waiting_worker() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    threading.Timer(0.05, inbox.close).start()
    assert inbox.take_image(timeout=FOREVER) is None
    assert inbox.closed
    assert inbox.take_packet() is None
