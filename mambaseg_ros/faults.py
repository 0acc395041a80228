"""Faults: one sentence each, counted by kind, and logged once in a while.

Pure: no node, no messages.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, replace

REPEAT_S = 5.0  # between sentences of one kind in the log
SLACK_S = 0.5  # a timer of that period fires a little early or late, and must not be held back until its next turn
# Numbers, and what was got, in quotes.
_DIFFERS = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?|(?<!\w)'[^']*'|\{[^}]*\}")


def sentence_of(error: Exception) -> str:
    """Return our own sentences as they are, and any other error with its type before it."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"


def kind_of(sentence: str) -> str:
    """Return the sentence without the numbers and quoted values that tell one case from the next."""
    return _DIFFERS.sub("#", sentence)


class Throttle:
    """Hold a sentence back if one of its kind came less than `period_s` ago."""

    _MOST_KINDS = 100

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._said: dict[str, float] = {}

    def lets_through(self, sentence: str) -> bool:
        """Return True if the sentence is due now."""
        kind = kind_of(sentence)
        now = time.monotonic()
        if now - self._said.get(kind, -self._period_s) < self._period_s:
            return False
        if len(self._said) >= self._MOST_KINDS:
            self._said.clear()
        self._said[kind] = now
        return True


@dataclass
class Fault:
    """One kind of fault.

    Attributes:
        sentence: the last one of this kind.
        count: how many came.
        at: when the last one came, seconds of the monotonic clock.
    """

    sentence: str
    count: int = 0
    at: float = 0.0


class FaultLog:
    """Count faults by kind. Several threads may call `note`; the kind that is oldest is dropped first."""

    _MOST_KINDS = 20

    def __init__(self, period_s: float = REPEAT_S - SLACK_S) -> None:
        self._lock = threading.Lock()
        self._throttle = Throttle(period_s)
        self._faults: dict[str, Fault] = {}

    def note(self, sentence: str) -> bool:
        """Count a fault; return True if it should be logged now."""
        with self._lock:
            fault = self._faults.pop(kind_of(sentence), Fault(sentence))
            fault.sentence, fault.count, fault.at = sentence, fault.count + 1, time.monotonic()
            self._faults[kind_of(sentence)] = fault
            if len(self._faults) > self._MOST_KINDS:
                del self._faults[next(iter(self._faults))]
            return self._throttle.lets_through(sentence)

    def all(self) -> list[Fault]:
        """Return copies, the newest first."""
        with self._lock:
            return [replace(fault) for fault in reversed(self._faults.values())]
