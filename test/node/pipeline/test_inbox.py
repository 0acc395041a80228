from __future__ import annotations

import threading
import time

import pytest

from mambaseg_ros.pipeline.inbox import BATCH_BYTES, Inbox

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
    assert inbox.take_packets() == [3, 4]
    assert (inbox.packets_received, inbox.packets_overwritten, inbox.packets_done) == (5, 3, 3)


def test_where_one_packet_waited_too_long_all_older_than_half_of_that_are_dropped_and_counted() -> None:
    inbox = Inbox(max_packet_bytes=100, max_packet_age_s=FOREVER)
    inbox.put_packet("old", 1)
    time.sleep(0.02)
    inbox.put_packet("new", 1)
    inbox.max_packet_age_s = 0.0
    time.sleep(0.001)
    assert inbox.take_packets() == ["new"]
    assert (inbox.packets_overwritten, inbox.packets_done) == (1, 1)


def test_one_packet_larger_than_the_bounds_is_taken_alone() -> None:
    inbox = Inbox(max_packet_bytes=4 * BATCH_BYTES)
    inbox.put_packet("huge", 2 * BATCH_BYTES)
    inbox.put_packet("small", 1)
    assert inbox.take_packets() == ["huge"]
    assert inbox.take_packets() == ["small"]


def test_wait_until_wakes_with_the_packet_that_makes_it_ready() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    threading.Timer(0.05, inbox.packets_done_with, [1]).start()
    threading.Timer(0.10, inbox.packets_done_with, [1]).start()
    assert inbox.wait_until(lambda: inbox.packets_done == 2, timeout=FOREVER)


def test_wait_until_gives_up_even_while_packets_flood_in() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    over = threading.Event()
    flood = threading.Thread(target=lambda: [inbox.packets_done_with(1) for _ in iter(over.is_set, True)])
    flood.start()
    assert inbox.wait_until(lambda: inbox.packets_done > 0, timeout=FOREVER)
    assert not inbox.wait_until(lambda: False, timeout=0.05)
    over.set()
    flood.join()


def test_packets_are_polled_again_and_again_and_at_once_while_somebody_waits() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    waiting = [("first", 1), ("second", 1)]
    inbox.fetch = lambda: [waiting.pop(0)] if waiting else []
    assert inbox.poll() == 1
    assert inbox.take_packets() == ["first"]
    assert inbox.take_packets() == []  # time to poll again
    assert inbox.poll() == inbox.poll() == 2
    assert inbox.take_packets() == ["second"]


def test_close_wakes_a_waiting_worker() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    threading.Timer(0.05, inbox.close).start()
    assert inbox.take_image(timeout=FOREVER) is None
    assert inbox.closed
    assert inbox.take_packets() == []


def test_where_several_images_may_wait_they_come_in_order_and_the_oldest_is_replaced() -> None:
    inbox = Inbox(max_packet_bytes=100, max_images=2)
    for image in ("first", "second", "third"):
        inbox.put_image(image)
    assert (inbox.images_waiting, inbox.images_replaced) == (2, 1)
    taken = [inbox.take_image(timeout=0) for _ in range(3)]
    assert [arrival and arrival.message for arrival in taken] == ["second", "third", None]
    inbox.put_image("fourth")
    inbox.close()
    assert (inbox.take_image(timeout=0), inbox.images_dropped) == (None, 1)


def test_an_image_wakes_those_who_wait_for_packets_too() -> None:
    inbox = Inbox(max_packet_bytes=1000)
    threading.Timer(0.05, inbox.put_image, ["image"]).start()
    assert inbox.wait_until(lambda: inbox.images_waiting > 0, timeout=FOREVER, urgent=False)


def test_packets_are_polled_often_until_the_last_who_waits_has_them() -> None:
    inbox = Inbox(max_packet_bytes=100)

    def wait_and_fail() -> None:
        with inbox.awaiting():
            inbox.wait_until(lambda: True, timeout=0)
            assert inbox._awaited == 1
            raise ValueError("an image that cannot be read")

    with pytest.raises(ValueError, match="an image"):
        wait_and_fail()
    assert inbox._awaited == 0
