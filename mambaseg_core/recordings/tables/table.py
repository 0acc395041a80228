"""Tables of events: which column is which, and the unit of time; where a file does not tell, from its values.

What was guessed stands in the reader's `encoding`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.errors import EventFileError
from mambaseg_core.recordings.tables.time_unit import nanoseconds

NAMES: Final = {
    "t": ("t", "ts", "time", "times", "timestamp", "timestamps"),
    "x": ("x", "xs", "col", "column", "x_addr"),
    "y": ("y", "ys", "row", "y_addr"),
    "p": ("p", "ps", "pol", "pols", "polarity", "polarities", "on"),
}
"""Names of the columns in files; a time may end in its unit, as `t_us` or `t (us)`."""

JITTER_NS: Final = 10_000_000
"""A step back in time up to this is jitter; a table with a larger one is not sorted."""

_USUAL: Final = ("txyp", "xytp", "xypt")
_WIDEST: Final = 1 << 14
_MOST_OUTSIDE: Final = 0.1  # of the events of a sensor


def named_columns(names: Sequence[str]) -> tuple[dict[str, str], str | None] | None:
    """Return the file's name of each of t, x, y, p, and the unit in the time's name; None if one is not there once."""
    found: dict[str, str] = {}
    unit = None
    for name in names:
        plain = name.strip().lower()
        timed = re.fullmatch(r"([a-z]+)(?:_| ?\(| ?\[)(s|ms|us|ns)[)\]]?", plain)
        timed = timed if timed and timed[1] in NAMES["t"] else None
        for column, known in NAMES.items():
            if plain in known or (column == "t" and timed):
                if column in found:
                    return None
                found[column] = name
        unit = timed[2] if timed else unit
    return (found, unit) if len(found) == len(NAMES) else None


def guess_columns(path: Path, rows: npt.NDArray[Any]) -> str:
    """Return the order of four nameless columns, as `txyp`; x always comes before y.

    Args:
        path: for errors.
        rows: some rows in the order of the file, [N, 4].

    Raises:
        EventFileError: no order fits the values, or several do.
    """
    orders = ["".join(order) for order in permutations("txyp") if order.index("x") < order.index("y")]
    fitting = [order for order in orders if _fits(dict(zip(order, rows.T, strict=True)))]
    usual = [order for order in fitting if order in _USUAL]
    if len(fitting) == 1 or len(usual) == 1:
        return (usual or fitting)[0]
    first = [str(row.tolist()) for row in rows[:2]]
    raise EventFileError(
        f"event file {path} has four columns without names that can be {' or '.join(fitting) or 'no events'} (its "
        f"first rows: {', '.join(first)}), expected time, column, row and polarity; name their order: "
        f"open_events(path, columns='txyp'), or --columns txyp"
    )


def check_columns(path: Path, columns: str) -> str:
    """Return the order that a caller names.

    Raises:
        EventFileError: it does not name each of t, x, y, p once.
    """
    if sorted(columns) != sorted(NAMES):
        raise EventFileError(
            f"columns is {columns!r} for event file {path}, expected the letters t, x, y and p in the file's order; "
            f"as txyp"
        )
    return columns


def described(columns: str, unit: str, *, guessed: tuple[bool, bool]) -> str:
    """Return how a table is packed, for `EventReader.encoding`; `guessed` is of the columns and of the unit."""
    marks = [" (guessed)" if guess else "" for guess in guessed]
    return f"columns {columns}{marks[0]}, time in {unit}{marks[1]}"


class TableDecoder:
    """Turns columns of a table to events.

    Args:
        path: for errors.
        unit: of time, one of `time_unit.UNITS`.
        size: (height, width) of the sensor.
    """

    def __init__(self, path: Path, unit: str, size: tuple[int, int]) -> None:
        self._path = path
        self._unit = unit
        self._height, self._width = size

    def events(self, columns: Mapping[str, npt.NDArray[Any]]) -> tuple[Events, int]:
        """Return the events of some rows, and how many lay outside the sensor.

        Raises:
            EventFileError: a value cannot be a time, a pixel or a polarity.
        """
        x, y = (self._whole(name, columns[name]) for name in "xy")
        p = self._whole("p", columns["p"])
        if len(p) and (p.min() < -1 or p.max() > 1 or (p.min() == -1 and not p.all())):
            raise EventFileError(
                f"event file {self._path} has polarities {np.unique(p)[:5].tolist()}, expected 0 and 1 or -1 and 1; "
                f"name the order of its columns: open_events(path, columns='txyp'), or --columns txyp"
            )
        t_ns = nanoseconds(self._path, columns["t"], self._unit)
        return Events.from_sensor(x, y, t_ns, p, height=self._height, width=self._width)

    def _whole(self, name: str, values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        if values.dtype.kind == "f":
            if not (np.isfinite(values).all() and (values == np.rint(values)).all() and (abs(values) < 1 << 62).all()):
                bad = values[~(np.isfinite(values) & (values == np.rint(values)))]
                raise EventFileError(
                    f"event file {self._path} has {name} = {bad[:1].tolist()}, expected whole numbers; name the order "
                    f"of its columns (open_events(path, columns='txyp'), or --columns txyp), or save raw, unrectified "
                    f"events"
                )
        elif values.dtype.kind not in "iub":
            raise EventFileError(
                f"event file {self._path} has {name} of {values.dtype}, expected numbers; export it again"
            )
        return values.astype(np.int64)


def required_size(path: Path, size: tuple[int, int] | None) -> tuple[int, int]:
    """Return the (height, width) that a file or a caller names.

    Raises:
        EventFileError: neither does.
    """
    if size is None:
        raise EventFileError(
            f"event file {path} has no size of the sensor, expected a caller who gives it: "
            f"open_events(path, size=(height, width)), or --height and --width"
        )
    return size


def check_size(path: Path, columns: Mapping[str, npt.NDArray[Any]], size: tuple[int, int]) -> None:
    """Check that sample events lie inside the sensor, but for a few.

    Raises:
        EventFileError: they do not.
    """
    x, y = columns["x"], columns["y"]
    if len(x) and np.count_nonzero((x >= size[1]) | (y >= size[0])) > _MOST_OUTSIDE * len(x):
        raise EventFileError(
            f"event file {path} has columns up to {x.max():g} and rows up to {y.max():g}, expected a sensor of "
            f"{size[1]}x{size[0]}, as the file or the caller says; give its size: open_events(path, size=(height, "
            f"width)), or --height and --width"
        )


def check_order(path: Path, events: Events, newest_ns: int) -> int:
    """Return the newest time after some events of a table.

    Raises:
        EventFileError: they begin long before the newest time ahead of them.
    """
    if not len(events):
        return newest_ns
    if events.t_ns[0] < newest_ns - JITTER_NS:
        raise EventFileError(
            f"event file {path} has an event at {events.t_ns[0]} ns after one at {newest_ns} ns, expected rows in the "
            f"order of time; sort it by time (a stable sort)"
        )
    return max(newest_ns, int(events.t_ns[-1]))


def _fits(columns: dict[str, npt.NDArray[Any]]) -> bool:
    """Return whether sample columns can be times that do not run back, pixels and polarities."""
    t, x, y, p = (np.asarray(columns[name]) for name in "txyp")
    pixels = all(len(v) == 0 or (v.min() >= 0 and v.max() < _WIDEST and (v == np.rint(v)).all()) for v in (x, y))
    values = set(np.unique(p).tolist())
    ordered = bool((np.diff(t.astype(np.float64)) >= 0).all())
    return pixels and ordered and (values <= {0, 1} or values <= {-1, 1})
