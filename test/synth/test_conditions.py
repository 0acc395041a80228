"""Each condition harms the images in its own way; the events still show the street, and no labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from mambaseg_core.data.dsec import DsecSequence
from mambaseg_core.synth.conditions import CONDITIONS, draw_conditions
from mambaseg_core.synth.depth_camera import DepthCamera
from mambaseg_core.synth.dsec_drive import SequenceSummary
from mambaseg_core.synth.event_camera import EventSimulator
from mambaseg_core.synth.rig import RawEventCamera, jittered_views, make_calibration
from mambaseg_core.synth.scene import Scene, build_scene
from mambaseg_core.synth.thermal_camera import ThermalCamera

SIZE = (120, 160)


@pytest.fixture(scope="module")
def drives(
    tmp_path_factory: pytest.TempPathFactory, write_small: Callable[..., SequenceSummary]
) -> dict[str, DsecSequence]:
    root = tmp_path_factory.mktemp("conditions")
    return {name: DsecSequence(write_small(root, name=name, condition=name, seed=18).path) for name in CONDITIONS}


def sharpness(images: list[np.ndarray]) -> float:
    """Mean strength of small structure, relative to the brightness."""
    found = [np.abs(cv2.Laplacian(image.astype(float), cv2.CV_64F)).mean() / image.mean() for image in images]
    return float(np.mean(found))


def gray(sequence: DsecSequence) -> list[np.ndarray]:
    return [cv2.cvtColor(sequence.image(index), cv2.COLOR_RGB2GRAY) for index in range(1, len(sequence))]


def test_a_sequence_names_its_condition(drives: dict[str, DsecSequence], summary: SequenceSummary) -> None:
    assert {name: sequence.condition for name, sequence in drives.items()} == {name: name for name in CONDITIONS}
    assert "seed: 0" in (summary.path / "sequence.yaml").read_text()


def test_the_camera_suffers(drives: dict[str, DsecSequence]) -> None:
    images = {name: gray(sequence) for name, sequence in drives.items()}
    mean = {name: float(np.mean(taken)) for name, taken in images.items()}
    white = {name: float((np.asarray(taken) > 253).mean()) for name, taken in images.items()}
    blurred = {name: sharpness(taken) for name, taken in images.items()}
    assert 80 < mean["day"] < 150
    assert mean["night"] < 25
    assert np.mean([(image[len(image) // 2 :] > 253).mean() for image in images["day"]]) < 0.02  # the sky may be white
    assert white["glare"] > 0.1
    assert white["tunnel"] > 0.1
    assert blurred["fast"] < 0.95 * blurred["day"]  # though its noise is sharp too
    assert blurred["night"] > 2 * blurred["day"]  # noise


def test_the_events_still_show_the_street(drives: dict[str, DsecSequence]) -> None:
    for name, sequence in drives.items():
        end = int(sequence.image_times_ns[3])
        events = sequence.calibration.rectify(sequence.events.last(5000, end).events)  # type: ignore[union-attr]
        counts = np.zeros(SIZE)
        np.add.at(counts, (events.y, events.x), 1)
        labels = sequence.label(3)
        kernel = np.ones((5, 5), np.uint8)
        borders = cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)
        counts = counts[: labels.shape[0]]
        assert counts[borders].mean() > 1.4 * counts[~borders].mean(), name


@pytest.mark.parametrize("name", CONDITIONS)
def test_events_know_nothing_of_labels(name: str) -> None:
    """The same street with other class ids has the very same events: they depend on light only."""
    conditions = draw_conditions(name, np.random.default_rng(1), 0.1)
    scene = build_scene(np.random.default_rng(2), 0.1, conditions)
    unnamed = Scene(tuple(replace(quad, label=quad.label and 0) for quad in scene.quads), scene.ground)
    found = []
    for street in (scene, unnamed):
        camera = RawEventCamera(street, make_calibration(SIZE, SIZE), conditions)
        simulator = EventSimulator(camera.intensity(0), 0, rng=np.random.default_rng(0))
        found.append([simulator.step(camera.intensity(0.01 * step), 10_000 * step) for step in range(1, 5)])
    assert sum(map(len, found[0])) > 500
    for first, second in zip(*found, strict=True):
        np.testing.assert_array_equal(first.t_ns, second.t_ns)
        np.testing.assert_array_equal(first.x, second.x)


def test_nothing_moves_nothing_fires() -> None:
    conditions = draw_conditions("day", np.random.default_rng(1), 0.1)
    camera = RawEventCamera(
        build_scene(np.random.default_rng(2), 0.1, conditions), make_calibration(SIZE, SIZE), conditions
    )
    simulator = EventSimulator(camera.intensity(0), 0, rng=np.random.default_rng(0))
    assert len(simulator.step(camera.intensity(0), 50_000)) == 0


def test_a_tunnel_s_end_blinds_the_camera(tmp_path: Path, write_small: Callable[..., SequenceSummary]) -> None:
    rngs = [np.random.default_rng(np.random.SeedSequence(seed).spawn(5)[0]) for seed in range(20)]
    ends = [draw_conditions("tunnel", rng, 0.3).light.tunnel_end_m or 0 for rng in rngs]
    sequence = DsecSequence(write_small(tmp_path, condition="tunnel", seed=int(np.argmax(ends))).path)
    assert (gray(sequence)[0] > 253).mean() > 0.1
    assert (sequence.label(1) == 9).mean() > 0.1  # the tunnel is a wall


@pytest.mark.parametrize("seed", range(5))
def test_a_turn_reaches_its_yaw_rate(seed: int) -> None:
    motion = draw_conditions("turn", np.random.default_rng(seed), 1.0).motion
    times = np.arange(0, 1 / motion.turn_hz, 0.01)
    ahead = np.asarray([motion.pose(time).rotation[2] for time in times])  # the optical axis in the world
    rates = np.degrees(np.abs(np.diff(np.unwrap(np.arctan2(ahead[:, 0], ahead[:, 2]))))) / 0.01
    assert 35 < rates.max() < 110  # 40 to 90, and the road's bends and bumps
    assert 2 < motion.speed < 5


@pytest.mark.parametrize("name", CONDITIONS)
def test_every_condition_has_a_climate_and_a_stereo_match(name: str) -> None:
    """The thermal and the depth camera know all conditions."""
    conditions = draw_conditions(name, np.random.default_rng(1), 0.2)
    scene = build_scene(np.random.default_rng(2), 0.2, conditions)
    views = jittered_views(make_calibration((60, 80), (60, 80)))
    kelvin = ThermalCamera(scene, views, conditions, np.random.default_rng(3)).temperatures(0.1)
    assert 200 < kelvin.min() < kelvin.max() < 350
    assert DepthCamera(scene, views, conditions, np.random.default_rng(3)).take(0.1).max() > 0


def test_only_rain_has_dirt_and_an_overcast_sky() -> None:
    for name in CONDITIONS:
        drawn = [draw_conditions(name, np.random.default_rng(seed), 0.2) for seed in range(40)]
        assert any(one.dirt.drops for one in drawn) == any(one.dirt.dust for one in drawn) == (name == "rain")
        wet = [one for one in drawn if one.dirt.drops]
        assert all(0 < one.dirt.film < 0.5 and one.light.ambient < 0.5 for one in wet)


def test_a_night_is_dark() -> None:
    lights = [draw_conditions("night", np.random.default_rng(seed), 0.2).light for seed in range(40)]
    assert all(0.5e-4 < light.ambient < 2e-4 and light.lamps < 0.002 for light in lights)
