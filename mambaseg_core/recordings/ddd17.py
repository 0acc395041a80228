"""DDD17's events in the layout of the ESS authors, as memory maps.

`events.dat.t` has int64 [N] nanoseconds; `events.dat.xyp` has int16 [N, 3]: x, y, p in {0, 1}.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from mambaseg_core.events.array import Events
from mambaseg_core.recordings.errors import EventFileError, one_sentence
from mambaseg_core.recordings.per_process import PerProcess
from mambaseg_core.recordings.reader import EventReader

SENSOR_SIZE: Final = (260, 346)
"""(height, width) of the DAVIS346, pixels."""

TIMES: Final = "events.dat.t"
_EVENTS: Final = "events.dat.xyp"
_BYTES: Final = {TIMES: 8, _EVENTS: 6}  # per event


def open_ddd17(folder: str | Path) -> EventReader:
    """Open one `dirN` of DDD17: the folder that has `events.dat.t`."""
    return EventReader(Ddd17Source(Path(folder)))


class Ddd17Source:
    """A `RecordingSource` over one folder of DDD17.

    Args:
        path: the folder.
    """

    format = "ddd17"
    encoding = "memmap"
    height, width = SENSOR_SIZE

    def __init__(self, path: Path) -> None:
        self.path = path
        self._maps = PerProcess(partial(_open, path))

    def __len__(self) -> int:
        return len(self._maps.get().t_ns)

    def index(self, t_ns: int) -> int:
        """Return the number of the first event at or after a time."""
        limits = np.iinfo(np.int64)
        return int(np.searchsorted(self._maps.get().t_ns, np.int64(min(max(t_ns, limits.min), limits.max))))

    def read(self, start: int, stop: int) -> Events:
        """Return events number start to stop (exclusive), copied from the maps."""
        maps = self._maps.get()
        x, y, p = np.array(maps.xyp[start:stop]).T
        try:
            return Events.from_arrays(x, y, np.array(maps.t_ns[start:stop]), p, height=self.height, width=self.width)
        except ValueError as error:
            raise EventFileError(f"events {start} to {stop} of {self.path}: {error}") from error

    def counters(self) -> dict[str, int]:
        """Return no counters: any fault in these files is an error."""
        return {}

    def close(self) -> None:
        """Drop the maps; they open again when needed."""
        self._maps.close()


@dataclass
class _Maps:
    t_ns: npt.NDArray[np.int64]  # [N]
    xyp: npt.NDArray[np.int16]  # [N, 3]

    def close(self) -> None:
        """Do nothing: maps close with their last view."""


def _open(folder: Path) -> _Maps:
    remedy = "unpack ddd17_seg.tar.gz again"
    sizes = {}
    for name, event_bytes in _BYTES.items():
        with one_sentence(folder / name, "DDD17's memory map", remedy):
            size = (folder / name).stat().st_size
        if size % event_bytes:
            raise EventFileError(
                f"event file {folder / name} has {size} bytes, expected a multiple of {event_bytes}; {remedy}"
            )
        sizes[name] = size // event_bytes
    if len(set(sizes.values())) > 1:
        raise EventFileError(f"{folder} has {sizes} events, expected as many in both files; {remedy}")
    return _Maps(_map(folder / TIMES, "<i8"), _map(folder / _EVENTS, "<i2").reshape(-1, 3))


def _map(path: Path, dtype: str) -> npt.NDArray[Any]:
    if path.stat().st_size == 0:  # an empty file cannot be mapped
        return np.empty(0, dtype)
    with one_sentence(path, "DDD17's memory map", "unpack ddd17_seg.tar.gz again"):
        return np.memmap(path, dtype, mode="r")
