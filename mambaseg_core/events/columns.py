"""Checks and conversions of single event columns to the fixed dtypes of `Events`."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

Column = NDArray[Any]
"""A 1-D array of a caller's own dtype, [N]."""

_MAX_SIZE: Final = 65536  # coordinates are uint16
# Field names of structured arrays: most libraries write x, y, t, p; dv-processing writes the long ones.
_FIELD_NAMES: Final = {"x": ("x",), "y": ("y",), "t": ("t", "timestamp"), "p": ("p", "polarity")}


def check_size(height: int, width: int) -> tuple[int, int]:
    """Return a sensor's size as plain ints.

    Raises:
        TypeError: not an integer.
        ValueError: below 1, or too large for uint16 coordinates.
    """
    for name, value in (("height", height), ("width", width)):
        if not 1 <= operator.index(value) <= _MAX_SIZE:
            raise ValueError(f"{name} is {value}, expected 1 to {_MAX_SIZE} pixels; give the sensor's size")
    return operator.index(height), operator.index(width)


def event_columns(x: ArrayLike, y: ArrayLike, t_ns: ArrayLike, p: ArrayLike) -> dict[str, Column]:
    """Return four checked columns of one length, by name."""
    columns = {
        "x": integer_column("x", x, "iu"),
        "y": integer_column("y", y, "iu"),
        "t_ns": integer_column("t_ns", t_ns, "iu"),
        "p": integer_column("p", p, "biu"),
    }
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"got columns of lengths {lengths}, expected one length; give every event all four")
    return columns


def integer_column(name: str, values: ArrayLike, kinds: str) -> Column:
    """Return a 1-D column whose dtype kind is one of `kinds`; an empty one may have any."""
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


def find_field(array: Mapping[str, ArrayLike] | Column, name: str) -> ArrayLike:
    """Return the field with this name or another known name for it."""
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


def outside_sensor(x: Column, y: Column, height: int, width: int) -> NDArray[np.bool_] | None:
    """Return a mask of the events outside the sensor; None if all are inside (the common case, at half the cost)."""
    if not len(x) or (x.min() >= 0 and y.min() >= 0 and x.max() < width and y.max() < height):
        return None
    outside: NDArray[np.bool_] = (x < 0) | (y < 0) | (x >= width) | (y >= height)
    return outside


def as_uint16(values: Column) -> NDArray[np.uint16]:
    """Return coordinates that are known to fit as uint16."""
    return values.astype(np.uint16, copy=False)


def as_nanoseconds(t: Column, unit_ns: int) -> NDArray[np.int64]:
    """Convert times in units of unit_ns to int64 nanoseconds; raise ValueError if they do not fit."""
    limit = np.iinfo(np.int64).max // unit_ns
    if len(t) and (int(t.max()) > limit or int(t.min()) < -limit):
        raise ValueError(
            f"times reach from {t.min()} to {t.max()} in units of {unit_ns} ns, expected at most {limit}; "
            f"check the unit and the offset"
        )
    times = t.astype(np.int64, copy=False)
    return times if unit_ns == 1 else times * unit_ns


def signed_polarity(p: Column) -> NDArray[np.int8]:
    """Return polarity as -1 and +1; the array is the caller's own only if nothing had to change."""
    if not len(p):
        return p.astype(np.int8)
    low, high = int(p.min()), int(p.max())
    if low < -1 or high > 1 or (low == -1 and not p.all()):
        raise ValueError(
            f"p reaches from {low} to {high}{' with zeros' if low == -1 and high <= 1 else ''}, expected "
            f"bool, {{0, 1}} or {{-1, +1}}; map it to one of these"
        )
    if low == -1:
        return p.astype(np.int8, copy=False)
    signed = p.astype(np.int8)  # a copy, even of int8
    signed *= 2
    signed -= 1
    return signed
