"""The unit of times in tables: as a caller says, or from the values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mambaseg_core.recordings.errors import EventFileError

UNITS: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1000, "ns": 1}
"""Nanoseconds of each unit."""

_EXACT: Final = 1 << 53  # whole numbers above are not all float64
_FEW: Final = 1000  # events whose rate says little
_FEW_PER_SECOND: Final = 10
_COARSEST_NS: Final = 100_000  # steps of times in float32
_SLOW, _FAST = 1e3, 1e8  # events per second of a recording: hardly fewer, hardly more


def check_unit(path: Path, unit: str) -> str:
    """Return the unit that a caller names.

    Raises:
        EventFileError: it is unknown.
    """
    if unit not in UNITS:
        raise EventFileError(f"time_unit is {unit!r} for event file {path}, expected one of {', '.join(UNITS)}")
    return unit


def guess_unit(path: Path, times: npt.NDArray[Any]) -> str:
    """Return the unit of times: s for numbers with fractions, us for whole ones, unless the rate of events denies it.

    Whole numbers are ns where they are larger than any time in us, or whole us at a rate that us would make too slow.

    Args:
        path: for errors.
        times: of events that follow each other, [N].

    Raises:
        EventFileError: the rate of events fits another unit as well or better.
    """
    if not len(times):
        return "us"
    whole = times.dtype.kind in "iub" or bool((times == np.rint(times)).all())
    span = float(times.max()) - float(times.min())
    per_unit = len(times) / span if span > 0 else 0.0  # events in one unit of time
    if whole:
        return _unit_of_whole(path, times, per_unit)
    if len(times) >= _FEW and per_unit and per_unit < _SLOW:
        if per_unit * 1e3 >= _SLOW and bool((np.abs(times * 1e3 - np.rint(times * 1e3)) < 1e-4).all()):
            return "ms"
        raise _ambiguous(path, per_unit)
    return "s"


def _unit_of_whole(path: Path, times: npt.NDArray[Any], per_unit: float) -> str:
    largest = float(np.abs(times).max())
    if largest >= 1e17:  # 3000 years of us, and 3 of ns
        return "ns"
    if not per_unit or len(times) < 2:
        return "us"
    rate = per_unit * 1e6  # if they were us
    of_us = bool((np.asarray(times, np.float64) % 1000 == 0).all())
    if len(times) < _FEW:
        if of_us and rate < _FEW_PER_SECOND:
            raise _ambiguous(path, per_unit)
        return "us"
    if of_us and rate < 10 * _SLOW:
        return "ns"
    if rate < _SLOW or rate > _FAST or (of_us and rate < 100 * _SLOW):
        raise _ambiguous(path, per_unit)
    return "us"


def _ambiguous(path: Path, per_unit: float) -> EventFileError:
    rates = ", ".join(f"{per_unit * 1e9 / ns:.3g} as {unit}" for unit, ns in UNITS.items())
    return EventFileError(
        f"event file {path} does not say the unit of its times (events per second: {rates}), expected a unit that is "
        f"clear; name it: open_events(path, time_unit='us'), or --time-unit us (s, ms, us or ns)"
    )


def nanoseconds(path: Path, times: npt.NDArray[Any], unit: str) -> npt.NDArray[np.int64]:
    """Convert times to int64 nanoseconds.

    Times with fractions that float64 cannot hold to the nanosecond are rounded to microseconds, the resolution of
    event cameras.

    Raises:
        EventFileError: a time is no number, too large, or so large that its float32 is coarse.
    """
    scale = UNITS[unit]
    if times.dtype.kind not in "iuf":
        raise EventFileError(f"event file {path} has times of {times.dtype}, expected numbers; export it again")
    values = times.astype(np.float64)
    if not (np.isfinite(values).all() and (np.abs(values) * scale < 1 << 62).all()):
        raise EventFileError(
            f"event file {path} has times up to {np.abs(values).max():g} {unit}, expected less than 146 years; name "
            f"the unit: open_events(path, time_unit='us'), or --time-unit us"
        )
    if times.dtype.kind != "f":
        return times.astype(np.int64) * scale
    largest = float(np.abs(values).max(initial=0))
    if times.dtype.itemsize < 8 and float(np.spacing(times.dtype.type(largest))) * scale > _COARSEST_NS:
        raise EventFileError(
            f"event file {path} has times up to {largest:g} {unit} as {times.dtype}, which holds steps of "
            f"{float(np.spacing(times.dtype.type(largest))):g} {unit}; expected steps of 1 us: save times as int64 or "
            f"float64"
        )
    if largest * scale < _EXACT:
        return np.rint(values * scale).astype(np.int64)
    return np.rint(values * (scale / 1000)).astype(np.int64) * 1000
