"""Masks between images: the worker of `mask_rate_hz`, which serves mask times of a grid in place of images.

A mask time is due when events have reached it, or when they would have and did not for `event_wait_ms` of the node's
clock. `bag segment --rate` drives the same worker with a bag's clock.
"""

from __future__ import annotations

import time
from typing import Any

from mambaseg_core.events.jumps import JUMP_NS
from mambaseg_core.inference import Segmenter
from mambaseg_ros.faults import sentence_of
from mambaseg_ros.messages.stamps import LAST_NS, stamp_to_ns
from mambaseg_ros.parameters import Parameters
from mambaseg_ros.pipeline.inbox import Inbox
from mambaseg_ros.pipeline.kept_images import KeptImage, KeptImages
from mambaseg_ros.pipeline.mask_times import MaskGrid, StampClock, covered
from mambaseg_ros.pipeline.results import Report, ResultSink, State
from mambaseg_ros.pipeline.worker import DRAIN_S, NOBODY_LISTENS, Worker
from mambaseg_ros.policy import Health, judge_image_age
from mambaseg_ros.sources.source import Source

LOOK_S = 0.01  # how often the worker looks whether a mask time is due without events
LEAST_WAIT_S = 0.001  # a clock that stands just before a mask time must not take a core


class GridWorker(Worker):
    """Make a mask at each time of the grid from the newest image and the events up to then.

    Attributes:
        images: those that a coming mask time may need.
        mask_times: mask times that came since the first image, each with one fate.
        mask_times_skipped: those that were passed over though they had an image, since a newer one was due.
        mask_times_dropped: those without a mask on purpose.
        mask_times_failed: those whose mask could not be made or published.
    """

    def __init__(self, *args: Any, **fields: Any) -> None:
        super().__init__(*args, **fields)
        self.images = KeptImages(self._warn_of_image)
        self.mask_times = self.mask_times_skipped = self.mask_times_dropped = self.mask_times_failed = 0
        self._grid = MaskGrid(self.parameters.mask_rate_hz)
        self._passed: int | None = None  # index of the last mask time; None: the next image begins anew
        self._clock = StampClock()
        self._events_ns: int | None = None  # of the newest event, at the last look

    def _warn_of_image(self, sentence: str) -> None:
        self.sink.warn(self.image_topic + sentence)

    # -- the thread --------------------------------------------------------------------------------------------

    def _turn(self) -> None:
        """Serve the newest mask time that is due, or wait for one."""
        self._take_images()
        due = self.due(self.sink.now_ns())
        if due and not self.source.reaches(self._grid.time_ns(due[-1])):  # packets may wait to be decoded
            self._packets_before = self.inbox.poll()
            self.inbox.wait_until(lambda: self.inbox.packets_done >= self._packets_before, DRAIN_S)
            due = self.due(self.sink.now_ns())
        self._take_images()  # all that came before the events that made it due
        if self.inbox.closed or (due and self._passed is None):
            return
        heard = not self.parameters.only_if_heard or self.sink.heard()
        if not due:
            self._do_without_images()
            self._say_what_is_missing()
            self._wait(ahead=heard and not self.waiting_for)
        elif heard and self._due(time.monotonic()):
            self.pass_over(due[:-1])
            self.serve(due[-1])
        else:
            self.pass_over(due, wanted=False)
        if not heard:
            self._beat(NOBODY_LISTENS, "")

    def _take_images(self) -> None:
        while (arrival := self.inbox.take_image(timeout=0)) is not None:
            self.keep_image(arrival.message)

    def _wait(self, *, ahead: bool) -> None:
        """Wait for an image or for the events of the next mask time.

        Args:
            ahead: whether its image is prepared meanwhile. It is just before that time, as a newer one may come.
        """
        if self._passed is None:
            self.inbox.wait_until(lambda: self.inbox.images_waiting > 0, LOOK_S, urgent=False)
            return
        source, next_ns = self.source, self._grid.time_ns(self._passed + 1)
        now_ns = self._clock.at(self.sink.now_ns())
        missing_s = LOOK_S if now_ns is None else (next_ns - now_ns) / 1e9
        if ahead and missing_s <= LOOK_S and (image := self.images.newest_up_to(next_ns)) is not None:
            image.prepare_ahead(self.segmenter, self.parameters.roi)
        self.inbox.wait_until(
            lambda: self.inbox.images_waiting > 0 or (source.settled_ns or 0) >= next_ns,
            min(LOOK_S, max(LEAST_WAIT_S, missing_s)) if missing_s > 0 else LOOK_S,
            urgent=missing_s <= 0,
        )

    def _say_what_is_missing(self) -> None:
        """Report once a second that no image may serve a mask time that is over; nothing else does without events."""
        now_ns = self._clock.at(self.sink.now_ns())
        if self._passed is None or now_ns is None:
            return
        next_ns = self._grid.time_ns(self._passed + 1)
        if now_ns - self._wait_ns < next_ns:
            return
        image, images = self.images.newest_up_to(next_ns), self.images
        stamp_ns, age_max_ns = None if image is None else image.stamp_ns, self.parameters.image_age_max_ns
        if sentence := judge_image_age(next_ns, stamp_ns, images.newest_ns, age_max_ns):
            self._beat(sentence, self.parameters.when_images_missing)

    @property
    def _wait_ns(self) -> int:
        return round(self.parameters.event_wait_ms * 1e6)

    def _act_without_images(self) -> None:
        """Do nothing: what is done without an image is done at the mask times."""

    def _end(self) -> None:
        self.images.close()

    # -- what comes, and what is due ---------------------------------------------------------------------------

    def keep_image(self, message: Any) -> None:
        """Take an image message for the mask times from its stamp on."""
        stamp_ns, before_ns = stamp_to_ns(message.header.stamp), self.images.newest_ns
        anew = self.images.put(KeptImage(message, stamp_ns))
        self._images_came()
        if before_ns is None or stamp_ns >= before_ns - JUMP_NS:
            return
        # a looped bag takes the events back too; those nearer to the new time than to the old one came first
        between_ns = (stamp_ns + before_ns) // 2
        if not anew:
            self.source.agree(stamp_ns)
            newest_ns = self.source.newest_ns
            anew = newest_ns is not None and newest_ns <= between_ns and self.images.agree(stamp_ns)
        if anew:
            self.resets += self.source.forget_after(between_ns)
            self._begin_anew()

    def time_ns(self, index: int) -> int:
        """Return the mask time of an index."""
        return self._grid.time_ns(index)

    def due(self, now_ns: int, *, at_end: bool = False) -> range:
        """Return the indices of the mask times that are due and were not passed yet, the oldest first.

        Args:
            now_ns: the node's clock, or a bag's.
            at_end: whether nothing more comes: then those up to the last stamp are due.
        """
        events_ns, image_ns = self.source.settled_ns, self._image_ns
        if events_ns is not None and self._events_ns is not None and events_ns < self._events_ns - JUMP_NS:
            self.images.agree(events_ns)
            self.images.drop_after(events_ns + JUMP_NS)
            self._begin_anew()
        self._events_ns = events_ns
        first_ns = self.images.first_ns
        if first_ns is None and self.parameters.when_images_missing == "events_only":
            first_ns = events_ns
        if self._passed is None and first_ns is not None:
            self._passed = max(self._grid.up_to(first_ns - 1), self._grid.up_to(events_ns or 0) - 1)
        newest_ns = max((time_ns for time_ns in (events_ns, image_ns) if time_ns is not None), default=None)
        self._clock.see(newest_ns, now_ns)
        if self._passed is None or newest_ns is None:
            return range(0)
        reached_ns = newest_ns if at_end else max(events_ns or 0, self._silent_ns(now_ns))
        return range(self._passed + 1, self._grid.up_to(min(reached_ns, LAST_NS - 1)) + 1)

    def without_image(self, due: range) -> range:
        """Return the mask times at the begin of a range that have no image of at most `image_age_max_ms`."""
        time_ns = self._grid.time_ns(due[0])
        before = max((stamp_ns for stamp_ns in self.images.stamps_ns if stamp_ns <= time_ns), default=None)
        if before is not None and time_ns - before <= self.parameters.image_age_max_ns:
            return due[:0]
        after = min((stamp_ns for stamp_ns in self.images.stamps_ns if stamp_ns > time_ns), default=None)
        return due if after is None else due[: self._grid.up_to(after - 1) + 1 - due[0]]

    def _silent_ns(self, now_ns: int) -> int:
        """Return the time up to which events are not waited for any more; no image may serve one beyond it."""
        at_ns, image_ns = self._clock.at(now_ns), self._image_ns
        if at_ns is None or image_ns is None:
            return 0
        return min(at_ns - self._wait_ns, image_ns + self.parameters.image_age_max_ns)

    @property
    def _image_ns(self) -> int | None:
        """Stamp of the newest image, but not of one that may be undone since it is far ahead of those before it."""
        settled_ns, newest_ns = self.images.settled_ns, self.images.newest_ns
        if settled_ns is None or newest_ns is None:
            return None
        return newest_ns if newest_ns - settled_ns <= self.parameters.image_age_max_ns else settled_ns

    def _begin_anew(self) -> None:
        """Forget the old time after a jump back."""
        self._last, self._passed = None, None

    # -- mask times --------------------------------------------------------------------------------------------

    def pass_over(self, indices: range, *, wanted: bool = True) -> None:
        """Count mask times that get no mask, and say it where that was not wanted.

        Args:
            indices: of the mask times.
            wanted: whether masks were wanted: those that had an image are skipped then, else all are dropped.
        """
        if not indices:
            return
        self._passed = indices[-1]
        self.mask_times += len(indices)
        skipped = 0
        if wanted:
            skipped = covered(self._grid, indices, self.images.stamps_ns, self.parameters.image_age_max_ns)
        self.mask_times_skipped += skipped
        self.mask_times_dropped += len(indices) - skipped
        if skipped:
            self.sink.warn(
                f"{skipped} of the mask times were skipped, since a newer one was due; expected a mask at each of "
                f"mask_rate_hz = {self.parameters.mask_rate_hz:g}: give the node more cores or a smaller model, lower "
                "the rate, or let the driver send events in shorter packets"
            )

    def serve(self, index: int) -> None:
        """Make the mask of a mask time and report what became of it; never raise."""
        self._passed, time_ns = index, self._grid.time_ns(index)
        report = Report(self.sink.header(time_ns, ""), window_end_ns=time_ns)
        self.mask_times += 1
        self._work_and_report(self._serve_time, report, time.monotonic())

    def _serve_time(self, report: Report) -> bool:
        """Segment the newest image with the events up to the mask's time, or act by the policies without them."""
        try:
            self._look_at_second()
            image = self._choose_image(report)
            if self.waiting_for:
                raise ValueError(self.waiting_for)
            made = self._mask_of(image, report) if image is not None else self._mask_without_image(report)
        except Exception:
            self.mask_times_failed += 1
            raise
        self.mask_times_dropped += not made
        return True

    def _choose_image(self, report: Report) -> KeptImage | None:
        """Return the newest image that can be read and is young enough, or None with a sentence in the report."""
        time_ns, age_max_ns = report.window_end_ns, self.parameters.image_age_max_ns
        while True:
            image = self.images.newest_up_to(time_ns)
            stamp_ns = None if image is None else image.stamp_ns
            report.message = judge_image_age(time_ns, stamp_ns, self.images.newest_ns, age_max_ns)
            if report.message or image is None:
                return None
            refused = self.images_refused
            try:
                if not image.good:
                    self._read_image(image)
                image.good = True
                return image
            except Exception as error:  # hostile bytes raise what they like; the image before it may do
                self.images_failed += self.images_refused == refused
                self.images.remove(image)
                report.doubt(sentence_of(error))

    def _mask_of(self, image: KeptImage, report: Report) -> bool:
        picture = image.read()
        report.header = self.sink.header(report.window_end_ns, str(image.message.header.frame_id))
        self._image_size = (picture.shape[0], picture.shape[1])
        if self.images_health != Health.BAD:
            self.images_health = Health.GOOD
        self.images.use(image)
        made = self._segment_or_act(report.window_end_ns, image, report)
        if made:
            report.image_age_ns = report.window_end_ns - image.stamp_ns
        return made

    def _mask_without_image(self, report: Report) -> bool:
        """Act by `when_images_missing`; return True if a mask of the events alone was made."""
        self.images_health = Health.BAD if report.doubts else Health.STALE
        report.state, report.policy = State.DEGRADED, self.parameters.when_images_missing
        if report.policy == "events_only":
            report.header = self.sink.header(report.window_end_ns, self.source.frame_id)
            if self._serve_second(report):
                return True
        if report.policy == "hold":
            self._hold(report)
        else:
            report.state = State.ERROR
        return False

    def counts(self) -> dict[str, int]:
        """Return the counts of SegmentationStatus that are the worker's, by name."""
        of_images = super().counts()
        return {
            **of_images,
            "images_replaced": self.images.replaced,
            "images_dropped": of_images["images_dropped"] + self.images.dropped,
            "images_used": self.images.used,
            "mask_times": self.mask_times,
            "mask_times_skipped": self.mask_times_skipped,
            "mask_times_dropped": self.mask_times_dropped,
            "mask_times_failed": self.mask_times_failed,
        }


def make_worker(segmenter: Segmenter, inbox: Inbox, source: Source, sink: ResultSink, parameters: Parameters) -> Worker:
    """Return the worker of images, or that of mask times where the parameters ask for them."""
    kind = GridWorker if parameters.mask_rate_hz else Worker
    return kind(segmenter, inbox, source, sink, parameters)
