"""The images of a bag, each when a node would have the second input that belongs to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from mambaseg_core.events.messages import EVENT_TYPES
from mambaseg_core.recordings.bag import Bag, BagTopic
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.messages.types import IMAGE_TYPES


class Topics(NamedTuple):
    """The two topics of a bag that are read."""

    images: BagTopic
    second: BagTopic


class BagImage(NamedTuple):
    """An image message, and when it was recorded."""

    bag_ns: int
    message: Any


def find_topics(
    bag: Bag,
    image_topic: str = "",
    second_topic: str = "",
    *,
    kind: str = "events",
    without_images: str = "take a bag with images",
) -> Topics:
    """Return the topics of these names, or those that a bag has.

    Args:
        bag: an open bag.
        image_topic: topic of the images; "": the only one with messages, or /image among several.
        second_topic: topic of the second input; "": the only one with messages, or /events among several.
        kind: "events", or what else the second input is: then it has images.
        without_images: the remedy for a bag without images.

    Raises:
        ValueError: the bag lacks one, its type is not one that the node reads, or its messages cannot be read; or a
            name is needed.
    """
    image_topic = image_topic or _choose(bag, IMAGE_TYPES, "images", ("/image", "--image-topic"), without_images)
    images = _find(bag, image_topic, IMAGE_TYPES)
    types = EVENT_TYPES if kind == "events" else IMAGE_TYPES
    second_topic = second_topic or _choose(
        bag, types, kind, ("/events", "--events-topic"), f"take a bag with {kind}", besides=images.name
    )
    return Topics(images, _find(bag, second_topic, types))


def _choose(
    bag: Bag, types: tuple[str, ...], what: str, usual: tuple[str, str], without: str, besides: str = ""
) -> str:
    """Return the name of the only topic of these types (that has messages, if any has), or the usual one.

    Args:
        bag: an open bag.
        types: names of types.
        what: name of what is in such messages.
        usual: name that is taken of several, and the option that gives another.
        without: the remedy if there is none.
        besides: name of a topic that is chosen already.
    """
    typed = [topic for topic in bag.topics if topic.type in types and topic.name != besides]
    topics = {topic.name for topic in typed if bag.topics[topic]} or {topic.name for topic in typed}
    if len(topics) != 1 and usual[0] not in topics:
        names = ", ".join(f"{topic.name} ({topic.type})" for topic in bag.topics)
        raise ValueError(
            f"bag {bag.path} has {len(topics)} topics of {what} (its topics: {names}); expected one: "
            f"{f'name it with {usual[1]}' if topics else without}"
        )
    return usual[0] if len(topics) != 1 else topics.pop()


def _find(bag: Bag, name: str, types: tuple[str, ...]) -> BagTopic:
    found = [topic for topic in bag.topics if topic.name == name]
    if not found:
        names = ", ".join(sorted({topic.name for topic in bag.topics}))
        raise ValueError(f"topic {name} is not in bag {bag.path} (it has {names}): name one of these")
    fitting = [topic for topic in found if topic.type in types]
    if not fitting:
        kinds = " and ".join(topic.type or "unknown" for topic in found)
        raise ValueError(f"topic {name} is of type {kinds}; expected one of {', '.join(types)}: name another topic")
    if reason := bag.why_unreadable(fitting[0]):
        raise ValueError(
            f"topic {name} of bag {bag.path} cannot be read ({reason}); expected ROS messages: name another"
        )
    return fitting[0]


def read_frames(
    bag: Bag,
    topics: Topics,
    *,
    add: Callable[[Any], None],
    reaches: Callable[[int], bool],
    wait_ns: int,
    warn: Callable[[str], None],
) -> Iterator[BagImage]:
    """Yield each image as soon as what belongs to it is there, or its wait is over.

    Args:
        bag: an open bag.
        topics: of `find_topics`.
        add: called with the messages of the second topic.
        reaches: returns True if nothing better is to come for an image of that stamp.
        wait_ns: longest wait for it, nanoseconds of the bag's time.
        warn: called with a sentence on a broken message, which is left out as in the node.
    """
    waiting: deque[tuple[int, BagImage]] = deque()
    for topic, bag_ns, data in bag.messages(list(topics)):
        while waiting and (reaches(waiting[0][0]) or bag_ns - waiting[0][1].bag_ns > wait_ns):
            yield waiting.popleft()[1]
        try:
            if topic == topics.images:
                message = bag.deserialize(topic, data)
                waiting.append((stamp_to_ns(message.header.stamp), BagImage(bag_ns, message)))
            else:
                add(bag.event_message(topic, data))
        except Exception as error:
            warn(str(error))
    yield from (frame for _, frame in waiting)
