"""Bounded mailboxes between the callbacks and the threads that work: the newest image wins.

Callbacks only append here; the feeder takes packets, the worker images. Nothing in this file knows ROS.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple


@dataclass(frozen=True)
class Arrival:
    """An image message and when it came.

    Attributes:
        message: as the callback got it.
        arrived: seconds of the monotonic clock.
        packets_before: packets that had come before it.
    """

    message: Any
    arrived: float
    packets_before: int


class _Packet(NamedTuple):
    message: Any
    size: int
    arrived: float


class Inbox:
    """Hold one image and a bounded queue of packets, the messages of the second input.

    Args:
        max_packet_bytes: bound of the queue; the oldest packets are dropped and counted beyond it.
        max_packet_age_s: packets that waited longer are dropped and counted too, since no image needs them any more.
    """

    def __init__(self, max_packet_bytes: int, max_packet_age_s: float = 60.0) -> None:
        self._lock = threading.Lock()
        self._image_came, self._packet_came, self._packet_done = (threading.Condition(self._lock) for _ in range(3))
        self._image: Arrival | None = None
        self._packets: deque[_Packet] = deque()
        self._bytes = 0
        self._max_bytes, self._max_age_s = max_packet_bytes, max_packet_age_s
        self._closed = False
        self.images_received = 0
        self.images_replaced = 0
        self.images_dropped = 0
        self.packets_received = 0
        self.packets_overwritten = 0
        self.packets_done = 0
        self.bytes_received = 0

    def put_image(self, message: Any) -> None:
        """Keep an image as the newest one. Count an older one that nobody took as replaced."""
        with self._lock:
            self.images_received += 1
            if self._closed:
                self.images_dropped += 1
                return
            self.images_replaced += self._image is not None
            self._image = Arrival(message, time.monotonic(), self.packets_received)
            self._image_came.notify()

    def drop_image(self) -> None:
        """Count an image that came and is not wanted."""
        with self._lock:
            self.images_received += 1
            self.images_dropped += 1

    def put_packet(self, message: Any, size: int) -> None:
        """Queue a packet of about `size` bytes."""
        with self._lock:
            self.packets_received += 1
            self.bytes_received += size
            self._packets.append(_Packet(message, size, time.monotonic()))
            self._bytes += size
            self._drop_old()
            self._packet_came.notify()

    def take_image(self, timeout: float) -> Arrival | None:
        """Wait at most `timeout` seconds for the newest image; return None if none came or the inbox was closed."""
        with self._lock:
            self._image_came.wait_for(lambda: self._closed or self._image is not None, timeout)
            image, self._image = self._image, None
            return None if self._closed else image

    def take_packet(self) -> Any:
        """Wait for the oldest packet; return None once the inbox is closed. Call `packet_done` when it is decoded."""
        with self._lock:
            self._packet_came.wait_for(lambda: self._closed or bool(self._packets))
            if self._closed:
                return None
            packet = self._packets.popleft()
            self._bytes -= packet.size
            return packet.message

    def packet_done(self) -> None:
        """Wake those who wait: the packet taken last is held by its source, or refused."""
        with self._lock:
            self.packets_done += 1
            self._packet_done.notify()

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Call `ready` now and after every packet, until it returns True, `timeout` seconds pass or `close` is called.

        `ready` is called with the inbox's lock held: it must not take long, nor call the inbox.
        """
        with self._lock:
            self._packet_done.wait_for(lambda: self._closed or ready(), timeout)
            return not self._closed and ready()

    @property
    def packets_waiting(self) -> int:
        """Packets that nobody has taken yet."""
        return len(self._packets)

    @property
    def bytes_waiting(self) -> int:
        """Size of the packets that nobody has taken yet, as `put_packet` was given it."""
        return self._bytes

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Wake feeder and worker for good; drop an image that nobody took."""
        with self._lock:
            self._closed = True
            self.images_dropped += self._image is not None
            self._image = None
            for condition in (self._image_came, self._packet_came, self._packet_done):
                condition.notify_all()

    def _drop_old(self) -> None:
        oldest = time.monotonic() - self._max_age_s
        while len(self._packets) > 1 and (self._bytes > self._max_bytes or self._packets[0].arrived < oldest):
            self._bytes -= self._packets.popleft().size
            self.packets_overwritten += 1
            self.packets_done += 1
