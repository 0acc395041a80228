"""The worker thread: takes the newest image, waits for what belongs to it, segments both.

It knows no rclpy: its results go to a `ResultSink`, which is the node's publishers.
"""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from mambaseg_core.events.jumps import TimeJumps
from mambaseg_core.inference import Segmenter
from mambaseg_ros.cores import use_threads
from mambaseg_ros.faults import sentence_of
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.parameters import Parameters
from mambaseg_ros.pipeline.camera_image import CameraImage
from mambaseg_ros.pipeline.inbox import Arrival, Inbox
from mambaseg_ros.pipeline.masks import mask_to_publish
from mambaseg_ros.pipeline.region import cut, read_region
from mambaseg_ros.pipeline.results import NO_RELIABILITY, PublishedMask, Report, ResultSink, State, Stopwatch
from mambaseg_ros.policy import NO_CLOCK, Freshness, Health, judge_age, judge_clock, judge_queue
from mambaseg_ros.sources.source import Second, Source

IDLE_S = 0.2  # how often the worker looks whether images are missing
HEARTBEAT_S = 1.0  # between statuses while images are missing
NOBODY_LISTENS = "no mask is made: nobody subscribes to one, and parameter 'only_if_heard' is true"
FAULT_S = 0.01  # rest after a turn that failed
DRAIN_S = 0.1  # longest wait for the decoding of packets that came before an image


@dataclass
class Worker:
    """Run `Segmenter` on the newest image in a thread of its own.

    While `waiting_for` is a sentence, images fail with it: the calibration has not come yet. `age_fault` is the
    sentence on the age of the last image, empty where that is good. `doubts` are sentences that degrade every mask.
    `silence` is why no image comes, as far as the graph shows it.
    """

    segmenter: Segmenter
    inbox: Inbox
    source: Source
    sink: ResultSink
    parameters: Parameters
    images_refused: int = 0
    images_failed: int = 0
    images_dropped: int = 0
    masks_published: int = 0
    masks_from_events: int = 0
    masks_held: int = 0
    resets: int = 0
    waiting_for: str = ""
    images_health: Health = Health.SILENT
    events_health: Health = Health.SILENT
    reliability: tuple[float, float] = NO_RELIABILITY
    image_topic: str = ""
    age_fault: str = ""
    doubts: tuple[str, ...] = ()
    silence: str = ""
    _of_another_time: bool = field(default=False, init=False)
    _due_at: float = field(default=0.0, init=False)
    _served_at: float = field(default=-math.inf, init=False)
    _times: TimeJumps[int] = field(default_factory=TimeJumps, init=False)  # of the images
    _said_at: float = field(default_factory=time.monotonic, init=False)
    _last_second_ns: int = field(default=0, init=False)
    _packets_before: int = field(default=0, init=False)  # that came before the image in hand
    _overwritten: int = field(default=0, init=False)  # packets, up to the last image
    _last: PublishedMask | None = field(default=None, init=False)
    _image_size: tuple[int, int] = field(default=(0, 0), init=False)
    _thread: threading.Thread | None = field(default=None, init=False)
    _images_fresh: Freshness = field(default_factory=lambda: Freshness(0), init=False)
    _second_fresh: Freshness = field(default_factory=lambda: Freshness(0), init=False)
    _second_newest_ns: int | None = field(default=None, init=False)

    def start(self) -> None:
        """Start the thread."""
        now_ns = self.sink.now_ns()
        self._images_fresh, self._second_fresh = Freshness(now_ns), Freshness(now_ns)
        self._thread = threading.Thread(target=self._run, name="mambaseg worker", daemon=True)
        self._thread.start()

    def join(self, timeout: float | None) -> bool:
        """Wait for the image in hand after the inbox was closed; return True if the thread has ended."""
        if self._thread is not None:
            self._thread.join(timeout)
        return self._thread is None or not self._thread.is_alive()

    def counts(self) -> dict[str, int]:
        """Return the counts of SegmentationStatus that are the worker's, by name."""
        return {
            "images_replaced": 0,
            "images_refused": self.images_refused,
            "images_failed": self.images_failed,
            "images_dropped": self.images_dropped,
            "images_used": 0,
            "masks_published": self.masks_published,
            "masks_from_events": self.masks_from_events,
            "masks_held": self.masks_held,
            "mask_times": 0,
            "mask_times_skipped": 0,
            "mask_times_dropped": 0,
            "mask_times_failed": 0,
        }

    def _run(self) -> None:
        os.nice(self.parameters.nice)  # of this thread, and of torch's, which it starts with its first image
        use_threads(self.parameters.threads)
        while not self.inbox.closed:
            try:
                self._turn()
            except Exception as error:  # as from a clock whose context is gone: the next image is served all the same
                self.sink.warn(sentence_of(error))
                self.inbox.wait_until(lambda: False, FAULT_S, urgent=False)  # one that lasts must not take a core
        self._end()

    def _end(self) -> None:
        """Count what is left once the inbox is closed."""

    def _turn(self) -> None:
        """Serve the next image, or do without images once they are missing."""
        alone = self.images_health != Health.GOOD and self.parameters.when_images_missing != "drop"
        arrival = self.inbox.take_image(timeout=self.parameters.timer_ms / 1e3 if alone else IDLE_S)
        if self.parameters.only_if_heard and not self.sink.heard():
            self._rest(arrival)
            return
        if arrival is not None:
            if not self._due(arrival.arrived):
                self._skip()
                return
            self.handle(arrival)
        if not self.inbox.closed and (arrival is None or self.images_health == Health.BAD):
            self._do_without_images()

    def _rest(self, arrival: Arrival | None) -> None:
        """Make no mask while nobody wants one, and drop an image that came."""
        if arrival is not None:
            self._skip()
        else:
            self._images_are_missing(self.sink.now_ns())
        self._beat(NOBODY_LISTENS, "")

    def _due(self, arrived: float) -> bool:
        """Return whether an image keeps `max_rate_hz`; the mean rate is kept also where the camera's is no multiple."""
        rate_hz = self.parameters.max_rate_hz
        if rate_hz == 0:
            return True
        due_at = min(self._due_at, self._served_at + 1 / rate_hz)  # the rate may have been raised since
        if arrived < due_at:
            return False
        late, self._served_at = arrived - due_at, arrived
        self._due_at = arrived + 1 / rate_hz - (late if late < 1 / rate_hz else 0.0)
        return True

    def _skip(self) -> None:
        """Drop an image on purpose; images are not missing."""
        self.images_dropped += 1
        self._images_came()

    def _images_came(self) -> None:
        """Note that images are not missing."""
        self._images_fresh.seen(self.sink.now_ns())
        if self.images_health != Health.BAD:
            self.images_health = Health.GOOD

    def handle(self, arrival: Arrival) -> None:
        """Segment one image and report what became of it; never raise."""
        work = partial(self._serve_image, arrival)
        self._work_and_report(work, Report(arrival.message.header), arrival.arrived, of_image=True)

    def _work_and_report(
        self, work: Callable[[Report], bool], report: Report, since: float, *, of_image: bool = False
    ) -> None:
        """Do the work for one image, or one turn of the timer, and report it, failures included.

        Args:
            work: fills the report; returns False where there is nothing to report.
            report: what is published.
            since: when the image came or the turn began, seconds of the monotonic clock.
            of_image: whether a failure is that of an image.
        """
        refused, anything = self.images_refused, True
        try:
            anything = work(report)
        except Exception as error:  # the one place: a model may raise anything, and the vehicle drives on
            report.state, report.message = State.ERROR, sentence_of(error)
            self.images_failed += of_image and self.images_refused == refused
        if not anything:
            return
        if math.isnan(report.image_reliability):
            self.reliability = NO_RELIABILITY  # of the last mask, as long as there is a new one
        report.images_health, report.events_health = self.images_health, self.events_health
        report.total_ms = 1e3 * (time.monotonic() - since)
        try:
            self._doubt(report)
            self.sink.report(report)
            self._said_at = time.monotonic()
        except Exception as error:  # nothing that DDS refuses may end the thread
            self.sink.warn(sentence_of(error))

    def _doubt(self, report: Report) -> None:
        """Say what is wrong with a mask that was published all the same: its age, and `doubts`."""
        now_ns, stamp_ns = self.sink.now_ns(), stamp_to_ns(report.header.stamp)
        report.age_ms = (now_ns - stamp_ns) / 1e6
        limit_ms, simulated = self.parameters.max_age_ms, self.sink.simulated()
        of_another_time = judge_clock(now_ns, stamp_ns, simulated=simulated) if limit_ms else ""
        if of_another_time:
            if not self._of_another_time:
                self.sink.warn(of_another_time)
            health, too_old = Health.GOOD, ""
        else:
            health, too_old = judge_age(now_ns, stamp_ns, report.total_ms, limit_ms, simulated=simulated)
        self._of_another_time = bool(of_another_time)
        if self.images_health == Health.GOOD:
            report.images_health, self.age_fault = health, too_old or of_another_time
        elif report.policy == "hold":  # no image comes: the last mask grows old, and the report says why
            too_old = ""
        if report.state == State.ERROR:
            return
        for sentence in filter(None, (*self.doubts, too_old)):
            report.doubt(sentence)

    def _serve_image(self, arrival: Arrival, report: Report) -> bool:
        """Prepare an image while its second input comes, and segment both, or act by the policy without it."""
        self._look_at_second()
        report.window_end_ns = stamp_ns = stamp_to_ns(arrival.message.header.stamp)
        image, since = CameraImage(arrival.message), time.monotonic()
        self._packets_before = self.inbox.poll()
        with self.inbox.awaiting():
            self._read_image(image)
            if self.waiting_for:
                raise ValueError(self.waiting_for)
            image.prepare_ahead(self.segmenter, self.parameters.roi)
            stages, ready = report.stages, time.monotonic()
            stages.image = 1e3 * (ready - self._came_at(stamp_ns, since, ready))
            stages.image_ahead = 1e3 * (ready - since) - stages.image
            doubt = self._wait_for_second(stamp_ns, since)
        report.wait_ms = 1e3 * (time.monotonic() - arrival.arrived) - stages.image
        if self._segment_or_act(stamp_ns, image, report, doubt):
            report.image_age_ns = 0
        else:
            self.images_dropped += 1
        return True

    def _came_at(self, stamp_ns: int, since: float, until: float) -> float:
        """Return when the second input of an image came within a span of time; the end of it if it has not.

        A packet that came after those needed, but within the span, makes it later.

        Args:
            stamp_ns: of the image.
            since: begin of the span, seconds of the monotonic clock.
            until: end of the span.
        """
        there = self.inbox.packets_done >= self._packets_before and self.source.reaches(stamp_ns)
        return min(max(self.inbox.packets_done_at, since), until) if there else until

    def _segment_or_act(self, end_ns: int, image: CameraImage, report: Report, doubt: str = "") -> bool:
        """Segment an image with the second input up to a time, or act by `when_events_missing` without it.

        Args:
            end_ns: end of the window, the image's stamp or the mask's time.
            image: the camera's image.
            report: is filled; its header is that of the mask.
            doubt: what degrades the mask, or empty.

        Returns:
            True if a new mask was made.
        """
        watch = Stopwatch()
        second = self.source.beside(end_ns)
        if not self._judge_second(end_ns, second, report):
            second = None
        report.stages.window = watch.lap_ms()
        if doubt:
            report.state, report.message = State.DEGRADED, doubt
        if second is not None or report.policy == "image_only":
            self._segment(report.header, image, second, report)
            return True
        if report.policy == "hold":
            self._hold(report)
        else:
            report.state = State.ERROR
        return False

    def _read_image(self, image: CameraImage) -> None:
        """Read an image, and note its health."""
        try:
            picture = image.read()
            if (region := read_region(self.parameters.roi)) is not None:
                region.check_inside((picture.shape[0], picture.shape[1]))
        except ValueError as error:
            self.images_refused += 1
            self.images_health = Health.BAD
            raise ValueError(f"{self.image_topic}{error}") from error
        self.images_health, self._image_size = Health.GOOD, (picture.shape[0], picture.shape[1])
        self._images_fresh.seen(self.sink.now_ns())

    # -- the second input ----------------------------------------------------------------------------------------

    def _wait_for_second(self, stamp_ns: int, since: float) -> str:
        """Wait until what came before the image is decoded and nothing better is to come, at most `event_wait_ms`.

        Args:
            stamp_ns: of the image.
            since: when the wait began, seconds of the monotonic clock.

        Returns:
            a sentence if the image's stamp jumps back and nothing else does, or empty.
        """
        deadline = since + self.parameters.event_wait_ms / 1e3
        inbox, source, before_ns = self.inbox, self.source, self._times.newest_ns or 0
        inbox.wait_until(lambda: inbox.packets_done >= self._packets_before, DRAIN_S)
        verdict = self._times.see(stamp_ns, stamp_ns, stamp_ns)
        if verdict.keep and not verdict.anew:
            inbox.wait_until(lambda: source.reaches(stamp_ns), deadline - time.monotonic())
            return ""
        # a looped bag takes the second input back too; those nearer to the new time than to the old one came first
        between_ns = (stamp_ns + before_ns) // 2

        def jumped_too() -> bool:
            source.agree(stamp_ns)
            newest_ns = source.newest_ns
            return newest_ns is not None and newest_ns <= between_ns

        inbox.wait_until(lambda: jumped_too() and source.reaches(stamp_ns), deadline - time.monotonic())
        if jumped_too():
            self._times.agree(stamp_ns)
        elif not verdict.anew:
            return (
                f"the image's stamp is {(before_ns - stamp_ns) / 1e6:.1f} ms before that of an earlier image; expected "
                "stamps that go on: check the camera's driver (a jump is believed at the third image in a row)"
            )
        self._last = None
        self.resets += source.forget_after(between_ns)
        return ""

    def _judge_second(self, stamp_ns: int, second: Second | None, report: Report) -> bool:
        """Return True if the second input is given to the model; fill the report if it is not fit for use."""
        self.events_health, sentence, usable = self.source.judge(stamp_ns, second, self.parameters.limits)
        if queue := self._judge_queue(stamp_ns):
            self.events_health, sentence = Health.STALE, queue
        if self.events_health == Health.GOOD:
            return True
        if self.source.last_refused and not usable:
            self.events_health, sentence = Health.BAD, f"{sentence}; the last message could not be read: see the log"
        report.state, report.message = State.DEGRADED, sentence
        if not usable:
            report.policy = self.parameters.when_events_missing
        return usable

    def _judge_queue(self, stamp_ns: int) -> str:
        """Return what is missing because it was not decoded in time, as a sentence."""
        inbox = self.inbox
        before, self._overwritten = self._overwritten, inbox.packets_overwritten
        late = 0 if self.source.reaches(stamp_ns) else max(0, self._packets_before - inbox.packets_done)
        return judge_queue(late, self._overwritten - before)

    def _look_at_second(self) -> None:
        """Set the health of the second input where no image says what is in time."""
        newest_ns, now_ns = self.source.newest_ns, self.sink.now_ns()
        if newest_ns != self._second_newest_ns:
            self._second_fresh.seen(now_ns)
            self._second_newest_ns = newest_ns
        if self.source.last_refused:
            self.events_health = Health.BAD
        elif newest_ns is None:
            self.events_health = Health.SILENT
        else:
            stale = self._second_fresh.silent_ns(now_ns) > self.parameters.images_stale_ns
            self.events_health = Health.STALE if stale else Health.GOOD

    # -- masks -------------------------------------------------------------------------------------------------

    def _segment(self, header: Any, taken: CameraImage | None, second: Second | None, report: Report) -> None:
        """Run the model on what there is, or on its region of interest, and hand the mask over."""
        stages, watch = report.stages, Stopwatch()
        region, whole = read_region(self.parameters.roi), self._image_size
        image, of_image = None if taken is None else taken.read(), region
        if region is not None:
            image, second, region, whole = cut(region, whole, image, second)
        stages.window += watch.lap_ms()
        prepared = None if taken is None else taken.prepared(self.segmenter, of_image)
        stages.image += watch.lap_ms()
        if second is None:
            mask = self.segmenter.segment(prepared, None)
        else:
            report.events_used, report.window_start_ns = second.events, second.start_ns
            mask = self.segmenter.segment(prepared, second.data, second.edges_ns)
        size = self._second_size(second) if image is None else (image.shape[0], image.shape[1])
        stages.second, report.inference_ms = mask.prepare_ms, mask.inference_ms
        report.image_reliability, report.second_reliability = self.reliability = mask.reliability or NO_RELIABILITY

        watch.lap_ms()
        full = self.parameters.mask_size == "image"
        if not full and image is not None and self.segmenter.calibration is not None:
            header = self.sink.header(stamp_to_ns(header.stamp), self.source.frame_id)  # it is in the events' view
        self._last = mask_to_publish(self.segmenter, mask, header=header, image=image, size=size, full=full)
        if region is not None:
            self._last = self._last._replace(view=self._last.view.of_part(whole, region.pixels()))
        stages.mapping = watch.lap_ms()
        self.sink.mask(self._last)
        report.class_shares = self._last.class_shares
        self.masks_published += 1
        stages.publishing = watch.lap_ms()

    def _second_size(self, second: Second | None) -> tuple[int, int]:
        """Return the size of a mask without an image: that of the second input, rectified if calibrated."""
        calibration = self.segmenter.calibration
        if calibration is not None:
            return calibration.event_size
        assert second is not None  # what is segmented without an image
        return second.size

    # -- without images ----------------------------------------------------------------------------------------

    def _do_without_images(self) -> None:
        """Act by `when_images_missing`, one turn of the timer, once images are missing or cannot be read."""
        now_ns = self.sink.now_ns()
        if now_ns == 0:
            self._beat(NO_CLOCK, self.parameters.when_images_missing)
        if not self._images_are_missing(now_ns):
            return
        self._act_without_images()
        if self._images_fresh.silent_ns(now_ns) >= 2 * self._images_fresh.period_ns:  # else the camera is slow
            self._beat(self.silence or self._images_missing(), self.parameters.when_images_missing)

    def _act_without_images(self) -> None:
        if self.parameters.when_images_missing == "events_only":
            self._segment_second_alone()
        elif self.parameters.when_images_missing == "hold" and self._last is not None:
            report = Report(self._last.header, State.DEGRADED, "hold", self._images_missing())
            self._work_and_report(self._hold, report, time.monotonic())

    def _images_are_missing(self, now_ns: int) -> bool:
        """Return whether images are missing, and set the health of both inputs if so."""
        if self._images_fresh.silent_ns(now_ns) < self.parameters.images_stale_ns:
            return False
        self._look_at_second()
        self.reliability = NO_RELIABILITY
        if self.images_health != Health.BAD:
            self.images_health = Health.STALE if self.inbox.images_received else Health.SILENT
        return True

    def _beat(self, sentence: str, policy: str) -> None:
        """Report once a second that the node lives where nothing else does; the stamp is of the node's clock."""
        if time.monotonic() - self._said_at < HEARTBEAT_S:
            return
        self._said_at = time.monotonic()
        report = Report(self.sink.header(self.sink.now_ns(), ""), State.ERROR, policy, sentence)
        report.images_health, report.events_health = self.images_health, self.events_health
        self.sink.heartbeat(report)

    def _segment_second_alone(self) -> None:
        newest_ns = self.source.settled_ns  # no mask of a message from the future
        if newest_ns is None or newest_ns == self._last_second_ns:
            return
        self._last_second_ns = newest_ns
        header = self.sink.header(newest_ns, self.source.frame_id)
        report = Report(header, State.DEGRADED, "events_only", self._images_missing(), window_end_ns=newest_ns + 1)
        self._work_and_report(self._serve_second, report, time.monotonic())

    def _serve_second(self, report: Report) -> bool:
        """Segment the newest second input without an image; return False where there is none."""
        if self.waiting_for:
            raise ValueError(self.waiting_for)
        second = self.source.beside(report.window_end_ns)
        if second is None:
            return False
        self._segment(report.header, None, second, report)
        self.masks_from_events += 1
        return True

    def _images_missing(self) -> str:
        return (
            f"no image for more than images_stale_ms = {self.parameters.images_stale_ms:g}; expected some: check the "
            "image topic and its publisher"
        )

    def _hold(self, report: Report) -> bool:
        """Republish the last mask with its original stamp. Without one, report ERROR."""
        if self._last is None:
            report.state = State.ERROR
        else:
            self.sink.mask(self._last)
            report.class_shares = self._last.class_shares
            self.masks_held += 1
        return True
