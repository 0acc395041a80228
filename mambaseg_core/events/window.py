"""Windows: the events that belong to an image, by duration or by count, for the whole window or for each bin."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mambaseg_core.events.array import Events

DEFAULT_MAX_AGE_NS: Final = 1_000_000_000
"""Default age limit of a window by count: 1 s."""


@dataclass(frozen=True)
class Window:
    """The events just before an image, half open: start <= t < end_ns, where end_ns is the image's stamp.

    The released code takes 50 ms (DDD17) or 100,000 events (DSEC) for the whole window. The paper's text takes them
    for each bin (`per_bin`).

    Attributes:
        duration_ns: length in nanoseconds; this or `count`.
        count: number of newest events; this or `duration_ns`. The window has fewer if fewer are young enough.
        max_age_ns: with `count` only: events older than end_ns - max_age_ns are left out; else a parked car's window
            would span minutes. None: `DEFAULT_MAX_AGE_NS`. Never multiplied by the number of bins.
        per_bin: `duration_ns` or `count` applies to one bin; the window has it times the number of bins.
    """

    duration_ns: int | None = None
    count: int | None = None
    max_age_ns: int | None = None
    per_bin: bool = False

    def __post_init__(self) -> None:
        if (self.duration_ns is None) == (self.count is None):
            raise ValueError(
                f"got duration_ns={self.duration_ns} and count={self.count}, expected exactly one; leave the other None"
            )
        if self.count is not None and self.max_age_ns is None:
            object.__setattr__(self, "max_age_ns", DEFAULT_MAX_AGE_NS)
        if self.duration_ns is not None and self.max_age_ns is not None:
            raise ValueError(
                f"got max_age_ns={self.max_age_ns} with duration_ns={self.duration_ns}, expected it with "
                f"count only; leave it None"
            )
        for name in ("duration_ns", "count", "max_age_ns"):
            value = getattr(self, name)
            if value is None:
                continue
            if operator.index(value) < 1:
                raise ValueError(f"{name} is {value}, expected 1 or more; give a positive whole number")
            object.__setattr__(self, name, operator.index(value))

    def start_ns(self, end_ns: int, bins: int = 10) -> int:
        """Return the oldest time an event of the window can have, nanoseconds."""
        if self.duration_ns is not None:
            return end_ns - self.duration_ns * self._factor(bins)
        assert self.max_age_ns is not None  # set in __post_init__ with count
        return end_ns - self.max_age_ns

    def limit(self, bins: int = 10) -> int | None:
        """Return the maximum number of events in the window; None for a window by duration."""
        return None if self.count is None else self.count * self._factor(bins)

    def cut(self, events: Events, end_ns: int, bins: int = 10) -> Events:
        """Return the window's events as views; there may be none.

        If simultaneous events lie at the old end of a window by count, the last in the stream's order are kept.

        Args:
            events: raw events (before rectification).
            end_ns: end of the window, exclusive, nanoseconds.
            bins: T, used with `per_bin` only.
        """
        young = events.between(self.start_ns(end_ns, bins), end_ns)
        limit = self.limit(bins)
        return young if limit is None else young.part(max(0, len(young) - limit), len(young))

    def edges_ns(self, events: Events, end_ns: int, *, bins: int, mode: str) -> NDArray[np.int64]:
        """Return the times with which `voxel_grid` sorts these events into bins; they also hold after rectification.

        `bilinear`: (first, last) of the events; (end_ns, end_ns) without events.

        `binned`: T + 1 edges; bin k has edges[k] <= t < edges[k + 1]:
          - duration: T equal steps (cut to whole nanoseconds) up to end_ns.
          - count: T equal steps from the first event to the last + 1 ns. A single event, or events that are all
            simultaneous, fall in the last bin.
          - count per bin: edges at the times of events, counted back from the newest, then the last + 1 ns. Too few
            events fill the last bins. Simultaneous events are never split: those at an edge join the later bin.
          - no events in a window by count: all edges are end_ns.

        Args:
            events: result of `cut`.
            end_ns: end of the window, exclusive, nanoseconds.
            bins: T.
            mode: `bilinear` or `binned`.

        Returns:
            int64 [2] for `bilinear`, [T + 1] for `binned`.

        Raises:
            ValueError: the mode is unknown, or there are no bins.
        """
        if mode not in ("bilinear", "binned"):
            raise ValueError(f"mode is {mode!r}, expected 'bilinear' or 'binned'; choose one")
        if bins < 1:
            raise ValueError(f"bins is {bins}, expected 1 or more; the models take 10")
        if self.duration_ns is not None and mode == "binned":
            return equal_edges(self.start_ns(end_ns, bins), end_ns, bins)
        if not len(events):
            return np.full(2 if mode == "bilinear" else bins + 1, end_ns, dtype=np.int64)
        first, last = int(events.t_ns[0]), int(events.t_ns[-1])
        if mode == "bilinear":
            return np.array([first, last], dtype=np.int64)
        if not self.per_bin:
            return equal_edges(first, last + 1, bins)
        assert self.count is not None
        starts = np.maximum(len(events) - self.count * np.arange(bins, 0, -1), 0)
        return np.append(events.t_ns[starts], np.int64(last + 1))

    def _factor(self, bins: int) -> int:
        return bins if self.per_bin else 1


def equal_edges(start_ns: int, end_ns: int, bins: int) -> NDArray[np.int64]:
    """Return T + 1 edges from start_ns to end_ns in equal steps, each cut to a whole nanosecond, int64 [T + 1]."""
    span = end_ns - start_ns
    return np.array([start_ns + span * k // bins for k in range(bins + 1)], dtype=np.int64)
