"""`mambaseg bag convert`: a recorded sequence to a bag that the node, rviz and Foxglove read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import Writer
from rosbags.typesys.store import Typestore

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.events import Events
from mambaseg_core.events.messages import COLUMNS_TYPE
from mambaseg_core.recordings.hdf5.dsec_sequence import CALIBRATION
from mambaseg_core.recordings.open import NO_SETTINGS, Settings
from mambaseg_ros.bag.align import find_shift, shifted
from mambaseg_ros.bag.sources import ImageEventSequence, open_sequence
from mambaseg_ros.bag.types import ImageWriter, make_header, new_bag, typestore

Progress = Callable[[int, int], None]
PACKET_NS = 2_000_000  # span of one EventArray: what event camera drivers send


@dataclass(frozen=True)
class BagSummary:
    """What a conversion wrote, and how much later its events are than recorded."""

    images: int
    packets: int
    events: int
    shift_ns: int = 0


def convert(
    source: Path,
    bag: Path,
    *,
    images: Path | None = None,
    images_unit: str = "us",
    settings: Settings = NO_SETTINGS,
    align: str = "",
    storage: str = "mcap",
    image_topic: str = "",
    events_topic: str = "",
    warn: Callable[[str], Any] = lambda sentence: None,
    progress: Progress = lambda done, total: None,
) -> BagSummary:
    """Write a sequence to a new bag with the topics /image and /events.

    An event packet is recorded at the time of its last event, an image at its stamp, so that a replay brings both in
    the order in which a vehicle would have seen them.

    Args:
        source: folder or file of the sequence.
        bag: folder to write.
        images: folder of pictures that belong to the events, in place of the recording's own.
        images_unit: unit of that folder's times: "s", "ms", "us" or "ns".
        settings: what the source does not contain.
        align: how the events' clock is brought to the images'; see `find_shift`.
        storage: "mcap" or "sqlite3".
        image_topic: topic of a bag's images; "": its only one.
        events_topic: topic of a bag's events; "": its only one.
        warn: called with one sentence on what the bag will lack.
        progress: called with images written and images in all.

    Raises:
        ValueError: an unknown layout, images and events on two clocks, or the bag exists already.
    """
    topics = {"image_topic": image_topic, "events_topic": events_topic}
    sequence = open_sequence(source, images, settings, images_unit=images_unit, **topics)
    shift_ns = find_shift(sequence, align, str(source), warn)
    if isinstance(sequence, DsecSequence) and sequence.calibration_path is None:
        warn(f"{source} has no {CALIBRATION[0]}, which the node and `bag segment` need; download DSEC's calibration")
    times = sequence.image_times_ns
    with new_bag(bag, storage) as writer:
        output = _Output(writer, typestore(), sequence)
        next_image = 0
        for recorded in sequence.iter_events(PACKET_NS):
            events = shifted(recorded, shift_ns)
            while next_image < len(times) and times[next_image] <= _last_ns(events):
                output.write_image(next_image)
                next_image += 1
                progress(next_image, len(times))
            output.write_events(events)
        for index in range(next_image, len(times)):
            output.write_image(index)
            progress(index + 1, len(times))
        if output.broken and not output.images:
            raise ValueError(output.broken[0])
    if output.broken:
        warn(f"{len(output.broken)} of {len(times)} images are left out: {output.broken[0]}")
    return BagSummary(images=output.images, packets=output.packets, events=output.events, shift_ns=shift_ns)


def _last_ns(events: Events) -> int:
    return int(events.t_ns[-1]) if len(events) else -1


class _Output:
    """Serialises messages into an open bag; images that cannot be read are left out and noted in `broken`."""

    def __init__(self, writer: Writer, store: Typestore, sequence: ImageEventSequence) -> None:
        self._writer = writer
        self._store = store
        self._image = ImageWriter(writer, store, "/image")
        self._events = writer.add_connection("/events", COLUMNS_TYPE, typestore=store)
        self._sequence = sequence
        self.images = self.packets = self.events = 0
        self.broken: list[str] = []

    def write_image(self, index: int) -> None:
        stamp_ns = int(self._sequence.image_times_ns[index])
        try:
            picture = self._sequence.image(index)
        except ValueError as error:
            self.broken.append(str(error))
            return
        self.images += 1
        self._image.write(stamp_ns, make_header(self._store, stamp_ns, "camera_optical_frame"), picture)

    def write_events(self, events: Events) -> None:
        if len(events) == 0:
            return
        first = int(events.t_ns[0])
        message = self._store.types[COLUMNS_TYPE](
            header=make_header(self._store, first, "event_camera_optical_frame"),
            height=events.height,
            width=events.width,
            seq=self.packets,
            x=events.x,
            y=events.y,
            t_offset_ns=(events.t_ns - first).astype(np.uint32),
            p=(events.p > 0).astype(np.uint8),
        )
        data = self._store.serialize_cdr(message, COLUMNS_TYPE)
        self._writer.write(self._events, int(events.t_ns[-1]), data)
        self.packets += 1
        self.events += len(events)
