"""More packets than can be decoded: the oldest are skipped and counted, and no event gets a wrong time or place."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mambaseg_core.events import Window
from mambaseg_core.inference import Segmenter
from mambaseg_core.models.presets import preset_preprocessing
from mambaseg_ros.parameters import Parameters
from mambaseg_ros.pipeline.inbox import Arrival, Inbox
from mambaseg_ros.pipeline.pipeline import IMAGE_LAG_MS, Pipeline
from mambaseg_ros.pipeline.results import Report, State
from mambaseg_ros.policy import Health
from mambaseg_ros.sources.events import EventIntake

START_NS, MS, SIZE = 10**18, 10**6, (26, 34)


class Empty(nn.Module):
    name, num_classes, image_size, in_channels, bins = "mambaseg_ddd17", 6, (20, 34), 1, 10

    def forward(self, image: torch.Tensor | None, second: torch.Tensor | None) -> torch.Tensor:
        return torch.zeros(1, self.num_classes, *self.image_size)


class Reports:
    def __init__(self) -> None:
        self.reports: list[Report] = []
        self.warnings: list[str] = []
        self.warn, self.report = self.warnings.append, self.reports.append

    def mask(self, mask: Any) -> None:
        pass

    def now_ns(self) -> int:
        return START_NS

    def simulated(self) -> bool:
        return False


class SlowPacket(SimpleNamespace):
    """An EventArray that is not read before `released` is set."""

    @property
    def header(self) -> Any:
        assert self.released.wait(600)
        return self.its_header


@pytest.fixture
def pipeline() -> Iterator[Pipeline]:
    setup = preset_preprocessing("mambaseg_ddd17", size=Empty.image_size, channels=1)
    pipeline = Pipeline(Segmenter(Empty(), "cpu", preprocessing=setup), Parameters(max_age_ms=0.0), Reports())
    pipeline.start()
    yield pipeline
    assert pipeline.stop(timeout=600)


def until(ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 600
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def answer(pipeline: Pipeline, image: Any) -> Report:
    """Hand an image to the worker itself, in this thread."""
    pipeline.worker.handle(Arrival(image, time.monotonic()))
    return pipeline.worker.sink.reports[-1]


def test_packets_that_wait_and_packets_that_were_skipped_are_said(
    pipeline: Pipeline, image_message: Any, event_message: Any
) -> None:
    def image(t_ms: int) -> Any:
        return image_message(np.zeros(SIZE, np.uint8), "mono8", stamp_ns=START_NS + t_ms * MS)

    def packet(t_ms: int) -> Any:
        times = [step * 4 * MS for step in range(12)]
        return event_message(
            [3] * 12, [2] * 12, times, [1] * 12, stamp_ns=START_NS + t_ms * MS, height=SIZE[0], width=SIZE[1]
        )

    inbox, released = pipeline.inbox, threading.Event()
    slow = packet(0)
    its_header = slow.__dict__.pop("header")
    inbox.put_packet(SlowPacket(**vars(slow), released=released, its_header=its_header), 100)
    until(lambda: not inbox.packets_waiting)  # the feeder has it
    inbox.put_packet(packet(50), 100)
    report = answer(pipeline, image(95))
    assert (report.state, report.events_health, report.policy) == (State.DEGRADED, Health.STALE, "image_only")
    assert report.message.startswith("2 packets wait to be decoded, and 0 were skipped since the last image; expected")
    assert pipeline.counts()["packets_waiting"] == 1

    inbox.max_packet_age_s = 0.0
    time.sleep(0.001)
    inbox.put_packet(packet(100), 100)
    inbox.max_packet_age_s = 600.0
    released.set()
    until(lambda: inbox.packets_done == 3)
    report = answer(pipeline, image(145))
    assert (report.state, report.policy, report.events_used) == (State.DEGRADED, "", 12)
    assert report.message.startswith("0 packets wait to be decoded, and 1 were skipped since the last image")
    assert pipeline.counts()["packets_overwritten"] == 1
    assert answer(pipeline, image(146)).state == State.OK


def test_packets_are_kept_as_long_as_an_image_can_use_them(pipeline: Pipeline, event_message: Any) -> None:
    pipeline.inbox.put_packet(event_message([3], [2], [0], [1], stamp_ns=START_NS, height=SIZE[0], width=SIZE[1]), 1)
    until(lambda: pipeline.inbox.packets_done == 1)
    useful_ms = 50 + pipeline.worker.parameters.event_wait_ms + IMAGE_LAG_MS  # DDD17's window is of 50 ms
    assert pipeline.inbox.max_packet_age_s == pytest.approx(useful_ms / 1e3)


EVENT = st.tuples(st.integers(0, 9000), st.integers(0, 5), st.integers(0, 3), st.booleans())  # us on, x, y, ON


def evt3(events: list[tuple[int, int, int, int]]) -> list[int]:
    """Encode (us, x, y, on); words that change nothing are left out, but every fourth event has all."""
    words: list[int] = []
    state: dict[int, int] = {}
    for index, (t_us, x, y, on) in enumerate(events):
        if index % 4 == 0:
            state.clear()
        for kind, payload in ((8, t_us >> 12 & 0xFFF), (6, t_us & 0xFFF), (0, y)):
            if state.get(kind) != payload:
                words.append(kind << 12 | payload)
                state[kind] = payload
        words.append(0x2000 | on << 11 | x)
    return words


@settings(max_examples=100)
@given(
    steps=st.lists(EVENT, min_size=1, max_size=60),
    cuts=st.lists(st.integers(1, 12), min_size=1, max_size=60),
    held=st.integers(1, 60),
    taken=st.lists(st.booleans(), min_size=60, max_size=60),
)
def test_after_skipped_packets_no_event_has_a_wrong_time_or_place(
    steps: list[tuple[int, int, int, bool]], cuts: list[int], held: int, taken: list[bool]
) -> None:
    """Packets end anywhere between words, as those of a camera do."""
    times = (10_000 + np.cumsum([step[0] for step in steps])).tolist()
    events = [(t_us, x, y, int(on)) for t_us, (_, x, y, on) in zip(times, steps, strict=True)]
    words = evt3(events)
    inbox = Inbox(max_packet_bytes=held)
    intake = EventIntake(max_age_ns=2**62, max_bytes=10**7, clock_mode="sensor")
    for seq in range(60):
        size = cuts[seq % len(cuts)]
        part, words = words[:size], words[size:]
        header = SimpleNamespace(stamp=SimpleNamespace(sec=1, nanosec=0), frame_id="")
        payload = array("B", np.array(part, "<u2").tobytes())
        packet = SimpleNamespace(header=header, height=4, width=6, seq=seq, time_base=0, encoding="evt3")
        packet.is_bigendian, packet.events = False, payload
        inbox.put_packet(packet, 1)
        if taken[seq] or seq == 59:
            assert intake.add_all(inbox.take_packets()) == []
    if intake.buffer is None or intake.newest_ns is None:
        return
    seen = intake.buffer.window(intake.newest_ns + 1, Window(duration_ns=2**61))
    found = zip((seen.t_ns // 1000).tolist(), seen.x.tolist(), seen.y.tolist(), (seen.p > 0).tolist(), strict=True)
    rest = iter(events)
    assert all(event in rest for event in found)  # a part of what was sent, in its order
    if not inbox.packets_overwritten and not words:
        assert len(seen) == len(events)
