"""The worker thread: takes the newest image, waits for its events, segments, hands the result over.

It knows no rclpy: what it makes goes through the `Outputs` that the node gives it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mambaseg_core.events import Events
from mambaseg_core.events.buffer import JUMP_NS
from mambaseg_core.inference import Segmenter
from mambaseg_ros.intake import EventIntake
from mambaseg_ros.messages import Image, image_from_message, stamp_to_ns
from mambaseg_ros.pairing import Arrival, Inbox

OK, DEGRADED, ERROR = 0, 1, 2  # SegmentationStatus


@dataclass
class Report:
    """What became of one image; the fields are those of SegmentationStatus."""

    header: Any
    state: int = OK
    message: str = ""
    wait_ms: float = 0.0
    prepare_ms: float = 0.0
    inference_ms: float = 0.0
    publish_ms: float = 0.0
    total_ms: float = 0.0
    events_used: int = 0
    window_start_ns: int = 0
    window_end_ns: int = 0


class Outputs(Protocol):
    """Where the worker's results go."""

    def mask(self, header: Any, image: Image, ids: Image) -> None:
        """Publish class ids [H, W] at the camera's resolution."""

    def report(self, report: Report) -> None:
        """Publish what became of an image."""

    def warn(self, sentence: str) -> None:
        """Say what is wrong with an event message."""


@dataclass
class Worker:
    """Runs `Segmenter` on the newest image in a thread of its own."""

    segmenter: Segmenter
    inbox: Inbox
    intake: EventIntake
    outputs: Outputs
    event_wait_s: float
    images_refused: int = 0
    images_failed: int = 0
    masks_published: int = 0
    resets: int = 0
    _last_stamp_ns: int = field(default=0, init=False)
    _thread: threading.Thread | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="mambaseg worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread after the image in hand."""
        self.inbox.close()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        running = True
        while running:
            arrival = self.inbox.take_image(timeout=0.2)
            self._take_packets()
            if arrival is not None:
                self._handle(arrival)
            running = not self.inbox.closed

    def _handle(self, arrival: Arrival) -> None:
        """Segment one image; whatever fails is reported and the node lives on."""
        report = Report(arrival.message.header)
        refused = self.images_refused
        try:
            self._segment(arrival, report)
        except Exception as error:  # the one place: a model may raise anything, and the vehicle drives on
            report.state = ERROR
            report.message = sentence_of(error)
            self.images_failed += self.images_refused == refused
        report.total_ms = 1e3 * (time.monotonic() - arrival.arrived)
        try:
            self.outputs.report(report)
        except Exception as error:  # nothing that DDS refuses may end the thread
            self.outputs.warn(sentence_of(error))

    def _segment(self, arrival: Arrival, report: Report) -> None:
        header = arrival.message.header
        image = self._read_image(arrival.message)
        stamp_ns = stamp_to_ns(header.stamp)
        self._forget_another_time(stamp_ns)
        report.window_end_ns = stamp_ns
        self.inbox.wait_until(lambda: self._events_reach(stamp_ns), self.event_wait_s)
        waited = time.monotonic()
        report.wait_ms = 1e3 * (waited - arrival.arrived)

        events, edges_ns = self._window(stamp_ns, image.shape[:2])
        self._describe_window(report, events)
        window_ms = 1e3 * (time.monotonic() - waited)
        mask = self.segmenter.segment(image, events, edges_ns)
        report.prepare_ms, report.inference_ms = window_ms + mask.prepare_ms, mask.inference_ms

        start = time.monotonic()
        self.outputs.mask(header, image, self.segmenter.to_camera(mask.ids, (image.shape[0], image.shape[1])))
        self.masks_published += 1
        report.publish_ms = 1e3 * (time.monotonic() - start)

    def _read_image(self, message: Any) -> Image:
        try:
            return image_from_message(message)
        except ValueError:
            self.images_refused += 1
            raise

    def _take_packets(self) -> None:
        for packet in self.inbox.take_packets():
            try:
                self.intake.add(packet)
            except Exception as error:  # hostile bytes must not end the thread
                self.outputs.warn(sentence_of(error))

    def _events_reach(self, stamp_ns: int) -> bool:
        self._take_packets()
        newest_ns = None if self.intake.buffer is None else self.intake.buffer.newest_ns
        return newest_ns is not None and newest_ns >= stamp_ns

    def _forget_another_time(self, stamp_ns: int) -> None:
        """A looped bag: image time jumped back while the newest events are still of the old pass: drop those.

        Events that are nearer to the new time than to the old one came first and stay: the buffer has noticed the jump
        by itself. Images that merely come out of order change nothing.
        """
        buffer = self.intake.buffer
        if stamp_ns < self._last_stamp_ns - JUMP_NS:
            middle_ns = (stamp_ns + self._last_stamp_ns) // 2
            if buffer is not None and buffer.newest_ns is not None and buffer.newest_ns > middle_ns:
                buffer.clear()
                self.resets += 1
        self._last_stamp_ns = stamp_ns

    def _window(
        self, stamp_ns: int, image_size: tuple[int, ...]
    ) -> tuple[Events, npt.NDArray[np.int64] | None]:
        setup = self.segmenter.preprocessing
        if self.intake.buffer is None:
            calibration = self.segmenter.calibration
            height, width = image_size[:2] if calibration is None else calibration.event_raw.size
            return Events.empty(height, width), None
        events = self.intake.buffer.window(stamp_ns, setup.window, bins=setup.bins)
        if len(events) == 0:
            return events, None
        return events, setup.window.edges_ns(events, stamp_ns, bins=setup.bins, mode=setup.voxel_mode)

    def _describe_window(self, report: Report, events: Events) -> None:
        """Say which events were used, and where they end too early to be trusted."""
        report.events_used = len(events)
        report.window_start_ns = int(events.t_ns[0]) if len(events) else 0
        stamp_ns = report.window_end_ns
        newest_ns = None if self.intake.buffer is None else self.intake.buffer.newest_ns
        missing_ms = 0.0 if newest_ns is None else (stamp_ns - newest_ns) / 1e6
        if len(events) == 0:
            report.state = DEGRADED
            report.message = (
                f"no events in the window that ends at the image's stamp {stamp_ns} ns; the mask comes from the image "
                "alone: check the events topic and that both stamps are of one clock"
            )
        elif missing_ms > 1e3 * self.event_wait_s:
            report.state = DEGRADED
            report.message = (
                f"events end {missing_ms:.1f} ms before the image's stamp; expected less than event_wait_ms = "
                f"{1e3 * self.event_wait_s:g}: check the event driver, or raise event_wait_ms"
            )


def sentence_of(error: Exception) -> str:
    """What to tell people: our own sentences as they are, anything else with its type."""
    return str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
