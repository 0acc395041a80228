"""The vehicle's frame camera and event camera: their calibration, their views, and their output on a drive."""

from __future__ import annotations

from typing import Final

import cv2
import numpy as np

from mambaseg_core.cameras.calibration import Calibration
from mambaseg_core.cameras.camera import Camera
from mambaseg_core.synth.conditions import Conditions
from mambaseg_core.synth.frame_camera import FrameCamera
from mambaseg_core.synth.lens import Lens
from mambaseg_core.synth.motion import FOCAL
from mambaseg_core.synth.pinhole import PinholeView, rotation
from mambaseg_core.synth.render import Renderer
from mambaseg_core.synth.scene import Scene
from mambaseg_core.synth.textures import Plane

Size = tuple[int, int]
"""(height, width), pixels."""

_TALL: Final = 1.2
_JITTER_PX: Final = ((-0.25, -0.25), (0.25, 0.25), (0.25, -0.25), (-0.25, 0.25))


def make_calibration(image_size: Size, event_size: Size, focal: float = FOCAL) -> Calibration:
    """Return the synthetic rig: one optical center, two views slightly turned, a distorted event camera.

    Args:
        image_size: (height, width) of the rectified frame camera, pixels.
        event_size: (height, width) of the event camera, pixels.
        focal: focal length of the frame camera in widths of its image; that of the event camera is a little longer.
            Where an image is taller than 1.2 widths, its height / 1.2 counts as the width here: the corners of a
            wider view would lie beyond what the distortion can describe.
    """
    (he, we), (hi, wi) = event_size, image_size
    wide_e, wide_i = max(we, he / _TALL), max(wi, hi / _TALL)
    t_10 = np.eye(4)
    t_10[:3, :3] = rotation(-0.004, 0.021, -0.009)
    return Calibration(
        event_raw=Camera(
            1.0875 * focal * wide_e,
            1.0875 * focal * wide_e,
            0.525 * we,
            0.455 * he,
            he,
            we,
            (-0.1, 0.18, -0.0004, 0.0002),
        ),
        event=Camera(1.125 * focal * wide_e, 1.125 * focal * wide_e, 0.515 * we, 0.470 * he, he, we),
        image=Camera(focal * wide_i, focal * wide_i, 0.502 * wi, 0.520 * hi, hi, wi),
        R_rect0=rotation(0.0013, 0.0091, -0.0031),
        R_rect1=rotation(-0.0034, -0.0122, 0.0133),
        T_10=t_10,
    )


def image_view(calibration: Calibration, *, shift_px: tuple[float, float] = (0.0, 0.0)) -> PinholeView:
    """Return the frame camera's view, straight ahead, through the pixel centers plus a shift (x, y)."""
    matrix = calibration.image.matrix()
    matrix[:2, 2] -= shift_px
    return PinholeView(matrix, np.eye(3), calibration.image_size)


def jittered_views(calibration: Calibration) -> list[PinholeView]:
    """Return the frame camera's view at four places inside a pixel, which are averaged against aliasing."""
    return [image_view(calibration, shift_px=shift) for shift in _JITTER_PX]


def event_view(calibration: Calibration, *, margin: int = 0) -> PinholeView:
    """Return the rectified event camera's view, with a margin of pixels on every side."""
    matrix = calibration.event.matrix()
    matrix[:2, 2] += margin
    height, width = calibration.event_size
    return PinholeView(matrix, calibration.rotation.T, (height + 2 * margin, width + 2 * margin))


def frame_camera(
    scene: Scene, calibration: Calibration, conditions: Conditions, rng: np.random.Generator
) -> FrameCamera:
    """Return the frame camera of a drive; `rng` draws its noise."""
    lens = Lens(conditions.dirt, calibration.image_size, 0)
    renderers = [
        Renderer(scene.quads, scene.ground, view, light=conditions.light) for view in jittered_views(calibration)
    ]

    def radiance(seconds: float, sample: int) -> Plane:
        frame = renderers[sample % len(renderers)].render(conditions.motion.pose(seconds), seconds)
        return lens.look(frame.color, seconds)

    return FrameCamera(radiance, rng)


class RawEventCamera:
    """Intensities at the event camera's raw pixels: the rectified view, drawn wide enough and distorted.

    The forward map from raw to rectified pixels is where to sample the rectified view for each raw pixel.
    """

    def __init__(self, scene: Scene, calibration: Calibration, conditions: Conditions) -> None:
        rectified = calibration.rectify_map()
        limits = np.asarray(calibration.event_size[::-1], np.float32) - 1
        margin = int(np.ceil(max(-rectified.min(), (rectified - limits).max(), 0))) + 2
        self._columns, self._rows = np.ascontiguousarray(np.moveaxis(rectified + np.float32(margin), -1, 0))
        view = event_view(calibration, margin=margin)
        self._motion = conditions.motion
        self._lens = Lens(conditions.dirt, calibration.event_size, 1)
        self._renderer = Renderer(scene.quads, scene.ground, view, gray=True, light=conditions.light)

    def intensity(self, seconds: float) -> Plane:
        """Return the intensity at a time of the drive, float32 [H, W]; 1 is a white wall by day."""
        rectified = self._renderer.render(self._motion.pose(seconds), seconds).color
        raw = np.asarray(cv2.remap(rectified, self._columns, self._rows, cv2.INTER_LINEAR), np.float32)
        return self._lens.look(raw, seconds)
