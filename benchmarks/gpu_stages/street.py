"""Frames of a rendered street, in memory: an image, the events before it and its labels, without files or formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mambaseg_core import Calibration, Events
from mambaseg_core.synth.conditions import draw_conditions
from mambaseg_core.synth.event_camera import EventSimulator
from mambaseg_core.synth.event_model import GEN3
from mambaseg_core.synth.render import Renderer
from mambaseg_core.synth.rig import RawEventCamera, event_view, frame_camera, make_calibration
from mambaseg_core.synth.scene import build_scene

Picture = npt.NDArray[np.uint8]
STEP_US = 5000  # between the renderings that events are made from


@dataclass(frozen=True)
class Frame:
    """One frame of a drive.

    Attributes:
        image: uint8 RGB [H, W, 3] of the frame camera.
        events: raw events of the time since the last frame.
        labels: uint8 [H, W] class ids in the rectified view of the event camera.
    """

    image: Picture
    events: Events
    labels: Picture


def rig(event_size: tuple[int, int]) -> Calibration:
    """Return the calibration of a camera and an event camera of that (height, width)."""
    height, width = event_size
    return make_calibration((height * 9 // 8, width * 9 // 8), event_size)


def drive(
    calibration: Calibration, *, frames: int, seed: int, condition: str = "day", every_us: int = 50_000
) -> Iterator[Frame]:
    """Yield the frames of a drive, one every `every_us` microseconds."""
    seconds = (frames + 1) * every_us * 1e-6
    conditions_rng, scene_rng, image_rng, event_rng = map(np.random.default_rng, np.random.SeedSequence(seed).spawn(4))
    conditions = draw_conditions(condition, conditions_rng, seconds)
    scene = build_scene(scene_rng, seconds, conditions)
    camera, eyes = (
        frame_camera(scene, calibration, conditions, image_rng),
        RawEventCamera(scene, calibration, conditions),
    )
    labels = Renderer(scene.quads, scene.ground, event_view(calibration), gray=True)
    simulator = EventSimulator(eyes.intensity(0.0), 0, rng=event_rng, model=GEN3)
    for number in range(1, frames + 1):
        end_us = number * every_us
        times = range(end_us - every_us + STEP_US, end_us + 1, STEP_US)
        events = Events.concatenate([simulator.step(eyes.intensity(t * 1e-6), t) for t in times])
        seconds_now = end_us * 1e-6
        rendering = labels.render(conditions.motion.pose(seconds_now), seconds_now)
        yield Frame(camera.take(seconds_now), events, rendering.labels)


def random_events(size: tuple[int, int], count: int, seed: int) -> Events:
    """Return events at random pixels within 50 ms."""
    rng, (height, width) = np.random.default_rng(seed), size
    x, y, t_ns, p = (rng.integers(0, below, count) for below in (width, height, 50_000_000, 2))
    return Events.from_arrays(x, y, np.sort(t_ns) + 10**18, p, height=height, width=width)
