"""The images of a second camera, thermal or depth: the one nearest in time belongs to an image."""

from __future__ import annotations

import threading
from bisect import bisect_left, insort
from collections.abc import Callable, Sequence
from dataclasses import replace
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from mambaseg_core.events.buffer import BufferCounters
from mambaseg_core.events.jumps import TimeJumps, Verdict
from mambaseg_core.preprocessing import Preprocessing, Reading
from mambaseg_ros.messages.second_images import second_image_from_message
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.policy import Health, Judgement, Limits, judge_second_image
from mambaseg_ros.sources.source import Second, SourceCounts, add_each, jump_sentence, say_nothing

RECENT = 8  # images from which the period of the second camera is known


class _SecondImage(NamedTuple):
    stamp_ns: int
    pixels: Reading


class PictureSource:
    """Keep the newest images of a second camera. The one nearest in time belongs to an image.

    Args:
        setup: the model's preprocessing, which says what these images are.
        max_age_ns: age of the oldest one that is kept, nanoseconds.
        max_bytes: memory of all, bytes.
        warn: called with one sentence where images are refused for their time.
    """

    def __init__(
        self, setup: Preprocessing, *, max_age_ns: int, max_bytes: int, warn: Callable[[str], None] = say_nothing
    ) -> None:
        self._warn = warn
        self._setup, self._max_age_ns, self._max_bytes = setup, max_age_ns, max_bytes
        self._held: tuple[_SecondImage, ...] = ()  # by stamp; exchanged as a whole, so that the worker needs no lock
        self._period_ns = 0.0
        self._jumps = TimeJumps[_SecondImage]()
        self._changing = threading.Lock()  # the feeder adds, the worker may agree and forget
        self.counts = SourceCounts()
        self.buffered = BufferCounters()
        self.frame_id = ""
        self.last_refused = False

    def add(self, message: Any) -> None:
        """Keep the image of a message.

        Raises:
            ValueError: it cannot be read; it is counted.
        """
        try:
            new = _SecondImage(stamp_to_ns(message.header.stamp), second_image_from_message(message, self._setup))
        except Exception:
            self.counts.packets_refused += 1
            self.last_refused = True
            raise
        self.last_refused = False
        self.frame_id = str(message.header.frame_id)
        with self._changing:
            self._follow(self._jumps.see(new, new.stamp_ns, new.stamp_ns))

    def _follow(self, verdict: Verdict[_SecondImage]) -> None:
        """Do what `TimeJumps` says: undo, empty, add."""
        held = list(self._held)
        refused = len(verdict.refused)
        if verdict.undo_after_ns is not None:
            stays = [kept for kept in held if kept.stamp_ns <= verdict.undo_after_ns]
            refused, held = refused + len(held) - len(stays), stays
        if refused:
            self.counts.packets_refused += refused
            self._warn(jump_sentence(f"{self._setup.second} images", self._jumps.jump_ns))
        if verdict.anew:
            held.clear()
            self.buffered = replace(self.buffered, resets=self.buffered.resets + 1)
        for new in verdict.keep:
            insort(held, new, key=lambda kept: kept.stamp_ns)
        settled_ns = self._jumps.settled_ns or 0
        oldest_ns, used = settled_ns - self._max_age_ns, sum(kept.pixels.nbytes for kept in held)
        while len(held) > 1 and (held[0].stamp_ns < oldest_ns or used > self._max_bytes):
            used -= held.pop(0).pixels.nbytes
        stamps = [kept.stamp_ns for kept in held[-RECENT:]]
        self._period_ns = median(np.diff(stamps).tolist()) if len(stamps) > 1 else 0.0
        self._held = tuple(held)

    def add_all(self, messages: Sequence[Any]) -> list[Exception]:
        """Keep the images of messages in order; return the errors of those that cannot be read."""
        return add_each(self.add, messages)

    @property
    def newest_ns(self) -> int | None:
        """Stamp of the newest image, None where there is none."""
        held = self._held
        return held[-1].stamp_ns if held else None

    @property
    def settled_ns(self) -> int | None:
        """Stamp of the newest image that no jump can undo, None where there is none."""
        return self._jumps.settled_ns

    @property
    def reach_ns(self) -> int:
        """The age of the oldest image that is kept, nanoseconds: any can be the nearest."""
        return self._max_age_ns

    def reaches(self, stamp_ns: int) -> bool:
        """Return True if the image nearest to the stamp has come: the next one would be farther away."""
        newest_ns = self.newest_ns
        return newest_ns is not None and stamp_ns - newest_ns <= self._period_ns / 2

    def beside(self, stamp_ns: int) -> Second | None:
        """Return the image nearest to the stamp, of two as near the later one."""
        held = self._held
        if not held:
            return None
        after = bisect_left(held, stamp_ns, key=lambda kept: kept.stamp_ns)
        near = held[max(after - 1, 0) : after + 1]
        nearest = min(reversed(near), key=lambda kept: abs(kept.stamp_ns - stamp_ns))
        height, width = nearest.pixels.shape[:2]
        return Second(nearest.pixels, 0, nearest.stamp_ns, None, (height, width))

    def judge(self, stamp_ns: int, second: Second | None, limits: Limits) -> Judgement:
        """Judge as `judge_second_image` does."""
        second_ns = None if second is None else second.start_ns
        health, sentence = judge_second_image(self._setup.second, stamp_ns, second_ns, limits.stale_ns)
        return Judgement(health, sentence, usable=health == Health.GOOD)

    def diagnose(self) -> tuple[dict[str, str], str]:
        """Return nothing for /diagnostics: what is wrong shows beside each image."""
        return {}, ""

    def agree(self, stamp_ns: int) -> bool:
        """Believe images held back for their time if `stamp_ns`, of an image, is of it too; return True if so."""
        with self._changing:
            verdict = self._jumps.agree(stamp_ns)
            self._follow(verdict)
        return verdict.anew

    def forget_after(self, stamp_ns: int) -> bool:
        """Clear the images if the newest is later than `stamp_ns`; return True if cleared."""
        if (self.newest_ns or 0) <= stamp_ns:
            return False
        with self._changing:
            self._held = ()
            self._jumps.clear()
        return True

    @property
    def fill(self) -> tuple[int, float]:
        """Images held, and the memory in use, per cent of its bound."""
        held = self._held
        return len(held), 100.0 * sum(kept.pixels.nbytes for kept in held) / self._max_bytes
