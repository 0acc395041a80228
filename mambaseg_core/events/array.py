"""The `Events` type: what every decoder and file reader gives, and every window and voxel grid takes."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Column = NDArray[Any]
"""A 1-D array of a caller's own dtype, [N]."""

BYTES_PER_EVENT: Final = 13
"""Memory of one event in `Events`: 2 + 2 + 8 + 1 bytes."""

_MAX_SIZE: Final = 65536  # coordinates are uint16
_DTYPES: Final = {"x": np.uint16, "y": np.uint16, "t_ns": np.int64, "p": np.int8}
# Field names met in structured arrays: most libraries write x, y, t, p; dv-processing writes the long ones.
_FIELD_NAMES: Final = {"x": ("x",), "y": ("y",), "t": ("t", "timestamp"), "p": ("p", "polarity")}


@dataclass(frozen=True, eq=False, repr=False)
class Events:
    """Events of one camera in time order; column x, row y, (0, 0) at the top left.

    The arrays are read-only views. Build one with `from_arrays`, `from_sensor` or `from_structured`, which check
    and convert; the constructor itself only looks at dtypes and lengths and trusts the values.

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

        The input is never written to. A column that has the right dtype already is shared, not copied, so do not
        write to it afterwards.

        Args:
            x: column, any integer dtype, [N].
            y: row, any integer dtype, [N].
            t_ns: nanoseconds, any integer dtype, [N], not decreasing.
            p: polarity, bool, {0, 1} or {-1, +1}, [N]. Where every value is 0 the events are all OFF.
            height: rows of the sensor.
            width: columns of the sensor.

        Raises:
            TypeError: a column is not of integers (or bool, for p), or not 1-D.
            ValueError: lengths differ, an event lies outside the sensor, time runs backwards, or a polarity is
                none of the known ones.
        """
        height, width = check_size(height, width)
        columns = _columns(x, y, t_ns, p)
        outside = _outside(columns["x"], columns["y"], height, width)
        if outside is not None:
            first = int(np.argmax(outside))
            raise ValueError(
                f"{int(outside.sum())} of {len(outside)} events lie outside the sensor, the first at index {first}: "
                f"x={columns['x'][first]}, y={columns['y'][first]}, expected x < {width} and y < {height}; "
                f"check height and width, or use Events.from_sensor to drop them"
            )
        times = _nanoseconds(columns["t_ns"], 1)
        step_back = times[1:] < times[:-1]
        if step_back.any():
            first = int(np.argmax(step_back)) + 1
            raise ValueError(
                f"t_ns runs backwards at index {first}: {times[first]} after {times[first - 1]}, expected times "
                f"that do not decrease; sort the events by time (a stable sort) first"
            )
        polarity = _signed(columns["p"])
        return cls(_uint16(columns["x"]), _uint16(columns["y"]), times, polarity, height, width)

    @classmethod
    def from_sensor(
        cls, x: ArrayLike, y: ArrayLike, t_ns: ArrayLike, p: ArrayLike, *, height: int, width: int
    ) -> tuple[Events, int]:
        """As `from_arrays`, for a live stream, where bad values must not stop anything.

        Events outside the sensor are dropped and counted, times that run backwards are sorted (stable), and every
        polarity above 0 is ON, any other OFF.

        Returns:
            The events and the number dropped.

        Raises:
            TypeError: as `from_arrays`: what is wrong with the caller, not with the data.
            ValueError: lengths differ, or a uint64 time does not fit in int64.
        """
        height, width = check_size(height, width)
        columns = _columns(x, y, t_ns, p)
        outside = _outside(columns["x"], columns["y"], height, width)
        dropped = 0
        if outside is not None:
            dropped = int(outside.sum())
            columns = {name: column[~outside] for name, column in columns.items()}
        times = _nanoseconds(columns["t_ns"], 1)
        if (times[1:] < times[:-1]).any():
            order = np.argsort(times, kind="stable")
            times = times[order]
            columns = {name: column[order] for name, column in columns.items()}
        polarity = np.where(columns["p"] > 0, 1, -1).astype(np.int8)
        return cls(_uint16(columns["x"]), _uint16(columns["y"]), times, polarity, height, width), dropped

    @classmethod
    def from_structured(
        cls, array: Mapping[str, ArrayLike] | Column, *, height: int, width: int, t_unit_ns: int = 1000
    ) -> Events:
        """Read a structured array, a dict of columns, or a data frame.

        Args:
            array: has the fields x, y, t (or timestamp) and p (or polarity), in any order, others ignored.
            height: rows of the sensor.
            width: columns of the sensor.
            t_unit_ns: nanoseconds of one step of t; 1000 for microseconds, as most files have.

        Raises:
            TypeError: no field names, or a field is not of integers.
            ValueError: a field is missing, or as `from_arrays`.
        """
        if operator.index(t_unit_ns) < 1:
            raise ValueError(f"t_unit_ns is {t_unit_ns}, expected 1 or more nanoseconds; 1000 for microseconds")
        x, y, t, p = (_field(array, name) for name in ("x", "y", "t", "p"))
        t_ns = _nanoseconds(_column("t", t, "iu"), t_unit_ns)
        return cls.from_arrays(x, y, t_ns, p, height=height, width=width)

    @classmethod
    def empty(cls, height: int, width: int) -> Events:
        """No events, of a sensor of this size."""
        height, width = check_size(height, width)
        none = (np.zeros(0, dtype) for dtype in _DTYPES.values())
        return cls(*none, height=height, width=width)

    @staticmethod
    def concatenate(parts: Sequence[Events]) -> Events:
        """Join events of one sensor that follow each other in time; one part is given back as it is.

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
        for index, (before, after) in enumerate(zip(filled, filled[1:], strict=False)):
            if after.t_ns[0] < before.t_ns[-1]:
                raise ValueError(
                    f"part {index + 1} of those with events begins at {after.t_ns[0]} ns, before the part ahead of it "
                    f"ends at {before.t_ns[-1]} ns, expected parts in time order; sort them first"
                )
        columns = (np.concatenate([getattr(part, name) for part in parts]) for name in _DTYPES)
        return Events(*columns, height=head.height, width=head.width)

    def __len__(self) -> int:
        return len(self.t_ns)

    def __repr__(self) -> str:
        span = f"{self.t_ns[0]}..{self.t_ns[-1]} ns" if len(self) else "none"
        return f"Events({len(self)} events, {span}, height={self.height}, width={self.width})"

    def slice(self, start: int, stop: int) -> Events:
        """Events number start to stop (exclusive), 0 <= start <= stop, as views."""
        part = slice(start, stop)
        return Events(self.x[part], self.y[part], self.t_ns[part], self.p[part], self.height, self.width)

    def between(self, start_ns: int, end_ns: int) -> Events:
        """Events with start_ns <= t < end_ns, as views; none where end_ns <= start_ns."""
        start, stop = np.searchsorted(self.t_ns, (start_ns, end_ns), side="left")
        return self.slice(int(start), max(int(start), int(stop)))

    def require_size(self, height: int, width: int) -> None:
        """Raise ValueError where the sensor is not (height, width)."""
        if (self.height, self.width) != (height, width):
            raise ValueError(
                f"got events of a sensor {width}x{height}, expected {self.width}x{self.height} as before "
                f"(width x height); begin anew when the camera or its mode changes"
            )


def check_size(height: int, width: int) -> tuple[int, int]:
    """A sensor's size as plain ints.

    Raises:
        TypeError: not an integer.
        ValueError: below 1, or above what uint16 coordinates reach.
    """
    for name, value in (("height", height), ("width", width)):
        if not 1 <= operator.index(value) <= _MAX_SIZE:
            raise ValueError(f"{name} is {value}, expected 1 to {_MAX_SIZE} pixels; give the sensor's size")
    return operator.index(height), operator.index(width)


def _columns(x: ArrayLike, y: ArrayLike, t_ns: ArrayLike, p: ArrayLike) -> dict[str, Column]:
    columns = {
        "x": _column("x", x, "iu"),
        "y": _column("y", y, "iu"),
        "t_ns": _column("t_ns", t_ns, "iu"),
        "p": _column("p", p, "biu"),
    }
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"got columns of lengths {lengths}, expected one length; give every event all four")
    return columns


def _column(name: str, values: ArrayLike, kinds: str) -> Column:
    column: Column = np.asarray(values)
    if column.ndim != 1:
        raise TypeError(f"{name} has shape {list(column.shape)}, expected one dimension [N]; ravel it first")
    if column.size == 0:  # an empty list is float64 in NumPy
        return column.astype(np.int64)
    if column.dtype.kind not in kinds:
        raise TypeError(
            f"{name} is {column.dtype}, expected integers{' or bool' if 'b' in kinds else ''}; "
            f"convert it first (times to whole nanoseconds, rectified coordinates cut toward zero)"
        )
    return column


def _field(array: Mapping[str, ArrayLike] | Column, name: str) -> ArrayLike:
    if isinstance(array, np.ndarray):
        names = list(array.dtype.names or ())
    elif hasattr(array, "keys"):
        names = list(array.keys())
    else:
        raise TypeError(f"got {type(array).__name__}, expected fields x, y, t, p; give a structured array or a dict")
    for candidate in _FIELD_NAMES[name]:
        if candidate in names:
            values: ArrayLike = array[candidate]
            return values
    raise ValueError(f"got fields {names}, expected {' or '.join(_FIELD_NAMES[name])} among them; rename the field")


def _outside(x: Column, y: Column, height: int, width: int) -> NDArray[np.bool_] | None:
    """Which events lie outside the sensor, None where all are inside (the common case, at half the cost)."""
    if not len(x) or (x.min() >= 0 and y.min() >= 0 and x.max() < width and y.max() < height):
        return None
    outside: NDArray[np.bool_] = (x < 0) | (y < 0) | (x >= width) | (y >= height)
    return outside


def _uint16(values: Column) -> NDArray[np.uint16]:
    return values.astype(np.uint16, copy=False)


def _nanoseconds(t: Column, unit_ns: int) -> NDArray[np.int64]:
    limit = np.iinfo(np.int64).max // unit_ns
    if len(t) and (int(t.max()) > limit or int(t.min()) < -limit):
        raise ValueError(
            f"times reach from {t.min()} to {t.max()} in units of {unit_ns} ns, expected at most {limit}; "
            f"check the unit and the offset"
        )
    times = t.astype(np.int64, copy=False)
    return times if unit_ns == 1 else times * unit_ns


def _signed(p: Column) -> NDArray[np.int8]:
    """Polarity as -1 and +1 in an array that is the caller's only where nothing needed to change."""
    if not len(p):
        return p.astype(np.int8)
    low, high = int(p.min()), int(p.max())
    if low < -1 or high > 1 or (low == -1 and not p.all()):
        raise ValueError(
            f"p reaches from {low} to {high}{' with zeros' if low == -1 and high <= 1 else ''}, expected bool, "
            f"{{0, 1}} or {{-1, +1}}; map it to one of these"
        )
    if low == -1:
        return p.astype(np.int8, copy=False)
    signed = p.astype(np.int8)  # a copy, even of int8
    signed *= 2
    signed -= 1
    return signed
