"""Calibration of an event camera beside a frame camera: rectification, and the warp between their views.

In DSEC's terms, cam0 is the left event camera and cam1 the left frame camera. The warps between the views, in both
directions, are pure rotations: exact for infinitely far points (DSEC: 2.7 px of parallax at 10 m). `cam_to_cam.read`,
`camera_info.calibration` and `kalibr.parse` return a `Calibration`; `calibration_files.read` knows all files.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.cameras.camera import Camera, Matrix
from mambaseg_core.cameras.distortion import distort, undistort
from mambaseg_core.events.array import Events

Image = npt.NDArray[np.uint8]
Map = npt.NDArray[np.float32]

_NO_MAP = np.empty(0, np.uint16)  # for remap's second map


@dataclass(frozen=True, eq=False)
class Calibration:
    """An event camera beside a frame camera: raw and rectified geometry, and the pose between them.

    Attributes:
        event_raw: the raw event camera (cam0), with its distortion.
        event: the rectified event camera (camRect0), the view of labels and models.
        image: the frame camera in the view of the images: rectified (camRect1), or raw with its distortion.
        R_rect0: float64 [3, 3], from the raw to the rectified event camera.
        R_rect1: float64 [3, 3], from the raw frame camera to `image`.
        T_10: float64 [4, 4], x_frame = T_10 x_event in the raw cameras' coordinates, meters.
        published_map: float32 [H, W, 2], a `rectify_map.h5` that replaces the computed map.
    """

    event_raw: Camera
    event: Camera
    image: Camera
    R_rect0: Matrix
    R_rect1: Matrix
    T_10: Matrix
    published_map: Map | None = None

    def __post_init__(self) -> None:
        expected = (*self.event_raw.size, 2)
        if self.published_map is not None and self.published_map.shape != expected:
            raise ValueError(
                f"the rectify map has shape {list(self.published_map.shape)}, expected {list(expected)} as cam0 in "
                f"the calibration; take both from one sequence"
            )

    @property
    def event_size(self) -> tuple[int, int]:
        """(height, width) of the rectified event view, pixels."""
        return self.event.size

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the rectified frame view, pixels."""
        return self.image.size

    @property
    def rotation(self) -> Matrix:
        """Float64 [3, 3], from the rectified event camera to the rectified frame camera."""
        rotation: Matrix = self.R_rect1 @ self.T_10[:3, :3] @ self.R_rect0.T
        return rotation

    def rectify_map(self) -> Map:
        """Return the place of each raw event pixel in the rectified event view, in the form of DSEC's `rectify_map.h5`.

        Returns:
            float32 [H, W, 2], read-only: `x, y = rectify_map[row, column]`. A forward map: not for
            `cv2.remap` of a raw frame. Coordinates are fractional and may lie outside the view.

        Raises:
            ValueError: the distortion cannot be inverted over the whole sensor.
        """
        return self._rectify_map

    def rectify(self, events: Events) -> Events:
        """Move raw events to the rectified event view.

        Coordinates are cut toward zero (-0.9 becomes 0), as in the training of the released models. After that, events
        outside the view are dropped. Times and polarities do not change.

        Args:
            events: raw events of the event camera.

        Returns:
            The remaining events, of a sensor of `event_size`.

        Raises:
            ValueError: the events' sensor has another size.
        """
        if (events.height, events.width) != self.event_raw.size:
            raise ValueError(
                f"got events of a sensor {events.width}x{events.height}, expected {self.event_raw.width}x"
                f"{self.event_raw.height} (width x height) as cam0 in the calibration; use this camera's calibration"
            )
        target = self._rectified_index[events.y, events.x]
        kept = np.flatnonzero(target >= 0)
        y, x = np.divmod(target[kept], self.event.width)
        return Events(x.astype(np.uint16), y.astype(np.uint16), events.t_ns[kept], events.p[kept], *self.event_size)

    def image_to_event_map(self) -> Map:
        """Return where to sample the image for each pixel of the rectified event view (a map for `cv2.remap`).

        For rectified images P = K_rect1 R(R_rect1 T_10 R_rect0^T) K_rect0^-1, as in the released MambaSeg data
        preparation.

        Returns:
            float32 [He, We, 2], read-only: (x, y) in the image, pixels; may lie outside it.
        """
        return self._image_to_event_map

    def warp_image(self, image: Image) -> Image:
        """Warp an image to the rectified event view (an `ev_inf` image of DSEC's users), bicubic.

        Args:
            image: uint8 [H, W] or [H, W, C] of `image_size`; rectified where `image` is.

        Returns:
            uint8 [He, We] or [He, We, C]; black outside the frame camera's view.

        Raises:
            ValueError: the image has another size.
        """
        _check_size("image", image, self.image_size, "the frame camera")
        warped = cv2.remap(image, self._image_to_event_map, _NO_MAP, cv2.INTER_CUBIC)
        return warped.reshape(*self.event_size, *image.shape[2:])  # type: ignore[return-value]

    def warp_mask_to_image(self, mask: Image, fill: int = 255) -> Image:
        """Warp a mask of the rectified event view to the view of the images, nearest neighbor.

        Args:
            mask: uint8 [He, We] class ids.
            fill: class id outside the event view.

        Returns:
            uint8 [Hi, Wi].

        Raises:
            ValueError: the mask has another size.
        """
        _check_size("mask", mask, self.event_size, "the rectified event camera")
        pixels = self._event_to_image_pixels
        warped = cv2.remap(mask, pixels, _NO_MAP, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
        return warped  # type: ignore[return-value]

    @cached_property
    def digest(self) -> str:
        """Hash of all values, 16 hexadecimal digits: calibrations with one digest give the same views."""
        arrays = (self.R_rect0, self.R_rect1, self.T_10, self.published_map)
        values = [b"" if array is None else array.tobytes() for array in arrays]
        cameras = repr((self.event_raw, self.event, self.image)).encode()
        return hashlib.sha256(b" ".join([cameras, *values])).hexdigest()[:16]

    @cached_property
    def _homography(self) -> Matrix:
        """Homography P [3, 3] from pixels of the event view to pixels of the image."""
        homography: Matrix = self.image.matrix() @ self.rotation @ np.linalg.inv(self.event.matrix())
        return homography

    @cached_property
    def _rectify_map(self) -> Map:
        if self.published_map is not None:
            return self.published_map
        raw = self.event_raw
        distorted = (_pixel_grid(raw.size) - (raw.cx, raw.cy)) / (raw.fx, raw.fy)
        points = undistort(distorted, raw)
        rays = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1) @ self.R_rect0.T
        rectified = rays[..., :2] / rays[..., 2:] * (self.event.fx, self.event.fy) + (self.event.cx, self.event.cy)
        return _frozen(rectified.astype(np.float32))

    @cached_property
    def _rectified_index(self) -> npt.NDArray[np.int32]:
        """Flat index in the rectified view of each raw pixel, int32 [H, W]; -1 if it falls outside."""
        x, y = np.moveaxis(np.trunc(self._rectify_map), -1, 0).astype(np.int32)
        inside = (x >= 0) & (y >= 0) & (x < self.event.width) & (y < self.event.height)
        return _frozen(np.where(inside, y * self.event.width + x, -1).astype(np.int32))

    @cached_property
    def _image_to_event_map(self) -> Map:
        if not any(self.image.distortion):
            return _frozen(_apply(self._homography, self.event_size).astype(np.float32))
        turn = self.rotation @ np.linalg.inv(self.event.matrix())
        points = _apply(np.asarray(turn, np.float64), self.event_size)
        pixels = distort(points, self.image) * (self.image.fx, self.image.fy) + (self.image.cx, self.image.cy)
        seen = np.linalg.norm(points, axis=-1, keepdims=True) <= self._image_radius  # beyond it a lens model folds back
        return _frozen(np.where(seen, pixels, -1e9).astype(np.float32))

    @cached_property
    def _event_to_image_pixels(self) -> npt.NDArray[np.int16]:
        """Nearest pixel of the event view for each pixel of the image, int16 [Hi, Wi, 2]."""
        back = np.asarray(np.linalg.inv(self._homography), np.float64)
        grid = self._undistorted_pixels if any(self.image.distortion) else _pixel_grid(self.image_size)
        pixels = np.rint(_apply(back, self.image_size, grid))
        return _frozen(np.clip(pixels, -1, np.iinfo(np.int16).max).astype(np.int16))

    @property
    def _undistorted_pixels(self) -> Matrix:
        """Where each pixel of the image would lie without distortion, float64 [Hi, Wi, 2]."""
        focal, center = (self.image.fx, self.image.fy), (self.image.cx, self.image.cy)
        return undistort((_pixel_grid(self.image_size) - center) / focal, self.image) * focal + center

    @cached_property
    def _image_radius(self) -> float:
        """Distance of the farthest point that the image shows from the optical axis, in normalized coordinates."""
        grid = _pixel_grid(self.image_size)
        border = np.concatenate([grid[0], grid[-1], grid[:, 0], grid[:, -1]])
        points = undistort((border - (self.image.cx, self.image.cy)) / (self.image.fx, self.image.fy), self.image)
        return float(np.linalg.norm(points, axis=-1).max())


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.flags.writeable = False
    return array


def _pixel_grid(size: tuple[int, int]) -> Matrix:
    """Return (x, y) of every pixel, float64 [H, W, 2]."""
    height, width = size
    return np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1).astype(np.float64)


def _apply(homography: Matrix, size: tuple[int, int], grid: Matrix | None = None) -> Matrix:
    """Return the image of every pixel of a view, or of other points, under a homography; -1e9 behind the camera."""
    grid = _pixel_grid(size) if grid is None else grid
    sent = np.concatenate([grid, np.ones_like(grid[..., :1])], axis=-1) @ homography.T
    depth = sent[..., 2:]
    return np.where(depth > 1e-6, sent[..., :2] / np.maximum(depth, 1e-6), -1e9)


def _check_size(what: str, array: Image, size: tuple[int, int], camera: str) -> None:
    if array.shape[:2] != size:
        raise ValueError(
            f"{what} has shape {list(array.shape)}, expected {size[0]} rows and {size[1]} columns as {camera} in the "
            f"calibration; give the {what} at that resolution"
        )
