"""Parameters of an event camera's pixels, and two real sensors.

Intensities are relative to a white wall by day, which has 1 and gives a chip behind an f/2 lens some thousand lux.

| what | value | source |
|---|---|---|
| dark current | 2e-5 of a white wall, 94 dB below it; some 0.1 lux on the chip | Lichtsteiner et al.: 120 dB, 0.1 lux |
| thresholds | 0.16 to 0.23 in log intensity (ln) | v2e: 0.2 nominal; ratio ON to OFF from recordings |
| mismatch of thresholds | 12 to 15 % from pixel to pixel | v2e: 0.03 of 0.2; other simulators 10 to 25 % |
| bandwidth | 25 Hz + 3 kHz x intensity, first order | v2e and Graca et al. 2023: it grows with the photocurrent |
| shot noise | up to 3 Hz a pixel in the dark, falling as 1 / sqrt(intensity) | v2e: 1 to 10 Hz in dim light |
| leak | 0.1 ON events a pixel and second | v2e: 0.1 Hz; Guo and Delbruck 2022: 0.2 Hz |
| hot pixels | 1 in 1000, rates of a Pareto law up to 5 kHz | recordings: `benchmarks/events/sensor_statistics.py` |
| refractory time | 300 us (DAVIS346), 10 us (Gen3) | shortest intervals in the recordings |

Lichtsteiner, Posch, Delbruck: A 128x128 120 dB 15 us latency asynchronous temporal contrast vision sensor, 2008.
Hu, Liu, Delbruck: v2e: from video frames to realistic DVS events, 2021.
Graca, McReynolds, Delbruck: Shining light on the DVS pixel, 2023. Guo, Delbruck: Low cost and latency event camera
background activity denoising, 2022.

The two presets differ where recordings of both sensors do: thresholds' ratio, refractory time, hot pixels. No recording
tells the dark current or the bandwidth, which are the same in both.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import Final

import numpy as np

DARK: Final = 2e-5
"""The photodiode's dark current, in the unit of the intensity; added before the logarithm."""

_MOST_MISMATCH: Final = 0.3  # thresholds are cut at 3 standard deviations and stay above 0


@dataclass(frozen=True)
class EventModel:
    """Parameters of the sensor.

    Attributes:
        threshold_on: rise of log intensity per ON event, above 0.
        threshold_off: fall of log intensity per OFF event, above 0.
        mismatch: standard deviation of the pixels' thresholds, as a share; ON and OFF differ independently.
        bandwidth_hz: cutoff of the photoreceptor in the dark, Hz.
        bandwidth_slope_hz: growth of the cutoff per unit of intensity, Hz.
        shot_hz: random events of either sign per pixel and second in the dark; in light of intensity I they become
            fewer by the factor sqrt(1 + I / `shot_intensity`).
        shot_intensity: intensity that makes shot noise fewer by sqrt(2).
        leak_hz: ON events per pixel and second without any change of intensity. The pixels of a sensor with a leak
            start anywhere on the way to the next of these.
        hot_share: share of the pixels that fire all the time.
        hot_hz: lowest rate of these, events per second.
        hot_exponent: exponent of the Pareto law of their rates.
        hot_highest_hz: highest rate of these.
        refractory_us: silence of a pixel after an event, microseconds.
    """

    threshold_on: float = 0.2
    threshold_off: float = 0.2
    mismatch: float = 0.0
    bandwidth_hz: float = inf
    bandwidth_slope_hz: float = 0.0
    shot_hz: float = 0.0
    shot_intensity: float = 0.001
    leak_hz: float = 0.0
    hot_share: float = 0.0
    hot_hz: float = 10.0
    hot_exponent: float = 1.06
    hot_highest_hz: float = 5000.0
    refractory_us: int = 0

    def __post_init__(self) -> None:
        for name in ("threshold_on", "threshold_off"):
            value = getattr(self, name)
            if not (value > 0 and isfinite(value)):
                raise ValueError(f"{name} is {value}, expected above 0; 0.2 is usual")
        if not 0 <= self.mismatch <= _MOST_MISMATCH:
            raise ValueError(f"mismatch is {self.mismatch}, expected 0 to {_MOST_MISMATCH}; 0.15 is usual")
        if not self.bandwidth_hz > 0:
            raise ValueError(f"bandwidth_hz is {self.bandwidth_hz}, expected above 0; 25 is usual, inf has no low pass")


IDEAL: Final = EventModel()
"""Threshold crossings only: no noise, no low pass, all pixels alike."""

DAVIS346: Final = EventModel(
    threshold_on=0.22,
    threshold_off=0.18,
    mismatch=0.15,
    bandwidth_hz=25.0,
    bandwidth_slope_hz=3000.0,
    shot_hz=3.0,
    leak_hz=0.1,
    hot_share=0.001,
    hot_hz=2.0,
    hot_highest_hz=2000.0,
    refractory_us=300,
)
"""iniVation DAVIS346, 346x260 pixels; the sensor of DDD17."""

GEN3: Final = EventModel(
    threshold_on=0.23,
    threshold_off=0.16,
    mismatch=0.12,
    bandwidth_hz=25.0,
    bandwidth_slope_hz=3000.0,
    shot_hz=2.0,
    leak_hz=0.1,
    hot_share=0.001,
    hot_hz=12.0,
    refractory_us=10,
)
"""Prophesee Gen3, 640x480 pixels, the sensor of DSEC; also close to its successors up to the IMX636."""

SENSORS: Final = {"davis346": DAVIS346, "gen3": GEN3}
"""Sensors by the name that `mambaseg synth --sensor` takes."""


def check_sensor(name: str) -> None:
    """Raise ValueError if a sensor's name is unknown."""
    if name not in SENSORS:
        raise ValueError(f"sensor is {name!r}, expected one of {', '.join(SENSORS)}; choose one of these")


def draw_sensor(name: str, rng: np.random.Generator) -> EventModel:
    """Draw one specimen of a sensor with its bias settings: thresholds, bandwidth and noise differ from the preset.

    Raises:
        ValueError: the name is unknown.
    """
    check_sensor(name)
    model = SENSORS[name]
    both, on, speed, shot, leak, hot = np.exp(rng.normal(0, (0.12, 0.08, 0.25, 0.3, 0.3, 0.3))).tolist()
    return replace(
        model,
        threshold_on=model.threshold_on * both * on,
        threshold_off=model.threshold_off * both,
        mismatch=float(rng.uniform(0.10, 0.20)),
        bandwidth_hz=model.bandwidth_hz * speed,
        bandwidth_slope_hz=model.bandwidth_slope_hz * speed,
        shot_hz=model.shot_hz * shot,
        leak_hz=model.leak_hz * leak,
        hot_hz=model.hot_hz * hot,
    )
