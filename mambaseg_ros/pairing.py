"""Between the callbacks and the worker: bounded mailboxes, newest image wins.

Callbacks only append here; the worker takes. Nothing in this file knows ROS.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Arrival:
    """A message and when it came, in seconds of the monotonic clock."""

    message: Any
    arrived: float


class Inbox:
    """One image and a bounded queue of event packets.

    Args:
        max_packet_bytes: bound of the queue; the oldest packets are dropped and counted beyond it.
    """

    def __init__(self, max_packet_bytes: int) -> None:
        self._changed = threading.Condition()
        self._image: Arrival | None = None
        self._packets: deque[tuple[Any, int]] = deque()
        self._bytes = 0
        self._max_bytes = max_packet_bytes
        self._closed = False
        self.images_received = 0
        self.images_replaced = 0
        self.packets_received = 0
        self.packets_overwritten = 0

    def put_image(self, message: Any) -> None:
        """Keep an image as the newest one; an older one that nobody took is counted as replaced."""
        with self._changed:
            self.images_received += 1
            self.images_replaced += self._image is not None
            self._image = Arrival(message, time.monotonic())
            self._changed.notify_all()

    def put_packet(self, message: Any, size: int) -> None:
        """Queue an event packet of about `size` bytes."""
        with self._changed:
            self.packets_received += 1
            self._packets.append((message, size))
            self._bytes += size
            while self._bytes > self._max_bytes and len(self._packets) > 1:
                self._bytes -= self._packets.popleft()[1]
                self.packets_overwritten += 1
            self._changed.notify_all()

    def take_image(self, timeout: float) -> Arrival | None:
        """The newest image, waited for at most `timeout` seconds; None if none came or the inbox was closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._image is not None, timeout)
            image, self._image = self._image, None
            return None if self._closed else image

    def take_packets(self) -> list[Any]:
        """All queued packets, oldest first."""
        with self._changed:
            packets = [message for message, _ in self._packets]
            self._packets.clear()
            self._bytes = 0
            return packets

    def wait_until(self, ready: Callable[[], bool], timeout: float) -> bool:
        """Call `ready` now and after every packet, until it is true, `timeout` seconds are over or the inbox closes."""
        deadline = time.monotonic() + timeout
        while not ready():
            remaining = deadline - time.monotonic()
            with self._changed:
                if self._closed or remaining <= 0:
                    return False
                if not self._packets:
                    self._changed.wait(remaining)
        return True

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Wake the worker for good."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
