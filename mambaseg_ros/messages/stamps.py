"""Stamps of messages."""

from __future__ import annotations

from typing import Any

LAST_NS = 2**31 * 1_000_000_000  # what a builtin_interfaces/Time can say


def stamp_to_ns(stamp: Any) -> int:
    """Return a builtin_interfaces/Time in nanoseconds."""
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
