from __future__ import annotations

import numpy as np
import pytest

from mambaseg_core.events import Events
from mambaseg_core.events.clock import HOLD_NS, MODES, RISE_PPM, EventClock, default_mode
from mambaseg_core.events.jumps import JUMP_NS

MS = 1_000_000
S = 1000 * MS
BOOT = 1_744_227_144 * S  # ROS time at which the simulated sensor counts 0
WRAP = 2**24 * 1000  # EVT3: 24 bits of microseconds


def simulate(
    *, seconds: float = 20, drift_ppm: float = 0, floor_ns: int = 200_000, jitter_ns: int = 4 * MS, seed: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate packets of 1 ms: sensor time of the first event, its true ROS time and the header's stamp, int64."""
    rng = np.random.default_rng(seed)
    true = BOOT + np.arange(0, int(seconds * S), MS)
    sensor = ((true - BOOT) * (1 + drift_ppm / 1e6)).astype(np.int64)
    latency = floor_ns + rng.integers(0, jitter_ns, len(true))
    return sensor, true, np.maximum.accumulate(true + latency)  # packets arrive in order


def errors(clock: EventClock, sensor: np.ndarray, true: np.ndarray, stamp: np.ndarray) -> np.ndarray:
    """Return mapped minus true time of each packet's first event, nanoseconds."""
    pairs = zip(sensor.tolist(), stamp.tolist(), strict=True)
    return np.array([first + clock.update(first, at) for first, at in pairs]) - true


def at(*times: int) -> Events:
    n = len(times)
    return Events.from_arrays(range(n), [0] * n, list(times), [1] * n, height=2, width=9)


def test_by_hand() -> None:
    clock = EventClock("filtered")
    assert clock.update(1000, 5000) == 4000
    assert clock.update(2000, 7000) == 4000  # 1 us late
    assert clock.late_ns == 1000
    assert clock.update(3000, 6900) == 3900  # the earliest so far
    assert clock.update(3000 + 10 * MS, 20 * MS) == 3900 + 10 * MS * RISE_PPM // 10**6 == 10900
    assert (clock.offset_ns, clock.jumps) == (10900, 0)


def test_header_and_sensor() -> None:
    header, sensor = EventClock("header"), EventClock("sensor")
    assert [header.update(10, stamp) for stamp in (50, 70, 60)] == [40, 60, 50]
    assert [sensor.update(10, stamp) for stamp in (50, 0, -1)] == [0, 0, 0]
    events = at(5, 6)
    assert sensor.to_ros(events, 99) is events
    assert header.to_ros(events, 99).t_ns.tolist() == [99, 100]


def test_to_ros_shares_what_it_need_not_change() -> None:
    clock, events = EventClock("filtered"), at(5, 6)
    mapped = clock.to_ros(events, 105)
    assert mapped.t_ns.tolist() == [105, 106]
    assert events.t_ns.tolist() == [5, 6]
    assert np.shares_memory(mapped.x, events.x)
    empty = Events.empty(2, 9)
    assert clock.to_ros(empty, 0) is empty
    assert clock.offset_ns == 100


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("drift_ppm", [-400, -50, 0, 50, 400])
def test_bound_under_jitter_and_drift(drift_ppm: float, seed: int) -> None:
    sensor, true, stamp = simulate(drift_ppm=drift_ppm, seed=seed)
    error = errors(EventClock("filtered"), sensor, true, stamp)[1000:]  # after the first second
    least = 200_000 + 100_000  # a latency taken for the least one
    gap = np.diff(sensor[stamp - true <= least]).max()
    assert gap < 2 * S  # the simulation meets it often enough
    assert error.min() >= 0
    assert error.max() <= least + 2 * RISE_PPM * gap // 10**6
    assert error.max() <= MS
    header = errors(EventClock("header"), sensor, true, stamp)
    assert header.max() > 3 * MS  # what the filter takes away


@pytest.mark.parametrize("drift_ppm", [-600, -500, -50, 50, 500, 600])
def test_ten_minutes_of_drift(drift_ppm: float) -> None:
    """`sensor` is off by all of the drift, `header` by a packet's latency, `filtered` by little more than the least."""
    sensor, true, stamp = simulate(seconds=600, drift_ppm=drift_ppm)
    error = {}
    for mode in MODES:
        clock = EventClock(mode)
        error[mode] = errors(clock, sensor, true, stamp)
        assert clock.jumps == 0
    assert error["sensor"][-1] + BOOT == pytest.approx(600 * S * drift_ppm / 1e6, rel=1e-3)  # 50 ppm: 30 ms
    for mode, least, most in (("header", 200_000, 4_200_000), ("filtered", 200_000, 1_200_000)):
        settled = error[mode][1000:]
        assert settled.min() >= least - 2000, mode
        assert settled.max() <= most, mode
    assert error["header"].max() > 4_100_000  # what the filter takes away, also after all this time


def test_a_drift_beyond_the_rise_is_followed_in_steps() -> None:
    clock = EventClock("filtered")
    sensor, true, stamp = simulate(drift_ppm=-2000)
    assert -15 * MS < errors(clock, sensor, true, stamp).min() < -8 * MS
    assert clock.jumps == 2


def test_mapped_time_goes_back_by_jitter_at_most() -> None:
    sensor, true, stamp = simulate(drift_ppm=30)
    steps = np.diff(errors(EventClock("filtered"), sensor, true, stamp))
    assert steps.min() >= -4 * MS
    assert steps[1000:].min() > -MS // 2  # packets do not overlap once it has settled


def test_a_wrap_that_nobody_saw_is_anchored_anew() -> None:
    sensor, true, stamp = simulate(seconds=40)
    gap = (sensor < 10 * S) | (sensor >= 10 * S + WRAP + 3 * S)  # the wrap falls in a gap in the data
    clock = EventClock("filtered")
    error = errors(clock, (sensor % WRAP)[gap], true[gap], stamp[gap])
    wraps = int((np.diff((sensor % WRAP)[gap]) < 0).sum())
    assert clock.jumps >= 1 + wraps
    assert error.max() <= 5 * MS  # every packet, also the first one after each
    assert error.min() >= 0


def test_a_visible_wrap_is_anchored_anew() -> None:
    clock = EventClock("filtered")
    clock.update(WRAP - MS, BOOT)
    assert clock.update(2 * MS, BOOT + 3 * MS) == BOOT + MS
    assert clock.jumps == 1


def test_a_stall_of_the_host_changes_nothing() -> None:
    clock = EventClock("filtered")
    clock.update(0, BOOT)
    for k in range(1, 300):  # 0.3 s of packets, all delivered after it
        assert abs(clock.update(k * MS, BOOT + 450 * MS + k) - BOOT) <= MS
    assert clock.update(451 * MS, BOOT + 451 * MS) <= BOOT + MS
    assert clock.jumps == 0


def test_a_clock_set_forward_is_followed_after_a_while() -> None:
    clock, step = EventClock("filtered"), 2 * JUMP_NS
    clock.update(0, BOOT)
    offsets = [clock.update(k * MS, BOOT + step + k * MS) for k in range(1, 700)]
    assert offsets[0] < BOOT + MS
    assert offsets[HOLD_NS // MS - 1] < BOOT + MS
    assert offsets[HOLD_NS // MS] == offsets[-1] == BOOT + step
    assert clock.jumps == 1


def test_a_clock_set_back_is_followed_at_the_third_packet() -> None:
    clock = EventClock("filtered")
    clock.update(0, BOOT)
    offsets = [clock.update(k * MS, BOOT - S + k * MS) - BOOT for k in range(1, 5)]
    assert [offset // MS for offset in offsets] == [0, 0, -1000, -1000]
    assert (clock.jumps, clock.step_ns // MS, clock.strays) == (1, -1001, 2)


@pytest.mark.parametrize("wrong_ms", [-(10**9), -1000, -150, -40, 40, 150, 1000, 3_600_000])
def test_one_wrong_stamp_moves_no_events(wrong_ms: int) -> None:
    sensor, true, stamp = simulate(seconds=4)
    for index in (1500, 2500):
        stamp[index] += wrong_ms * MS
    clock = EventClock("filtered")
    error = errors(clock, sensor, true, stamp)[1000:]
    assert error.min() >= 0
    assert error.max() <= MS
    assert (clock.jumps, clock.strays) == (0, 2 * (abs(wrong_ms) > 100))


def simulate_host(
    seed: int, *, step_ms: int, drift_ppm: int, slew_ppm: int, period_ms: int, jitter_ms: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulate a host whose clock is set after 8 s and slewed after 12 s, and which stalls twice.

    Returns:
        sensor time, true time on the host's clock, and stamp of each packet; the latency is exponential.
    """
    rng = np.random.default_rng(seed)
    t_ns = np.arange(0, 20 * S, period_ms * MS)

    def clock(at: np.ndarray) -> np.ndarray:
        return BOOT + at + (at >= 8 * S) * step_ms * MS + np.maximum(at - 12 * S, 0) * slew_ppm // 10**6

    came = t_ns + 200_000 + rng.exponential(jitter_ms * MS, len(t_ns)).astype(np.int64)
    for start_s in (4.5, 15.2):
        stalled = (came >= start_s * S) & (came < start_s * S + rng.uniform(50, 500) * MS)
        came[stalled] = came[stalled].max() + 20_000 * np.arange(stalled.sum())
    return (t_ns * (1 + drift_ppm / 1e6)).astype(np.int64), clock(t_ns), clock(np.maximum.accumulate(came))


@pytest.mark.parametrize("step_ms", [0, 20, 40, 80, 100, 300, 8000, -20, -40, -80, -100, -300, -8000])
def test_a_clock_that_is_set_is_followed_within_two_seconds(step_ms: int) -> None:
    for seed, (drift_ppm, slew_ppm, period_ms, jitter_ms) in enumerate(
        ((0, 0, 1, 5), (100, -500, 4, 1), (-100, 500, 4, 5), (100, 500, 10, 3), (-100, 0, 33, 5))
    ):
        sensor, true, stamp = simulate_host(
            seed, step_ms=step_ms, drift_ppm=drift_ppm, slew_ppm=slew_ppm, period_ms=period_ms, jitter_ms=jitter_ms
        )
        clock = EventClock("filtered")
        error = errors(clock, sensor, true, stamp)
        before, after = (sensor > 2 * S) & (sensor < 7 * S), sensor > 10 * S  # stalls included
        for settled in (before, after):
            assert error[settled].min() >= -MS // 10, (seed, settled is after)
            assert error[settled].max() <= 4 * MS, (seed, settled is after)
        assert clock.jumps <= (step_ms != 0)
        assert clock.jumps == 1 or abs(step_ms) <= 20  # a small one back may be followed without a restart


def test_a_looped_bag_begins_anew() -> None:
    clock = EventClock("filtered")
    first = [clock.update(k * MS, BOOT + k * MS + k % 3) for k in range(1000)]
    again = [clock.update(k * MS, BOOT + k * MS + k % 3) for k in range(1000)]
    assert again == first
    assert clock.jumps == 1


def test_refuses() -> None:
    with pytest.raises(ValueError, match="clock mode is 'auto', expected one of 'header', 'sensor', 'filtered'"):
        EventClock("auto")
    for mode in ("header", "filtered"):
        with pytest.raises(ValueError, match="header stamp is 0 ns"):
            EventClock(mode).update(5, 0)


def test_default_modes() -> None:
    assert {default_mode(name) for name in ("libcaer", "libcaer_cmp")} == {"sensor"}
    assert {default_mode(name) for name in ("evt3", "evt2", "evt21", "mono")} == {"filtered"}
    assert set(MODES) >= {"sensor", "filtered"}
