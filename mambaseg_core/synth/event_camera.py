"""An event camera: a logarithmic photoreceptor of limited bandwidth, threshold crossings, refractory time and noise.

The model is that of v2e (Hu, Liu, Delbruck 2021); `event_model` has its parameters, their units and sources.
"""

from __future__ import annotations

from math import isinf

import numpy as np

from mambaseg_core.events import Events
from mambaseg_core.synth.event_model import DARK, IDEAL, EventModel
from mambaseg_core.synth.event_noise import Crossings, EventNoise
from mambaseg_core.synth.textures import Plane


class EventSimulator:
    """Turns frames into events.

    The log intensity goes from frame to frame in a straight line, and through a first-order low pass whose cutoff grows
    with the intensity. Each pixel remembers the level of its last event. If the level differs from it by a threshold or
    more, the pixel fires once per threshold crossed, at the times at which a straight line from frame to frame crosses
    it. A leak lowers the memory all the time. Events within the refractory time are lost, noise included.

    Args:
        frame: float32 [H, W] intensity at the start; 1 is a white wall by day.
        t_us: time of the frame, microseconds.
        model: the sensor.
        rng: draws the pixels' thresholds and the noise.
    """

    def __init__(self, frame: Plane, t_us: int, *, rng: np.random.Generator, model: EventModel = IDEAL) -> None:
        self._model = model
        self._intensity = np.maximum(frame, 0)
        self._light = log_intensity(frame)
        self._level = self._light  # after the low pass
        self._t_us = t_us
        self._on, self._off = (
            np.asarray(
                mean * (1 + model.mismatch * np.clip(rng.standard_normal(frame.shape, np.float32), -3, 3)), np.float32
            )
            for mean in (model.threshold_on, model.threshold_off)
        )
        self._memory = self._level.copy()
        if model.leak_hz:
            self._memory -= self._on * rng.random(frame.shape, np.float32)  # where a long rest leaves it
        self._noise = EventNoise(model, self._on, self._off, rng)
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
        span_us, old = t_us - self._t_us, self._level
        self._expose(frame, span_us * 1e-6)
        parts = [self._crossings(old, span_us), *self._noise.draw(self._intensity, span_us)]
        index, t, p = (np.concatenate(columns) for columns in zip(*parts, strict=True))
        if self._model.refractory_us:
            index, t, p = self._rested((index, t, p))
        order = np.argsort(t, kind="stable")
        y, x = np.divmod(index[order], frame.shape[1])
        t_ns = (t[order] + self._t_us) * 1000
        self._t_us = t_us
        return Events(x.astype(np.uint16), y.astype(np.uint16), t_ns, p[order], *frame.shape)

    def _expose(self, frame: Plane, seconds: float) -> None:
        """Move the level on to a frame's time: the exact answer of a first-order low pass to a straight line."""
        model, before, light = self._model, self._intensity, log_intensity(frame)
        self._intensity = np.maximum(frame, 0)
        if isinf(model.bandwidth_hz):
            self._level = light
        else:
            mean = (before + self._intensity) * np.float32(0.5)
            turns = (mean * np.float32(model.bandwidth_slope_hz) + np.float32(model.bandwidth_hz)) * np.float32(
                2 * np.pi * seconds
            )
            left = np.exp(-turns)
            lag = (light - self._light) * (1 - left) / turns
            self._level = light - lag + (self._level - self._light) * left
        self._light = light

    def _crossings(self, old: Plane, span_us: int) -> Crossings:
        """Return each crossing, its time counted from the last frame; update the memory."""
        before = old - self._memory
        if self._model.leak_hz:
            self._memory -= self._on * np.float32(self._model.leak_hz * span_us * 1e-6)
        change = self._level - self._memory
        fired = np.flatnonzero((change >= self._on) | (change <= -self._off))
        before, change, on, off = (plane.ravel()[fired] for plane in (before, change, self._on, self._off))
        step = np.where(change > 0, on, -off)
        count = np.floor(change / step).astype(np.int64)
        self._memory.ravel()[fired] += count * step
        index = np.repeat(np.arange(len(fired)), count)
        number = np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count) + 1  # 1, 2, ... for each pixel
        share = (number * step[index] - before[index]) / (change - before)[index]
        t = np.clip((share * span_us).astype(np.int64), 0, span_us - 1)
        return fired[index], t, np.sign(step[index]).astype(np.int8)

    def _rested(self, events: Crossings) -> Crossings:
        """Return the events outside any refractory time, those of a pixel in a row."""
        index, t, p = events
        order = np.argsort(index * (1 << 32) + t, kind="stable")
        index, absolute, p = index[order], t[order] + self._t_us, p[order]
        rows = np.arange(len(index))
        while len(rows):
            first = np.r_[True, index[rows[1:]] != index[rows[:-1]]]
            before = np.r_[0, absolute[rows[:-1]]]
            before[first] = self._last_us[index[rows[first]]]
            early = absolute[rows] - before < self._model.refractory_us
            # in a run of early events only the first is surely lost: the next then follows an older event
            lost = early & ~np.r_[False, early[:-1] & ~first[1:]]
            if not lost.any():
                break
            rows = rows[~lost]
        self._last_us[index[rows]] = absolute[rows]  # the last of a pixel's events wins
        return index[rows], absolute[rows] - self._t_us, p[rows]


def log_intensity(frame: Plane) -> Plane:
    """Return log(intensity + DARK), which the pixels compare, float32 [H, W]."""
    level: Plane = np.log(np.maximum(frame, 0) + np.float32(DARK))
    return level
