"""The images of a bag, each when a node would have the second input that belongs to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from rosbags.highlevel import AnyReader
from rosbags.interfaces import Connection

from mambaseg_ros.messages.events import RawArray
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.messages.types import EVENT_TYPES, IMAGE_TYPES, NESTED_TYPES, package_of


class Topics(NamedTuple):
    """The two topics of a bag that are read."""

    images: Connection
    second: Connection


class BagImage(NamedTuple):
    """An image message, and when it was recorded."""

    bag_ns: int
    message: Any


def find_topics(reader: AnyReader, image_topic: str, second_topic: str, *, kind: str = "events") -> Topics:
    """Return the topics of these names.

    Args:
        reader: an open bag.
        image_topic: topic of the images.
        second_topic: topic of the second input.
        kind: "events", or what else the second input is: then it has images.

    Raises:
        ValueError: the bag lacks one, or its type is not one that the node reads.
    """
    second_types = EVENT_TYPES if kind == "events" else IMAGE_TYPES
    return Topics(_find(reader, image_topic, IMAGE_TYPES), _find(reader, second_topic, second_types))


def _find(reader: AnyReader, topic: str, types: tuple[str, ...]) -> Connection:
    found = {connection.topic: connection for connection in reader.connections}
    if topic not in found:
        raise ValueError(f"topic {topic} is not in the bag (it has {', '.join(sorted(found))}): name one of these")
    if found[topic].msgtype not in types:
        raise ValueError(f"topic {topic} is of type {found[topic].msgtype}; expected one of {', '.join(types)}")
    return found[topic]


def read_frames(
    reader: AnyReader,
    topics: Topics,
    *,
    add: Callable[[Any], None],
    reaches: Callable[[int], bool],
    wait_ns: int,
    warn: Callable[[str], None],
) -> Iterator[BagImage]:
    """Yield each image as soon as what belongs to it is there, or its wait is over.

    Args:
        reader: an open bag.
        topics: of `find_topics`.
        add: called with the messages of the second topic.
        reaches: returns True if nothing better is to come for an image of that stamp.
        wait_ns: longest wait for it, nanoseconds of the bag's time.
        warn: called with a sentence on a broken message, which is left out as in the node.
    """
    waiting: deque[tuple[int, BagImage]] = deque()
    for connection, bag_ns, data in reader.messages(list(topics)):
        while waiting and (reaches(waiting[0][0]) or bag_ns - waiting[0][1].bag_ns > wait_ns):
            yield waiting.popleft()[1]
        if connection is topics.images:
            message: Any = reader.deserialize(data, connection.msgtype)
            waiting.append((stamp_to_ns(message.header.stamp), BagImage(bag_ns, message)))
            continue
        try:
            add(_second_message(reader, connection, data))
        except Exception as error:
            warn(str(error))
    yield from (frame for _, frame in waiting)


def _second_message(reader: AnyReader, connection: Connection, data: bytes) -> Any:
    if connection.msgtype in NESTED_TYPES:
        return RawArray(package_of(connection.msgtype), bytes(data))
    return reader.deserialize(data, connection.msgtype)
