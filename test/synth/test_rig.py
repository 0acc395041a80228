from __future__ import annotations

import cv2
import numpy as np
import pytest

from mambaseg_core.synth.conditions import Conditions
from mambaseg_core.synth.event_camera import EventSimulator, log_intensity
from mambaseg_core.synth.light import DAYLIGHT
from mambaseg_core.synth.motion import Motion
from mambaseg_core.synth.pinhole import PinholeView
from mambaseg_core.synth.quads import BUILDING
from mambaseg_core.synth.render import Renderer, Rendering
from mambaseg_core.synth.rig import RawEventCamera, event_view, image_view, make_calibration
from mambaseg_core.synth.scene import Scene, build_scene

SECONDS = 0.5
IMAGE, EVENT = (270, 360), (240, 320)
DAY = Conditions("day", Motion(), DAYLIGHT)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return build_scene(np.random.default_rng(7), 1.0, DAY)


def see(scene: Scene, view: PinholeView, *, gray: bool = True) -> Rendering:
    return Renderer(scene.quads, scene.ground, view, gray=gray).render(DAY.motion.pose(SECONDS), SECONDS)


def edges(values: np.ndarray, reach: int = 2) -> np.ndarray:
    """Where a map of labels or brightness changes within a few pixels."""
    kernel = np.ones((2 * reach + 1,) * 2, np.uint8)
    return cv2.dilate(values, kernel).astype(float) - cv2.erode(values, kernel) > 0.06


def test_streets_have_all_classes() -> None:
    found: set[int] = set()
    for seed in range(4):
        street = build_scene(np.random.default_rng(seed), 1.0, DAY)
        found |= set(np.unique(see(street, event_view(make_calibration(IMAGE, EVENT))).labels).tolist())
    assert found == set(range(11))


@pytest.mark.parametrize("size", [(64, 48), (96, 48), (160, 48), (48, 160)])
@pytest.mark.parametrize("focal", [0.55, 1.1])
def test_cameras_that_stand_upright_can_be_rectified(size: tuple[int, int], focal: float) -> None:
    rectified = make_calibration(IMAGE, size, focal).rectify_map()
    assert rectified.shape == (*size, 2)
    assert np.isfinite(rectified).all()


def test_both_views_have_the_calibration_s_geometry(scene: Scene) -> None:
    calibration = make_calibration(IMAGE, EVENT)
    image, event = see(scene, image_view(calibration)), see(scene, event_view(calibration))
    back = calibration.warp_mask_to_image(event.labels)
    known = (back != 255) & ~edges(image.labels, 1)
    assert known.mean() > 0.5
    assert (back == image.labels)[known].mean() > 0.999
    assert (event.labels == cv2.resize(image.labels, EVENT[::-1], interpolation=cv2.INTER_NEAREST)).mean() < 0.97


def test_the_warped_image_is_the_event_view(scene: Scene) -> None:
    calibration = make_calibration(IMAGE, EVENT)
    shifts = [(x, y) for x in (-0.25, 0.25) for y in (-0.25, 0.25)]
    image = np.mean([see(scene, image_view(calibration, shift_px=shift)).color[..., 0] for shift in shifts], axis=0)
    warped = calibration.warp_image((np.clip(image, 0, 1) * 255).astype(np.uint8)) / 255.0
    event = see(scene, event_view(calibration)).color[..., 0]
    inside = np.zeros(EVENT, bool)
    inside[4:-14, 4:-4] = True
    flat = inside & ~edges(event)
    assert flat.mean() > 0.3
    assert np.abs(warped - event)[flat].mean() < 0.01
    shifted = np.roll(warped, 3, axis=1)
    assert np.abs(shifted - event)[inside].mean() > 1.5 * np.abs(warped - event)[inside].mean()


def test_a_shifted_view_sees_what_lies_beside() -> None:
    calibration = make_calibration(IMAGE, EVENT)
    rays = image_view(calibration).rays().reshape(3, *IMAGE)
    shifted = image_view(calibration, shift_px=(1.0, 2.0)).rays().reshape(3, *IMAGE)
    np.testing.assert_allclose(shifted[:, :-2, :-1], rays[:, 2:, 1:], atol=1e-6)


def test_the_raw_event_camera_has_the_calibration_s_geometry(scene: Scene) -> None:
    calibration = make_calibration(IMAGE, EVENT)
    raw = RawEventCamera(scene, calibration, DAY).intensity(SECONDS)
    event = see(scene, event_view(calibration)).color[..., 0]
    y, x = np.mgrid[: EVENT[0], : EVENT[1]]
    moved = np.rint(calibration.rectify_map()).astype(int)
    inside = ((moved >= 0) & (moved < EVENT[::-1])).all(axis=-1)
    seen = event[moved[inside][:, 1], moved[inside][:, 0]]
    flat = ~edges(event)[moved[inside][:, 1], moved[inside][:, 0]]
    assert np.abs(seen - raw[inside])[flat].mean() < 0.005
    assert np.abs(event - raw)[y % 2 == x % 2].mean() > 2 * np.abs(seen - raw[inside]).mean()


def test_events_reproduce_what_the_raw_camera_saw(scene: Scene) -> None:
    camera = RawEventCamera(scene, make_calibration((60, 80), (60, 80)), DAY)
    start = camera.intensity(0.0)
    simulator = EventSimulator(start, 0, rng=np.random.default_rng(0))
    total = np.zeros((60, 80))
    for step in range(1, 26):
        events = simulator.step(camera.intensity(0.004 * step), 4000 * step)
        np.add.at(total, (events.y, events.x), events.p * 0.2)
    change = log_intensity(camera.intensity(0.1)) - log_intensity(start)
    assert np.abs(change).max() > 0.5
    assert np.abs(change - total).max() < 0.2 + 1e-4


def test_no_sky_shows_below_a_roof() -> None:
    """A house has a wall toward the vehicle under its roof, also where its neighbor is lower."""
    for seed in range(3):
        quads = build_scene(np.random.default_rng(seed), 0.5, DAY).quads
        roofs = [quad for quad in quads if quad.part == "roof" and quad.label == BUILDING]
        walls = [quad for quad in quads if quad.part == "side" and quad.across[2] == 0 and quad.down[1] > 2]
        starts = np.asarray([(quad.corner[0], quad.corner[2]) for quad in walls])
        for roof in roofs:
            eaves = np.asarray(roof.corner) + np.asarray(roof.down)  # the near lower corner
            assert np.abs(starts - eaves[[0, 2]]).max(axis=1).min() < 0.05
