"""Light on the synthetic street: daylight, a dark street with lamps and headlights, a tunnel, the low sun.

Radiance is relative to daylight: a white wall by day has 1. Both cameras see the same light.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.road import STRAIGHT, Road
from mambaseg_core.synth.textures import Plane

Position = npt.NDArray[np.float64]

LAMPS_M: Final = 27.0
"""Distance from one street lamp to the next on the same side."""

LAMPS_AT_M: Final = {1: 6.0, -1: 10.0}
"""Position of the first street lamp on the right (1) and on the left (-1) side."""

_LAMP_X_M: Final = 4.4
_SKY_M: Final = 400.0  # for the sky's pixels, which have no depth


@dataclass(frozen=True)
class Light:
    """Light of a drive; the default is day.

    Attributes:
        ambient: light on everything but the sky, 1 by day.
        sky: light of the sky itself.
        low_beam: light of the vehicle's headlights, some meters ahead.
        lamps: light of the street lamps, right below them.
        glow: light of what shines by itself (`Quad.glow`).
        tunnel_end_m: the street lies in a tunnel up to this z.
        tunnel: ambient light in the tunnel.
        sun: (azimuth, elevation) of the low sun, radians; None if it is not visible.
        veil: light that the sun scatters into both lenses, next to it.
        veil_rad: angle from the sun at which a third of it is left, radians.
    """

    ambient: float = 1.0
    sky: float = 1.0
    low_beam: float = 0.0
    lamps: float = 0.0
    glow: float = 0.0
    tunnel_end_m: float | None = None
    tunnel: float = 1.0
    sun: tuple[float, float] | None = None
    veil: float = 0.0
    veil_rad: float = 0.13

    @property
    def is_day(self) -> bool:
        """True if nothing differs from daylight."""
        return self == DAYLIGHT

    def shine(
        self,
        color: Plane,
        depth: Plane,
        glow: Plane,
        *,
        rays: Plane,
        directions: Plane,
        position: Position,
        road: Road = STRAIGHT,
    ) -> None:
        """Turn reflectances into radiances, in place.

        Args:
            color: float32 [H, W, C].
            depth: float32 [H, W], meters; infinite in the sky.
            glow: float32 [H, W], how much each pixel shines by itself.
            rays: float32 [3, H, W], rays of unit depth in the vehicle's axes.
            directions: the same rays in the world's axes.
            position: position of the camera, float64 [3], meters.
            road: the road, which the street lamps stand along.
        """
        sky = np.isinf(depth)
        distance = np.where(sky, np.float32(_SKY_M), depth)
        light = np.where(sky, np.float32(self.sky), np.float32(self.ambient))
        across = distance * directions[0] + np.float32(position[0])
        along = distance * directions[2] + np.float32(position[2])
        if self.low_beam:
            light += np.where(sky, 0, self._low_beam(distance, rays))
        if self.lamps and road.lit:
            light += np.where(
                sky, 0, self._lamps(road.across(across, along) * np.float32(_LAMP_X_M / road.lamps_m), along)
            )
        if self.tunnel_end_m is not None:
            light = np.where(along < self.tunnel_end_m, np.float32(self.tunnel), light)
        light += np.float32(self.glow) * glow
        color *= light[..., None]
        if self.sun is not None:
            color += self._veil(rays)[..., None]

    def _low_beam(self, distance: Plane, rays: Plane) -> Plane:
        """Return the low beam: bright below the horizon and ahead, fading with the distance."""
        aside = np.exp(-((rays[0] / np.float32(0.45)) ** 2))
        below = 0.08 + 0.92 / (1 + np.exp(np.clip(-(rays[1] - 0.01) / np.float32(0.015), -30, 30)))
        return np.asarray(self.low_beam * aside * below / (1 + (distance / np.float32(13)) ** 2), np.float32)

    def _lamps(self, x: Plane, z: Plane) -> Plane:
        total = np.zeros_like(x)
        for side, first in LAMPS_AT_M.items():
            from_lamp = (z - np.float32(first)) / np.float32(LAMPS_M)
            from_lamp = (from_lamp - np.rint(from_lamp)) * np.float32(LAMPS_M)
            total += np.exp(-((from_lamp / 6) ** 2) - ((x - side * np.float32(_LAMP_X_M)) / 5) ** 2)
        return np.asarray(self.lamps * total, np.float32)

    def _veil(self, rays: Plane) -> Plane:
        """Return the sun's disc and the light around it that lens and air scatter."""
        assert self.sun is not None
        azimuth, elevation = self.sun
        squared = (rays[0] - np.float32(azimuth)) ** 2 + (rays[1] + np.float32(elevation)) ** 2
        disc = 60 * np.exp(-squared / np.float32(0.02**2))
        return np.asarray(disc + self.veil / (1 + squared / np.float32(self.veil_rad**2)) ** 1.5, np.float32)


DAYLIGHT: Final = Light()
