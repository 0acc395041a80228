"""Every image that came has one fate, whatever breaks: random faults in model, sink, messages and parameters."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from worker_rig import MS, SIZE, START_NS, Moody, MoodySink

from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_ros.parameters import EVENTS_MISSING, IMAGES_MISSING, Parameters
from mambaseg_ros.pipeline.inbox import Inbox
from mambaseg_ros.pipeline.pipeline import Pipeline


@pytest.mark.parametrize("seed", range(12))
def test_every_image_has_one_fate_whatever_breaks(
    seed: int, image_message: Any, event_message: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    luck, lock = random.Random(seed), threading.Lock()

    def chance(share: float) -> bool:
        with lock:
            return luck.random() < share

    setup = preset_preprocessing("mambaseg_ddd17", size=Moody.image_size, channels=1)
    sink = MoodySink(chance)
    parameters = Parameters(
        event_wait_ms=luck.choice([0.0, 1.0]), timer_ms=1.0, images_stale_ms=10.0, max_age_ms=luck.choice([0.0, 1000.0])
    )
    pipeline = Pipeline(Segmenter(Moody(chance), "cpu", preprocessing=setup), parameters, sink)
    pipeline.start()
    worker, sent = pipeline.worker, 0
    for _ in range(300):
        sink.now += luck.choice([MS, 20 * MS, -(10**10)] if chance(0.1) else [MS])
        stamp_ns = sink.now - luck.choice([0, 0, 0, 5 * 10**9, -(10**9), START_NS])
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
                max_rate_hz=luck.choice([0.0, 0.0, 500.0]),
                only_if_heard=chance(0.3),
            )
            worker.waiting_for = luck.choice(["", "", "no calibration yet"])
        if chance(0.2):
            threading.Event().wait(0.002)  # let the threads run
    assert worker._thread is not None
    assert worker._thread.is_alive()
    assert pipeline.stop(timeout=60)
    assert accounted(pipeline.counts()) == pipeline.counts()["images_received"] == sent
    assert sink.masks == pipeline.counts()["masks_published"] + pipeline.counts()["masks_held"]


def accounted(counts: dict[str, int]) -> int:
    """What SegmentationStatus says about images that were received."""
    fates = ("images_replaced", "images_refused", "images_failed", "images_dropped")
    return sum(counts[fate] for fate in fates) + counts["masks_published"] - counts["masks_from_events"]


def test_an_image_that_nobody_took_before_the_end_is_dropped(image_message: Any) -> None:
    inbox = Inbox(max_packet_bytes=1000)
    inbox.put_image(image_message(np.zeros(SIZE, np.uint8), "mono8"))
    inbox.close()
    inbox.put_image(image_message(np.zeros(SIZE, np.uint8), "mono8"))  # a callback that was in hand
    assert inbox.take_image(0.0) is None
    assert (inbox.images_received, inbox.images_dropped, inbox.images_replaced) == (2, 2, 0)
