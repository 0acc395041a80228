"""Ray casting of the synthetic street: a ground and textured parallelograms ("quads").

World axes: x right, y down, z along the street, meters. Each pixel's ray meets each quad in closed form. So labels,
depth and colors of any view are exact at the pixel centers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.ground import FAR_M, Ground
from mambaseg_core.synth.light import DAYLIGHT, Light
from mambaseg_core.synth.pinhole import NEAR_M, Matrix, PinholeView, Pose, bounding_boxes
from mambaseg_core.synth.quads import Quad
from mambaseg_core.synth.sky import CLEAR, Weather, tone
from mambaseg_core.synth.textures import Plane

_HALF = np.float32(0.5)
_ROW = 1024  # points in a row of one look-up
_SPECK_PX = 9  # a quad is skipped if its bounding box has no more pixels
_DETAIL_PX = {"lamp": 12, "lit": 12, "bonnet": 40, "roof": 40, "screen": 24}  # the same for some parts
_SHINING = ("lamp", "lit")  # parts that show in the dark only
_SHADOW_PX = 100
_SMOOTH_PX = 64  # with more pixels, a quad is drawn between two resolutions of its texture


@dataclass(frozen=True, eq=False)
class Rendering:
    """A rendered image with its labels and depths.

    Attributes:
        color: float32 [H, W, C], radiance relative to a white wall by day.
        labels: class ids, uint8 [H, W].
        glow: how much each pixel shines by itself, float32 [H, W].
        depth: depth along the optical axis, float32 [H, W], meters; infinite in the sky.
    """

    color: Plane
    labels: npt.NDArray[np.uint8]
    depth: Plane
    glow: Plane


@dataclass(frozen=True)
class _Visible:
    """A quad that may be visible: its number, bounding region, nearest depth, texels per pixel and linear forms.

    The forms [4, 3] of a pixel (x, y, 1) are 1 / depth times a constant, columns / depth and rows / depth (the texture
    as the unit square); the last holds that constant and the offsets of columns and rows.
    """

    index: int
    region: tuple[slice, slice]
    nearest: float
    texels: float
    forms: npt.NDArray[np.float32]


def reflectance(frame: Rendering, weather: Weather = CLEAR) -> Plane:
    """Return the colors of a rendering by day without the haze, float32 [H, W, C]; the sky keeps its own."""
    depth = np.where(np.isinf(frame.depth), np.float32(0), frame.depth)
    dense = np.exp(depth * np.float32(1 / weather.haze_m))[..., None]
    haze = tone(weather.horizon, gray=frame.color.shape[-1] == 1)
    return np.asarray((frame.color - haze) * dense + haze, np.float32)


class Renderer:
    """Draws quads over a ground in one view.

    Args:
        quads: quads of the street.
        ground: ground under them, and the sky.
        view: the camera.
        gray: one channel (luma) instead of RGB.
        light: light on the street.
    """

    def __init__(
        self,
        quads: Sequence[Quad],
        ground: Ground,
        view: PinholeView,
        *,
        gray: bool = False,
        light: Light = DAYLIGHT,
    ) -> None:
        if not light.glow:
            quads = [quad for quad in quads if quad.part not in _SHINING] or quads
        self._quads = quads
        self._ground = ground
        self._view = view
        self._gray = gray
        self._light = light
        self._rays = view.rays()
        self._vectors = np.stack([quad.vectors() for quad in quads])  # [quads, 3 (corner, across, down), 3]
        self._facing = np.asarray([quad.facing for quad in quads])
        self._least_px = np.asarray(
            [_SHADOW_PX if quad.label is None else _DETAIL_PX.get(quad.part, _SPECK_PX) for quad in quads]
        )
        shapes = np.asarray([quad.textures[0].gray[0].shape for quad in quads], np.float64)
        lengths = np.linalg.norm(self._vectors[:, 1:], axis=-1)
        self._texels_per_m = np.sqrt((shapes[:, ::-1] / lengths).prod(axis=1))
        carried: dict[int, list[int]] = {}
        for number, quad in enumerate(quads):
            if quad.mover is not None:
                carried.setdefault(id(quad.mover), []).append(number)
        self._carried = [(quads[numbers[0]].mover, np.asarray(numbers)) for numbers in carried.values()]

    def render(self, pose: Pose, seconds: float) -> Rendering:
        """Draw the street at a time, seen from a pose."""
        directions = (pose.rotation.T.astype(np.float32) @ self._rays).reshape(3, *self._view.size)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            frame = self._background(pose, directions)
            ground = frame.depth.copy()
            for visible in self._visible(pose, seconds):
                self._draw(self._quads[visible.index], visible, frame, ground, seconds)
        weather = self._ground.sky.weather
        clear = np.exp(np.where(np.isinf(frame.depth), np.float32(0), frame.depth) * np.float32(-1 / weather.haze_m))
        haze = tone(weather.horizon, gray=self._gray)
        np.subtract(frame.color, haze, out=frame.color)
        np.multiply(frame.color, clear[..., None], out=frame.color)
        np.add(frame.color, haze, out=frame.color)
        if not self._light.is_day:
            self._shine(frame, directions, pose)
        return frame

    def _shine(self, frame: Rendering, directions: Plane, pose: Pose) -> None:
        self._light.shine(
            frame.color,
            frame.depth,
            frame.glow,
            rays=self._rays.reshape(directions.shape),
            directions=directions,
            position=pose.position,
            road=self._ground.road,
        )

    def _background(self, pose: Pose, directions: Plane) -> Rendering:
        """Draw the ground, and the sky where there is none."""
        height, width = self._view.size
        color = np.empty((height, width, 1 if self._gray else 3), np.float32)
        labels = np.zeros((height, width), np.uint8)
        depth = np.full((height, width), np.inf, np.float32)
        focal = float(self._view.matrix[0, 0])
        low = np.flatnonzero((directions[1] > -0.2).any(axis=1))  # no ground is so steep
        if len(low):
            below = slice(int(low[0]), int(low[-1]) + 1)
            into = color[below], labels[below], depth[below]
            self._ground.draw(into, directions[:, below], pose.position, focal_px=focal)
        high = np.flatnonzero(np.isinf(depth).any(axis=1))
        if len(high):
            above = slice(int(high[0]), int(high[-1]) + 1)
            sky = np.empty_like(color[above])
            self._ground.sky.draw(sky, directions[:, above])
            np.copyto(color[above], sky, where=np.isinf(depth[above])[..., None])
            self._ground.sky.backdrop((color[above], labels[above], depth[above]), directions[:, above])
        return Rendering(color, labels, depth, np.zeros((height, width), np.float32))

    def _visible(self, pose: Pose, seconds: float) -> list[_Visible]:
        """Return the quads that may be visible, nearest first."""
        to_camera = self._view.rotation @ pose.rotation
        vectors = self._vectors.copy()
        for mover, numbers in self._carried:
            assert mover is not None
            origin, axes = mover.frame(seconds)
            vectors[numbers] = vectors[numbers] @ axes.T
            vectors[numbers, 0] += origin
        vectors[:, 0] -= pose.position
        vectors = vectors @ to_camera.T
        corner, across, down = vectors[:, 0], vectors[:, 1], vectors[:, 2]
        points = np.stack([corner, corner + across, corner + across + down, corner + down], axis=1)
        depth = points[..., 2]
        nearest, farthest = depth.min(axis=1), depth.max(axis=1)
        normal = np.cross(across, down)
        away = (normal * corner).sum(axis=1)
        faces = self._facing * away >= 0
        candidates = np.flatnonzero((farthest > NEAR_M) & (nearest < FAR_M) & faces)
        boxes = bounding_boxes(points[candidates], self._view)
        extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        seen = extent[:, 0] * extent[:, 1] > self._least_px[candidates]
        candidates, boxes = candidates[seen], boxes[seen]
        order = np.argsort(nearest[candidates], kind="stable")
        return self._forms(candidates[order], boxes[order].astype(np.int64), points, normal, away)

    def _forms(
        self, chosen: npt.NDArray[np.int64], boxes: npt.NDArray[np.int64], points: Matrix, normal: Matrix, away: Matrix
    ) -> list[_Visible]:
        corner, normal, away = points[chosen, 0], normal[chosen], away[chosen]
        across, down = points[chosen, 1] - corner, points[chosen, 3] - corner
        squared = (normal * normal).sum(axis=1, keepdims=True)
        columns, rows = np.cross(down, normal) / squared, np.cross(normal, across) / squared
        inverse = np.linalg.inv(self._view.matrix)
        forms = np.stack([normal, columns, rows], axis=1) @ inverse
        offsets = np.stack([away, (columns * corner).sum(axis=1), (rows * corner).sum(axis=1)], axis=1)
        nearest = np.maximum(points[chosen, :, 2].min(axis=1), NEAR_M)
        middle = points[chosen].mean(axis=1)
        turned = np.abs((normal * middle).sum(axis=1)) / np.sqrt(squared[:, 0]) / np.linalg.norm(middle, axis=1)
        depth = np.maximum(nearest, 3.0 * (1 - turned)) * (1 + 0.3 * (1 - turned))
        texels = self._texels_per_m[chosen] * depth / self._view.matrix[0, 0] / np.sqrt(np.maximum(turned, 0.12))
        packed = np.concatenate([forms, offsets[:, None]], axis=1).astype(np.float32)
        return [
            _Visible(int(index), (slice(top, bottom), slice(left, right)), float(near), float(detail), form)
            for index, (left, top, right, bottom), near, detail, form in zip(
                chosen, boxes.tolist(), nearest, texels, packed, strict=True
            )
        ]

    def _draw(self, quad: Quad, visible: _Visible, frame: Rendering, ground: Plane, seconds: float) -> None:
        region = visible.region
        zbuffer = frame.depth[region]
        if quad.label is not None and zbuffer.max() <= visible.nearest:
            return
        texture = quad.textures[int(seconds * quad.rate_hz) % len(quad.textures)]
        x = np.arange(region[1].start, region[1].stop, dtype=np.float32)
        y = np.arange(region[0].start, region[0].stop, dtype=np.float32)
        plane, side, height = visible.forms[:3]
        constant, left, top = visible.forms[3]
        depth = constant / (plane[0] * x + (plane[1] * y + plane[2])[:, None])
        nearer = depth < zbuffer if quad.label is not None else zbuffer == ground[region]
        nearer &= depth > NEAR_M
        places = nearer.nonzero()
        if not len(places[0]):
            return
        depth, y, x = depth[places], y[places[0]], x[places[1]]
        columns = depth * (side[0] * x + side[1] * y + side[2]) - left
        rows = depth * (height[0] * x + height[1] * y + height[2]) - top
        chosen = ((columns >= 0) & (columns < 1) & (rows >= 0) & (rows < 1)).nonzero()[0]
        if not len(chosen):
            return
        size = texture.gray[0].shape
        columns, rows = columns[chosen] * np.float32(size[1]), rows[chosen] * np.float32(size[0])
        level = math.log2(max(visible.texels, 1.0))
        if len(chosen) < _SMOOTH_PX:
            level = round(level)
        if texture.alpha is not None:
            opaque = (_lookup(texture.alpha, columns, rows, min(round(level), len(texture.alpha) - 1)) > 0.5).nonzero()[
                0
            ]
            if not len(opaque):
                return
            chosen, columns, rows = chosen[opaque], columns[opaque], rows[opaque]
        places = places[0][chosen], places[1][chosen]
        if quad.label is None:
            frame.color[region][places] *= np.float32(quad.shade)
            return
        color = _sample(texture.gray if self._gray else texture.rgb, columns, rows, level) * np.float32(quad.shade)
        frame.color[region][places] = color.reshape(len(chosen), -1)
        zbuffer[places] = depth[chosen]
        if self._light.glow:
            frame.glow[region][places] = quad.glow
        frame.labels[region][places] = quad.label


def _sample(levels: Sequence[Plane], columns: Plane, rows: Plane, level: float) -> Plane:
    """Look up a texture between its two nearest resolutions; coordinates [n] are in pixels of the finest."""
    level = min(level, len(levels) - 1.0)
    fine = int(level)
    color = _lookup(levels, columns, rows, fine)
    if level == fine:
        return color
    return color + (_lookup(levels, columns, rows, fine + 1) - color) * np.float32(level - fine)


def _lookup(levels: Sequence[Plane], columns: Plane, rows: Plane, index: int) -> Plane:
    """Look up one resolution at points [n]: [n] or [n, 3]. OpenCV takes images of up to 32766 rows only."""
    picture, count = levels[index], len(columns)
    scale_x, scale_y = (
        np.float32(picture.shape[1] / levels[0].shape[1]),
        np.float32(picture.shape[0] / levels[0].shape[0]),
    )
    x, y = columns * scale_x - _HALF, rows * scale_y - _HALF
    if count > _ROW:
        padding = np.zeros(-count % _ROW, np.float32)
        x, y = (np.concatenate([points, padding]).reshape(-1, _ROW) for points in (x, y))
    sampled = cv2.remap(picture, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(sampled.reshape(-1, *picture.shape[2:])[:count], np.float32)
