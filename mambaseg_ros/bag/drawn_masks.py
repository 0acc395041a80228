"""The masks of one bag, each with the image of another bag that it is drawn over."""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, NamedTuple

from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.bag.frames import Topics
from mambaseg_ros.messages.stamps import stamp_to_ns

OLDEST_NS = 10_000_000_000  # no mask has an older image: the bound of image_age_max_ms


class DrawnMask(NamedTuple):
    """The time of a mask, and the message of the image that it is drawn over."""

    time_ns: int
    message: Any


def image_stamps(bag: Bag, topics: Topics) -> list[int]:
    """Return the stamps of a bag's images, sorted; those that cannot be read are left out."""
    stamps_ns = []
    for topic, _, data in bag.messages([topics.images]):
        with suppress(Exception):  # as broken as any bytes can be
            stamps_ns.append(stamp_to_ns(bag.deserialize(topic, data).header.stamp))
    return sorted(stamps_ns)


def images_of_masks(times_ns: Iterable[int], stamps_ns: list[int]) -> dict[int, int]:
    """Return the stamp of the image that each mask is drawn over, by the mask's time: the newest up to then.

    A mask without an image of at most `OLDEST_NS` before it is left out.
    """
    found = {}
    for time_ns in sorted(times_ns):
        at = bisect_right(stamps_ns, time_ns)
        if at and time_ns - stamps_ns[at - 1] <= OLDEST_NS:
            found[time_ns] = stamps_ns[at - 1]
    return found


def read_drawn(
    bag: Bag,
    topics: Topics,
    image_of: dict[int, int],
    *,
    add: Callable[[Any], None],
    reaches: Callable[[int], bool],
    wait_ns: int,
) -> Iterator[DrawnMask]:
    """Yield each mask in the order of time with its image, once its events are there, or were waited for.

    Args:
        bag: an open bag.
        topics: of `find_topics`.
        image_of: of `images_of_masks`.
        add: called with the messages of the second topic; what it raises is left out, as in the node.
        reaches: returns True if the events up to a time have come.
        wait_ns: longest wait for them, nanoseconds of the bag's time.
    """
    waiting, wanted = deque(sorted(image_of)), set(image_of.values())
    images: dict[int, tuple[int, Any]] = {}  # when it came, and the message

    def ready(bag_ns: int) -> bool:
        stamp_ns = image_of[waiting[0]]
        if stamp_ns not in images:
            return False
        return reaches(waiting[0]) or bag_ns - images[stamp_ns][0] > waiting[0] - stamp_ns + wait_ns

    def next_drawn() -> DrawnMask:
        time_ns = waiting.popleft()
        for stamp_ns in [stamp_ns for stamp_ns in images if stamp_ns < image_of[time_ns]]:
            del images[stamp_ns]
        return DrawnMask(time_ns, images[image_of[time_ns]][1])

    for topic, bag_ns, data in bag.messages(list(topics)):
        while waiting and ready(bag_ns):
            yield next_drawn()
        with suppress(Exception):
            if topic != topics.images:
                add(bag.event_message(topic, data))
                continue
            message = bag.deserialize(topic, data)
            stamp_ns = stamp_to_ns(message.header.stamp)
            if stamp_ns in wanted:
                images[stamp_ns] = bag_ns, message
    while waiting and image_of[waiting[0]] in images:
        yield next_drawn()
