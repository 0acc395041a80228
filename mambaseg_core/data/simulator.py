"""An ideal event camera: threshold crossings of log intensity between finely spaced frames."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mambaseg_core.data.textures import Plane
from mambaseg_core.events import Events

DARK = 0.03
"""Added to intensities in 0..1 before the logarithm, so that noise in the dark makes no storm."""


class EventSimulator:
    """Turns frames into events.

    Each pixel remembers the log intensity of its last event. When a frame is a threshold or more away from
    it, the pixel fires once per threshold crossed, at the times at which a straight line from frame to frame
    crosses.

    Args:
        frame: float32 [H, W] intensity in 0..1 at the start.
        t_us: its time, microseconds.
        threshold: change of log intensity per event, above 0.
        noise_hz: random events per pixel and second; they do not touch the pixels' memory.
        rng: draws the noise.
    """

    def __init__(
        self,
        frame: Plane,
        t_us: int,
        *,
        threshold: float = 0.2,
        noise_hz: float = 0.0,
        rng: np.random.Generator,
    ) -> None:
        if not threshold > 0:
            raise ValueError(f"threshold is {threshold}, expected above 0; 0.2 is usual")
        self._level = log_intensity(frame)
        self._memory = self._level.copy()
        self._t_us = t_us
        self._threshold = np.float32(threshold)
        self._noise_hz = noise_hz
        self._rng = rng

    def step(self, frame: Plane, t_us: int) -> Events:
        """Events from the last frame's time (inclusive) to this one's (exclusive), in time order.

        Args:
            frame: float32 [H, W] as before.
            t_us: its time, microseconds, after the last.

        Raises:
            ValueError: the time is not after the last, or the frame's shape is another.
        """
        if t_us <= self._t_us or frame.shape != self._level.shape:
            raise ValueError(
                f"got a frame {list(frame.shape)} at {t_us} us, expected {list(self._level.shape)} after "
                f"{self._t_us} us; "
                f"give frames of one size in time order"
            )
        level = log_intensity(frame)
        index, t, p = self._crossings(level, t_us - self._t_us)
        noise_index, noise_t, noise_p = self._noise(level.size, t_us - self._t_us)
        index, t = np.concatenate([index, noise_index]), np.concatenate([t, noise_t])
        p = np.concatenate([p, noise_p])
        order = np.argsort(t, kind="stable")
        y, x = np.divmod(index[order], level.shape[1])
        t_ns = (t[order] + self._t_us) * 1000
        self._level, self._t_us = level, t_us
        return Events(x.astype(np.uint16), y.astype(np.uint16), t_ns, p[order], *level.shape)

    def _crossings(
        self, level: Plane, span_us: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int8]]:
        """Pixel index, time since the last frame (us) and polarity of each crossing; updates the memory."""
        steps = np.trunc((level - self._memory) / self._threshold).ravel()  # signed number of events
        fired = np.flatnonzero(steps)
        sign, count = np.sign(steps[fired]), np.abs(steps[fired]).astype(np.int64)
        old, new, memory = (plane.ravel()[fired] for plane in (self._level, level, self._memory))
        index = np.repeat(np.arange(len(fired)), count)
        number = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count) + 1  # 1, 2, ... for each pixel
        crossed = memory[index] + sign[index] * number * self._threshold
        share = (crossed - old[index]) / (new - old)[index]
        t = np.clip((share * span_us).astype(np.int64), 0, span_us - 1)
        self._memory.ravel()[fired] += steps[fired] * self._threshold
        return fired[index], t, sign[index].astype(np.int8)

    def _noise(
        self, pixels: int, span_us: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int8]]:
        count = int(self._rng.poisson(self._noise_hz * pixels * span_us * 1e-6))
        polarity = self._rng.integers(0, 2, count, dtype=np.int8) * 2 - 1
        return (
            self._rng.integers(0, pixels, count),
            self._rng.integers(0, span_us, count),
            polarity.astype(np.int8),
        )


def log_intensity(frame: Plane) -> Plane:
    """What the pixels compare: log(intensity + DARK), float32 [H, W]."""
    level: Plane = np.log(np.maximum(frame, 0) + np.float32(DARK))
    return level
