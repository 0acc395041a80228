"""The masks of a bag, one for each image or one for each mask time, each when a node would make it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from mambaseg_core.recordings.bag import Bag
from mambaseg_ros.bag.frames import Topics, read_frames
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.pipeline.grid_worker import GridWorker
from mambaseg_ros.pipeline.inbox import Arrival
from mambaseg_ros.pipeline.worker import Worker

MOST_WITHOUT_IMAGE = 1000  # mask times in a row without an image that are served one by one, each with its complaint


class MaskJob(NamedTuple):
    """One mask to make.

    Attributes:
        bag_ns: when it is made, nanoseconds of the bag's time.
        images: how many images have come.
        end_ns: the image's stamp, or the mask's time.
        image: message of the image, None where none is there.
        make: has the worker make it.
        leave: takes note of it instead, where an interrupted run has made it.
    """

    bag_ns: int
    images: int
    end_ns: int
    image: Any
    make: Callable[[], None]
    leave: Callable[[], None]


def mask_jobs(
    bag: Bag,
    topics: Topics,
    worker: Worker,
    *,
    add: Callable[[Any], None],
    wait_ns: int,
    warn: Callable[[str], None],
) -> Iterator[MaskJob]:
    """Yield the masks of a bag in order; the arguments are those of `read_frames`, and a worker without its thread."""
    if isinstance(worker, GridWorker):
        yield from _of_times(bag, topics, worker, add=add, warn=warn)
        return
    reaches = worker.source.reaches
    for number, frame in enumerate(read_frames(bag, topics, add=add, reaches=reaches, wait_ns=wait_ns, warn=warn), 1):
        make = partial(worker.handle, Arrival(frame.message, time.monotonic()))
        stamp_ns = stamp_to_ns(frame.message.header.stamp)
        yield MaskJob(frame.bag_ns, number, stamp_ns, frame.message, make, leave=lambda: None)


def _of_times(
    bag: Bag, topics: Topics, worker: GridWorker, *, add: Callable[[Any], None], warn: Callable[[str], None]
) -> Iterator[MaskJob]:
    """Yield the mask times; what comes later in the bag is not known to them, as in a node."""
    images = bag_ns = 0

    def job(index: int) -> MaskJob:
        time_ns = worker.time_ns(index)
        newest = worker.images.newest_up_to(time_ns)
        leave = partial(worker.pass_over, range(index, index + 1), wanted=False)
        return MaskJob(bag_ns, images, time_ns, newest and newest.message, partial(worker.serve, index), leave)

    def jobs(due: range) -> Iterator[MaskJob]:
        while due:
            alone = worker.without_image(due)
            if len(alone) <= MOST_WITHOUT_IMAGE:
                yield job(due[0])
                due = due[1:]
                continue
            worker.pass_over(alone)
            warn(
                f"{len(alone)} mask times in a row were passed over, since no image of at most image_age_max_ms = "
                f"{worker.parameters.image_age_max_ms:g} is there; expected stamps that go on: the camera paused, or "
                "its clock was set"
            )
            due = due[len(alone) :]

    for topic, bag_ns, data in bag.messages(list(topics)):
        yield from jobs(worker.due(bag_ns))
        try:
            if topic == topics.images:
                worker.keep_image(bag.deserialize(topic, data))
                images += 1
            else:
                add(bag.event_message(topic, data))
        except Exception as error:
            warn(str(error))
        worker.due(bag_ns)  # notes when it came
    yield from jobs(worker.due(bag_ns, at_end=True))
