"""Frames to check an export with: short synthetic drives by day and at night, as a network's inputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from torch import Tensor

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.events import Events
from mambaseg_core.preprocessing import Preprocessing
from mambaseg_core.synth.conditions import Conditions, draw_conditions
from mambaseg_core.synth.event_camera import EventSimulator
from mambaseg_core.synth.event_model import draw_sensor
from mambaseg_core.synth.rgbx_pairs import CAMERAS
from mambaseg_core.synth.rig import RawEventCamera, frame_camera, jittered_views, make_calibration
from mambaseg_core.synth.scene import Scene, build_scene

CONDITIONS: Final = ("day", "night")
_WINDOW_S: Final = 0.05  # of events, and between two images
_STEPS: Final = 10  # renderings that the events of a window are made from
_LEAST: Final = 48  # rows and columns of a camera


def street_frames(setup: Preprocessing, count: int, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Render frames, as many of each of `CONDITIONS` as of the others or one more.

    Args:
        setup: What the network's weights were trained with, for the size of its inputs.
        count: B, at least 1.
        seed: Another seed draws other streets.

    Returns:
        Images float32 [B, C, h, w] and second inputs float32 [B, T, h, w].
    """
    each = -(-count // len(CONDITIONS))
    drives = [list(_drive(setup, name, each, seed + 1000 * i)) for i, name in enumerate(CONDITIONS)]
    frames = [drive[number] for number in range(each) for drive in drives][:count]
    images, seconds = zip(*frames, strict=True)
    return torch.stack(images), torch.stack(seconds)


def _drive(setup: Preprocessing, name: str, count: int, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the inputs of `count` frames of one drive."""
    seeds = np.random.SeedSequence(seed).spawn(4)
    conditions_rng, scene_rng, image_rng, second_rng = map(np.random.default_rng, seeds)
    conditions = draw_conditions(name, conditions_rng, count * _WINDOW_S)
    scene = build_scene(scene_rng, count * _WINDOW_S, conditions)
    size = max(_LEAST, setup.size[0]), max(_LEAST, setup.size[1])
    calibration = make_calibration(size, size, conditions.motion.focal)
    camera = frame_camera(scene, calibration, conditions, image_rng)
    times = [(number + 1) * _WINDOW_S for number in range(count)]
    if setup.second != "events":
        second = CAMERAS[setup.second](scene, jittered_views(calibration), conditions, second_rng)
        for seconds in times:
            yield setup.image_tensor(camera.take(seconds)), setup.second_tensor(second.take(seconds))
        return
    windows = _event_windows(scene, calibration, conditions, second_rng)
    for seconds, events in zip(times, windows, strict=False):
        image = calibration.warp_image(camera.take(seconds))
        yield setup.image_tensor(image), setup.voxel_input(events, None, calibration)


def _event_windows(
    scene: Scene, calibration: Calibration, conditions: Conditions, rng: np.random.Generator
) -> Iterator[Events]:
    """Yield the events of one window after the other."""
    camera = RawEventCamera(scene, calibration, conditions)
    simulator = EventSimulator(camera.intensity(0.0), 0, rng=rng, model=draw_sensor("gen3", rng))
    step_us, done = round(1e6 * _WINDOW_S / _STEPS), 0
    while True:
        parts = []
        for _ in range(_STEPS):
            done += step_us
            parts.append(simulator.step(camera.intensity(1e-6 * done), done))
        yield Events.concatenate(parts)
