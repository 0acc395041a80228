"""The `Events` type: every decoder and file reader returns it, every window and voxel grid takes it."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mambaseg_core.events.columns import (
    Column,
    as_nanoseconds,
    as_uint16,
    check_size,
    event_columns,
    find_field,
    integer_column,
    outside_sensor,
    signed_polarity,
)

BYTES_PER_EVENT: Final = 13
"""Memory of one event in `Events`: 2 + 2 + 8 + 1 bytes."""

_DTYPES: Final = {"x": np.uint16, "y": np.uint16, "t_ns": np.int64, "p": np.int8}


@dataclass(frozen=True, eq=False, repr=False)
class Events:
    """Events of one camera in time order; column x, row y, (0, 0) at the top left.

    The arrays are read-only views. Build one with `from_arrays`, `from_sensor` or `from_structured`: they check and
    convert. The constructor checks dtypes and lengths only and trusts the values.

    Attributes:
        x: column, uint16 [N], 0 <= x < width.
        y: row, uint16 [N], 0 <= y < height.
        t_ns: time in nanoseconds, int64 [N], not decreasing.
        p: polarity, int8 [N]: +1 brighter (ON), -1 darker (OFF).
        height: rows of the sensor.
        width: columns of the sensor.
    """

    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    t_ns: NDArray[np.int64]
    p: NDArray[np.int8]
    height: int
    width: int

    def __post_init__(self) -> None:
        for name, dtype in _DTYPES.items():
            column = getattr(self, name)
            if column.dtype != dtype or column.shape != self.t_ns.shape or column.ndim != 1:
                raise TypeError(
                    f"{name} is {column.dtype} {list(column.shape)}, expected {np.dtype(dtype)} "
                    f"{list(self.t_ns.shape)[:1]}; use Events.from_arrays to convert"
                )
            view = column.view()
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    @classmethod
    def from_arrays(
        cls, x: ArrayLike, y: ArrayLike, t_ns: ArrayLike, p: ArrayLike, *, height: int, width: int
    ) -> Events:
        """Check and convert four columns.

        The input is never written to. A column that already has the right dtype is shared, not copied: do not write
        to it afterwards.

        Args:
            x: column, any integer dtype, [N].
            y: row, any integer dtype, [N].
            t_ns: nanoseconds, any integer dtype, [N], not decreasing.
            p: polarity, bool, {0, 1} or {-1, +1}, [N]. If every value is 0, all events are OFF.
            height: rows of the sensor.
            width: columns of the sensor.

        Raises:
            TypeError: a column is not of integers (or bool, for p), or not 1-D.
            ValueError: lengths differ, an event lies outside the sensor, time runs backwards, or a polarity is
                unknown.
        """
        height, width = check_size(height, width)
        columns = event_columns(x, y, t_ns, p)
        outside = outside_sensor(columns["x"], columns["y"], height, width)
        if outside is not None:
            first = int(np.argmax(outside))
            raise ValueError(
                f"{int(outside.sum())} of {len(outside)} events lie outside the sensor, the first at index "
                f"{first}: "
                f"x={columns['x'][first]}, y={columns['y'][first]}, expected x < {width} and y < {height}; "
                f"check height and width, or use Events.from_sensor to drop them"
            )
        times = as_nanoseconds(columns["t_ns"], 1)
        step_back = times[1:] < times[:-1]
        if step_back.any():
            first = int(np.argmax(step_back)) + 1
            raise ValueError(
                f"t_ns runs backwards at index {first}: {times[first]} after {times[first - 1]}, expected "
                f"times that do not decrease; sort the events by time (a stable sort) first"
            )
        polarity = signed_polarity(columns["p"])
        return cls(as_uint16(columns["x"]), as_uint16(columns["y"]), times, polarity, height, width)

    @classmethod
    def from_sensor(
        cls, x: ArrayLike, y: ArrayLike, t_ns: ArrayLike, p: ArrayLike, *, height: int, width: int
    ) -> tuple[Events, int]:
        """Convert four columns of a live stream, where bad values must not stop anything; arguments as `from_arrays`.

        Events outside the sensor are dropped and counted. Times that run backwards are sorted (stable). A polarity
        above 0 is ON, any other OFF.

        Returns:
            The events and the number dropped.

        Raises:
            TypeError: as `from_arrays`: an error of the caller, not of the data.
            ValueError: lengths differ, or a uint64 time does not fit in int64.
        """
        height, width = check_size(height, width)
        columns = event_columns(x, y, t_ns, p)
        outside = outside_sensor(columns["x"], columns["y"], height, width)
        dropped = 0
        if outside is not None:
            dropped = int(outside.sum())
            columns = {name: column[~outside] for name, column in columns.items()}
        times = as_nanoseconds(columns["t_ns"], 1)
        if (times[1:] < times[:-1]).any():
            order = np.argsort(times, kind="stable")
            times = times[order]
            columns = {name: column[order] for name, column in columns.items()}
        polarity = np.where(columns["p"] > 0, 1, -1).astype(np.int8)
        return cls(as_uint16(columns["x"]), as_uint16(columns["y"]), times, polarity, height, width), dropped

    @classmethod
    def from_structured(
        cls, array: Mapping[str, ArrayLike] | Column, *, height: int, width: int, t_unit_ns: int = 1000
    ) -> Events:
        """Read a structured array, a dict of columns, or a data frame.

        Args:
            array: has the fields x, y, t (or timestamp) and p (or polarity), in any order; others are ignored.
            height: rows of the sensor.
            width: columns of the sensor.
            t_unit_ns: nanoseconds of one step of t; 1000 for microseconds, the unit of most files.

        Raises:
            TypeError: no field names, or a field is not of integers.
            ValueError: a field is missing, or as `from_arrays`.
        """
        if operator.index(t_unit_ns) < 1:
            raise ValueError(f"t_unit_ns is {t_unit_ns}, expected 1 or more nanoseconds; 1000 for microseconds")
        x, y, t, p = (find_field(array, name) for name in ("x", "y", "t", "p"))
        t_ns = as_nanoseconds(integer_column("t", t, "iu"), t_unit_ns)
        return cls.from_arrays(x, y, t_ns, p, height=height, width=width)

    @classmethod
    def empty(cls, height: int, width: int) -> Events:
        """Return no events, for a sensor of this size."""
        height, width = check_size(height, width)
        x, t_ns, p = np.zeros(0, np.uint16), np.zeros(0, np.int64), np.zeros(0, np.int8)
        return cls(x, x, t_ns, p, height, width)

    @staticmethod
    def concatenate(parts: Sequence[Events]) -> Events:
        """Join events of one sensor that follow each other in time; a single part is returned unchanged.

        Raises:
            ValueError: no parts, different sensors, or a part begins before the one ahead of it ends.
        """
        if not parts:
            raise ValueError("got no parts to concatenate, expected one or more; use Events.empty(height, width)")
        head = parts[0]
        if len(parts) == 1:
            return head
        for part in parts:
            head.require_size(part.height, part.width)
        filled = [part for part in parts if len(part)]
        for index, (before, after) in enumerate(pairwise(filled)):
            if after.t_ns[0] < before.t_ns[-1]:
                raise ValueError(
                    f"part {index + 1} of those with events begins at {after.t_ns[0]} ns, before the part "
                    f"ahead of it ends at {before.t_ns[-1]} ns, expected parts in time order; sort them first"
                )
        return Events(
            np.concatenate([part.x for part in parts]),
            np.concatenate([part.y for part in parts]),
            np.concatenate([part.t_ns for part in parts]),
            np.concatenate([part.p for part in parts]),
            head.height,
            head.width,
        )

    def __len__(self) -> int:
        return len(self.t_ns)

    def __repr__(self) -> str:
        span = f"{self.t_ns[0]}..{self.t_ns[-1]} ns" if len(self) else "none"
        return f"Events({len(self)} events, {span}, height={self.height}, width={self.width})"

    def part(self, start: int, stop: int) -> Events:
        """Return events number start to stop (exclusive) as views; 0 <= start <= stop."""
        rows = slice(start, stop)
        return Events(self.x[rows], self.y[rows], self.t_ns[rows], self.p[rows], self.height, self.width)

    def between(self, start_ns: int, end_ns: int) -> Events:
        """Return the events with start_ns <= t < end_ns as views; none if end_ns <= start_ns."""
        start, stop = np.searchsorted(self.t_ns, (start_ns, end_ns), side="left")
        return self.part(int(start), max(int(start), int(stop)))

    def polarity_map(self) -> NDArray[np.int8]:
        """Return the polarity of each pixel's newest event, int8 [H, W]; 0 without an event."""
        polarity = np.zeros((self.height, self.width), np.int8)
        polarity[self.y, self.x] = self.p  # the last of several at a pixel stays
        return polarity

    def require_size(self, height: int, width: int) -> None:
        """Raise ValueError if the sensor is not (height, width)."""
        if (self.height, self.width) != (height, width):
            raise ValueError(
                f"got events of a sensor {width}x{height}, expected {self.width}x{self.height} as before "
                f"(width x height); start over when the camera or its mode changes"
            )
