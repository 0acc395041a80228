"""`mambaseg bag convert`: a recorded sequence to an mcap bag that the node, rviz and Foxglove read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
import numpy.typing as npt
from rosbags.rosbag2 import Writer
from rosbags.typesys.store import Typestore

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.events import Events
from mambaseg_ros.bag.types import EVENTS_TYPE, IMAGE_TYPE, new_bag, typestore

Progress = Callable[[int, int], None]
PACKET_NS = 2_000_000  # span of one EventArray: what event camera drivers send


class Sequence(Protocol):
    """What every recorded sequence offers."""

    image_times_ns: npt.NDArray[np.int64]

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """RGB uint8 [H, W, 3] or grey uint8 [H, W]."""

    def iter_events(self, chunk_ns: int) -> Iterator[Events]:
        """The events in chunks of at most `chunk_ns`."""


class DavisExport:
    """A DAVIS recording exported to files: `events_txyp.npy` (t in us), `frames.txt`, PNG frames.

    Args:
        root: the folder.

    Raises:
        ValueError: a file is missing or has another layout.
    """

    def __init__(self, root: Path) -> None:
        lines = [line for line in (root / "frames.txt").read_text().splitlines() if line and not line.startswith("#")]
        rows = [re.match(r"(\S+) (\d+)", line) for line in lines]
        if not rows or None in rows:
            wrong = lines[rows.index(None)] if rows else "nothing"
            raise ValueError(f"{root}/frames.txt holds {wrong!r}; expected lines 'file time_us ...': export it again")
        self._paths = [root / row[1] for row in rows if row]
        self.image_times_ns = np.array([int(row[2]) * 1000 for row in rows if row], np.int64)
        self._table = np.load(root / "events_txyp.npy", allow_pickle=False)
        self._size = self.image(0).shape[:2]

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Grey uint8 [H, W]."""
        picture = cv2.imread(str(self._paths[index]), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise ValueError(f"frame {self._paths[index]} cannot be read as a picture: export the recording again")
        return picture  # type: ignore[return-value]

    def iter_events(self, chunk_ns: int) -> Iterator[Events]:
        """The events in chunks of at most `chunk_ns`."""
        t_ns, x, y, p = _columns(self._table)
        events = Events.from_arrays(x, y, t_ns, p, height=self._size[0], width=self._size[1])
        if len(events):
            first, last = int(events.t_ns[0]), int(events.t_ns[-1])
            for start in range(first, last + 1, chunk_ns):
                yield events.between(start, start + chunk_ns)


def _columns(table: npt.NDArray[Any]) -> tuple[npt.NDArray[np.int64], ...]:
    if table.dtype.names is not None:
        t, x, y, p = (table[name].astype(np.int64) for name in ("t", "x", "y", "p"))
    else:
        t, x, y, p = table.astype(np.int64).T
    return t * 1000, x, y, p


def open_sequence(path: Path) -> Sequence:
    """Open a DSEC sequence or a DAVIS export, found by its files.

    Raises:
        ValueError: it is neither.
    """
    if (path / "events_txyp.npy").is_file() and (path / "frames.txt").is_file():
        return DavisExport(path)
    if list(path.glob("events/**/events.h5")) or (path / "events.h5").is_file():
        return DsecSequence(path)
    found = sorted(entry.name for entry in path.iterdir())[:5] if path.is_dir() else "no such folder"
    raise ValueError(
        f"{path} is no known recording (found: {found}); expected a DSEC sequence (events/left/events.h5) or a DAVIS "
        "export (events_txyp.npy and frames.txt): give the folder of one sequence"
    )


@dataclass(frozen=True)
class BagSummary:
    """What a conversion wrote."""

    images: int
    packets: int
    events: int


def convert(source: Path, bag: Path, *, progress: Progress = lambda done, total: None) -> BagSummary:
    """Write a sequence to a new mcap bag with the topics /image and /events.

    An event packet is recorded at the time of its last event, an image at its stamp, so that a replay brings both in
    the order in which a vehicle would have seen them.

    Args:
        source: folder of the sequence.
        bag: folder to write.
        progress: called with images written and images in all.

    Raises:
        ValueError: an unknown layout, or the bag exists already.
    """
    sequence = open_sequence(source)
    times = sequence.image_times_ns
    with new_bag(bag) as writer:
        output = _Output(writer, typestore())
        next_image = 0
        for events in sequence.iter_events(PACKET_NS):
            while next_image < len(times) and times[next_image] <= _last_ns(events):
                output.write_image(int(times[next_image]), sequence.image(next_image))
                next_image += 1
                progress(next_image, len(times))
            output.write_events(events)
        for index in range(next_image, len(times)):
            output.write_image(int(times[index]), sequence.image(index))
            progress(index + 1, len(times))
    return BagSummary(images=len(times), packets=output.packets, events=output.events)


def _last_ns(events: Events) -> int:
    return int(events.t_ns[-1]) if len(events) else -1


class _Output:
    """Serialises messages into an open bag."""

    def __init__(self, writer: Writer, store: Typestore) -> None:
        self._writer = writer
        self._store = store
        self._image = writer.add_connection("/image", IMAGE_TYPE, typestore=store)
        self._events = writer.add_connection("/events", EVENTS_TYPE, typestore=store)
        self.packets = 0
        self.events = 0

    def _header(self, stamp_ns: int, frame_id: str) -> Any:
        second, nanosecond = divmod(stamp_ns, 1_000_000_000)
        stamp = self._store.types["builtin_interfaces/msg/Time"](sec=second, nanosec=nanosecond)
        return self._store.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)

    def write_image(self, stamp_ns: int, picture: npt.NDArray[np.uint8]) -> None:
        message = self._store.types[IMAGE_TYPE](
            header=self._header(stamp_ns, "camera_optical_frame"),
            height=picture.shape[0],
            width=picture.shape[1],
            encoding="mono8" if picture.ndim == 2 else "rgb8",
            is_bigendian=0,
            step=picture.shape[1] * (1 if picture.ndim == 2 else 3),
            data=np.ascontiguousarray(picture).reshape(-1),
        )
        self._writer.write(self._image, stamp_ns, self._store.serialize_cdr(message, IMAGE_TYPE))

    def write_events(self, events: Events) -> None:
        if len(events) == 0:
            return
        first = int(events.t_ns[0])
        message = self._store.types[EVENTS_TYPE](
            header=self._header(first, "event_camera_optical_frame"),
            height=events.height,
            width=events.width,
            seq=self.packets,
            x=events.x,
            y=events.y,
            t_offset_ns=(events.t_ns - first).astype(np.uint32),
            p=(events.p > 0).astype(np.uint8),
        )
        data = self._store.serialize_cdr(message, EVENTS_TYPE)
        self._writer.write(self._events, int(events.t_ns[-1]), data)
        self.packets += 1
        self.events += len(events)
