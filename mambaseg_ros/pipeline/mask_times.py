"""The grid of mask times: whole numbers of a rate, in nanoseconds of the stamps' clock. Pure functions of times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise


class MaskGrid:
    """The times t_k = round(k * 10^9 / rate) since the epoch of the stamps; the same live and offline.

    Args:
        rate_hz: masks a second, above 0; taken as the decimal number that it is written as.
    """

    def __init__(self, rate_hz: float) -> None:
        self._period_ns = 10**9 / Fraction(str(rate_hz))

    def time_ns(self, index: int) -> int:
        """Return the mask time of an index."""
        return round(index * self._period_ns)

    def up_to(self, time_ns: int) -> int:
        """Return the index of the latest mask time that is not after `time_ns`."""
        index = int(time_ns // self._period_ns)
        return index + (self.time_ns(index + 1) <= time_ns)  # which may be rounded down to it


def covered(grid: MaskGrid, indices: range, stamps_ns: Iterable[int], age_max_ns: int) -> int:
    """Return how many mask times have an image that is not older than `age_max_ns` at that time.

    Args:
        grid: of the mask times.
        indices: of the mask times.
        stamps_ns: of the images.
        age_max_ns: parameter `image_age_max_ms`, nanoseconds.
    """
    if not indices:
        return 0
    first, end, total = indices[0], indices[-1], 0
    ordered = sorted(set(stamps_ns))
    for stamp_ns, next_ns in pairwise([*ordered, ordered[-1] + age_max_ns + 1] if ordered else []):
        begin = max(first, grid.up_to(stamp_ns - 1) + 1)
        total += max(0, min(end, grid.up_to(min(stamp_ns + age_max_ns, next_ns - 1))) - begin + 1)
    return total


@dataclass
class StampClock:
    """The time of the stamps now, by the last one that came and the node's clock since then.

    Both clocks need not agree: only how long ago the last stamp came is used. A node's clock that jumps back, or
    from 0 to the first /clock, begins anew.
    """

    _stamp_ns: int | None = field(default=None, init=False)
    _seen_ns: int = field(default=0, init=False)

    def see(self, stamp_ns: int | None, now_ns: int) -> None:
        """Note the newest time of all messages, and the node's clock."""
        if stamp_ns != self._stamp_ns or now_ns < self._seen_ns or self._seen_ns == 0:
            self._stamp_ns, self._seen_ns = stamp_ns, now_ns

    def at(self, now_ns: int) -> int | None:
        """Return the time of the stamps at a time of the node's clock; None before the first stamp."""
        return None if self._stamp_ns is None else self._stamp_ns + now_ns - self._seen_ns
