"""The worker with a real `Segmenter` around tiny models of our own: no ROS, no weights."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from worker_rig import MS, SIZE, START_NS, Brightness, Kept, halves, until

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Camera
from mambaseg_core.events import Window
from mambaseg_core.inference import Segmenter
from mambaseg_core.memory import BURST, LOOKS
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_core.preprocessing import picture_preprocessing
from mambaseg_ros.messages.stamps import stamp_to_ns
from mambaseg_ros.parameters import Parameters
from mambaseg_ros.pipeline.pipeline import Pipeline, make_source
from mambaseg_ros.pipeline.results import Report, State
from mambaseg_ros.pipeline.worker import Worker
from mambaseg_ros.policy import NO_CLOCK, Health

ANY_STAMP = Parameters(max_age_ms=0.0, min_window_events=1)  # the packets here hold few


@pytest.fixture
def worker() -> Any:
    setup = preset_preprocessing("mambaseg_ddd17", size=Brightness.image_size, channels=1)
    pipeline = Pipeline(Segmenter(Brightness(), "cpu", preprocessing=setup), ANY_STAMP, Kept())
    pipeline.start()
    yield pipeline.worker
    assert pipeline.stop(timeout=60)


def answer(worker: Worker, message: Any) -> Report:
    count = len(worker.sink.reports)
    worker.inbox.put_image(message)
    until(lambda: len(worker.sink.reports) > count)
    return worker.sink.reports[-1]


def feed(worker: Worker, message: Any) -> None:
    """Hand over a packet and wait until it is decoded; on a busy machine that takes longer than an image waits."""
    done = worker.inbox.packets_done
    worker.inbox.put_packet(message, 100)
    until(lambda: worker.inbox.packets_done > done)


def test_the_mask_shows_image_and_events_and_255_where_the_bonnet_was(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    packet = event_message(
        [3, 4, 4, 5], [2, 2, 25, 2], [0, 10 * MS, 10 * MS, 60 * MS], [1, 1, 1, 1],
        stamp_ns=START_NS, height=SIZE[0], width=SIZE[1],
    )  # fmt: skip
    feed(worker, packet)
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + 50 * MS))
    assert (report.state, report.message, report.events_used) == (State.OK, "", 3)
    expected = np.zeros(SIZE, np.uint8)
    expected[:, 17:] = 1
    expected[2, 3:5] = 2
    expected[20:] = 255
    np.testing.assert_array_equal(worker.sink.masks[-1], expected)
    counts = np.bincount(expected[:20].ravel(), minlength=6)
    assert report.class_shares() == pytest.approx(counts / counts.sum())


def test_without_events_the_mask_is_degraded(worker: Worker, image_message: Any) -> None:
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS))
    assert (report.state, report.policy, report.events_health) == (State.DEGRADED, "image_only", Health.SILENT)
    assert "no events have come" in report.message
    assert len(worker.sink.masks) == 1
    confidence = worker.sink.results[0].confidence()
    assert (confidence[20:] == 255).all()
    assert (confidence[:20, :17] == round(254 * np.exp(0.1) / (np.exp(0.1) + 5))).all()


def packet_before(event_message: Any, end_ns: int) -> Any:
    return event_message([3, 4], [2, 2], [0, 49 * MS], [1, 1], stamp_ns=end_ns - 50 * MS, height=SIZE[0], width=SIZE[1])


@pytest.fixture
def random_worker(worker: Worker) -> Any:
    parameters = replace(ANY_STAMP, weights="random", event_wait_ms=0.0)
    pipeline = Pipeline(worker.segmenter, parameters, Kept())
    pipeline.start()
    yield pipeline.worker
    assert pipeline.stop(timeout=60)


def test_masks_of_random_weights_are_degraded(random_worker: Worker, image_message: Any, event_message: Any) -> None:
    worker = random_worker
    feed(worker, packet_before(event_message, START_NS))
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS))
    assert (report.state, report.policy, report.events_used) == (State.DEGRADED, "", 2)
    assert report.fields()["message"].startswith("the weights are random, so the mask means nothing")
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + 500 * MS))
    assert (report.state, report.policy) == (State.DEGRADED, "image_only")
    assert "before the image's stamp" in report.fields()["message"].partition("; the weights are random")[0]
    report = answer(worker, image_message(halves(), "rgb9", stamp_ns=START_NS))
    assert (report.state, len(report.sentences)) == (State.ERROR, 1)  # there is no mask to warn of
    assert len(worker.sink.masks) == 2


def test_masks_that_are_too_old_or_of_the_future_are_published_and_degraded(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, max_age_ms=1000.0, event_wait_ms=0.0)
    for index, (age_ms, said) in enumerate(
        ((0, ""), (3_600_000, "the stamp is 3600.000 s behind the node's clock"), (900, ""), (-101, "0.101 s ahead of"))
    ):
        stamp_ns = START_NS + index * 100 * MS
        feed(worker, packet_before(event_message, stamp_ns))
        worker.sink.now = stamp_ns + age_ms * MS
        report = answer(worker, image_message(halves(), "mono8", stamp_ns=stamp_ns))
        assert (report.state, report.age_ms) == (State.DEGRADED if said else State.OK, age_ms)
        assert said in report.fields()["message"]
        assert report.images_health == (Health.STALE if said else Health.GOOD)
        assert worker.age_fault == report.fields()["message"]
    assert (len(worker.sink.masks), worker.images_health) == (4, Health.GOOD)  # images are not missing


def test_stamps_of_another_clock_are_told_once_and_degrade_nothing(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, max_age_ms=1000.0, event_wait_ms=0.0)
    said = []
    for index in range(3):
        stamp_ns = START_NS + index * 100 * MS
        feed(worker, packet_before(event_message, stamp_ns))
        worker.sink.now = stamp_ns + 100 * 86_400 * 10**9
        report = answer(worker, image_message(halves(), "mono8", stamp_ns=stamp_ns))
        assert (report.state, report.message, report.images_health) == (State.OK, "", Health.GOOD)
        said.append(worker.age_fault)
    assert all("100 days behind the node's clock" in sentence for sentence in said)
    assert worker.sink.warnings == said[:1]


def test_stale_events_are_not_used_and_hold_gives_the_last_mask_with_its_old_stamp(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, when_events_missing="hold", event_wait_ms=0.0)
    early = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS - 10**9))
    assert (early.state, early.policy, worker.sink.masks) == (State.ERROR, "hold", [])  # nothing to hold yet
    assert early.class_shares() == []
    feed(worker, packet_before(event_message, START_NS))
    assert answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS)).state == State.OK
    report = answer(worker, image_message(halves()[:, ::-1].copy(), "mono8", stamp_ns=START_NS + 90 * MS))
    assert (report.state, report.policy, report.events_health, report.events_used) == (
        State.DEGRADED,
        "hold",
        Health.STALE,
        0,
    )
    assert "events end 91.0 ms before the image's stamp" in report.message
    first, held = worker.sink.results
    assert held is first
    assert report.class_shares() == first.class_shares() != []
    assert (worker.images_dropped, worker.masks_held, worker.masks_published) == (2, 1, 1)


def test_drop_publishes_nothing(worker: Worker, image_message: Any) -> None:
    worker.parameters = replace(worker.parameters, when_events_missing="drop", event_wait_ms=0.0)
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS))
    assert (report.state, report.policy, worker.images_dropped, worker.sink.masks) == (State.ERROR, "drop", 1, [])


def let_it_look(kept: Kept, times: int) -> None:
    """Wait until the worker has looked at the clock so often; it does at each turn, and for each report."""
    seen = kept.looks
    until(lambda: kept.looks >= seen + times)


def test_events_alone_give_masks_with_their_own_stamp_frame_and_size_while_images_are_missing(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, when_images_missing="events_only", timer_ms=10.0, event_wait_ms=0.0)
    answer(worker, image_message(np.zeros((52, 68), np.uint8) + 9, "mono8", stamp_ns=START_NS))
    kept = worker.sink
    feed(worker, packet_before(event_message, START_NS))
    let_it_look(kept, 3)
    assert len(kept.masks) == 1  # the node's clock stands still, as with a paused bag: nothing is missing
    kept.now += 501 * MS
    until(lambda: len(kept.reports) == 2)
    report, result = kept.reports[1], kept.results[1]
    assert (report.state, report.policy, report.events_used) == (State.DEGRADED, "events_only", 2), report.message
    assert stamp_to_ns(report.header.stamp) == START_NS - MS
    assert (report.header.frame_id, result.image, result.ids.shape) == ("event_camera", None, SIZE)
    assert result.ids[2].tolist() == [0, 0, 0, 2, 2] + [0] * 29
    let_it_look(kept, 10)
    assert len(kept.reports) == 2  # no new events, no new mask
    assert answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS)).state == State.OK  # images are back
    assert (worker.masks_from_events, worker.masks_published) == (1, 3)


def test_hold_repeats_the_last_mask_while_images_are_missing(worker: Worker, image_message: Any) -> None:
    worker.parameters = replace(worker.parameters, when_images_missing="hold", timer_ms=10.0, event_wait_ms=0.0)
    answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS))
    worker.sink.now += 501 * MS
    until(lambda: len(worker.sink.results) > 3)
    assert len({id(result) for result in worker.sink.results}) == 1
    worker.sink.now = 1  # the clock jumped back, as with a looped bag: the wait begins anew
    let_it_look(worker.sink, 3)  # what it had in hand is done
    count = worker.masks_held
    let_it_look(worker.sink, 10)
    assert worker.masks_held == count


def test_a_model_that_raises_or_gives_nan_is_reported_and_the_next_image_is_served(
    worker: Worker, image_message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed_when_reported: list[int] = []
    report_to = worker.sink.report
    monkeypatch.setattr(
        worker.sink, "report", lambda report: (failed_when_reported.append(worker.images_failed), report_to(report))
    )
    report = answer(worker, image_message(np.full(SIZE, 255, np.uint8), "mono8"))
    assert (report.state, report.message) == (State.ERROR, "MemoryError: a white image")
    assert failed_when_reported == [1]  # the status of an image counts it
    report = answer(worker, image_message(np.full(SIZE, 51, np.uint8), "mono8"))
    assert report.state == State.ERROR
    assert "not all finite" in report.message
    assert worker.sink.masks == []
    assert (worker.images_failed, worker.images_refused) == (2, 0)
    assert answer(worker, image_message(halves(), "mono8")).state == State.DEGRADED
    assert len(worker.sink.masks) == 1


def test_under_overload_the_worker_always_takes_the_newest_image(
    worker: Worker, image_message: Any, event_message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Semaphore(0), threading.Semaphore(0)
    infer = worker.segmenter._infer

    def gated(*tensors: torch.Tensor) -> Any:
        begun.release()
        assert go_on.acquire(timeout=60)
        return infer(*tensors)

    monkeypatch.setattr(worker.segmenter, "_infer", gated)
    worker.parameters = replace(worker.parameters, event_wait_ms=0.0)

    def send(number: int) -> None:
        worker.inbox.put_image(image_message(halves(), "mono8", stamp_ns=START_NS + number))

    send(0)
    for turn in range(10):
        assert begun.acquire(timeout=60)  # the model is at work: four images come meanwhile
        for number in range(4 * turn + 1, 4 * turn + 5):
            send(number)
        go_on.release()
    go_on.release()
    until(lambda: len(worker.sink.reports) == 11)
    stamps = [stamp_to_ns(report.header.stamp) - START_NS for report in worker.sink.reports]
    assert stamps == list(range(0, 41, 4))  # never one that a newer one could have replaced
    assert worker.inbox.images_replaced == 30


def test_no_waiting_is_not_stale(worker: Worker, image_message: Any, event_message: Any) -> None:
    worker.parameters = replace(worker.parameters, event_wait_ms=0.0)
    packet = event_message([3, 4], [2, 2], [0, 60 * MS], [1, 1], stamp_ns=START_NS, height=SIZE[0], width=SIZE[1])
    feed(worker, packet)
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + 40 * MS))
    assert (report.state, report.events_used) == (State.OK, 1), report.message


def test_an_unreadable_event_message_is_said_and_counted(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    packet = event_message([1], [1], [0], [1])
    del packet.x
    feed(worker, packet)
    assert answer(worker, image_message(halves(), "mono8")).state == State.DEGRADED
    assert worker.source.counts.packets_refused == 1
    assert worker.sink.reports[-1].events_health == Health.BAD
    assert "x" in worker.sink.warnings[0]


class Warmth(nn.Module):
    """Class 1 where the image, class 2 where the thermal image is brighter than a half; trusts what varies."""

    name, num_classes, image_size, in_channels, bins = "sigma_tiny", 9, (20, 34), 3, 3
    reliability_aware = True

    def with_reliability(self, image: torch.Tensor | None, second: torch.Tensor | None) -> Any:
        image = torch.zeros(1, 3, *self.image_size) if image is None else image
        second = torch.zeros(1, 3, *self.image_size) if second is None else second
        logits = torch.zeros(1, self.num_classes, *self.image_size)
        logits[:, 0] = 0.1
        logits[:, 1] = (image[:, 0] > 0.5).float()
        logits[:, 2] = 2.0 * (second[:, 0] > 0.5)
        return logits, tuple(torch.full((1, *self.image_size), float(x.std() > 0)) for x in (image, second))


@pytest.fixture
def warm_worker() -> Any:
    setup = picture_preprocessing(Warmth.image_size)
    pipeline = Pipeline(Segmenter(Warmth(), "cpu", preprocessing=setup), ANY_STAMP, Kept())
    pipeline.worker.parameters = replace(pipeline.worker.parameters, event_wait_ms=0.0)
    pipeline.start()
    yield pipeline.worker
    assert pipeline.stop(timeout=60)


def test_images_of_a_second_camera_take_the_place_of_events(warm_worker: Worker, image_message: Any) -> None:
    thermal = np.full((40, 68), 20, np.uint8)  # twice the image's resolution
    thermal[:20] = 200
    for time_ms, picture in ((-100, thermal[::-1]), (-10, thermal), (200, thermal[::-1])):
        message = image_message(np.ascontiguousarray(picture), "mono8", stamp_ns=START_NS + time_ms * MS)
        feed(warm_worker, message)
    picture = np.full((20, 34), 10, np.uint8)
    picture[:, 17:] = 250
    report = answer(warm_worker, image_message(picture, "mono8", stamp_ns=START_NS))
    assert (report.state, report.message, report.events_used) == (State.OK, "", 0)
    assert (report.window_start_ns, report.window_end_ns) == (START_NS - 10 * MS, START_NS)
    assert (report.image_reliability, report.second_reliability) == (1, 1)
    expected = np.zeros((20, 34), np.uint8)
    expected[:, 17:], expected[:10] = 1, 2
    np.testing.assert_array_equal(warm_worker.sink.masks[-1], expected)

    report = answer(warm_worker, image_message(picture, "mono8", stamp_ns=START_NS + 90 * MS))
    assert (report.state, report.policy, report.events_health) == (State.DEGRADED, "image_only", Health.STALE)
    assert "the nearest thermal image is -100.0 ms from the image's stamp" in report.message
    assert (report.image_reliability, report.second_reliability, report.window_start_ns) == (1, 0, 0)
    assert set(np.unique(warm_worker.sink.masks[-1])) == {0, 1}


def test_second_images_alone_give_masks_while_images_are_missing(warm_worker: Worker, image_message: Any) -> None:
    warm_worker.parameters = replace(warm_worker.parameters, when_images_missing="events_only", timer_ms=10.0)
    feed(warm_worker, image_message(np.full((40, 68), 200, np.uint8), "mono8", stamp_ns=START_NS))
    kept = warm_worker.sink
    kept.now += 501 * MS
    until(lambda: len(kept.reports) == 1)
    assert (kept.reports[0].state, kept.reports[0].policy) == (State.DEGRADED, "events_only")
    assert stamp_to_ns(kept.reports[0].header.stamp) == START_NS
    assert kept.masks[0].shape == (40, 68)
    assert (kept.masks[0] == 2).all()


def test_a_model_that_does_not_say_how_far_it_trusts_gives_nan(worker: Worker, image_message: Any) -> None:
    report = answer(worker, image_message(halves(), "mono8"))
    assert np.isnan([report.image_reliability, report.second_reliability]).all()


def accounted(worker: Worker) -> int:
    """What SegmentationStatus says about images that were received."""
    counts = worker.images_refused + worker.images_failed + worker.images_dropped + worker.inbox.images_replaced
    return counts + worker.masks_published - worker.masks_from_events


def test_failures_without_images_and_while_holding_keep_the_accounts(
    worker: Worker, image_message: Any, event_message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker.parameters = replace(worker.parameters, when_images_missing="events_only", timer_ms=10.0, event_wait_ms=0.0)

    def fail(*_: Any) -> None:
        raise RuntimeError("broken")

    kept = worker.sink
    with monkeypatch.context() as broken:
        broken.setattr(worker.segmenter, "_infer", fail)
        kept.now += 501 * MS
        for turn in range(3):
            feed(worker, packet_before(event_message, START_NS + turn * 10 * MS))
            until(lambda n=turn: len(kept.reports) > n)
        assert [report.message for report in kept.reports] == ["RuntimeError: broken"] * 3
        assert worker.images_failed == accounted(worker) == 0

    worker.parameters = replace(worker.parameters, when_images_missing="drop", when_events_missing="hold")
    packet = packet_before(event_message, START_NS + 30 * MS)
    feed(worker, packet)
    assert answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + 30 * MS)).state == State.OK
    with monkeypatch.context() as broken:
        broken.setattr(kept, "mask", fail)
        report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + 500 * MS))
    assert (report.state, report.policy, report.message) == (State.ERROR, "hold", "RuntimeError: broken")
    assert (worker.images_failed, worker.images_dropped) == (1, 0)
    assert accounted(worker) == worker.inbox.images_received == 2


def test_the_memory_of_a_burst_goes_back_once_its_packets_are_gone() -> None:
    setup = preset_preprocessing("mambaseg_ddd17", size=Brightness.image_size, channels=1)
    pipeline = Pipeline(Segmenter(Brightness(), "cpu", preprocessing=setup), Parameters(), Kept())
    assert not pipeline.give_back_memory()
    pipeline.inbox.put_packet("a packet", size=2 * BURST)
    assert not pipeline.give_back_memory()
    pipeline.inbox.take_packets()
    assert [pipeline.give_back_memory() for _ in range(LOOKS + 2)] == [False] * (LOOKS - 1) + [True, False, False]


def test_events_that_end_long_before_an_image_are_stale_whatever_came_after_it(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    """The window goes by number: it reaches back over the gap of a camera that stalled."""
    setup = replace(worker.segmenter.preprocessing, window=Window(count=100, max_age_ns=10**9))
    worker.source._setup = setup
    packet = event_message([3, 4], [2, 2], [0, 710 * MS], [1, 1], stamp_ns=START_NS, height=SIZE[0], width=SIZE[1])
    feed(worker, packet)
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + 700 * MS))
    assert (report.state, report.events_health, report.events_used) == (State.DEGRADED, Health.STALE, 0)
    assert "events end 700.0 ms before the image's stamp" in report.message


def test_the_health_of_events_is_said_where_no_mask_was_made(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    assert answer(worker, image_message(halves(), "rgb9")).events_health == Health.SILENT
    feed(worker, packet_before(event_message, START_NS))
    assert answer(worker, image_message(halves(), "rgb9")).events_health == Health.GOOD
    worker.sink.now += 501 * MS
    assert answer(worker, image_message(halves(), "rgb9")).events_health == Health.STALE
    packet = event_message([1], [1], [0], [1])
    del packet.x
    feed(worker, packet)
    assert answer(worker, image_message(halves(), "rgb9")).events_health == Health.BAD


def test_a_camera_whose_images_cannot_be_read_is_missing(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, when_images_missing="events_only", timer_ms=10.0, event_wait_ms=0.0)
    kept = worker.sink
    for turn in range(6):
        feed(worker, packet_before(event_message, START_NS + turn * 300 * MS))
        kept.now += 300 * MS
        answer(worker, image_message(halves(), "rgb9", stamp_ns=START_NS + turn * 300 * MS))
    until(lambda: worker.masks_from_events > 0)
    assert worker.images_health == Health.BAD


def test_events_alone_wait_for_the_calibration(worker: Worker, event_message: Any) -> None:
    worker.waiting_for = "no calibration yet"
    worker.parameters = replace(worker.parameters, when_images_missing="events_only", timer_ms=10.0, event_wait_ms=0.0)
    feed(worker, packet_before(event_message, START_NS))
    worker.sink.now += 501 * MS
    until(lambda: bool(worker.sink.reports))
    report = worker.sink.reports[0]
    assert (report.state, report.message, worker.sink.masks) == (State.ERROR, "no calibration yet", [])


def test_the_reliability_of_the_last_mask_is_not_kept_without_another(warm_worker: Worker, image_message: Any) -> None:
    warm_worker.parameters = replace(warm_worker.parameters, when_events_missing="drop")
    picture = np.arange(20 * 34, dtype=np.uint8).reshape(20, 34)
    feed(warm_worker, image_message(picture, "mono8", stamp_ns=START_NS))
    assert answer(warm_worker, image_message(picture, "mono8", stamp_ns=START_NS)).second_reliability == 1
    assert warm_worker.reliability == (1, 1)
    report = answer(warm_worker, image_message(picture, "mono8", stamp_ns=START_NS + 90 * MS))
    assert (report.state, np.isnan(report.second_reliability)) == (State.ERROR, True)
    assert np.isnan(warm_worker.reliability).all()


def test_packets_that_the_node_drops_itself_are_not_lost_on_the_way(event_message: Any) -> None:
    setup = preset_preprocessing("mambaseg_ddd17", size=Brightness.image_size, channels=1)
    pipeline = Pipeline(Segmenter(Brightness(), "cpu", preprocessing=setup), Parameters(buffer_mib=1), Kept())

    def packet(seq: int) -> Any:
        return event_message([3], [2], [0], [1], stamp_ns=START_NS, seq=seq, height=SIZE[0], width=SIZE[1])

    pipeline.source.add(packet(0))
    for seq in range(1, 12):  # nobody takes them yet
        pipeline.inbox.put_packet(packet(seq), 1 << 18)
    pipeline.start()
    until(lambda: pipeline.inbox.packets_done == 11)
    assert pipeline.stop(timeout=60)
    counts = pipeline.counts()
    assert (counts["packets_received"], counts["packets_overwritten"], counts["packets_lost"]) == (11, 7, 0)


def test_a_pipeline_that_was_never_started_ends(worker: Worker) -> None:
    assert Pipeline(worker.segmenter, Parameters(), Kept()).stop(timeout=60)


def test_masks_at_the_model_s_size_are_as_the_model_made_them(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, mask_size="model")
    feed(worker, packet_before(event_message, START_NS))
    large = np.kron(halves(), np.ones((3, 3), np.uint8))
    report = answer(worker, image_message(large, "mono8", stamp_ns=START_NS))
    assert report.state == State.OK, report.message
    result = worker.sink.results[-1]
    expected = np.zeros(Brightness.image_size, np.uint8)
    expected[:, 17:] = 1
    expected[2, 3:5] = 2
    np.testing.assert_array_equal(result.ids, expected)
    assert result.confidence().shape == Brightness.image_size
    assert result.over_image().shape == large.shape
    np.testing.assert_array_equal(result.over_image()[1:60:3, 1::3], expected)
    assert report.class_shares()[1] == 0.5
    assert (result.view.size, result.view.camera, result.header.frame_id) == (large.shape, None, "camera")
    worker.parameters = replace(worker.parameters, mask_size="image")
    answer(worker, image_message(large, "mono8", stamp_ns=START_NS))
    assert worker.sink.masks[-1].shape == large.shape


def test_with_a_calibration_such_a_mask_is_in_the_events_view_and_has_their_frame(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    wide, far = Camera(30.0, 30.0, 16.5, 12.5, *SIZE), Camera(60.0, 60.0, 34.0, 26.0, 52, 68)
    worker.segmenter.calibration = Calibration(wide, wide, far, np.eye(3), np.eye(3), np.eye(4))
    worker.parameters = replace(worker.parameters, mask_size="model")
    feed(worker, packet_before(event_message, START_NS))
    answer(worker, image_message(np.full(far.size, 250, np.uint8), "mono8", stamp_ns=START_NS))
    result = worker.sink.results[-1]
    assert (result.ids.shape, result.view.size, result.view.camera) == (Brightness.image_size, SIZE, wide)
    assert (stamp_to_ns(result.header.stamp), result.header.frame_id) == (START_NS, "event_camera")
    assert result.over_image().shape == far.size
    worker.parameters = replace(worker.parameters, mask_size="image")
    answer(worker, image_message(np.full(far.size, 250, np.uint8), "mono8", stamp_ns=START_NS))
    result = worker.sink.results[-1]
    assert (result.ids.shape, result.view.size, result.view.camera) == (far.size, far.size, None)
    assert result.header.frame_id == "camera"


def test_an_image_that_a_second_publisher_sends_too_is_dropped_and_counted(
    worker: Worker, image_message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mambaseg_ros.pipeline.pipeline.TWICE_S", 1e9)  # this machine may be slow
    pipeline = Pipeline(worker.segmenter, ANY_STAMP, Kept())

    def received_and_dropped(stamp_ns: int, publisher: bytes) -> tuple[int, int]:
        pipeline.put_image(image_message(halves(), "mono8", stamp_ns=stamp_ns), publisher)
        counts = pipeline.counts()
        return counts["images_received"], counts["images_dropped"]

    assert received_and_dropped(START_NS, b"driver") == (1, 0)
    assert received_and_dropped(START_NS, b"bag") == (2, 1)
    assert received_and_dropped(START_NS, b"driver") == (3, 1)  # a camera that stamps twice alike is no second one
    assert received_and_dropped(START_NS + 1, b"bag") == (4, 1)
    assert [received_and_dropped(0, name)[1] for name in (b"driver", b"bag")] == [1, 1]  # without a stamp
    for number in range(1000):
        received_and_dropped(START_NS + 2 + number, b"driver")
    assert len(pipeline._senders) <= 100
    monkeypatch.setattr("mambaseg_ros.pipeline.pipeline.TWICE_S", 0.0)
    assert received_and_dropped(START_NS + 1001, b"bag played again")[1] == 1


@pytest.mark.parametrize("policy", ["drop", "hold", "events_only"])
def test_while_images_are_missing_a_status_says_that_the_node_lives(
    worker: Worker, image_message: Any, policy: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mambaseg_ros.pipeline.worker.HEARTBEAT_S", 0.0)
    worker.parameters = replace(worker.parameters, when_images_missing=policy, timer_ms=10.0, event_wait_ms=0.0)
    kept = worker.sink
    let_it_look(kept, 3)
    assert kept.heartbeats == []  # nothing is missing yet
    kept.now += 501 * MS
    until(lambda: len(kept.heartbeats) > 1)
    beat = kept.heartbeats[0]
    assert (beat.state, beat.policy, beat.images_health) == (State.ERROR, policy, Health.SILENT)
    assert beat.message.startswith("no image for more than images_stale_ms = 500")
    assert (stamp_to_ns(beat.header.stamp), beat.window_end_ns) == (kept.now, 0)
    worker.silence = "nothing comes on /image"
    until(lambda: kept.heartbeats[-1].message == worker.silence)
    assert (kept.reports, kept.masks, worker.inbox.images_received) == ([], [], 0)
    answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS))
    let_it_look(kept, 3)
    count = len(kept.heartbeats)
    let_it_look(kept, 6)
    assert len(kept.heartbeats) == count  # images are back


def test_a_clock_at_0_is_said_and_a_paused_one_is_no_silence(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mambaseg_ros.pipeline.worker.HEARTBEAT_S", 0.0)
    kept = worker.sink
    kept.now = 0  # use_sim_time before the first /clock
    until(lambda: bool(kept.heartbeats))
    assert (kept.heartbeats[0].state, kept.heartbeats[0].message) == (State.ERROR, NO_CLOCK)
    kept.now = START_NS
    let_it_look(kept, 3)
    count = len(kept.heartbeats)
    let_it_look(kept, 6)
    assert len(kept.heartbeats) == count


def test_a_slow_camera_is_not_missing_between_its_images(
    worker: Worker, image_message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mambaseg_ros.pipeline.worker.HEARTBEAT_S", 0.0)
    worker.parameters = replace(worker.parameters, event_wait_ms=0.0)
    kept = worker.sink
    for number in range(3):
        answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + number * 1000 * MS))
        kept.now += 1000 * MS
    answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + 3000 * MS))
    count = len(kept.heartbeats)
    kept.now += 1900 * MS
    let_it_look(kept, 6)
    assert len(kept.heartbeats) == count
    kept.now += 200 * MS
    until(lambda: len(kept.heartbeats) > count)


def test_heartbeats_are_a_second_apart(worker: Worker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mambaseg_ros.pipeline.worker.HEARTBEAT_S", 1e9)
    worker.sink.now += 10**9
    let_it_look(worker.sink, 5)
    assert worker.sink.heartbeats == []


def test_no_mask_is_made_while_nobody_listens_and_the_status_says_so(
    worker: Worker, image_message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mambaseg_ros.pipeline.worker.HEARTBEAT_S", 0.0)
    worker.parameters = replace(worker.parameters, only_if_heard=True, event_wait_ms=0.0)
    kept = worker.sink
    worker.inbox.put_image(image_message(halves(), "mono8", stamp_ns=START_NS))
    until(lambda: bool(kept.heartbeats) and worker.images_dropped == 1)
    beat = kept.heartbeats[-1]
    assert (beat.state, beat.policy, beat.images_health, kept.reports) == (State.ERROR, "", Health.GOOD, [])
    assert "nobody subscribes to one, and parameter 'only_if_heard' is true" in beat.message
    kept.now += 501 * MS
    until(lambda: worker.images_health == Health.STALE)
    kept.listeners = 1
    assert answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS)).state == State.DEGRADED
    assert (worker.masks_published, accounted(worker)) == (1, 2)
    kept.listeners = 0
    worker.parameters = replace(worker.parameters, only_if_heard=False)
    answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS))
    assert worker.masks_published == 2


@pytest.mark.parametrize(("camera_hz", "most_hz"), [(30, 10), (30, 20), (30, 60), (25, 10), (7, 2.5), (30, 0)])
def test_the_rate_of_masks_is_bounded_and_kept(worker: Worker, camera_hz: float, most_hz: float) -> None:
    worker.parameters = replace(worker.parameters, max_rate_hz=most_hz)
    rng = np.random.default_rng(0)
    arrived = 100 + np.arange(1000) / camera_hz + rng.uniform(-0.002, 0.002, 1000)
    served = [at for at in arrived.tolist() if worker._due(at)]
    rate = len(served) / (1000 / camera_hz)
    assert rate == pytest.approx(min(camera_hz, most_hz or camera_hz), rel=0.02)
    if 0 < most_hz < camera_hz:
        assert np.diff(served).min() > 0.5 / most_hz


def test_a_rate_that_is_raised_holds_from_the_next_image_on(worker: Worker) -> None:
    worker.parameters = replace(worker.parameters, max_rate_hz=0.001)
    assert [worker._due(100 + number / 10) for number in range(3)] == [True, False, False]
    worker.parameters = replace(worker.parameters, max_rate_hz=10.0)
    assert [worker._due(100.3 + number / 20) for number in range(4)] == [True, False, True, False]


def test_images_that_come_too_soon_are_dropped_without_a_status_and_are_not_missing(
    worker: Worker, image_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, max_rate_hz=0.001, event_wait_ms=0.0)
    kept = worker.sink
    answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS))
    for number in range(3):
        kept.now += 400 * MS
        worker.inbox.put_image(image_message(halves(), "mono8", stamp_ns=START_NS + number))
        until(lambda n=number: worker.images_dropped == n + 1)
    assert (len(kept.reports), worker.images_health, accounted(worker)) == (1, Health.GOOD, 4)


def test_the_model_s_thread_gives_way(worker: Worker) -> None:
    pipeline = Pipeline(worker.segmenter, replace(ANY_STAMP, nice=3), Kept())
    pipeline.start()
    assert pipeline.worker._thread is not None
    own, of_model = (os.getpriority(os.PRIO_PROCESS, thread) for thread in (0, pipeline.worker._thread.native_id))
    until(lambda: os.getpriority(os.PRIO_PROCESS, pipeline.worker._thread.native_id) == min(19, own + 3))
    assert os.getpriority(os.PRIO_PROCESS, 0) == own  # of the callbacks
    assert of_model >= own
    assert pipeline.stop(timeout=60)


def second_before(event_message: Any, end_ns: int) -> Any:
    """Return 20 events in the 50 ms before `end_ns`, and one at it."""
    columns = [3] * 21, [2] * 21, [*range(0, 50 * MS, 5 * MS // 2), 50 * MS], [1] * 21
    return event_message(*columns, stamp_ns=end_ns - 50 * MS, height=SIZE[0], width=SIZE[1])


def frame(worker: Worker, image_message: Any, event_message: Any, stamp_ns: int, image_ns: int | None = None) -> Report:
    feed(worker, second_before(event_message, stamp_ns))
    return answer(worker, image_message(halves(), "mono8", stamp_ns=stamp_ns if image_ns is None else image_ns))


@pytest.mark.parametrize("wrong_ns", [0, START_NS - 1000 * MS, START_NS + 3_600_000 * MS])
def test_one_image_with_a_wrong_stamp_is_said_and_empties_nothing(
    worker: Worker, image_message: Any, event_message: Any, wrong_ns: int
) -> None:
    worker.parameters = replace(worker.parameters, event_wait_ms=0.0)
    times = range(START_NS, START_NS + 200 * MS, 50 * MS)
    assert [frame(worker, image_message, event_message, t).state for t in times] == [State.OK] * 4
    wrong = frame(worker, image_message, event_message, START_NS + 200 * MS, image_ns=wrong_ns)
    assert wrong.state == State.DEGRADED
    assert ("ms before that of an earlier image" in wrong.message) == (wrong_ns < START_NS)
    after = frame(worker, image_message, event_message, START_NS + 250 * MS)
    assert (after.state, after.message, after.events_used) == (State.OK, "", 21)
    assert (worker.resets, worker.source.buffered.resets) == (0, 0)


@pytest.mark.parametrize("wrong_ns", [0, START_NS - 1000 * MS, START_NS + 3_600_000 * MS])
def test_one_event_message_with_a_wrong_stamp_empties_nothing(
    worker: Worker, image_message: Any, event_message: Any, wrong_ns: int
) -> None:
    worker.parameters = replace(worker.parameters, event_wait_ms=0.0)
    for stamp_ns in range(START_NS, START_NS + 200 * MS, 50 * MS):
        assert frame(worker, image_message, event_message, stamp_ns).state == State.OK
    feed(worker, event_message([3], [2], [0], [1], stamp_ns=wrong_ns, height=SIZE[0], width=SIZE[1]))
    after = frame(worker, image_message, event_message, START_NS + 200 * MS)
    assert (after.state, after.message, after.events_used) == (State.OK, "", 21)
    assert worker.source.buffered.resets == 0
    assert len(worker.sink.warnings) == 1
    assert f"{'after' if wrong_ns > START_NS else 'before'} those already held were refused" in worker.sink.warnings[0]


def test_no_mask_is_made_of_a_message_from_the_future(worker: Worker, event_message: Any) -> None:
    worker.parameters = replace(worker.parameters, when_images_missing="events_only", timer_ms=10.0)
    feed(worker, second_before(event_message, START_NS))
    feed(worker, second_before(event_message, START_NS + 3_600_000 * MS))
    worker.sink.now += 501 * MS
    until(lambda: len(worker.sink.reports) == 1)
    let_it_look(worker.sink, 5)
    feed(worker, second_before(event_message, START_NS + 50 * MS))
    until(lambda: len(worker.sink.reports) == 2)
    stamps = [stamp_to_ns(report.header.stamp) for report in worker.sink.reports]
    assert stamps == [START_NS, START_NS + 50 * MS]


def test_a_loop_is_believed_at_once_where_images_and_events_agree(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, event_wait_ms=0.0)
    for loop in range(2):
        for stamp_ns in range(START_NS, START_NS + 5000 * MS, 1000 * MS):
            report = frame(worker, image_message, event_message, stamp_ns)
            assert (report.state, report.events_used) == (State.OK, 20), report.message
        assert worker.resets + worker.source.buffered.resets == loop


def test_after_a_loop_an_image_waits_for_its_last_events(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, event_wait_ms=10_000.0)
    frame(worker, image_message, event_message, START_NS + 10_000 * MS)
    begun = threading.Event()
    agree = worker.source.agree

    def agree_and_tell(stamp_ns: int) -> bool:
        agreed = agree(stamp_ns)
        if agreed:
            begun.set()
        return agreed

    worker.source.agree = agree_and_tell  # type: ignore[method-assign]
    early = event_message([3] * 20, [2] * 20, range(20), [1] * 20, stamp_ns=START_NS - 40 * MS, height=26, width=34)
    feed(worker, early)
    count = len(worker.sink.reports)
    worker.inbox.put_image(image_message(halves(), "mono8", stamp_ns=START_NS))
    assert begun.wait(60)
    feed(worker, event_message([3, 3], [2, 2], [0, 20 * MS], [1, 1], stamp_ns=START_NS - 10 * MS, height=26, width=34))
    until(lambda: len(worker.sink.reports) > count)
    report = worker.sink.reports[-1]
    assert (report.state, report.events_used, worker.source.buffered.resets) == (State.OK, 21, 1), report.message


def test_a_jump_of_the_images_alone_is_believed_at_the_third(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, event_wait_ms=0.0)
    frame(worker, image_message, event_message, START_NS)
    for count in range(3):
        stamp_ns = START_NS - 10_000 * MS + count * MS
        report = answer(worker, image_message(halves(), "mono8", stamp_ns=stamp_ns))
        assert ("earlier image" in report.message) == (count < 2), report.message
        assert worker.resets == (count == 2)
    assert (report.state, report.events_health) == (State.DEGRADED, Health.SILENT)


def test_a_window_with_hardly_an_event_is_degraded_and_used(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    worker.parameters = replace(worker.parameters, event_wait_ms=0.0, min_window_events=10, when_events_missing="drop")
    assert frame(worker, image_message, event_message, START_NS).state == State.OK
    packet = event_message([3, 3], [2, 2], [0, 60 * MS], [1, 1], stamp_ns=START_NS + 55 * MS, height=26, width=34)
    feed(worker, packet)
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + 100 * MS))
    assert (report.state, report.policy, report.events_used, report.events_health) == (
        State.DEGRADED, "", 1, Health.STALE,
    )  # fmt: skip
    assert "the window of 50 ms holds 1 event" in report.message
    assert len(worker.sink.masks) == 2


def test_refused_events_count_as_missing(worker: Worker, image_message: Any, event_message: Any) -> None:
    feed(worker, second_before(event_message, START_NS))
    outside = event_message([34] * 300, [2] * 300, [MS] * 300, [1] * 300, stamp_ns=START_NS, height=26, width=34)
    feed(worker, outside)
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS))
    assert (report.state, report.policy, report.events_used, report.events_health) == (
        State.DEGRADED, "image_only", 0, Health.BAD,
    )  # fmt: skip
    assert "outside the sensor of 34x26" in report.message
    worker.parameters = replace(worker.parameters, events_refused_share=1.0)
    assert answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS)).state == State.OK


def test_a_region_of_interest_is_all_that_the_model_sees(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    """The input is the region pixel by pixel: the same size, and no bonnet is cropped from it."""
    setup = worker.segmenter.preprocessing
    worker.segmenter.preprocessing = replace(setup, crop_bottom=0)
    worker.parameters = replace(worker.parameters, roi="30,40,34,20")
    whole = np.full((104, 136), 250, np.uint8)
    whole[40:60, 30:64] = 10
    whole[42, 33] = 250
    packet = event_message(
        [29, 30, 63, 64, 40], [45, 45, 46, 46, 60], [0, MS, 2 * MS, 3 * MS, 4 * MS], [1] * 5,
        stamp_ns=START_NS - 5 * MS, height=104, width=136,
    )  # fmt: skip
    feed(worker, packet)
    report = answer(worker, image_message(whole, "mono8", stamp_ns=START_NS))
    assert (report.state, report.events_used) == (State.OK, 5), report.message
    result = worker.sink.results[-1]
    expected = np.zeros((20, 34), np.uint8)
    expected[2, 3], expected[5, 0], expected[6, 33] = 1, 2, 2
    np.testing.assert_array_equal(result.ids, expected)
    np.testing.assert_array_equal(result.image, whole[40:60, 30:64])
    assert result.view.size == whole.shape
    np.testing.assert_array_equal(result.view.to_mask @ (63, 41, 1), (33, 1, 1))
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + MS))
    assert (report.state, worker.images_refused, report.images_health) == (State.ERROR, 1, Health.BAD)
    assert "the image has 34x26 pixels (width x height), and the region 'roi' reaches to column 64" in report.message


def test_the_source_of_events_has_all_that_the_parameters_say() -> None:
    setup = preset_preprocessing("mambaseg_ddd17", size=Brightness.image_size, channels=1)
    for wanted in (True, False):
        source = make_source(setup, replace(ANY_STAMP, hot_pixel_filter=wanted), clock=lambda: 7.0)
        values, _ = source.diagnose()
        assert ("events of hot pixels dropped" in values) is wanted
        assert source._recent._clock() == 7.0
