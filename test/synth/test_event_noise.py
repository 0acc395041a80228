"""Statistics of the sensor's imperfections, with fixed seeds: each bound is six standard deviations wide or more."""

from __future__ import annotations

import numpy as np
import pytest

from mambaseg_core.events import Events
from mambaseg_core.synth.event_camera import EventSimulator
from mambaseg_core.synth.event_model import DAVIS346, GEN3, IDEAL, SENSORS, EventModel, draw_sensor
from mambaseg_core.synth.event_noise import EventNoise

SIZE = (100, 100)
PIXELS = 10_000


def rest(model: EventModel, light: float = 0.3, *, seconds: int = 1, size: tuple[int, int] = SIZE) -> Events:
    """Events of a wall that does not change."""
    frame = np.full(size, light, np.float32)
    return EventSimulator(frame, 0, model=model, rng=np.random.default_rng(0)).step(frame, seconds * 1_000_000)


def per_pixel(events: Events) -> np.ndarray:
    return np.bincount(events.y.astype(int) * events.width + events.x, minlength=events.height * events.width)


def edge_events(model: EventModel, light: float, *, rising: bool) -> float:
    """Events of its sign per pixel that a 2:1 edge passes, at 200 pixels per second."""
    x = np.arange(160)

    def frame(step: int) -> np.ndarray:
        passed = np.clip(x - step - 10, -0.5, 0.5) + 0.5
        share = 1 - 0.5 * passed if rising else 0.5 + 0.5 * passed
        return np.broadcast_to(np.float32(light) * share, (64, 160)).astype(np.float32)

    quiet = EventModel(**{**vars(model), "shot_hz": 0.0, "hot_share": 0.0})
    simulator = EventSimulator(frame(0), 0, rng=np.random.default_rng(0), model=quiet)
    count = 0
    for step in range(1, 121):
        events = simulator.step(frame(step), 5000 * step)
        inside = (events.x >= 25) & (events.x < 70) & (events.p == (1 if rising else -1))
        count += int(inside.sum())
    return count / (64 * 45)


@pytest.mark.parametrize("name", SENSORS)
def test_an_edge_is_nearly_as_good_at_night(name: str) -> None:
    """Both cameras see log(2) = 3.5 thresholds; a white and a gray wall at night have 1.2e-4 and 0.6e-4 of a day's."""
    day, night = (
        np.mean([edge_events(SENSORS[name], light, rising=rising) for rising in (True, False)])
        for light in (1.0, 1.2e-4)
    )
    assert day == pytest.approx(3.15, abs=0.15)
    assert night == pytest.approx(2.4, abs=0.15)


def test_the_ideal_sensor_has_no_noise() -> None:
    assert len(rest(IDEAL, 1e-5, seconds=10)) == 0


def test_a_step_of_light_passes_slowly_in_the_dark() -> None:
    """A first-order low pass has done 1 - 1/e of a step after 1 / (2 pi cutoff): 6.4 ms in the dark, 0.05 ms by day."""
    model = EventModel(0.001, 0.001, bandwidth_hz=25.0, bandwidth_slope_hz=3000.0)
    for before, after, span_us in ((1e-5, 3e-5, 200), (0.5, 1.0, 2)):
        dim, bright = (np.full((1, 1), value, np.float32) for value in (before, after))
        simulator = EventSimulator(dim, 0, rng=np.random.default_rng(0), model=model)
        t_ns = np.concatenate([simulator.step(bright, 1 + n * span_us).t_ns for n in range(300)])
        assert len(t_ns) == pytest.approx(np.log((after + 2e-5) / (before + 2e-5)) / 0.001, abs=2)
        expected_ns = 1e9 / (2 * np.pi * (25 + 3000 * after))
        assert t_ns[int(len(t_ns) * (1 - np.exp(-1)))] == pytest.approx(expected_ns, rel=0.05)


def test_the_low_pass_is_exact_for_a_straight_line() -> None:
    """One step of 5 ms and 50 of 0.1 ms end at the same level."""
    model = EventModel(0.001, 0.001, bandwidth_hz=30.0)
    level = np.log(1e-3) + np.linspace(0, 1, 51)
    frames = [np.full((1, 1), np.exp(value) - 2e-5, np.float32) for value in level]
    coarse, fine = (EventSimulator(frames[0], 0, rng=np.random.default_rng(0), model=model) for _ in range(2))
    count = len(coarse.step(frames[-1], 5000))
    assert count == pytest.approx(sum(len(fine.step(frame, 100 * n)) for n, frame in enumerate(frames[1:], 1)), abs=2)
    left = np.exp(-2 * np.pi * 30 * 0.005)
    assert count == pytest.approx(1000 * (1 - (1 - left) / (2 * np.pi * 30 * 0.005)), abs=2)


def test_thresholds_differ_from_pixel_to_pixel_and_from_on_to_off() -> None:
    model = EventModel(0.2, 0.1, mismatch=0.15)
    frames = [np.full(SIZE, np.exp(level), np.float32) for level in (-9, 1)]
    up = EventSimulator(frames[0], 0, rng=np.random.default_rng(0), model=model)
    on = per_pixel(up.step(frames[1], 1000))
    off = per_pixel(up.step(frames[0], 2000))
    change = np.log((frames[1][0, 0] + 2e-5) / (frames[0][0, 0] + 2e-5))
    for counts, threshold in ((on, 0.2), (off, 0.1)):
        shares = change / (counts + 0.5) / threshold
        assert np.median(shares) == pytest.approx(1, abs=0.02)
        assert shares.std() == pytest.approx(0.15, abs=0.015)
    assert abs(np.corrcoef(on, off)[0, 1]) < 0.06


@pytest.mark.parametrize("light", [0.0, 1e-4, 1e-3, 0.3])
def test_shot_noise_falls_with_the_light(light: float) -> None:
    events = rest(EventModel(shot_hz=3.0, shot_intensity=0.001), light)
    expected = 3.0 * PIXELS / np.sqrt(1 + light / 0.001)
    assert abs(len(events) - expected) < 6 * np.sqrt(expected)
    assert abs(int(events.p.sum())) < 6 * np.sqrt(expected)
    assert (per_pixel(events) > 0).mean() == pytest.approx(1 - np.exp(-expected / PIXELS), abs=0.03)


def test_a_sensitive_pixel_is_the_noisier_one() -> None:
    on = np.where(np.arange(100) < 50, 0.1, 0.3).astype(np.float32) * np.ones((100, 1), np.float32)
    noise = EventNoise(EventModel(shot_hz=2.0), on, on, np.random.default_rng(0))
    (_, (shot, _, _)) = noise.draw(np.zeros(SIZE, np.float32), 1_000_000)
    sensitive = int((shot % 100 < 50).sum())
    assert sensitive / (len(shot) - sensitive) == pytest.approx(3, rel=0.1)


def test_noise_leaves_the_memory_alone() -> None:
    frames = [np.full(SIZE, np.exp(level), np.float32) for level in (-1.0, -0.75)]
    noisy = EventSimulator(frames[0], 0, rng=np.random.default_rng(0), model=EventModel(shot_hz=100.0))
    assert len(noisy.step(frames[0], 1_000_000)) > 5 * PIXELS
    assert len(noisy.step(frames[1], 1_000_001)) == pytest.approx(PIXELS, abs=10)


def test_a_leak_fires_on_events_at_even_intervals() -> None:
    """One event a second from each pixel, at its own time: 10 a pixel in 10 s, with none missing and none to spare."""
    model = EventModel(leak_hz=1.0, mismatch=0.15)
    frame = np.full(SIZE, 0.3, np.float32)
    simulator = EventSimulator(frame, 0, model=model, rng=np.random.default_rng(0))
    parts = [simulator.step(frame, 100_000 * step) for step in range(1, 101)]
    counts = np.sum([per_pixel(part) for part in parts], axis=0)
    assert {int(sign) for part in parts for sign in np.unique(part.p)} == {1}
    assert np.abs(counts - 10).max() <= 1
    assert counts.mean() == pytest.approx(10, abs=0.05)
    in_second = np.bincount(np.concatenate([part.t_ns for part in parts]) // 1_000_000_000)
    assert in_second == pytest.approx(PIXELS, rel=0.02)
    thousandths = np.concatenate([part.t_ns for part in parts]) // 1_000_000 % 100
    assert np.bincount(thousandths, minlength=100) == pytest.approx(PIXELS / 10, rel=0.5)


def test_hot_pixels_have_a_heavy_tail() -> None:
    """A Pareto law of exponent 1.06: at 10 times the lowest rate there is still 1 in 11, at 100 times 1 in 130."""
    model = EventModel(hot_share=0.02, hot_hz=10.0, hot_highest_hz=3000.0)
    counts = per_pixel(rest(model, seconds=10, size=(400, 400)))
    hot = counts[counts > 0] / 10
    assert len(hot) == pytest.approx(3200, abs=6 * 57)
    for factor in (10, 100):
        expected = len(hot) * factor**-1.06
        assert (hot > 10 * factor).sum() == pytest.approx(expected, abs=5 * np.sqrt(expected))
    assert 2900 < hot.max() < 3100
    assert np.median(hot) == pytest.approx(10 * 2 ** (1 / 1.06), rel=0.1)


def test_hot_pixels_stay_where_they_are() -> None:
    frame = np.full(SIZE, 0.3, np.float32)
    simulator = EventSimulator(frame, 0, model=EventModel(hot_share=1e-3), rng=np.random.default_rng(0))
    first, second = (set(np.flatnonzero(per_pixel(simulator.step(frame, t)))) for t in (3_000_000, 6_000_000))
    assert 3 <= len(first) <= 25
    assert first == second


@pytest.mark.parametrize("refractory_us", [200, 2000])
def test_hot_pixels_and_noise_rest_too(refractory_us: int) -> None:
    model = EventModel(shot_hz=50.0, hot_share=0.01, hot_hz=1000.0, refractory_us=refractory_us)
    frame = np.full(SIZE, 0.01, np.float32)
    simulator = EventSimulator(frame, 0, model=model, rng=np.random.default_rng(0))
    parts = [simulator.step(frame, 5000 * step) for step in range(1, 101)]
    index = np.concatenate([part.y.astype(int) * 100 + part.x for part in parts])
    t_us = np.concatenate([part.t_ns for part in parts]) // 1000
    order = np.lexsort((t_us, index))
    intervals = np.diff(t_us[order])[np.diff(index[order]) == 0]
    assert refractory_us <= intervals.min() < 1.1 * refractory_us


@pytest.mark.parametrize(
    ("light", "least", "most"), [(0.3, 0.15, 0.8), (0.003, 0.8, 2.0), (5e-5, 1.8, 3.3)], ids=["day", "lamp", "dark"]
)
@pytest.mark.parametrize("model", [DAVIS346, GEN3], ids=["davis346", "gen3"])
def test_the_sensors_are_quiet_by_day_and_noisier_by_night(
    model: EventModel, light: float, least: float, most: float
) -> None:
    assert least < len(rest(model, light, seconds=2)) / PIXELS / 2 < most


def test_no_two_specimens_of_a_sensor_are_alike() -> None:
    drawn = [draw_sensor("gen3", np.random.default_rng(seed)) for seed in range(200)]
    assert draw_sensor("gen3", np.random.default_rng(0)) == drawn[0] != drawn[1]
    ratio = np.asarray([model.threshold_on / model.threshold_off for model in drawn])
    assert np.median(ratio) == pytest.approx(0.23 / 0.16, rel=0.03)
    assert all(0.1 <= model.mismatch <= 0.2 and 0.1 < model.threshold_off < 0.26 for model in drawn)
    assert {model.refractory_us for model in drawn} == {GEN3.refractory_us}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"threshold_on": 0.0}, r"threshold_on is 0\.0, expected above 0"),
        ({"threshold_off": -0.1}, r"threshold_off is -0\.1"),
        ({"threshold_on": float("nan")}, "threshold_on is nan"),
        ({"mismatch": 0.5}, r"mismatch is 0\.5, expected 0 to 0\.3"),
        ({"bandwidth_hz": 0.0}, r"bandwidth_hz is 0\.0, expected above 0"),
    ],
)
def test_impossible_parameters(options: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EventModel(**options)  # type: ignore[arg-type]


def test_an_unknown_sensor() -> None:
    with pytest.raises(ValueError, match="sensor is 'dvs128', expected one of davis346, gen3"):
        draw_sensor("dvs128", np.random.default_rng(0))
