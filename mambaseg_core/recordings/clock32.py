"""Clocks of 32 bits, which wrap after 71.6 minutes of microseconds, as times that go on."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

_WRAP: Final = 1 << 32
_RESET_US: Final = 100_000  # a smaller step back is jitter


class Clock32:
    """Unwraps a stream of 32-bit microseconds.

    A step back of more than half of the range is a wrap. A smaller one of 0.1 s or more is a reset of the camera's
    clock: time goes on from the latest time before it.

    Attributes:
        resets: number of resets so far.
    """

    def __init__(self) -> None:
        self.resets = 0
        self._last: int | None = None
        self._offset_us = 0

    def unwrap(self, t_us: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Return the next times of the stream, uint32 [N], as int64 microseconds."""
        if not len(t_us):
            return np.empty(0, np.int64)
        times = t_us.astype(np.int64)
        steps = np.diff(times, prepend=times[0] if self._last is None else self._last)
        wraps = (steps < -_WRAP // 2).astype(np.int64) - (steps > _WRAP // 2)
        steps += wraps * _WRAP
        reset = steps <= -_RESET_US
        self.resets += int(np.count_nonzero(reset))
        corrections = wraps * _WRAP - np.where(reset, steps, 0)
        unwrapped: npt.NDArray[np.int64] = times + self._offset_us + np.cumsum(corrections)
        self._offset_us += int(corrections.sum())
        self._last = int(times[-1])
        return unwrapped
