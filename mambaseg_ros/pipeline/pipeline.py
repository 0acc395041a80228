"""What runs while the node is active: inbox, feeder, source and worker, and the counts of all of them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mambaseg_core.inference import Segmenter
from mambaseg_core.memory import BurstMemory
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.parameters import RANDOM, Parameters
from mambaseg_ros.pipeline.feeder import Feeder
from mambaseg_ros.pipeline.grid_worker import make_worker
from mambaseg_ros.pipeline.inbox import Inbox
from mambaseg_ros.pipeline.kept_images import MOST_IMAGES
from mambaseg_ros.pipeline.results import ResultSink
from mambaseg_ros.sources.events import EventSource
from mambaseg_ros.sources.pictures import PictureSource
from mambaseg_ros.sources.source import say_nothing

IMAGES_REMEMBERED = 100  # to know those that a second publisher sends too
TWICE_S = 1.0  # an image that comes again later is of a bag that is played again
IMAGE_LAG_MS = 300.0  # how long after its stamp an image may come, or wait for the model


@dataclass
class Reported:
    """Messages lost on the way, by gaps in their numbers and as the middleware reports them."""

    images_lost: int = 0
    images_lost_reported: int = 0
    packets_lost: int = 0
    packets_lost_reported: int = 0
    qos_incompatible: int = 0


class Pipeline:
    """Turn messages into masks, from activation to deactivation.

    Args:
        segmenter: ready to run.
        parameters: of the node.
        sink: where masks and reports go.
    """

    def __init__(self, segmenter: Segmenter, parameters: Parameters, sink: ResultSink) -> None:
        self.reported = Reported()
        self.inbox = Inbox(
            max_packet_bytes=parameters.buffer_bytes,
            max_packet_age_s=parameters.buffer_ms / 1e3,
            max_images=MOST_IMAGES if parameters.mask_rate_hz else 1,
        )
        self._second_topic = ""

        def warn(sentence: str) -> None:
            sink.warn(self._second_topic + sentence)

        self.source = make_source(segmenter.preprocessing, parameters, warn)
        self.worker = make_worker(segmenter, self.inbox, self.source, sink, parameters)
        self._feeder = Feeder(self.inbox, self.source.add_all, warn, useful_s=self._useful_s)
        self._buffer_bytes, self._burst = parameters.buffer_bytes, BurstMemory()
        self._doubts: dict[str, str] = {}
        self._senders: dict[tuple[int, int], tuple[bytes, float]] = {}  # of the last images, by stamp and bytes
        if parameters.weights == RANDOM:
            self.doubt(
                RANDOM, "the weights are random, so the mask means nothing: set parameter 'weights' to a checkpoint"
            )

    def doubt(self, what: str, sentence: str) -> None:
        """Degrade every mask from now on by a sentence on `what`; an empty one ends that."""
        self._doubts[what] = sentence
        self.worker.doubts = tuple(filter(None, self._doubts.values()))

    def put_image(self, message: Any, publisher: bytes = b"") -> None:
        """Take an image; drop and count one that another publisher sent just before.

        Args:
            message: the image.
            publisher: whose it is, empty where that is not known.
        """
        stamp_ns, now = stamp_to_ns(message.header.stamp), time.monotonic()
        image = stamp_ns, len(message.data)
        sender, at = self._senders.pop(image, (publisher, now))
        if stamp_ns and sender != publisher and now - at < TWICE_S:
            self._senders[image] = sender, at
            self.inbox.drop_image()
            return
        self._senders[image] = publisher, now
        if len(self._senders) > IMAGES_REMEMBERED:
            del self._senders[next(iter(self._senders))]
        self.inbox.put_image(message)

    def name_topics(self, image: str, second: str) -> None:
        """Set the topics that sentences about unreadable messages begin with."""
        self.worker.image_topic, self._second_topic = f"{image}: ", f"{second}: "

    def _useful_s(self) -> float:
        """Return how old a packet can be, seconds, and still hold events for an image that comes now."""
        parameters = self.worker.parameters
        useful_ms = self.source.reach_ns / 1e6 + parameters.event_wait_ms + IMAGE_LAG_MS
        return min(parameters.buffer_ms, useful_ms) / 1e3

    def start(self) -> None:
        """Start both threads."""
        self._feeder.start()
        self.worker.start()

    def stop(self, timeout: float | None = None) -> bool:
        """End both threads after the image in hand; return True if they ended within `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        self.inbox.close()
        ended = self.worker.join(timeout)
        self._feeder.join(None if deadline is None else max(0.0, deadline - time.monotonic()))
        return ended

    def give_back_memory(self) -> bool:
        """Return the memory of a burst that is over to the system; call it once a second. Return True if it did."""
        buffered = self.source.fill[1] / 100 * self._buffer_bytes
        return self._burst.look(int(buffered) + self.inbox.bytes_waiting)

    def counts(self) -> dict[str, int]:
        """Return the counts of SegmentationStatus by name."""
        reported, inbox, worker = self.reported, self.inbox, self.worker
        taken, held, of_worker = self.source.counts, self.source.buffered, worker.counts()
        return {
            **of_worker,
            "images_received": inbox.images_received,
            "images_replaced": inbox.images_replaced + of_worker["images_replaced"],
            "images_dropped": inbox.images_dropped + of_worker["images_dropped"],
            "events_received": taken.events_received,
            "events_refused": taken.events_refused + held.late + held.jumped,
            "events_overwritten": held.dropped_bytes,
            "packets_received": inbox.packets_received,
            "packets_refused": taken.packets_refused,
            "packets_waiting": inbox.packets_waiting,
            "packets_overwritten": inbox.packets_overwritten,
            "resets": worker.resets + held.resets + taken.sensor_changes,
            **reported.__dict__,
            # those reported are among the gaps, but Humble has no numbers, and after the last one no gap shows yet
            "images_lost": max(reported.images_lost, reported.images_lost_reported),
            "packets_lost": max(reported.packets_lost, reported.packets_lost_reported),
        }


def make_source(
    setup: Preprocessing,
    parameters: Parameters,
    warn: Callable[[str], None] = say_nothing,
    clock: Callable[[], float] = time.monotonic,
) -> EventSource | PictureSource:
    """Return the source of a model's second input, by its preprocessing: events, or the images of a second camera."""
    max_age_ns, max_bytes = int(parameters.buffer_ms * 1e6), parameters.buffer_bytes
    if setup.second != "events":
        return PictureSource(setup, max_age_ns=max_age_ns, max_bytes=max_bytes, warn=warn)
    return EventSource(
        setup,
        max_age_ns=max_age_ns,
        max_bytes=max_bytes,
        clock_mode=parameters.event_clock,
        hot_pixel_filter=parameters.hot_pixel_filter,
        warn=warn,
        clock=clock,
    )
