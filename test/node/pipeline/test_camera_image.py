"""Images that are prepared while their events are awaited: masks, order, errors, times."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from worker_rig import MS, SIZE, START_NS, Brightness, Kept, halves, until

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Camera
from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_ros.parameters import Parameters
from mambaseg_ros.pipeline.camera_image import CameraImage
from mambaseg_ros.pipeline.pipeline import Pipeline
from mambaseg_ros.pipeline.region import Region
from mambaseg_ros.pipeline.results import Report, State

PATIENT = Parameters(max_age_ms=0.0, min_window_events=1, event_wait_ms=10_000.0)
SETUP = replace(preset_preprocessing("mambaseg_ddd17", size=Brightness.image_size, channels=1), crop_bottom=0)
WIDE, FAR = Camera(30.0, 30.0, 16.5, 12.5, *SIZE), Camera(60.0, 60.0, 34.0, 26.0, 52, 68)
CALIBRATION = Calibration(WIDE, WIDE, FAR, np.eye(3), np.eye(3), np.eye(4))


class Rig:
    """A running pipeline, whose segmenter notes the images that it prepares."""

    def __init__(self, image_message: Any, event_message: Any, calibration: Calibration | None, **values: Any) -> None:
        self.kept, self._image, self._event = Kept(), image_message, event_message
        self.segmenter = Segmenter(Brightness(), "cpu", preprocessing=SETUP, calibration=calibration)
        self.plain = Segmenter(Brightness(), "cpu", preprocessing=SETUP, calibration=calibration)
        self.prepared: list[tuple[int, ...]] = []
        self.before_preparing: Callable[[], Any] = lambda: None
        prepare = self.segmenter.prepare_image

        def noted(image: np.ndarray) -> Any:
            self.before_preparing()
            done = prepare(image)
            self.prepared.append(image.shape)
            return done

        self.segmenter.prepare_image = noted  # type: ignore[method-assign]
        self.pipeline = Pipeline(self.segmenter, replace(PATIENT, **values), self.kept)
        self.worker = self.pipeline.worker
        self.pipeline.start()

    def image(self, picture: np.ndarray, encoding: str = "mono8", ms: int = 0) -> None:
        self.pipeline.put_image(self._image(picture, encoding, stamp_ns=START_NS + ms * MS))

    def events(self, first_ms: int, last_ms: int) -> None:
        """Send events at some pixels, one each millisecond, and wait until they are decoded."""
        offsets = [ms * MS for ms in range(last_ms - first_ms + 1)]
        x, y = [7 * n % SIZE[1] for n in range(len(offsets))], [5 * n % SIZE[0] for n in range(len(offsets))]
        done = self.worker.inbox.packets_done
        message = self._event(
            x, y, offsets, [1] * len(x), stamp_ns=START_NS + first_ms * MS, height=SIZE[0], width=SIZE[1]
        )
        self.worker.inbox.put_packet(message, 100)
        until(lambda: self.worker.inbox.packets_done > done)

    def wait_until_prepared(self, images: int) -> None:
        until(lambda: len(self.prepared) == images)

    def hold(self) -> tuple[threading.Event, threading.Event]:
        """Hold up preparations; return what is set while one is held, and what sets them free."""
        preparing, go_on = threading.Event(), threading.Event()

        def wait() -> None:
            preparing.set()
            assert go_on.wait(60)

        self.before_preparing = wait
        return preparing, go_on

    def report(self) -> Report:
        until(lambda: bool(self.kept.reports))
        return self.kept.reports.pop(0)


@pytest.fixture
def rig(image_message: Any, event_message: Any) -> Iterator[Callable[..., Rig]]:
    made: list[Rig] = []

    def make(*, calibration: Calibration | None = None, **values: Any) -> Rig:
        made.append(Rig(image_message, event_message, calibration, **values))
        return made[-1]

    yield make
    for each in made:
        each.before_preparing = lambda: None
        assert each.pipeline.stop(timeout=60)


def noise(size: tuple[int, int] = SIZE) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size, np.uint8)


def test_the_image_is_prepared_before_its_events_come_and_the_mask_is_the_plain_one(rig: Any) -> None:
    bench = rig()
    picture = noise()
    bench.image(picture)
    bench.wait_until_prepared(1)
    assert not bench.kept.reports
    bench.events(-40, 2)
    report = bench.report()
    assert (report.state, report.events_used) == (State.OK, 40), report.message
    assert bench.prepared == [SIZE]
    assert 0 < report.stages.image_ahead <= report.wait_ms

    second = bench.worker.source.beside(START_NS)
    expected = bench.plain.segment(picture, second.data, second.edges_ns)
    np.testing.assert_array_equal(bench.kept.masks[-1], bench.plain.to_camera(expected.ids, SIZE))
    assert {0, 1, 2} <= set(np.unique(expected.ids))


def test_with_events_that_came_before_the_image_its_preparation_is_no_waiting(rig: Any) -> None:
    bench = rig()
    bench.events(-40, 2)
    bench.image(noise())
    report = bench.report()
    assert report.state == State.OK, report.message
    assert report.stages.image_ahead == pytest.approx(0, abs=1e-6)
    assert report.stages.image > 0


@pytest.mark.parametrize("events_first", [True, False])
def test_the_stages_sum_to_no_more_than_the_whole(rig: Any, events_first: bool) -> None:
    bench = rig()
    for number, picture in enumerate((halves(), noise(), halves())):
        if events_first:
            bench.events(40 * number - 39, 40 * number)
            bench.image(picture, ms=40 * number)
        else:
            bench.image(picture, ms=40 * number)
            bench.wait_until_prepared(number + 1)
            bench.events(40 * number - 39, 40 * number)
        report = bench.report()
        stages = vars(report.stages)
        assert min(stages.values()) >= 0
        assert report.stages.window > 0
        assert min(report.stages.second, report.stages.mapping, report.stages.publishing, report.wait_ms) > 0
        parts = report.stages.image_ahead, *(ms for name, ms in stages.items() if name != "image_ahead")
        of_report = report.fields()
        assert of_report["prepare_ms"] + of_report["publish_ms"] == pytest.approx(sum(parts[1:]))
        whole = report.wait_ms + of_report["prepare_ms"] + report.inference_ms + of_report["publish_ms"]
        assert whole <= report.total_ms
        assert report.stages.image_ahead <= report.wait_ms


def test_an_image_that_cannot_be_read_waits_for_no_events_and_is_counted(rig: Any) -> None:
    bench = rig(event_wait_ms=10_000.0)
    bench.image(noise(), "bgr99")
    report = bench.report()  # nobody sends events
    assert (report.state, report.wait_ms, bench.prepared) == (State.ERROR, 0.0, [])
    assert "image has encoding 'bgr99'" in report.message
    bench.events(-40, 2)
    bench.image(noise())
    assert bench.report().state == State.OK
    counts = bench.pipeline.counts()
    assert (counts["images_refused"], counts["images_failed"], counts["masks_published"]) == (1, 0, 1)


def test_an_image_that_cannot_be_prepared_is_told_where_its_mask_would_be_made(rig: Any) -> None:
    bench = rig(calibration=CALIBRATION, when_events_missing="drop", event_wait_ms=0.0)
    bench.events(-40, 2)
    bench.image(noise())  # expected: 52x68
    report = bench.report()
    assert (report.state, bench.prepared) == (State.ERROR, [])
    assert "image has shape [26, 34], expected 52 rows and 68 columns" in report.message
    counts = bench.pipeline.counts()
    assert (counts["images_failed"], counts["images_refused"], counts["images_dropped"]) == (1, 0, 0)
    bench.image(noise(), ms=5000)  # no events: dropped, as one that can be prepared
    assert "shape" not in bench.report().message
    counts = bench.pipeline.counts()
    assert (counts["images_failed"], counts["images_dropped"]) == (1, 1)


def test_a_node_that_ends_while_an_image_is_prepared_waits_for_it(rig: Any) -> None:
    bench = rig()
    preparing, go_on = bench.hold()
    bench.image(noise())
    assert preparing.wait(60)
    bench.pipeline.inbox.put_image(None)  # waits behind it
    assert not bench.pipeline.stop(timeout=0.0)
    go_on.set()
    assert bench.pipeline.stop(timeout=60)
    counts = bench.pipeline.counts()
    fates = ("images_replaced", "images_refused", "images_failed", "images_dropped", "masks_published")
    assert sum(counts[fate] for fate in fates) == counts["images_received"] == 2


def test_images_that_a_newer_one_replaces_are_not_prepared(rig: Any) -> None:
    bench = rig()
    preparing, go_on = bench.hold()
    bench.image(noise())
    assert preparing.wait(60)
    for ms in (1, 2, 3):  # the node is busy
        bench.image(noise((SIZE[0] * ms, SIZE[1] * ms)), ms=ms)
    go_on.set()
    bench.events(-40, 5)
    reports = [bench.report() for _ in range(2)]
    assert [report.state for report in reports] == [State.OK] * 2
    assert bench.prepared == [SIZE, (SIZE[0] * 3, SIZE[1] * 3)]
    assert bench.pipeline.counts()["images_replaced"] == 2


def test_an_image_is_prepared_again_for_another_region_or_calibration(image_message: Any) -> None:
    segmenter = Segmenter(Brightness(), "cpu", preprocessing=SETUP)
    picture = noise(FAR.size)
    image = CameraImage(image_message(picture, "mono8"))
    image.prepare_ahead(segmenter, "0,0,34,20")
    left, right = Region(0, 0, 34, 20), Region(34, 0, 34, 20)
    first = image.prepared(segmenter, left)
    assert image.prepared(segmenter, left) is first
    np.testing.assert_array_equal(first.pixels, picture[:20, :34])
    np.testing.assert_array_equal(image.prepared(segmenter, right).pixels, picture[:20, 34:])
    segmenter.calibration = CALIBRATION
    warped = image.prepared(segmenter, None)
    assert (warped.calibration, warped.shape) == (CALIBRATION, FAR.size)
    assert image.prepared(segmenter, None) is warped
