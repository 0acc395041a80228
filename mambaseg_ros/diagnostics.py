"""What the node tells people: each kind of sentence at most once in a while."""

from __future__ import annotations

import re
import time


class Throttle:
    """Lets a sentence through unless one that differs only in its numbers came less than `period_s` ago."""

    _MOST_KINDS = 100

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._said: dict[str, float] = {}

    def lets_through(self, sentence: str) -> bool:
        """Whether to say it now."""
        kind = re.sub(r"\d+", "#", sentence)
        now = time.monotonic()
        if now - self._said.get(kind, -self._period_s) < self._period_s:
            return False
        if len(self._said) >= self._MOST_KINDS:
            self._said.clear()
        self._said[kind] = now
        return True
