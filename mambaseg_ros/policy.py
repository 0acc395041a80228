"""What is done about a missing or stale input. Pure functions of times: no node, no clock."""

from __future__ import annotations

from enum import IntEnum


class Health(IntEnum):
    """Health of an input. The numbers are the HEALTH_ constants of SegmentationStatus."""

    GOOD = 0
    SILENT = 1
    STALE = 2
    BAD = 3


def judge_events(stamp_ns: int, newest_ns: int | None, used: int, stale_ns: int) -> tuple[Health, str]:
    """Return the health of the events at an image, and a sentence where they must not be used.

    Args:
        stamp_ns: the image's stamp.
        newest_ns: time of the newest event, None where none is held.
        used: events in the window.
        stale_ns: parameter `events_stale_ms`, nanoseconds.

    Returns:
        GOOD and an empty string, or SILENT or STALE and one sentence.
    """
    if newest_ns is None:
        return Health.SILENT, (
            "no events have come; expected some before the image: check the events topic and its publisher"
        )
    if stamp_ns - newest_ns > stale_ns:
        return Health.STALE, (
            f"events end {(stamp_ns - newest_ns) / 1e6:.1f} ms before the image's stamp; expected less than "
            f"events_stale_ms = {stale_ns / 1e6:g}: check the event driver, and that both stamps are of "
            "one clock"
        )
    if used == 0:
        return Health.STALE, (
            f"no events in the window that ends at the image's stamp {stamp_ns} ns, the newest is of {newest_ns} ns: "
            "check the events topic and that both stamps are of one clock"
        )
    return Health.GOOD, ""


def judge_second_image(what: str, stamp_ns: int, second_ns: int | None, stale_ns: int) -> tuple[Health, str]:
    """Return the health of a second camera at an image, and a sentence where its image must not be used.

    Args:
        what: "thermal" or "depth".
        stamp_ns: the image's stamp.
        second_ns: stamp of the second image nearest to it, None where none is held.
        stale_ns: parameter `events_stale_ms`, nanoseconds.

    Returns:
        GOOD and an empty string, or SILENT or STALE and one sentence.
    """
    if second_ns is None:
        return Health.SILENT, (f"no {what} images have come; expected some: check the topic 'second' and its publisher")
    if abs(stamp_ns - second_ns) > stale_ns:
        return Health.STALE, (
            f"the nearest {what} image is {(second_ns - stamp_ns) / 1e6:+.1f} ms from the image's stamp; expected "
            f"less than events_stale_ms = {stale_ns / 1e6:g}: check its driver, and that both stamps are "
            "of one clock"
        )
    return Health.GOOD, ""


class Freshness:
    """How long messages are missing, on a clock that may stand still (a paused bag) or jump back (a looped one)."""

    def __init__(self, now_ns: int) -> None:
        self._last_ns = now_ns

    def seen(self, now_ns: int) -> None:
        """Note that a message came."""
        self._last_ns = now_ns

    def silent_ns(self, now_ns: int) -> int:
        """Return how long none came. A jump of the clock, back or from 0 to the first /clock, begins anew."""
        if now_ns < self._last_ns or self._last_ns == 0:
            self._last_ns = now_ns
        return now_ns - self._last_ns
