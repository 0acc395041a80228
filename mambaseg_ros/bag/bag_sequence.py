"""The images and events of a bag, of ROS 2 or ROS 1, as a sequence that is converted."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mambaseg_core.events import Events
from mambaseg_core.recordings.bag import Bag
from mambaseg_core.recordings.errors import RecordingWarning
from mambaseg_ros.bag.frames import find_topics
from mambaseg_ros.messages.images import image_from_message
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.sources.events import EventIntake

_FOLDER = "give a folder of pictures with --images"
_LONG_NS = 1 << 61  # no chunk of events is as long


class _Place(NamedTuple):
    """Where an image lies: the message after `skip` others recorded at or after `bag_ns`."""

    stamp_ns: int
    bag_ns: int
    skip: int


class BagSequence:
    """An `ImageEventSequence` over one image topic and one event topic of a bag; times are those of ROS.

    Args:
        path: as of `Bag`.
        image_topic: as of `find_topics`.
        events_topic: topic of the events; as of `find_topics`.
        without: the remedy for a bag without images.

    Raises:
        ValueError: the bag cannot be read, or a topic is missing or not the only one.
    """

    def __init__(self, path: Path, image_topic: str = "", events_topic: str = "", *, without: str = _FOLDER) -> None:
        self.path = path
        self._bag = Bag(path)
        self._topics = find_topics(self._bag, image_topic, events_topic, without_images=without)
        self._places = sorted(self._find_images(), key=lambda place: place.stamp_ns)
        if not self._places:
            raise ValueError(
                f"bag {path} has no images on {self._topics.images.name}; expected at least one: {without}"
            )
        self.image_times_ns = np.array([place.stamp_ns for place in self._places], np.int64)

    @cached_property
    def events_ns(self) -> tuple[int, int]:
        """Times of the first and of the last event, nanoseconds; (0, 0) without events. Reads all of them."""
        ends = [(int(events.t_ns[0]), int(events.t_ns[-1])) for events in self.iter_events(_LONG_NS)]
        return (min(first for first, _ in ends), max(last for _, last in ends)) if ends else (0, 0)

    def image(self, index: int) -> npt.NDArray[np.uint8]:
        """Return an image, RGB uint8 [H, W, 3] or gray uint8 [H, W].

        Raises:
            ValueError: the message is broken.
        """
        place = self._places[index]
        (found,) = islice(self._bag.messages([self._topics.images], place.bag_ns), place.skip, place.skip + 1)
        return image_from_message(self._bag.deserialize(found.topic, found.data))

    def iter_events(self, chunk_ns: int) -> Iterator[Events]:
        """Yield the events in chunks of at most `chunk_ns`; warn of those that are left out, as the node does."""
        intake = EventIntake(max_age_ns=chunk_ns, max_bytes=0)
        outside, broken = 0, list[str]()
        for topic, _, data in self._bag.messages([self._topics.second]):
            try:
                decoded = intake.decode(self._bag.event_message(topic, data))
            except ValueError as error:
                broken.append(str(error))
                continue
            outside += decoded.refused
            events = decoded.events
            while len(events):
                chunk = events.between(int(events.t_ns[0]), int(events.t_ns[0]) + chunk_ns)
                yield chunk
                events = events.part(len(chunk), len(events))
        where = f"on {self._topics.second.name} of bag {self._bag.path}"
        if outside:
            _warn(f"{outside} events {where} are left out: they lie outside the sensor, or are not of its encoding")
        if broken:
            _warn(f"{len(broken)} messages of events {where} are left out: {broken[0]}")

    def _find_images(self) -> Iterator[_Place]:
        last_ns, skip = None, 0
        for topic, bag_ns, data in self._bag.messages([self._topics.images]):
            skip = skip + 1 if bag_ns == last_ns else 0
            last_ns = bag_ns
            yield _Place(stamp_to_ns(self._bag.deserialize(topic, data).header.stamp), bag_ns, skip)


def _warn(sentence: str) -> None:
    warnings.warn(sentence, RecordingWarning, stacklevel=3)
