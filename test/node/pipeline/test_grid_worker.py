"""Masks between images: the worker of mask times around a tiny model, driven by hand or by its thread."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from worker_rig import MS, SIZE, START_NS, Brightness, Kept, Moody, MoodySink, halves, until

from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.preprocessing import picture_preprocessing
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.model import check_reach
from mambaseg_ros.parameters import EVENTS_MISSING, IMAGES_MISSING, Parameters
from mambaseg_ros.pipeline.grid_worker import GridWorker
from mambaseg_ros.pipeline.pipeline import Pipeline
from mambaseg_ros.pipeline.results import State
from mambaseg_ros.policy import Health

EVERY_10_MS = Parameters(
    max_age_ms=0.0, min_window_events=1, mask_rate_hz=100.0, image_age_max_ms=50.0, event_wait_ms=20.0
)


class Bench:
    """A worker without its thread: what comes, and the node's clock, are a test's."""

    def __init__(self, event_message: Any, image_message: Any, **parameters: Any) -> None:
        setup = preset_preprocessing("mambaseg_ddd17", size=Brightness.image_size, channels=1)
        self.kept, self._events, self._image = Kept(), event_message, image_message
        segmenter = Segmenter(Brightness(), "cpu", preprocessing=setup)
        self.pipeline = Pipeline(segmenter, replace(EVERY_10_MS, **parameters), self.kept)
        assert isinstance(self.pipeline.worker, GridWorker)
        self.worker = self.pipeline.worker
        self.sent = 0

    def image(self, ms: float, picture: Any = None, encoding: str = "mono8") -> None:
        picture = halves() if picture is None else picture
        self.pipeline.put_image(self._image(picture, encoding, stamp_ns=START_NS + round(ms * MS)))
        self.sent += 1

    def events(self, first_ms: int, last_ms: int, step_ms: int = 1, x: int = 3) -> None:
        offsets = [ms * MS for ms in range(0, last_ms - first_ms + 1, step_ms)]
        columns = [x] * len(offsets), [2] * len(offsets), offsets, [1] * len(offsets)
        self.worker.source.add(self._events(*columns, stamp_ns=START_NS + first_ms * MS, height=SIZE[0], width=SIZE[1]))

    def turn(self, now_ms: float = 0.0) -> None:
        self.kept.now = 10**9 + round(now_ms * MS)
        self.worker._turn()

    @property
    def masks(self) -> list[tuple[float, float]]:
        """Time and image age of each mask, milliseconds."""
        made = [report for report in self.kept.reports if report.state != State.ERROR and report.policy != "hold"]
        return [(self.ms(report), report.image_age_ns / MS) for report in made]

    @staticmethod
    def ms(report: Any) -> float:
        assert report.window_end_ns == stamp_to_ns(report.header.stamp)
        return (report.window_end_ns - START_NS) / MS

    @property
    def times(self) -> tuple[int, int, int, int]:
        """Mask times in all, skipped, dropped, failed."""
        worker = self.worker
        return (
            worker.mask_times, worker.mask_times_skipped, worker.mask_times_dropped, worker.mask_times_failed,
        )  # fmt: skip

    def is_accounted(self) -> bool:
        counts = self.pipeline.counts()
        fates = ("images_replaced", "images_refused", "images_failed", "images_dropped", "images_used")
        waiting = sum(not image.used for image in self.worker.images._kept) + len(self.worker.images._jumps.held)
        waiting += self.worker.inbox.images_waiting
        assert sum(counts[fate] for fate in fates) + waiting == counts["images_received"] == self.sent, counts
        of_times = ("masks_published", "mask_times_skipped", "mask_times_dropped", "mask_times_failed")
        assert sum(counts[fate] for fate in of_times) == counts["mask_times"], counts
        return True


@pytest.fixture
def bench(event_message: Any, image_message: Any) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**parameters: Any) -> Bench:
        made.append(Bench(event_message, image_message, **parameters))
        return made[-1]

    yield make
    for each in made:
        assert each.is_accounted()


def test_each_mask_time_gets_a_mask_of_the_newest_image_and_the_events_up_to_then(bench: Any) -> None:
    rig = bench()
    rig.image(-3)
    rig.events(-30, 0)
    rig.turn()
    rig.events(1, 9)
    rig.turn()  # 10 ms is not reached
    rig.events(10, 12, x=5)
    rig.turn()
    rig.image(15)
    rig.events(13, 20)
    rig.turn()
    assert rig.masks == [(0, 3), (10, 13), (20, 5)]
    assert [report.events_used for report in rig.kept.reports] == [30, 40, 50]  # half open, 50 ms
    assert {report.state for report in rig.kept.reports} == {State.OK}
    assert {report.header.frame_id for report in rig.kept.reports} == {"camera"}
    assert [mask[2, 3:6].tolist() for mask in rig.kept.masks] == [[2, 0, 0], [2, 0, 0], [2, 0, 2]]
    assert rig.times == (3, 0, 0, 0)
    assert rig.pipeline.counts()["images_used"] == 2


def test_an_image_that_comes_late_is_used_by_the_next_mask(bench: Any) -> None:
    rig = bench()
    rig.image(-3)
    rig.events(-30, 0)
    rig.turn()
    rig.events(1, 10)
    rig.turn()
    rig.image(4)
    rig.turn()  # no mask of its own
    rig.events(11, 20)
    rig.turn()
    assert rig.masks == [(0, 3), (10, 13), (20, 16)]


def test_an_image_of_a_mask_time_is_of_age_0_and_one_of_the_future_waits(bench: Any) -> None:
    rig = bench()
    rig.image(0)
    rig.image(18)
    rig.events(-30, 0)
    rig.turn()
    rig.events(1, 10)
    rig.turn()
    rig.events(11, 20)
    rig.turn()
    assert rig.masks == [(0, 0), (10, 10), (20, 2)]


def test_mask_times_are_skipped_to_the_newest_and_said(bench: Any) -> None:
    rig = bench()
    rig.image(-3)
    rig.events(-30, 0)
    rig.turn()
    rig.image(20)
    rig.events(1, 55)
    rig.turn()
    assert rig.masks == [(0, 3), (50, 30)]
    assert rig.times == (6, 4, 0, 0)
    (sentence,) = rig.kept.warnings
    assert sentence.startswith("4 of the mask times were skipped, since a newer one was due; expected a mask at each")


def test_without_a_young_image_no_mask_is_made_and_it_is_said(bench: Any) -> None:
    rig = bench()
    rig.image(0)
    for end in range(0, 80, 10):
        rig.events(end - 9, end)
        rig.turn()
    assert rig.masks == [(ms, ms) for ms in range(0, 60, 10)]  # up to 50 ms old
    gone = rig.kept.reports[-1]
    assert (gone.state, gone.policy, gone.images_health, gone.image_age_ns) == (State.ERROR, "drop", Health.STALE, -1)
    assert gone.message.startswith("the newest image is 70.0 ms old at the mask's time; expected one of at most image_")
    assert rig.times == (8, 0, 2, 0)
    rig.image(75)
    rig.events(71, 80)
    rig.turn()
    assert (rig.masks[-1], rig.kept.reports[-1].images_health) == ((80, 5), Health.GOOD)
    rig.events(140, 200, step_ms=5)  # nothing came for long: mask times without an image are not skipped ones
    rig.events(201, 202)
    rig.events(203, 204)
    rig.turn()
    assert rig.times == (21, 4, 10, 0)  # 90 to 120 had the image of 75; 130 to 190, and 200, none


def test_events_that_do_not_come_are_waited_for_and_then_done_without(bench: Any) -> None:
    rig = bench()
    rig.events(-30, -8)
    rig.image(-5)
    rig.turn(now_ms=0)  # the stamps' clock stands at -5
    rig.turn(now_ms=24.9)
    assert rig.masks == []
    rig.turn(now_ms=25)  # 0 is due at 5, and waited for 20 ms
    assert rig.masks == [(0, 5)]
    rig.turn(now_ms=35)
    rig.turn(now_ms=35)  # a clock that stands still, as of a paused bag
    assert rig.masks == [(0, 5), (10, 15)]
    for now_ms in range(45, 10_000, 10):
        rig.turn(now_ms=now_ms)
    assert rig.masks[-1] == (40, 45)  # no image serves a later one
    assert rig.times == (5, 0, 0, 0)
    rig.image(95)  # a static scene: images come, events do not
    rig.turn(now_ms=10_000)
    rig.turn(now_ms=10_025)
    assert rig.masks[-1] == (100, 5)
    assert (rig.kept.reports[-1].policy, rig.kept.reports[-1].state) == ("image_only", State.DEGRADED)
    assert "events end 108.0 ms before the mask's time" in rig.kept.reports[-1].message


def test_a_node_clock_that_jumps_ahead_moves_masks_by_the_age_of_an_image_at_most(bench: Any) -> None:
    rig = bench()
    rig.image(0)
    rig.events(-30, 0)
    rig.turn(now_ms=0)
    rig.turn(now_ms=3_600_000)
    assert rig.masks[-1][0] <= 50
    rig.image(55)
    rig.events(1, 60)
    rig.turn(now_ms=3_600_060)
    assert rig.masks[-1] == (60, 5)


def test_a_looped_bag_begins_the_grid_anew(bench: Any) -> None:
    rig = bench()
    for begin in (5000, 0, -4000):  # events first, then images first
        if begin >= 0:
            for ms in (-20, -10, -5):
                rig.events(begin + ms, begin + ms + 4)
        rig.image(begin - 4)
        if begin < 0:
            for ms in (-20, -10, -5):
                rig.events(begin + ms, begin + ms + 4)
                rig.image(begin + ms // 5)
        for ms in (0, 10):
            rig.events(begin + ms, begin + ms + 1)
            rig.turn()
    assert [time for time, _ in rig.masks] == [5000, 5010, 0, 10, -4000, -3990]
    assert rig.pipeline.counts()["resets"] == 2
    assert rig.times[1] == 0
    assert [report.events_used for report in rig.kept.reports] == [15, 17] * 3


def test_while_only_the_events_of_a_loop_have_come_no_mask_of_the_old_time_is_made(bench: Any) -> None:
    rig = bench()
    rig.events(4970, 5000)
    rig.image(4996)
    rig.turn(now_ms=0)
    for ms in (-20, -10, -5):
        rig.events(ms, ms + 4)
    for now_ms in range(10, 100, 10):
        rig.turn(now_ms)
    assert [time for time, _ in rig.masks] == [5000]
    rig.image(-2)
    rig.events(0, 1)
    rig.turn(100)
    assert [time for time, _ in rig.masks] == [5000, 0]


def test_one_packet_from_the_future_moves_no_mask_time(bench: Any) -> None:
    rig = bench()
    rig.image(0)
    rig.events(-30, 0)
    rig.turn()
    rig.events(3_600_000, 3_600_001)
    rig.turn()
    rig.events(1, 10)
    rig.turn()
    assert rig.masks == [(0, 0), (10, 10)]
    assert rig.times == (2, 0, 0, 0)


def test_an_image_that_cannot_be_read_is_refused_and_the_one_before_it_serves(bench: Any) -> None:
    rig = bench()
    rig.image(0)
    rig.events(-30, 0)
    rig.turn()
    rig.image(5, encoding="evil")
    for end in (10, 20):
        rig.events(end - 9, end)
        rig.turn()
    assert rig.masks == [(0, 0), (10, 10), (20, 20)]
    _, bad, after = rig.kept.reports
    assert (bad.state, bad.images_health) == (State.DEGRADED, Health.BAD)
    assert "'evil'" in bad.fields()["message"]
    assert (after.state, after.message) == (State.OK, "")
    assert rig.pipeline.counts()["images_refused"] == 1
    rig = bench()
    rig.image(0, encoding="evil")
    rig.events(-30, 0)
    rig.turn()
    (report,) = rig.kept.reports
    assert (report.state, report.images_health) == (State.ERROR, Health.BAD)
    assert "'evil'" in report.fields()["message"]


@pytest.mark.parametrize(("policy", "state"), [("events_only", State.DEGRADED), ("hold", State.DEGRADED)])
def test_what_is_done_without_an_image_is_done_at_the_mask_times(bench: Any, policy: str, state: State) -> None:
    rig = bench(when_images_missing=policy)
    rig.image(0)
    for end in (0, 60, 70):
        rig.events(end - 9, end)
        rig.turn()
    rig.turn(now_ms=10_000)
    rig.turn(now_ms=20_000)
    _, first, second = rig.kept.reports
    assert (first.state, first.policy, first.image_age_ns) == (state, policy, -1)
    assert len(rig.kept.results) == 3
    if policy == "hold":
        assert rig.kept.results[2] is rig.kept.results[0]
        assert (rig.worker.masks_held, rig.times) == (2, (8, 5, 2, 0))
    else:
        assert [rig.ms(report) for report in (first, second)] == [60, 70]
        assert (first.header.frame_id, rig.worker.masks_from_events) == ("event_camera", 2)


def test_missing_events_act_as_at_an_image(bench: Any) -> None:
    for policy, masks in (("image_only", 2), ("drop", 1), ("hold", 1)):
        rig = bench(when_events_missing=policy, image_age_max_ms=500.0)
        rig.events(-30, 0)
        rig.image(0)
        rig.turn()
        rig.turn(now_ms=90)  # events end 60 ms before 60
        assert (len(rig.masks), rig.kept.reports[-1].policy) == (masks, policy)
        assert rig.times == (8, 6, 2 - masks, 0)


def test_the_image_is_prepared_once_for_its_masks(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, calls = bench(), []
    setup = type(rig.worker.segmenter.preprocessing)
    image_pixels = setup.image_pixels
    monkeypatch.setattr(setup, "image_pixels", lambda *given: (calls.append(1), image_pixels(*given))[1])
    rig.image(-3)
    for end in (0, 10, 20):
        rig.events(end - 9, end)
        rig.turn()
    rig.image(25)
    rig.events(21, 30)
    rig.turn()
    assert (len(rig.masks), len(calls)) == (4, 2)


def test_a_rate_limit_and_nobody_who_listens_drop_mask_times(bench: Any) -> None:
    rig = bench(max_rate_hz=0.001)
    rig.image(-3)
    for end in (0, 10, 20):
        rig.events(end - 9, end)
        rig.turn()
    assert (rig.masks, rig.times) == ([(0, 3)], (3, 0, 2, 0))
    rig = bench(only_if_heard=True)
    rig.image(-3)
    for end in (0, 10, 20):
        rig.kept.listeners = int(end == 20)
        rig.events(end - 9, end)
        rig.turn()
    assert (rig.masks, rig.times) == ([(20, 23)], (3, 0, 2, 0))


def test_a_model_that_fails_is_counted_and_the_next_mask_time_is_served(bench: Any) -> None:
    rig = bench()
    rig.image(-3, picture=np.full(SIZE, 255, np.uint8))
    rig.events(-30, 0)
    rig.turn()
    (report,) = rig.kept.reports
    assert (report.state, report.message) == (State.ERROR, "MemoryError: a white image")
    rig.image(5)
    rig.events(1, 10)
    rig.turn()
    assert (rig.masks, rig.times) == ([(10, 5)], (2, 0, 0, 1))
    rig.worker.waiting_for = "no calibration yet"
    rig.events(11, 20)
    rig.turn()
    assert (rig.kept.reports[-1].message, rig.times) == ("no calibration yet", (3, 0, 0, 2))


def test_images_whose_stamps_stand_still_are_said_though_no_event_makes_a_mask_time_due(bench: Any) -> None:
    rig = bench()
    rig.image(0)
    rig.turn(now_ms=0)
    for now_ms in range(20, 200, 10):
        rig.turn(now_ms)
    assert rig.masks[-1] == (50, 50)
    rig.worker._said_at -= 1.0  # a second later
    for now_ms in range(200, 400, 10):
        rig.image(0)
        rig.turn(now_ms)
    (beat,) = rig.kept.heartbeats
    assert (beat.state, beat.policy) == (State.ERROR, "drop")
    assert beat.message.startswith("the newest image is 60.0 ms old at the mask's time; expected one of at most image_")
    rig.worker._said_at -= 1.0
    rig.image(95)  # an image that goes on
    rig.turn(now_ms=400)
    rig.turn(now_ms=425)
    assert (rig.masks[-1], len(rig.kept.heartbeats)) == ((100, 5), 1)


def test_a_clock_that_stands_just_before_a_mask_time_takes_no_core(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rig, waits = bench(), list[float]()
    rig.image(0)
    rig.events(-30, 0)
    rig.turn(now_ms=0)
    monkeypatch.setattr(rig.worker.inbox, "wait_until", lambda ready, timeout, **given: waits.append(timeout))
    for _ in range(3):
        rig.turn(now_ms=9.999999)  # of a paused bag
    assert waits == [0.001] * 3


@pytest.mark.parametrize("period_ms", [90, 101, 200])  # times 100 ms apart and more may be a jump
def test_without_events_masks_of_a_slow_camera_are_not_a_period_late(bench: Any, period_ms: int) -> None:
    rig, late = bench(image_age_max_ms=300.0), list[float]()
    for now_ms in range(2000):
        if now_ms % period_ms == 0:
            rig.image(now_ms)
        if now_ms % 10 == 0:
            made = len(rig.masks)
            rig.turn(now_ms)
            late += [now_ms - ms for ms, _ in rig.masks[made:]]
    assert len(late) >= 190
    assert max(late) <= 30  # event_wait_ms, and a turn


def test_no_mask_time_is_later_than_a_stamp_can_say(bench: Any) -> None:
    rig, end_ms = bench(), (2**31 * 10**9 - START_NS) // MS
    rig.image(end_ms - 5)
    for now_ms in range(0, 100, 5):
        rig.turn(now_ms)
    assert rig.masks == []
    rig.image(end_ms - 20)
    rig.turn(now_ms=100)
    rig.turn(now_ms=200)
    assert all(stamp_to_ns(report.header.stamp) < 2**31 * 10**9 for report in rig.kept.reports)


def test_masks_between_images_need_events() -> None:
    with pytest.raises(ValueError, match=r"^parameter 'mask_rate_hz' is 100, but the second input is thermal images;"):
        check_reach(EVERY_10_MS, picture_preprocessing((20, 34)))


@pytest.mark.parametrize("rate_hz", [1e-9, 5e-324, 0.0999])
def test_a_rate_that_hardly_ever_makes_a_mask_is_refused(rate_hz: float) -> None:
    setup = preset_preprocessing("mambaseg_ddd17", size=Brightness.image_size, channels=1)
    check_reach(replace(EVERY_10_MS, mask_rate_hz=0.1), setup)
    with pytest.raises(ValueError, match=f"^parameter 'mask_rate_hz' is {rate_hz:g}; expected at least 0.1"):
        check_reach(replace(EVERY_10_MS, mask_rate_hz=rate_hz), setup)


def test_a_slow_model_never_queues(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rig = bench(image_age_max_ms=500.0)
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)
    infer = rig.worker.segmenter._infer

    def gated(*tensors: torch.Tensor) -> Any:
        begun.release()
        assert go_on.acquire(timeout=60)
        return infer(*tensors)

    monkeypatch.setattr(rig.worker.segmenter, "_infer", gated)
    rig.image(0)
    rig.pipeline.start()
    until(lambda: len(rig.worker.images) == 1)
    rig.events(-9, 0)
    for end in range(50, 300, 50):
        assert begun.acquire(timeout=60)  # the model is at work: images and events come meanwhile
        for ms in range(end - 49, end, 10):
            rig.image(ms)
        rig.events(end - 49, end)
        go_on.release()
    assert begun.acquire(timeout=60)
    go_on.release()
    until(lambda: len(rig.kept.reports) == 6)
    assert rig.pipeline.stop(timeout=60)
    assert rig.masks == [(0, 0), *((end, 9) for end in range(50, 300, 50))]
    assert rig.times == (26, 20, 0, 0)
    assert (rig.pipeline.counts()["images_used"], rig.pipeline.counts()["images_replaced"]) == (6, 20)


@pytest.mark.parametrize("seed", range(8))
def test_every_image_and_every_mask_time_has_one_fate_whatever_breaks(
    seed: int, image_message: Any, event_message: Any
) -> None:
    luck, lock = random.Random(seed), threading.Lock()

    def chance(share: float) -> bool:
        with lock:
            return luck.random() < share

    setup = preset_preprocessing("mambaseg_ddd17", size=Moody.image_size, channels=1)
    sink = MoodySink(chance)
    parameters = replace(EVERY_10_MS, event_wait_ms=luck.choice([0.0, 1.0]), images_stale_ms=10.0)
    pipeline = Pipeline(Segmenter(Moody(chance), "cpu", preprocessing=setup), parameters, sink)
    pipeline.start()
    worker, sent = pipeline.worker, 0
    for _ in range(300):
        sink.now += luck.choice([MS, 20 * MS, -(10**10)] if chance(0.1) else [MS, 5 * MS])
        stamp_ns = sink.now - luck.choice([0] * 20 + [5 * 10**9, -(10**9), START_NS])
        if chance(0.5):
            encoding = luck.choice(["mono8", "mono8", "mono8", "rgb8", "evil"])
            picture = np.full(SIZE, luck.randrange(256), np.uint8)
            pipeline.put_image(image_message(picture, encoding, stamp_ns=stamp_ns), luck.choice([b"", b"a", b"b"]))
            sent += 1
        if chance(0.5):
            packet = event_message([3], [2], [0], [1], stamp_ns=stamp_ns, height=SIZE[0], width=SIZE[1])
            if chance(0.2):
                del packet.x
            pipeline.inbox.put_packet(packet, 100)
        if chance(0.1):
            worker.parameters = replace(
                worker.parameters,
                when_events_missing=luck.choice(EVENTS_MISSING),
                when_images_missing=luck.choice(IMAGES_MISSING),
                image_age_max_ms=luck.choice([0.0, 50.0]),
                max_rate_hz=luck.choice([0.0, 0.0, 500.0]),
                only_if_heard=chance(0.3),
            )
            worker.waiting_for = luck.choice(["", "", "no calibration yet"])
        if chance(0.3):
            time.sleep(0.002)  # let the threads run
    assert worker._thread is not None
    assert worker._thread.is_alive()
    assert pipeline.stop(timeout=60)
    counts = pipeline.counts()
    fates = ("images_replaced", "images_refused", "images_failed", "images_dropped", "images_used")
    assert sum(counts[fate] for fate in fates) == counts["images_received"] == sent
    of_times = ("masks_published", "mask_times_skipped", "mask_times_dropped", "mask_times_failed")
    assert sum(counts[fate] for fate in of_times) == counts["mask_times"] > 20
    assert sink.masks == counts["masks_published"] + counts["masks_held"]


def test_the_image_of_the_next_mask_time_is_prepared_while_its_events_are_awaited(
    bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, prepared = bench(), []
    prepare = rig.worker.segmenter.prepare_image
    monkeypatch.setattr(
        rig.worker.segmenter, "prepare_image", lambda image: (prepared.append(image.max()), prepare(image))[1]
    )
    rig.image(-3)
    rig.events(-9, 0)
    rig.turn()
    assert (rig.masks, prepared) == ([(0, 3)], [250])
    rig.image(4, picture=np.full(SIZE, 40, np.uint8))
    rig.image(5, picture=np.full(SIZE, 60, np.uint8), encoding="unknown")
    rig.image(6, picture=np.full(SIZE, 50, np.uint8))
    rig.turn(now_ms=5)
    assert (rig.masks, prepared) == ([(0, 3)], [250, 50])  # not those that a newer one replaced
    rig.events(1, 10)
    rig.turn()
    assert (rig.masks, prepared) == ([(0, 3), (10, 4)], [250, 50])
    rig.image(17, encoding="unknown")
    rig.turn(now_ms=15)
    assert (len(rig.kept.reports), rig.worker.images_refused) == (2, 0)  # it is told with the mask that needs it
    rig.events(11, 20)
    rig.turn()
    assert (rig.masks[2:], prepared) == ([(20, 14)], [250, 50])
    assert (rig.worker.images_refused, rig.kept.reports[-1].state) == (1, State.DEGRADED)
    assert "encoding 'unknown'" in rig.kept.reports[-1].sentences[0]


@pytest.mark.parametrize("heard", [True, False])
def test_no_image_is_prepared_for_nobody_or_without_its_calibration(
    bench: Any, monkeypatch: pytest.MonkeyPatch, heard: bool
) -> None:
    rig, prepared = bench(only_if_heard=True), []
    monkeypatch.setattr(rig.worker.segmenter, "prepare_image", prepared.append)
    rig.kept.listeners = int(heard)
    rig.worker.waiting_for = "no calibration yet" if heard else ""
    rig.image(-3)
    rig.events(-9, 0)
    rig.turn()  # 0 is dropped, or fails
    rig.image(4)
    rig.turn(now_ms=5)
    assert (rig.times, prepared) == ((1, 0, int(not heard), int(heard)), [])


def test_a_region_that_changes_between_two_masks_of_an_image_holds_for_the_second(bench: Any) -> None:
    rig = bench(roi="0,0,12,20")
    rig.worker.segmenter.preprocessing = replace(rig.worker.segmenter.preprocessing, crop_bottom=0)
    rig.image(-3)  # bright in the right half
    rig.events(-9, 0)
    rig.turn()
    rig.worker.parameters = replace(rig.worker.parameters, roi="22,0,12,20")
    rig.events(1, 10)
    rig.turn()
    assert [report.sentences for report in rig.kept.reports] == [[], []]
    assert [int((mask == 1).sum()) for mask in rig.kept.masks] == [0, 12 * 20]
    rig.worker.parameters = replace(rig.worker.parameters, roi="30,0,12,20")
    rig.events(11, 20)
    rig.turn()
    assert "the region 'roi' reaches to column 42" in rig.kept.reports[-1].message
    assert len(rig.kept.masks) == 2
