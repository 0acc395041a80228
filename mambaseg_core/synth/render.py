"""Ray casting of the synthetic street: a ground plane and axis-parallel textured rectangles ("quads").

World axes: x right, y down (the ground is y = 0), z along the street, meters. Each pixel's ray meets each quad in
closed form. So labels, depth and colors of any view are exact at the pixel centers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.synth.ground import Ground
from mambaseg_core.synth.light import DAYLIGHT, Light
from mambaseg_core.synth.pinhole import NEAR_M, Matrix, PinholeView, Pose, bounding_boxes
from mambaseg_core.synth.textures import LUMA, Plane, Texture

FAR_M = 140.0
_SPECK_PX = 6  # a quad is skipped if its bounding box has no more pixels
_HAZE_M = 170.0
_HAZE = np.asarray((0.80, 0.83, 0.87), np.float32)
_ZENITH = np.asarray((0.38, 0.56, 0.82), np.float32)
_PLANES = {0: (2, 1), 1: (0, 2), 2: (0, 1)}  # axis of the normal -> axes of the texture's columns and rows


@dataclass(frozen=True, eq=False)
class Quad:
    """A rectangle normal to a world axis.

    Attributes:
        axis: axis of the normal: 0 (x), 1 (y) or 2 (z).
        offset: position on that axis, meters.
        columns: start and end along z (axis 0) or x (axis 1, 2), meters; the texture's left and right edge.
        rows: start and end along y (axis 0, 2) or z (axis 1), meters; the texture's top and bottom edge.
        textures: textures shown in turn.
        label: class id; None keeps the ground's (shadows).
        shade: factor on the texture's brightness.
        velocity: (x, z), meters per second.
        rate_hz: textures per second.
        glow: how much it shines by itself, scaled by `Light.glow`.
        facing: -1 or 1: visible only from below or above `offset` on the axis; 0: from both sides.
    """

    axis: int
    offset: float
    columns: tuple[float, float]
    rows: tuple[float, float]
    textures: tuple[Texture, ...]
    label: int | None
    shade: float = 1.0
    velocity: tuple[float, float] = (0.0, 0.0)
    rate_hz: float = 0.0
    glow: float = 0.0
    facing: int = 0

    def corners(self) -> Matrix:
        """Return the corners at time 0, float64 [4, 3], meters."""
        points = np.empty((4, 3))
        column_axis, row_axis = _PLANES[self.axis]
        points[:, self.axis] = self.offset
        points[:, column_axis] = [self.columns[index] for index in (0, 1, 1, 0)]
        points[:, row_axis] = [self.rows[index] for index in (0, 0, 1, 1)]
        return points


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


def reflectance(frame: Rendering) -> Plane:
    """Return the colors of a rendering by day without the haze, float32 [H, W, C]; the sky keeps its own."""
    dense = np.exp(np.where(np.isinf(frame.depth), np.float32(0), frame.depth) * np.float32(1 / _HAZE_M))[..., None]
    haze = _HAZE if frame.color.shape[-1] == 3 else np.asarray([_HAZE @ np.asarray(LUMA, np.float32)])
    return np.asarray((frame.color - haze) * dense + haze, np.float32)


class Renderer:
    """Draws quads over a ground in one view.

    Args:
        quads: quads of the street.
        ground: ground under them.
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
        self._quads = quads
        self._ground = ground
        self._view = view
        self._gray = gray
        self._light = light
        self._rays = view.rays()
        self._corners = np.stack([quad.corners() for quad in quads])
        self._facing = np.zeros((len(quads), 3))
        self._facing[np.arange(len(quads)), [quad.axis for quad in quads]] = [quad.facing for quad in quads]
        self._velocity = np.asarray([(quad.velocity[0], 0.0, quad.velocity[1]) for quad in quads])

    def render(self, pose: Pose, seconds: float) -> Rendering:
        """Draw the street at a time, seen from a pose."""
        directions = (pose.rotation.T.astype(np.float32) @ self._rays).reshape(3, *self._view.size)
        frame = self._background(pose, directions)
        shift = self._velocity * seconds
        with np.errstate(divide="ignore", invalid="ignore"):
            for index, region, nearest in self._visible(pose, shift):
                origin = pose.position - shift[index]
                self._draw(self._quads[index], frame, region, directions, origin, seconds, nearest)
        clear = np.exp(np.where(np.isinf(frame.depth), np.float32(0), frame.depth) * np.float32(-1 / _HAZE_M))
        haze = self._tone(_HAZE)
        np.subtract(frame.color, haze, out=frame.color)
        np.multiply(frame.color, clear[..., None], out=frame.color)
        np.add(frame.color, haze, out=frame.color)
        if not self._light.is_day:
            rays = self._rays.reshape(directions.shape)
            self._light.shine(
                frame.color, frame.depth, frame.glow, rays=rays, directions=directions, position=pose.position
            )
        return frame

    def _tone(self, rgb: Plane) -> Plane:
        return np.asarray([rgb @ np.asarray(LUMA, np.float32)]) if self._gray else rgb

    def _background(self, pose: Pose, directions: Plane) -> Rendering:
        """Draw the sky above the horizon and the ground below it."""
        height, width = self._view.size
        down = directions[1]
        color = np.empty((height, width, 1 if self._gray else 3), np.float32)
        labels = np.zeros((height, width), np.uint8)
        depth = np.full((height, width), np.inf, np.float32)
        rows_above = np.flatnonzero((down <= 0).any(axis=1))
        if len(rows_above):
            self._sky(color[: rows_above[-1] + 1], directions[:, : rows_above[-1] + 1])
        rows_below = np.flatnonzero((down > 0).any(axis=1))
        if len(rows_below):
            below = slice(int(rows_below[0]), height)
            focal = float(self._view.matrix[0, 0])
            self._ground.draw(
                (color[below], labels[below], depth[below]),
                directions[:, below],
                pose.position,
                focal_px=focal,
            )
        return Rendering(color, labels, depth, np.zeros((height, width), np.float32))

    def _sky(self, color: Plane, directions: Plane) -> None:
        up = np.maximum(-directions[1], 1e-3)
        clouds = self._ground.clouds(directions[0] / up, directions[2] / up) * np.minimum(up * 4, 1)
        share = np.minimum(up * 1.6, 1) * (1 - 0.65 * clouds)
        haze = self._tone(_HAZE)
        color[...] = haze + share[..., None] * (self._tone(_ZENITH) - haze)

    def _visible(self, pose: Pose, shift: Matrix) -> list[tuple[int, tuple[slice, slice], float]]:
        """Return number, bounding region and nearest depth of the quads that may be visible, nearest first."""
        to_camera = self._view.rotation @ pose.rotation
        points = (self._corners + shift[:, None] - pose.position) @ to_camera.T  # [quads, 4, 3]
        depth = points[..., 2]
        nearest, farthest = depth.min(axis=1), depth.max(axis=1)
        from_quads = pose.position - shift - self._corners[:, 0]
        faces = (self._facing * from_quads).sum(axis=1) >= 0
        candidates = np.flatnonzero((farthest > NEAR_M) & (nearest < FAR_M) & faces)
        boxes = bounding_boxes(points[candidates], self._view)
        extent = np.maximum(boxes[:, 2:] - boxes[:, :2], 0)
        seen = extent[:, 0] * extent[:, 1] > _SPECK_PX
        candidates, boxes = candidates[seen], boxes[seen].astype(int)
        order = np.argsort(nearest[candidates], kind="stable")
        return [
            (int(index), (slice(top, bottom), slice(left, right)), max(NEAR_M, float(nearest[index])))
            for index, (left, top, right, bottom) in zip(candidates[order], boxes[order].tolist(), strict=True)
        ]

    def _draw(
        self,
        quad: Quad,
        frame: Rendering,
        region: tuple[slice, slice],
        directions: Plane,
        origin: Matrix,
        seconds: float,
        nearest: float,
    ) -> None:
        zbuffer = frame.depth[region]
        if zbuffer.max() <= nearest:
            return
        column_axis, row_axis = _PLANES[quad.axis]
        texture = quad.textures[int(seconds * quad.rate_hz) % len(quad.textures)]
        height, width = texture.gray[0].shape
        column_scale = width / (quad.columns[1] - quad.columns[0])
        row_scale = height / (quad.rows[1] - quad.rows[0])
        depth = np.float32(quad.offset - origin[quad.axis]) / directions[quad.axis][region]
        hit = (depth > NEAR_M) & (depth < zbuffer)
        if not hit.any():
            return
        columns = depth * directions[column_axis][region]
        rows = depth * directions[row_axis][region]
        columns = (columns + np.float32(origin[column_axis] - quad.columns[0])) * np.float32(column_scale)
        rows = (rows + np.float32(origin[row_axis] - quad.rows[0])) * np.float32(row_scale)
        hit &= (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
        if texture.alpha is not None:
            hit &= cv2.remap(texture.alpha, columns - 0.5, rows - 0.5, cv2.INTER_LINEAR) > 0.5
        if not hit.any():
            return
        texels_per_px = self._texels_per_pixel(quad, origin, nearest, abs(column_scale), abs(row_scale))
        levels = texture.gray if self._gray else texture.rgb
        color = _sample(levels, columns, rows, np.log2(max(texels_per_px, 1.0))) * np.float32(quad.shade)
        np.copyto(frame.color[region], color.reshape(*hit.shape, -1), where=hit[..., None])
        np.copyto(zbuffer, depth, where=hit)
        if self._light.glow:
            np.copyto(frame.glow[region], np.float32(quad.glow), where=hit)
        if quad.label is not None:
            np.copyto(frame.labels[region], np.uint8(quad.label), where=hit)

    def _texels_per_pixel(
        self, quad: Quad, origin: Matrix, nearest: float, column_scale: float, row_scale: float
    ) -> float:
        """Return the texture pixels per pixel near the middle of the visible part, smooth in the pose."""
        if quad.axis == 2:
            depth = nearest
            stretch = 1.0
        else:
            depth = max(nearest, 3.0) * 1.3
            stretch = max(1.0, depth / max(abs(quad.offset - float(origin[quad.axis])), 0.3))
        per_metre = depth / float(self._view.matrix[0, 0])
        return per_metre * float(np.sqrt(column_scale * row_scale * stretch))


def _sample(levels: Sequence[Plane], columns: Plane, rows: Plane, level: float) -> Plane:
    """Look up a texture between its two nearest resolutions; coordinates are in pixels of the finest."""
    level = min(level, len(levels) - 1.0)
    fine = int(level)
    color = _lookup(levels, columns, rows, fine)
    if level == fine:
        return color
    return color + (_lookup(levels, columns, rows, fine + 1) - color) * np.float32(level - fine)


def _lookup(levels: Sequence[Plane], columns: Plane, rows: Plane, index: int) -> Plane:
    picture = levels[index]
    scale_x, scale_y = (picture.shape[axis] / levels[0].shape[axis] for axis in (1, 0))
    sampled = cv2.remap(
        picture,
        columns * np.float32(scale_x) - np.float32(0.5),
        rows * np.float32(scale_y) - np.float32(0.5),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(sampled, np.float32)
