"""Bounded mailboxes between the callbacks and the threads that work: the newest image wins.

Callbacks append images here; packets of events are polled, since every wake-up of an executor costs more than a packet.
The feeder takes packets, the worker images. Nothing in this file knows ROS.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

POLL_S = 0.01  # period at which packets are taken from the middleware while nobody waits for them
AWAITED_S = 0.001  # the same while an image waits for its events
BATCH_BYTES = 1 << 17  # packets that are decoded together; joining larger ones costs more than it saves


class Arrival(NamedTuple):
    """An image message and when it came, seconds of the monotonic clock."""

    message: Any
    arrived: float


class _Packet(NamedTuple):
    message: Any
    size: int
    arrived: float


class Inbox:
    """Hold the newest images, one by default, and a bounded queue of packets, the messages of the second input.

    Args:
        max_packet_bytes: bound of the queue; the oldest packets are dropped and counted beyond it.
        max_packet_age_s: where the oldest packet has waited longer, all that waited for half of it are dropped and
            counted: no image needs them any more, and those that it needs are behind them.
        max_images: how many images wait; the oldest is replaced beyond it.

    Attributes:
        fetch: returns the packets that wait in the middleware, with their bytes; None where callbacks put them.
        packets_done_at: when `packets_done_with` was called last, seconds of the monotonic clock.
    """

    def __init__(self, max_packet_bytes: int, max_packet_age_s: float = 60.0, max_images: int = 1) -> None:
        self._lock, self._fetching = threading.Lock(), threading.Lock()
        self._image_came, self._packet_came, self._packet_done = (threading.Condition(self._lock) for _ in range(3))
        self._images: deque[Arrival] = deque()
        self._max_images = max_images
        self._packets: deque[_Packet] = deque()
        self._bytes = 0
        self._max_bytes = max_packet_bytes
        self.max_packet_age_s = max_packet_age_s
        self.fetch: Callable[[], Sequence[tuple[Any, int]]] | None = None
        self._awaited = 0  # who waits for packets
        self._closed = False
        self.images_received = 0
        self.images_replaced = 0
        self.images_dropped = 0
        self.packets_received = 0
        self.packets_overwritten = 0
        self.packets_done = 0
        self.packets_done_at = 0.0
        self.bytes_received = 0

    def put_image(self, message: Any) -> None:
        """Keep an image as the newest one. Count the oldest one as replaced where more wait than may."""
        with self._lock:
            self.images_received += 1
            if self._closed:
                self.images_dropped += 1
                return
            if len(self._images) == self._max_images:
                self._images.popleft()
                self.images_replaced += 1
            self._images.append(Arrival(message, time.monotonic()))
            self._image_came.notify()
            self._packet_done.notify()

    def drop_image(self) -> None:
        """Count an image that came and is not wanted."""
        with self._lock:
            self.images_received += 1
            self.images_dropped += 1

    def put_packet(self, message: Any, size: int) -> None:
        """Queue a packet of about `size` bytes."""
        self._put([(message, size)])

    def poll(self) -> int:
        """Queue the packets that wait in the middleware; return how many packets have come so far."""
        if self.fetch is not None:
            with self._fetching:  # feeder and worker call this
                self._put(self.fetch())
        return self.packets_received

    def take_image(self, timeout: float) -> Arrival | None:
        """Wait at most `timeout` seconds for the oldest image; return None if none came or the inbox was closed."""
        with self._lock:
            self._image_came.wait_for(lambda: self._closed or bool(self._images), timeout)
            return self._images.popleft() if self._images else None

    def take_packets(self) -> list[Any]:
        """Wait for packets and return the oldest, at most `BATCH_BYTES` or one. Call `packets_done_with` when decoded.

        Returns:
            no packets where it is time to `poll` again, or after `close`.
        """
        with self._lock:
            if not (self._packets or self._closed):
                self._packet_came.wait(None if self.fetch is None else AWAITED_S if self._awaited else POLL_S)
            self._drop_old()
            taken: list[Any] = []
            size = 0
            while self._packets and not self._closed and (not taken or size + self._packets[0].size <= BATCH_BYTES):
                packet = self._packets.popleft()
                size += packet.size
                taken.append(packet.message)
            self._bytes -= size
            return taken

    def packets_done_with(self, number: int) -> None:
        """Wake those who wait: the packets taken last are held by their source, or refused."""
        with self._lock:
            self.packets_done += number
            self.packets_done_at = time.monotonic()
            self._packet_done.notify()

    @contextmanager
    def awaiting(self) -> Iterator[None]:
        """Have packets polled at once, and every `AWAITED_S` until the block ends."""
        with self._lock:
            self._awaited += 1
            self._packet_came.notify()  # polls at once
        try:
            yield
        finally:
            with self._lock:
                self._awaited -= 1

    def wait_until(self, ready: Callable[[], bool], timeout: float, *, urgent: bool = True) -> bool:
        """Call `ready` now and after every packet and image, until it returns True or `timeout` seconds pass.

        `close` ends the wait too. `ready` is called with the inbox's lock held: it must not take long, nor call the
        inbox, but for its properties.

        Args:
            ready: what is waited for.
            timeout: seconds.
            urgent: whether packets are polled as by `awaiting`.
        """
        with self.awaiting() if urgent else nullcontext(), self._lock:
            self._packet_done.wait_for(lambda: self._closed or ready(), timeout)
            return not self._closed and ready()

    @property
    def images_waiting(self) -> int:
        """Images that nobody has taken yet."""
        return len(self._images)

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
        """Wake feeder and worker for good; drop the images that nobody took."""
        with self._lock:
            self._closed = True
            self.images_dropped += len(self._images)
            self._images.clear()
            for condition in (self._image_came, self._packet_came, self._packet_done):
                condition.notify_all()

    def _put(self, packets: Sequence[tuple[Any, int]]) -> None:
        now = time.monotonic()
        with self._lock:
            for message, size in packets:
                self._packets.append(_Packet(message, size, now))
                self._bytes += size
                self.bytes_received += size
            self.packets_received += len(packets)
            self._drop_old()
            if packets:
                self._packet_came.notify()

    def _drop_old(self) -> None:
        """Keep the bounds; the newest packet stays."""
        oldest = time.monotonic() - self.max_packet_age_s
        if self._packets and self._packets[0].arrived < oldest:
            oldest += self.max_packet_age_s / 2
        while len(self._packets) > 1 and (self._bytes > self._max_bytes or self._packets[0].arrived < oldest):
            self._bytes -= self._packets.popleft().size
            self.packets_overwritten += 1
            self.packets_done += 1
