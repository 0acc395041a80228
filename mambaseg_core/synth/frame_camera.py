"""A frame camera: exposure with a slow automatic control, motion blur, noise, saturation, 8 bits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.textures import Plane

Image = npt.NDArray[np.uint8]
Radiance = Callable[[float, int], Plane]
"""Maps a time (seconds) and the number of the sample within the exposure to radiance, float32 [H, W, 3]."""


@dataclass(frozen=True)
class CameraModel:
    """Parameters of the camera.

    The signal is radiance * exposure / `reference_s` * gain; full scale is 1.

    Attributes:
        reference_s: exposure that brings a white wall by day to full scale.
        longest_s: longest exposure; in less light the gain rises.
        highest_gain: highest gain; in even less light the image stays dark.
        target: median signal that the control aims for; the sun and lamps, however bright, do not change a median.
        metered: share of the rows, from the bottom, in which it measures: the road, more than the sky.
        lag_s: time constant of the control.
        settled_s: the exposure of the first image is right for the scene this long before it.
        shot: standard deviation of the shot noise at full scale and gain 1; it grows as sqrt(signal * gain).
        read: standard deviation of the read noise at gain 1; it grows as the gain.
        sample_s: an exposure is the mean of at least 4 renderings, at most this far apart.
    """

    reference_s: float = 0.004
    longest_s: float = 0.030
    highest_gain: float = 16.0
    target: float = 0.34
    metered: float = 0.6
    lag_s: float = 0.4
    settled_s: float = 0.8
    shot: float = 0.02
    read: float = 0.004
    sample_s: float = 0.005


class FrameCamera:
    """Takes images one after the other.

    Args:
        radiance: radiance that reaches the camera.
        model: parameters of the camera.
        rng: draws the noise.
    """

    def __init__(self, radiance: Radiance, rng: np.random.Generator, model: CameraModel = CameraModel()) -> None:
        self._radiance = radiance
        self._rng = rng
        self._model = model
        self._exposure = 0.0  # exposure / reference_s * gain
        self._seconds = 0.0

    def take(self, seconds: float) -> Image:
        """Return the image whose exposure has its middle at a time, which is later than the last one.

        Returns:
            RGB uint8 [H, W, 3].
        """
        model = self._model
        if self._exposure == 0.0:
            self._exposure = self._wanted(self._radiance(seconds - model.settled_s, 0))
        shutter_s = min(self._exposure * model.reference_s, model.longest_s)
        gain = min(max(self._exposure * model.reference_s / shutter_s, 1.0), model.highest_gain)
        samples = max(4, round(shutter_s / model.sample_s))
        times = seconds + shutter_s * ((np.arange(samples) + 0.5) / samples - 0.5)
        mean = self._radiance(float(times[0]), 0)
        for number, time in enumerate(times[1:].tolist(), 1):
            mean = mean + self._radiance(time, number)
        mean = mean / np.float32(samples)
        self._adapt(self._wanted(mean), seconds)
        return self._develop(mean * np.float32(shutter_s / model.reference_s * gain), gain)

    def _adapt(self, wanted: float, seconds: float) -> None:
        """Move toward the exposure that would have been right for this image."""
        share = 1 - np.exp(-max(seconds - self._seconds, 0.0) / self._model.lag_s)
        self._exposure *= float((wanted / self._exposure) ** share)
        self._seconds = seconds

    def _wanted(self, radiance: Plane) -> float:
        """Return the exposure at which the median of the metered part is the target."""
        model = self._model
        seen = radiance[round(len(radiance) * (1 - model.metered)) :: 4, ::4]
        longest = model.longest_s / model.reference_s * model.highest_gain
        return min(model.target / max(float(np.median(seen)), 1e-6), longest)

    def _develop(self, signal: Plane, gain: float) -> Image:
        model = self._model
        signal = np.minimum(signal, np.float32(1.5 * gain))  # full well
        deviation = np.sqrt(model.shot**2 * gain * signal + (model.read * gain) ** 2)
        noisy = signal + deviation * self._rng.standard_normal(signal.shape, np.float32)
        return np.asarray(np.rint(np.clip(noisy, 0, 1) * 255), np.uint8)
