"""An event camera: threshold crossings of log intensity between finely spaced frames, and sensor noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mambaseg_core.events import Events
from mambaseg_core.synth.textures import Plane

DARK = 0.001
"""The photodiode's dark current, in the unit of the intensity; added before the logarithm."""

Crossings = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int8]]
"""Pixel index, time (us) and polarity of some events."""


@dataclass(frozen=True)
class EventModel:
    """Parameters of the sensor.

    Attributes:
        threshold: change of log intensity per event, above 0.
        mismatch: standard deviation of the pixels' thresholds, as a share.
        shot_hz: random events of either sign per pixel and second in bright light; their rate grows in the dark by
            the factor 1 + `shot_intensity` / intensity.
        shot_intensity: intensity at which shot noise has doubled.
        leak_hz: ON events per pixel and second without any change of intensity.
        hot_share: share of the pixels that fire all the time.
        hot_hz: events per second of each of these.
        refractory_us: silence of a pixel after an event, microseconds.
    """

    threshold: float = 0.2
    mismatch: float = 0.0
    shot_hz: float = 0.0
    shot_intensity: float = 0.02
    leak_hz: float = 0.0
    hot_share: float = 0.0
    hot_hz: float = 100.0
    refractory_us: int = 0


IDEAL = EventModel()
SENSOR = EventModel(mismatch=0.04, shot_hz=0.08, leak_hz=0.06, hot_share=1e-4, refractory_us=300)
"""The sensor of `mambaseg synth`; its values are of the size reported for DAVIS and Prophesee sensors."""


class EventSimulator:
    """Turns frames into events.

    Each pixel remembers the log intensity of its last event. If a frame differs from it by a threshold or more, the
    pixel fires once per threshold crossed, at the times at which a straight line from frame to frame crosses it.
    Events within the refractory time are lost. Noise does not change the pixels' memory.

    Args:
        frame: float32 [H, W] intensity at the start; 1 is a white wall by day.
        t_us: time of the frame, microseconds.
        model: the sensor.
        rng: draws the pixels' thresholds and the noise.
    """

    def __init__(self, frame: Plane, t_us: int, *, rng: np.random.Generator, model: EventModel = IDEAL) -> None:
        if not model.threshold > 0:
            raise ValueError(f"threshold is {model.threshold}, expected above 0; 0.2 is usual")
        self._model = model
        self._rng = rng
        self._level = log_intensity(frame)
        self._memory = self._level.copy()
        self._t_us = t_us
        spread = 1 + model.mismatch * np.clip(rng.standard_normal(frame.shape, np.float32), -3, 3)
        self._threshold = np.asarray(model.threshold * spread, np.float32)
        self._hot = np.flatnonzero(rng.random(frame.size) < model.hot_share)
        self._last_us = np.full(frame.size, -(1 << 40), np.int64)  # time of each pixel's last event

    def step(self, frame: Plane, t_us: int) -> Events:
        """Return the events from the last frame's time (inclusive) to this one's (exclusive), in time order.

        Args:
            frame: float32 [H, W], intensity as before.
            t_us: time of the frame, microseconds, after the last.

        Raises:
            ValueError: the time is not after the last, or the frame's shape differs.
        """
        if t_us <= self._t_us or frame.shape != self._level.shape:
            raise ValueError(
                f"got a frame {list(frame.shape)} at {t_us} us, expected {list(self._level.shape)} after "
                f"{self._t_us} us; pass frames of one size in time order"
            )
        level = log_intensity(frame)
        signal = self._rested(self._crossings(level, t_us - self._t_us))
        parts = [signal, *self._noise(frame, t_us - self._t_us)]
        index, t, p = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        order = np.argsort(t, kind="stable")
        y, x = np.divmod(index[order], level.shape[1])
        t_ns = (t[order] + self._t_us) * 1000
        self._level, self._t_us = level, t_us
        return Events(x.astype(np.uint16), y.astype(np.uint16), t_ns, p[order], *level.shape)

    def _crossings(self, level: Plane, span_us: int) -> Crossings:
        """Return each crossing, its time counted from the last frame; update the memory."""
        steps = np.trunc((level - self._memory) / self._threshold).ravel()  # signed number of events
        fired = np.flatnonzero(steps)
        sign, count = np.sign(steps[fired]), np.abs(steps[fired]).astype(np.int64)
        planes = (self._level, level, self._memory, self._threshold)
        old, new, memory, threshold = (plane.ravel()[fired] for plane in planes)
        index = np.repeat(np.arange(len(fired)), count)
        number = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count) + 1  # 1, 2, ... for each pixel
        crossed = memory[index] + sign[index] * number * threshold[index]
        share = (crossed - old[index]) / (new - old)[index]
        t = np.clip((share * span_us).astype(np.int64), 0, span_us - 1)
        self._memory.ravel()[fired] += steps[fired] * threshold
        return fired[index], t, sign[index].astype(np.int8)

    def _rested(self, events: Crossings) -> Crossings:
        """Return the events outside any refractory time; those of a pixel come in a row, in time order."""
        index, t, p = events
        silence = self._model.refractory_us
        if not silence or not len(index):
            return events
        absolute = t + self._t_us
        kept = np.ones(len(index), bool)
        while True:
            rows = np.flatnonzero(kept)
            before = np.empty(len(rows), np.int64)
            before[1:] = absolute[rows[:-1]]
            first = np.r_[True, index[rows[1:]] != index[rows[:-1]]]
            before[first] = self._last_us[index[rows[first]]]
            early = absolute[rows] - before < silence
            # in a run of early events only the first is surely lost: the next then follows an older event
            lost = early & ~np.r_[False, early[:-1] & ~first[1:]]
            if not lost.any():
                break
            kept[rows[lost]] = False
        self._last_us[index[kept]] = absolute[kept]  # the last of a pixel's events wins
        return index[kept], t[kept], p[kept]

    def _noise(self, frame: Plane, span_us: int) -> list[Crossings]:
        model, pixels, seconds = self._model, frame.size, span_us * 1e-6
        rate = 1 + np.float32(model.shot_intensity) / (np.maximum(frame, 0) + np.float32(DARK))
        edges = np.cumsum(rate.ravel(), dtype=np.float64)
        number = int(self._rng.poisson(model.shot_hz * edges[-1] * seconds))
        shot = np.searchsorted(edges, self._rng.random(number) * edges[-1])
        leak = self._rng.integers(0, pixels, int(self._rng.poisson(model.leak_hz * pixels * seconds)))
        hot = np.repeat(self._hot, self._rng.poisson(model.hot_hz * seconds, len(self._hot)))
        signs = self._rng.integers(0, 2, len(shot)) * 2 - 1, np.ones(len(leak)), np.ones(len(hot))
        return [
            (where.astype(np.int64), self._rng.integers(0, span_us, len(where)), sign.astype(np.int8))
            for where, sign in zip((shot, leak, hot), signs, strict=True)
        ]


def log_intensity(frame: Plane) -> Plane:
    """Return log(intensity + DARK), which the pixels compare, float32 [H, W]."""
    level: Plane = np.log(np.maximum(frame, 0) + np.float32(DARK))
    return level
