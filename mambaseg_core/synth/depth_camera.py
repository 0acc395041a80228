"""A depth camera in the synthetic street: two lenses, so that noise grows with the square of the distance.

A pixel has no depth (0) where the second lens sees something else, in the sky, beyond 65.535 m, and in patches where
the matching fails. Such patches are more frequent in the dark, in glare and in shaken images.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.conditions import Conditions
from mambaseg_core.synth.pinhole import PinholeView
from mambaseg_core.synth.render import Renderer
from mambaseg_core.synth.scene import Scene
from mambaseg_core.synth.textures import Plane, noise

FARTHEST_MM: Final = 65_535
_PATCHES: Final = {  # share without a match
    "day": 0.03,
    "night": 0.12,
    "glare": 0.10,
    "tunnel": 0.10,
    "rain": 0.12,
    "fast": 0.06,
    "turn": 0.04,
}


@dataclass(frozen=True)
class DepthModel:
    """A stereo camera.

    Attributes:
        baseline_m: distance between the lenses, meters.
        noise_px: standard deviation of the disparity, pixels.
        step_px: smallest difference of disparities, pixels.
    """

    baseline_m: float = 0.40
    noise_px: float = 0.12
    step_px: float = 1 / 16


class DepthCamera:
    """Takes depth images of a scene: 16 bits, millimeters along the optical axis, 0 = none.

    Args:
        scene: the street.
        views: the camera's views; only the first is used.
        conditions: conditions of the drive.
        rng: draws noise and holes.
        model: the sensor.
    """

    def __init__(
        self,
        scene: Scene,
        views: list[PinholeView],
        conditions: Conditions,
        rng: np.random.Generator,
        model: DepthModel = DepthModel(),
    ) -> None:
        self._renderer = Renderer(scene.quads, scene.ground, views[0], gray=True)
        self._conditions, self._rng, self._model = conditions, rng, model
        self._focal_m = float(views[0].matrix[0, 0]) * model.baseline_m  # pixels times meters

    def take(self, seconds: float) -> npt.NDArray[np.uint16]:
        """Return the depth image at a time, uint16 [H, W], millimeters."""
        exact = self._renderer.render(self._conditions.motion.pose(seconds), seconds).depth
        disparity = np.float32(self._focal_m) / exact
        model, rng = self._model, self._rng
        rough = disparity + np.float32(model.noise_px) * noise(rng, disparity.shape, (1.0, 3.0))
        rough = np.maximum(np.rint(rough / model.step_px) * model.step_px, model.step_px)
        patches = noise(rng, disparity.shape, (5.0, 12.0))
        unmatched = patches > np.quantile(patches, 1 - _PATCHES[self._conditions.name])
        millimetres = np.rint(1000 * self._focal_m / rough)
        missing = np.isinf(exact) | unmatched | hidden(disparity) | (millimetres > FARTHEST_MM)
        return np.where(missing, 0, millimetres).astype(np.uint16)


def hidden(disparity: Plane) -> npt.NDArray[np.bool_]:
    """Return where a second lens to the right sees something nearer, bool [H, W], from disparities in pixels."""
    there = np.arange(disparity.shape[1]) - disparity  # the column in the second image
    from_right = np.minimum.accumulate(there[:, ::-1], axis=1)[:, ::-1]
    covered = np.zeros(disparity.shape, bool)
    covered[:, :-1] = there[:, :-1] >= from_right[:, 1:]
    return covered
