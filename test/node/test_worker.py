"""The worker with a real `Segmenter` around tiny models of our own: no ROS, no weights."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mambaseg_core.inference import Segmenter
from mambaseg_core.preprocessing import preset_preprocessing
from mambaseg_ros.intake import EventIntake
from mambaseg_ros.pairing import Inbox
from mambaseg_ros.worker import DEGRADED, ERROR, OK, Report, Worker

SIZE = (26, 34)
START_NS = 10**18
MS = 1_000_000


class Brightness(nn.Module):
    """Class 1 where the image is brighter than a half, class 2 where events came; fails on a wholly white image."""

    name, num_classes, image_size, in_channels, bins = "mambaseg_ddd17", 6, (20, 34), 1, 10

    def forward(self, image: torch.Tensor, events: torch.Tensor) -> torch.Tensor:
        if bool((image == 1).all()):
            raise MemoryError("a white image")
        logits = torch.zeros(1, self.num_classes, *self.image_size)
        logits[:, 0] = 0.1
        logits[:, 1] = (image[:, 0] > 0.5).float()
        logits[:, 2] = 2 * events.abs().sum(1)
        return logits if bool((image > 0).any()) else logits * float("nan")


class Kept:
    """Keeps what the worker hands over."""

    def __init__(self) -> None:
        self.masks: list[np.ndarray] = []
        self.reports: list[Report] = []
        self.warnings: list[str] = []

    def mask(self, header: Any, image: np.ndarray, ids: np.ndarray) -> None:
        self.masks.append(ids)

    def report(self, report: Report) -> None:
        self.reports.append(report)

    def warn(self, sentence: str) -> None:
        self.warnings.append(sentence)


@pytest.fixture
def worker() -> Any:
    setup = preset_preprocessing("mambaseg_ddd17", size=Brightness.image_size, channels=1)
    kept = Kept()
    worker = Worker(
        Segmenter(Brightness(), "cpu", preprocessing=setup),
        Inbox(max_packet_bytes=10**6),
        EventIntake(max_age_ns=10**9, max_bytes=10**6),
        kept,
        event_wait_s=0.05,
    )
    worker.start()
    yield worker
    worker.stop()


def answer(worker: Worker, message: Any) -> Report:
    count = len(worker.outputs.reports)
    worker.inbox.put_image(message)
    deadline = time.monotonic() + 60
    while len(worker.outputs.reports) == count:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return worker.outputs.reports[-1]


def halves() -> np.ndarray:
    picture = np.full(SIZE, 10, np.uint8)
    picture[:, 17:] = 250
    return picture


def test_the_mask_shows_image_and_events_and_255_where_the_bonnet_was(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    packet = event_message(
        [3, 4, 4, 5], [2, 2, 25, 2], [0, 10 * MS, 10 * MS, 60 * MS], [1, 1, 1, 1],
        stamp_ns=START_NS, height=SIZE[0], width=SIZE[1],
    )  # fmt: skip
    worker.inbox.put_packet(packet, 100)
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + 50 * MS))
    assert (report.state, report.message, report.events_used) == (OK, "", 3)
    expected = np.zeros(SIZE, np.uint8)
    expected[:, 17:] = 1
    expected[2, 3:5] = 2
    expected[20:] = 255
    np.testing.assert_array_equal(worker.outputs.masks[-1], expected)


def test_without_events_the_mask_is_degraded(worker: Worker, image_message: Any) -> None:
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS))
    assert report.state == DEGRADED
    assert "no events" in report.message
    assert len(worker.outputs.masks) == 1


def test_a_model_that_raises_or_gives_nan_is_reported_and_the_next_image_is_served(
    worker: Worker, image_message: Any
) -> None:
    report = answer(worker, image_message(np.full(SIZE, 255, np.uint8), "mono8"))
    assert (report.state, report.message) == (ERROR, "MemoryError: a white image")
    report = answer(worker, image_message(np.zeros(SIZE, np.uint8), "mono8"))
    assert report.state == ERROR
    assert "not all finite" in report.message
    assert worker.outputs.masks == []
    assert (worker.images_failed, worker.images_refused) == (2, 0)
    assert answer(worker, image_message(halves(), "mono8")).state == DEGRADED
    assert len(worker.outputs.masks) == 1


def test_no_waiting_is_not_stale(worker: Worker, image_message: Any, event_message: Any) -> None:
    worker.event_wait_s = 0.0
    packet = event_message([3, 4], [2, 2], [0, 60 * MS], [1, 1], stamp_ns=START_NS, height=SIZE[0], width=SIZE[1])
    worker.inbox.put_packet(packet, 100)
    time.sleep(0.3)  # the worker takes packets while it waits for images
    report = answer(worker, image_message(halves(), "mono8", stamp_ns=START_NS + 40 * MS))
    assert (report.state, report.events_used) == (OK, 1), report.message


def test_an_unreadable_event_message_is_said_and_counted(
    worker: Worker, image_message: Any, event_message: Any
) -> None:
    packet = event_message([1], [1], [0], [1])
    del packet.x
    worker.inbox.put_packet(packet, 10)
    assert answer(worker, image_message(halves(), "mono8")).state == DEGRADED
    assert worker.intake.counts.packets_refused == 1
    assert "x" in worker.outputs.warnings[0]
