"""Whose messages come: several publishers that deliver on one topic side by side. Pure: no node, no clock."""

from __future__ import annotations

import math

RECENT_S = 5.0
MOST_PUBLISHERS = 100  # that are remembered


class Deliveries:
    """Notice that several publishers deliver at the same time.

    A driver that was started anew follows the one before it. Only a publisher that is heard again after another one
    delivers beside it. Times are seconds of the monotonic clock.
    """

    def __init__(self) -> None:
        self._heard: dict[bytes, float] = {}
        self._last = b""
        self._mixed_at = self._fell_back_at = -math.inf
        self._number = -1

    def heard(self, publisher: bytes, now: float) -> None:
        """Note a message of a publisher."""
        if publisher != self._last and now - self._heard.get(publisher, -math.inf) < RECENT_S:
            self._mixed_at = now
        if len(self._heard) >= MOST_PUBLISHERS:
            self._heard.clear()
        self._heard[publisher], self._last = now, publisher

    def numbered(self, number: int, now: float) -> None:
        """Note a message whose publisher is not known by its number: those of several fall back again and again."""
        if number <= self._number:
            if now - self._fell_back_at < RECENT_S:
                self._mixed_at = now
            self._fell_back_at = now
        self._number = number

    def mixed(self, now: float) -> bool:
        """Return True if several delivered side by side within the last seconds."""
        return now - self._mixed_at < RECENT_S

    def recent(self, now: float) -> set[bytes]:
        """Return the publishers that delivered within the last seconds, as far as they are known."""
        return {publisher for publisher, at in list(self._heard.items()) if now - at < RECENT_S}
