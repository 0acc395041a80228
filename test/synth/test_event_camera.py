from __future__ import annotations

import numpy as np
import pytest

from mambaseg_core.synth.event_camera import EventSimulator, log_intensity
from mambaseg_core.synth.event_model import DARK, EventModel

THRESHOLD = 0.2


def frame_of(level: float | np.ndarray, size: tuple[int, int] = (1, 1)) -> np.ndarray:
    """A frame whose log intensity is `level`."""
    return np.broadcast_to(np.exp(level) - DARK, size).astype(np.float32)


def simulator_at(level: float | np.ndarray, size: tuple[int, int] = (1, 1), **options: float) -> EventSimulator:
    threshold = options.pop("threshold", THRESHOLD)
    model = EventModel(threshold, threshold, **options)  # type: ignore[arg-type]
    return EventSimulator(frame_of(level, size), 0, rng=np.random.default_rng(0), model=model)


def test_crossings_by_hand() -> None:
    simulator = simulator_at(-2.0, threshold=0.3)
    events = simulator.step(frame_of(-1.0), 1000)  # rises by 1.0: crosses 0.3, 0.6, 0.9
    np.testing.assert_allclose(events.t_ns, [300_000, 600_000, 900_000], atol=1000)
    assert events.p.tolist() == [1, 1, 1]
    events = simulator.step(frame_of(-1.5), 2000)  # the memory is at -1.1, the pixel goes from -1.0 to -1.5
    np.testing.assert_allclose(events.t_ns, [1_800_000], atol=1000)  # -1.4 is 0.4 of 0.5 on the way
    assert events.p.tolist() == [-1]
    assert len(simulator.step(frame_of(-1.5), 3000)) == 0


def test_small_changes_add_up() -> None:
    simulator = simulator_at(-1.0)
    counts = [len(simulator.step(frame_of(-1.0 + 0.05 * step), 1000 * step)) for step in range(1, 9)]
    assert sum(counts) == 1 or sum(counts) == 2  # 0.4 in all: the second is on the edge of rounding
    assert counts[:3] == [0, 0, 0]


def test_events_sum_to_the_change_of_log_intensity() -> None:
    rng = np.random.default_rng(3)
    frames = rng.random((30, 24, 32), np.float32)
    simulator = EventSimulator(frames[0], 0, model=EventModel(THRESHOLD, THRESHOLD), rng=rng)
    total = np.zeros((24, 32))
    for index, frame in enumerate(frames[1:], start=1):
        events = simulator.step(frame, 4000 * index)
        np.add.at(total, (events.y, events.x), events.p * THRESHOLD)
        difference = log_intensity(frame) - log_intensity(frames[0]) - total
        assert np.abs(difference).max() < THRESHOLD + 1e-4
    assert np.abs(total).max() > 5 * THRESHOLD


def test_events_lie_in_time_order_inside_their_step() -> None:
    rng = np.random.default_rng(4)
    simulator = EventSimulator(rng.random((20, 20), np.float32), 0, model=EventModel(shot_hz=50), rng=rng)
    last = 0
    for t_us in (1000, 1001, 5000, 9000):
        events = simulator.step(rng.random((20, 20), np.float32), t_us)
        assert len(events) > 0
        assert events.t_ns[0] >= last
        assert (np.diff(events.t_ns) >= 0).all()
        assert events.t_ns[-1] < t_us * 1000
        assert (events.t_ns % 1000 == 0).all()
        last = t_us * 1000


def test_a_crossing_at_the_end_of_a_step_is_still_in_it() -> None:
    first, second = frame_of(-2.0), frame_of(-1.5)
    threshold = float(log_intensity(second)[0, 0] - log_intensity(first)[0, 0])
    simulator = EventSimulator(first, 0, model=EventModel(threshold, threshold), rng=np.random.default_rng(0))
    assert simulator.step(second, 1000).t_ns.tolist() == [999_000]


def test_black_frames_make_nothing() -> None:
    simulator = EventSimulator(np.zeros((4, 4), np.float32), 0, rng=np.random.default_rng(0))
    assert len(simulator.step(np.zeros((4, 4), np.float32), 1000)) == 0


def test_the_frame_is_not_written_to() -> None:
    frame = frame_of(-1.0, (2, 2))
    before = frame.copy()
    EventSimulator(frame, 0, rng=np.random.default_rng(0)).step(frame, 10)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize(
    ("size", "t_us", "words"),
    [
        ((1, 1), 0, "at 0 us"),
        ((1, 1), -5, "at -5 us"),
        ((2, 3), 10, r"got a frame \[2, 3\] .*expected \[1, 1\]"),
    ],
)
def test_frames_out_of_order_or_size(size: tuple[int, int], t_us: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        simulator_at(-1.0).step(frame_of(-1.0, size), t_us)


@pytest.mark.parametrize("refractory_us", [100, 150, 250, 900])
def test_a_pixel_rests_after_an_event(refractory_us: int) -> None:
    simulator = simulator_at(-3.0, refractory_us=refractory_us)
    unbounded = simulator_at(-3.0)
    kept, last = [], -(10**9)
    for step in range(1, 5):  # 5 thresholds in a step of 1000 us, up and down: a crossing every 200 us
        level = -3.0 + 1.01 * (step % 2)
        got = simulator.step(frame_of(level), 1000 * step).t_ns // 1000
        for t in (unbounded.step(frame_of(level), 1000 * step).t_ns // 1000).tolist():
            if t - last >= refractory_us:
                kept.append(t)
                last = t
        assert got.tolist() == [t for t in kept if t >= 1000 * (step - 1)]
    assert kept
