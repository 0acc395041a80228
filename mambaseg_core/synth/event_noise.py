"""Events of an event camera that no change of intensity causes: shot noise and hot pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.event_model import EventModel
from mambaseg_core.synth.textures import Plane

Crossings = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int8]]
"""Pixel index, time (us) and polarity of some events."""


class EventNoise:
    """Draws noise events, which are independent of each other and leave the pixels' memory alone.

    Args:
        model: the sensor.
        on: the pixels' ON thresholds, float32 [H, W].
        off: the pixels' OFF thresholds, float32 [H, W]. A pixel's noise grows as its thresholds fall.
        rng: draws the hot pixels and the noise.
    """

    def __init__(self, model: EventModel, on: Plane, off: Plane, rng: np.random.Generator) -> None:
        self._model = model
        self._rng = rng
        self._restless = np.float32(model.threshold_on + model.threshold_off) / (on + off)
        self._hot = np.flatnonzero(rng.random(on.size) < model.hot_share)
        rates_hz = model.hot_hz * (1 + rng.pareto(model.hot_exponent, len(self._hot)))
        self._hot_hz = np.minimum(rates_hz, model.hot_highest_hz)

    def draw(self, intensity: Plane, span_us: int) -> list[Crossings]:
        """Return the noise events of a span, not in order; their times start with 0.

        Args:
            intensity: float32 [H, W], at least 0.
            span_us: length of the span, microseconds.
        """
        rng, seconds = self._rng, span_us * 1e-6
        hot = np.repeat(self._hot, rng.poisson(self._hot_hz * seconds))
        parts = [(hot, np.ones(len(hot), np.int8))]
        if self._model.shot_hz:
            rate = self._restless / np.sqrt(1 + intensity / np.float32(self._model.shot_intensity))
            edges = np.cumsum(rate.ravel(), dtype=np.float64)
            number = int(rng.poisson(self._model.shot_hz * edges[-1] * seconds))
            shot = np.searchsorted(edges, rng.random(number) * edges[-1])
            parts.append((shot, (rng.integers(0, 2, number) * 2 - 1).astype(np.int8)))
        return [(where.astype(np.int64), rng.integers(0, span_us, len(where)), sign) for where, sign in parts]
