from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import pytest

from mambaseg_core.data import RgbxDataset
from mambaseg_core.labels import DSEC_11
from mambaseg_core.preprocessing import picture_preprocessing
from mambaseg_core.synth.conditions import Conditions, draw_conditions
from mambaseg_core.synth.depth_camera import DepthCamera, hidden
from mambaseg_core.synth.motion import Motion
from mambaseg_core.synth.pinhole import PinholeView
from mambaseg_core.synth.quads import CAR, PERSON
from mambaseg_core.synth.render import Renderer
from mambaseg_core.synth.rgbx_pairs import PairDrive, PairSettings, write_drive, write_pairs
from mambaseg_core.synth.rig import jittered_views, make_calibration
from mambaseg_core.synth.scene import Scene, build_scene
from mambaseg_core.synth.thermal_camera import ZERO_C, ThermalCamera

SIZE = (120, 160)
ROAD = DSEC_11.classes.index("road")


def views() -> list[PinholeView]:
    return jittered_views(make_calibration(SIZE, SIZE))


@lru_cache
def street(condition: str, seed: int = 5) -> tuple[Scene, Conditions]:
    rng = np.random.default_rng(seed)
    conditions = replace(draw_conditions(condition, rng, 1.0), motion=Motion())  # a common street
    return build_scene(rng, 1.0, conditions), conditions


def seen(scene: Scene, conditions: Conditions, seconds: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Labels and exact depth."""
    frame = Renderer(scene.quads, scene.ground, views()[0], gray=True).render(conditions.motion.pose(seconds), seconds)
    return frame.labels, frame.depth


@pytest.fixture(scope="module")
def nights() -> tuple[np.ndarray, np.ndarray, ThermalCamera]:
    """Labels and temperatures (Celsius) of a street at night."""
    scene, conditions = street("night")
    camera = ThermalCamera(scene, views(), conditions, np.random.default_rng(1))
    return seen(scene, conditions)[0], camera.temperatures(0.5) - ZERO_C, camera


def test_by_night_people_and_engines_are_warm_and_the_sky_is_cold(
    nights: tuple[np.ndarray, np.ndarray, ThermalCamera],
) -> None:
    labels, celsius, camera = nights
    air = camera.climate.air_c
    sky = celsius[cv2.erode((labels == 0).astype(np.uint8), np.ones((5, 5))) > 0]
    assert sky.max() < air - 2
    assert sky.min() < air - 15
    assert air + 1 < np.median(celsius[labels == ROAD]) < air + 9
    assert celsius[labels == PERSON].max() > air + 10
    assert celsius[labels == CAR].max() > air + 10
    assert np.median(celsius[labels == CAR]) < air + 4  # most of them are parked, and cold
    assert celsius.max() < 80


def test_by_day_the_road_is_hotter_than_people_are_by_night() -> None:
    scene, conditions = street("day")
    camera = ThermalCamera(scene, views(), conditions, np.random.default_rng(1))
    celsius = camera.temperatures(0.5) - ZERO_C
    labels, _ = seen(scene, conditions)
    assert np.median(celsius[labels == ROAD]) > camera.climate.air_c + 12


def test_a_thermal_image_is_noisy_and_uses_its_gray_levels(
    nights: tuple[np.ndarray, np.ndarray, ThermalCamera],
) -> None:
    labels, celsius, camera = nights
    first, second = camera.take(0.5), camera.take(0.5)
    assert first.dtype == np.uint8
    noise = (first.astype(int) - second)[labels == ROAD]
    assert 0.3 < noise.std() < 4  # levels
    assert first.max() == 255
    assert np.median(first[labels == ROAD]) > first[0, SIZE[1] // 2]
    assert np.corrcoef(first[labels > 0], celsius[labels > 0])[0, 1] > 0.9


def test_depth_is_exact_but_for_holes_and_a_noise_that_grows_with_the_square_of_the_distance() -> None:
    scene, conditions = street("day")
    depth = DepthCamera(scene, views()[:1], conditions, np.random.default_rng(1)).take(0.5)
    _, exact = seen(scene, conditions)
    assert depth.dtype == np.uint16
    assert (depth[np.isinf(exact)] == 0).all()
    assert (depth[exact > 120] == 0).mean() > 0.95
    read = depth > 0
    near, far = read & (exact < 6), read & (exact > 20) & (exact < 40)
    assert 0.75 < near.sum() / (exact < 6).sum() < 0.99
    error = np.abs(depth / 1000.0 - exact)
    assert np.median(error[near]) < 0.1
    assert np.median(error[far]) > 10 * np.median(error[near])
    assert 0.3 < np.median(error[far] / exact[far] ** 2) / np.median(error[near] / exact[near] ** 2) < 3


def test_the_second_lens_does_not_see_what_is_just_left_of_something_near() -> None:
    disparity = np.ones((1, 12), np.float32)
    disparity[0, 6:9] = 4  # three columns nearer: in the second image they are three pixels further to the left
    assert np.flatnonzero(hidden(disparity)).tolist() == [3, 4, 5]


def test_a_data_set_is_a_function_of_its_settings_and_is_read_with_its_conditions(tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    options = {"conditions": ("day", "night"), "sequences": {"test": 1}, "seconds": 0.5, "size": (48, 64)}
    count = write_pairs(
        tmp_path,
        "depth",
        **options,  # type: ignore[arg-type]
        progress=lambda done, total: calls.append((done, total)),
    )
    assert count == 4
    assert calls == [(done, 2) for done in range(3)]
    setup = picture_preprocessing((48, 64), second="depth", labels="dsec_11", second_range=(0.0, 65535.0))
    test = RgbxDataset(tmp_path, "test", setup)
    assert [test[number].condition for number in range(4)] == ["day", "day", "night", "night"]
    assert len(RgbxDataset(tmp_path, "test_night", setup)) == 2
    assert 0 < float(test[0].second.max()) <= 1

    files = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    assert len(files) == 3 * 4
    assert len(set(files.values())) == len(files)
    settings = PairSettings("depth", "night", 0.5, 4.0, 21_000, (48, 64))
    write_drive(PairDrive(tmp_path, "test", 0, settings))  # the same again
    assert {path: path.read_bytes() for path in files} == files
    with pytest.raises(ValueError, match=r"day_00\.yaml holds .*'depth'.*, expected .*'thermal'"):
        write_pairs(tmp_path, "thermal", **options)  # type: ignore[arg-type]


def test_bad_settings_are_named(tmp_path: Path) -> None:
    for words, message in (
        ({"second": "sonar"}, "second is 'sonar', expected one of thermal, depth"),
        ({"second": "depth", "conditions": ("fog",)}, "condition is 'fog', expected one of day, night"),
        ({"second": "depth", "fps": 0.5}, r"seconds=1\.0 and fps=0\.5"),
        ({"second": "depth", "size": (8, 8)}, r"image_size is \(8, 8\)"),
        ({"second": "depth", "jobs": 0}, "jobs is 0"),
    ):
        with pytest.raises(ValueError, match=message):
            write_pairs(tmp_path / "data", **words)  # type: ignore[arg-type]


def test_another_seed_draws_other_images(tmp_path: Path) -> None:
    for folder, seed in (("a", 7), ("b", 8)):
        drive = PairDrive(tmp_path / folder, "test", 0, PairSettings("thermal", "day", 0.25, 4.0, seed, (48, 64)))
        for name in ("RGB", "Modal", "Label", "drives"):
            (drive.root / name).mkdir(parents=True)
        write_drive(drive)
    first, second = (cv2.imread(str(tmp_path / f / "Modal/test_day_00_0000.png"), -1) for f in "ab")
    assert first.shape == second.shape == (48, 64)
    assert (first != second).mean() > 0.3
