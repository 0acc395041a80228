"""A thermal camera in the synthetic street: temperatures of everything, and an uncooled sensor with automatic gain.

The street is that of `scene`, its textures replaced by temperatures. The numbers are plausible, not measured. The sun
heats what is dark. The clear sky is far colder than anything else. Glass shows the sky by day and leaks warmth by
night. People, engines, tires and lamps are warm. On a hot road a person is the colder one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.conditions import Conditions
from mambaseg_core.synth.people import SKIN
from mambaseg_core.synth.pinhole import PinholeView, Pose
from mambaseg_core.synth.quads import (
    BUILDING,
    CAR,
    FENCE,
    PERSON,
    POLE,
    ROAD,
    SIDEWALK,
    SIGN,
    VEGETATION,
    WALL,
    Quad,
)
from mambaseg_core.synth.render import Renderer, Rendering, reflectance
from mambaseg_core.synth.scene import Scene
from mambaseg_core.synth.textures import GLASS, Color, Plane, Texture, as_plane, halved
from mambaseg_core.synth.vehicle_paint import RUBBER, SCREEN

ZERO_C: Final = 273.15

# class: (kelvin above the air, kelvin from a black to a white part); each in full sun and without it
_WARMTH: Final = {
    BUILDING: ((9.0, 3.0), (9.0, -6.0)),  # the dark parts are windows
    FENCE: ((8.0, -1.0), (-8.0, 0.0)),
    POLE: ((6.0, -1.5), (-6.0, 0.0)),
    VEGETATION: ((1.5, -0.5), (3.0, 0.5)),
    WALL: ((9.0, 4.0), (-8.0, 0.0)),
    SIGN: ((5.0, -2.0), (-5.0, 0.0)),
    ROAD: ((16.0, 5.0), (-9.0, -1.0)),
    SIDEWALK: ((11.0, 3.0), (-6.0, 0.0)),
}
_SKIN_C: Final = 33.0
_ENGINE_K, _TYRE_K, _EXHAUST_K = 24.0, 11.0, 35.0  # above the rest of the car
_PARKED_WARM: Final = 0.25  # share of the parked cars that have just been driven
_BRIGHTEST: Final = 100.0  # ground and skyline still have brightnesses, which are less; temperatures are more
_SKY_GRAY: Final = (0.825, 0.536)  # the renderer's gray sky at the horizon and overhead


@dataclass(frozen=True)
class Climate:
    """Parameters of the temperatures of a drive.

    Attributes:
        air_c: temperature of the air, degrees Celsius.
        sun: share of the full sun's heat, 0..1.
        sky_k: kelvin by which the sky overhead is colder than the air.
        lamps: True if lamps are on.
    """

    air_c: float
    sun: float
    sky_k: float
    lamps: bool


def draw_climate(conditions: Conditions, rng: np.random.Generator) -> Climate:
    """Draw the climate of a drive: full sun by day, none at night, little of it in rain."""
    low, high, sun, sky_k = {
        "day": (12, 28, 1.0, 40),
        "night": (2, 16, 0.0, 45),
        "glare": (8, 26, 0.6, 35),
        "tunnel": (8, 26, 0.6, 35),
        "rain": (4, 18, 0.1, 8),
        "fast": (6, 20, 0.15, 14),
        "turn": (12, 28, 1.0, 40),
    }[conditions.name]
    return Climate(float(rng.uniform(low, high)), sun, sky_k, conditions.light.glow > 0)


@dataclass(frozen=True)
class ThermalModel:
    """An uncooled microbolometer.

    Attributes:
        lag_s: time constant of the pixels.
        netd_k: standard deviation of the noise from image to image.
        columns_k: standard deviation of the columns' fixed offsets.
        shading_k: standard deviation of slow offsets over the image.
        blur: standard deviation of the lens blur, as a share of the image's width.
        span_k: smallest range that the automatic gain spreads over 8 bits.
        below_air_k: anything colder than the air by more is black, so that the sky takes no gray levels.
    """

    lag_s: float = 0.010
    netd_k: float = 0.08
    columns_k: float = 0.12
    shading_k: float = 0.25
    blur: float = 0.0027
    span_k: float = 14.0
    below_air_k: float = 9.0


class ThermalCamera:
    """Takes thermal images of a scene: 8 bits with automatic gain, as in thermal data sets.

    Args:
        scene: the street.
        views: the camera's views, shifted against each other by a part of a pixel.
        conditions: conditions of the drive.
        rng: draws climate, objects' temperatures and noise.
        model: the sensor.
    """

    def __init__(
        self,
        scene: Scene,
        views: list[PinholeView],
        conditions: Conditions,
        rng: np.random.Generator,
        model: ThermalModel = ThermalModel(),
    ) -> None:
        self.climate = draw_climate(conditions, rng)
        self._conditions, self._rng, self._model = conditions, rng, model
        warm = thermal_scene(scene, self.climate, rng, conditions.light.tunnel_end_m)
        self._renderers = [Renderer(warm.quads, warm.ground, view, gray=True) for view in views]
        height, width = views[0].size
        columns = model.columns_k * rng.standard_normal((1, width))
        coarse = model.shading_k * rng.standard_normal((3, 4))
        self._fixed = as_plane(columns + cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))

    def take(self, seconds: float) -> npt.NDArray[np.uint8]:
        """Return the image that is read out at a time, uint8 [H, W]."""
        kelvin = self.temperatures(seconds)
        sigma = self._model.blur * kelvin.shape[1]
        seen = cv2.GaussianBlur(kelvin, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE) + self._fixed
        seen = seen + self._model.netd_k * self._rng.standard_normal(seen.shape, np.float32)
        low, high = np.percentile(seen, (2.0, 99.5))
        low = max(float(low), self.climate.air_c + ZERO_C - self._model.below_air_k)
        span = max(float(high) - low, self._model.span_k)
        return np.asarray(np.rint(255 * np.clip((seen - low) / span, 0, 1)), np.uint8)

    def temperatures(self, seconds: float) -> Plane:
        """Return the pixels' temperatures at a time, float32 [H, W], kelvin, before blur and noise."""
        lags = self._model.lag_s * 0.8 * np.arange(len(self._renderers))
        weights = np.exp(-lags / self._model.lag_s)
        total = np.zeros(self._fixed.shape, np.float32)
        for renderer, lag, weight in zip(self._renderers, lags.tolist(), weights / weights.sum(), strict=True):
            pose = self._conditions.motion.pose(seconds - lag)
            total += np.float32(weight) * self._kelvin(renderer.render(pose, seconds - lag), pose)
        return total

    def _kelvin(self, frame: Rendering, pose: Pose) -> Plane:
        """Return the temperatures of a frame of the thermal scene, whose ground and sky still have brightnesses."""
        climate, value = self.climate, reflectance(frame)[..., 0]
        air = climate.air_c + ZERO_C
        end_m = self._conditions.light.tunnel_end_m
        sun = climate.sun * np.where(frame.depth + pose.position[2] < end_m, 0, 1) if end_m is not None else climate.sun
        for label in (ROAD, SIDEWALK, VEGETATION, BUILDING):
            (hot, cool), (grain_sun, grain_dark) = _WARMTH[label]
            base = sun * hot + (1 - sun) * cool + (sun * grain_sun + (1 - sun) * grain_dark) * (value - 0.35)
            value = np.where((frame.labels == label) & (value < _BRIGHTEST), air + base, value)
        overhead = (_SKY_GRAY[0] - frame.color[..., 0]) / (_SKY_GRAY[0] - _SKY_GRAY[1])
        return np.where(np.isinf(frame.depth), air - 3 - climate.sky_k * overhead, value).astype(np.float32)


def thermal_scene(scene: Scene, climate: Climate, rng: np.random.Generator, tunnel_end_m: float | None) -> Scene:
    """Return the scene with textures of kelvin in `Texture.gray`, without shadows, which are no colder.

    Args:
        scene: the street.
        climate: climate of the drive.
        rng: draws the differences between objects.
        tunnel_end_m: no sun reaches anything before it.
    """
    painter, quads = _Painter(climate), []
    driven = False
    for quad in scene.quads:
        if quad.label is None:
            continue
        if quad.part == "rear":  # the first part of each vehicle
            driven = quad.mover is not None or bool(rng.random() < _PARKED_WARM)
        sun = 0.0 if tunnel_end_m is not None and quad.nearest_z < tunnel_end_m else climate.sun
        offset = float(rng.normal(0, 1.2 if quad.label in (BUILDING, CAR) else 0.5))
        if quad.label == BUILDING:
            offset += 12 * sun * (quad.shade - 0.7)  # the side that the sun shines on, and the other one
        textures = tuple(painter.texture(texture, quad, sun, driven) for texture in quad.textures)
        quads.append(replace(quad, textures=textures, shade=1 + offset / (climate.air_c + ZERO_C), glow=0.0))
    return Scene(tuple(quads), scene.ground.in_clear_weather())


class _Painter:
    """Turns textures into temperatures; caches the result for each texture and purpose."""

    def __init__(self, climate: Climate) -> None:
        self._climate = climate
        self._known: dict[tuple[object, ...], Texture] = {}

    def texture(self, texture: Texture, quad: Quad, sun: float, driven: bool) -> Texture:
        """Return the kelvin of a quad's texture."""
        kind = quad.part if quad.label == CAR else ""
        key = (id(texture), quad.label, kind, sun, driven and quad.label == CAR, quad.glow > 0)
        if key not in self._known:
            self._known[key] = Texture(
                (), halved(self._celsius(texture, quad, kind, sun, driven) + ZERO_C), texture.alpha
            )
        return self._known[key]

    def _celsius(self, texture: Texture, quad: Quad, kind: str, sun: float, driven: bool) -> Plane:
        air, rgb, gray = self._climate.air_c, texture.rgb[0], texture.gray[0]
        if quad.glow and quad.label != CAR:
            return np.full_like(gray, air + (7 if quad.label == BUILDING else 28 if self._climate.lamps else 3))
        if quad.label == PERSON:
            clothes = air + 0.45 * (_SKIN_C - air) + 4 * sun * (0.5 - gray)
            skin = _near(rgb, SKIN)
            skin[: len(skin) // 5] = np.maximum(skin[: len(skin) // 5], 0.7)  # hair holds back less warmth than clothes
            return as_plane(clothes + skin * (_SKIN_C - clothes))
        if quad.label == CAR:
            return _car(rgb, gray, kind, air, sun=sun, driven=driven)
        assert quad.label is not None  # shadows have been left out
        (hot, cool), (grain_sun, grain_dark) = _WARMTH[quad.label]
        grain = sun * grain_sun + (1 - sun) * grain_dark
        return as_plane(air + sun * hot + (1 - sun) * cool + grain * (gray - gray.mean()))


def _car(rgb: Plane, gray: Plane, part: str, air: float, *, sun: float, driven: bool) -> Plane:
    """Return the degrees Celsius of a part of a car: dark paint heats up in the sun, glass shows the sky."""
    paint = air + sun * (4 + 14 * (1 - gray)) - (1 - sun)
    glass = np.maximum(_near(rgb, GLASS), _near(rgb, SCREEN))
    celsius = paint + glass * (air - 5 + 4 * driven - paint)
    if not driven:
        return as_plane(celsius)
    rows, columns = np.meshgrid(*(np.linspace(0, 1, size) for size in gray.shape), indexing="ij")
    warm = {
        "nose": _ENGINE_K * (1 - 0.6 * np.abs(2 * columns - 1)),
        "bonnet": 0.7 * _ENGINE_K * np.ones_like(gray),
        "side": 0.45 * _ENGINE_K * np.clip((columns - 0.62) / 0.2, 0, 1),
        "rear": 4 * rows + _EXHAUST_K * np.exp(-(((columns - 0.25) / 0.07) ** 2) - ((rows - 0.78) / 0.05) ** 2),
        "lamp": 9 * np.ones_like(gray),
    }.get(part, np.zeros_like(gray))
    return as_plane(celsius + warm * (1 - glass) + _TYRE_K * _near(rgb, RUBBER))


def _near(rgb: Plane, color: Color) -> Plane:
    """Return 1 where an image [h, w, 3] has a color, else 0."""
    return as_plane(np.abs(rgb - np.asarray(color, np.float32)).max(-1) < 0.03)
