"""`sensor_msgs/CameraInfo` of masks: the camera's own, cropped and resized as the mask was. No node, no state."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from mambaseg_core.cameras.camera import Camera, Matrix, resize_pixels

_COPIED: Final = ("height", "width", "distortion_model", "d", "k", "r", "p", "binning_x", "binning_y", "roi")


class MaskView(NamedTuple):
    """The view that a mask shows.

    Attributes:
        size: (height, width) of the view, pixels.
        to_mask: float64 [3, 3], from pixels of the view to pixels of the mask.
        camera: the rectified event camera if the view is its own; None for the frame camera's.
        has_image: False if the mask is of the second input alone, whose resolution may differ from the camera's.
    """

    size: tuple[int, int]
    to_mask: Matrix
    camera: Camera | None = None
    has_image: bool = True

    def of_part(self, size: tuple[int, int], to_part: Matrix) -> MaskView:
        """Return the view where this one is a part of another view.

        Args:
            size: (height, width) of the whole view, pixels.
            to_part: float64 [3, 3], from its pixels to pixels of the part.
        """
        return self._replace(size=size, to_mask=self.to_mask @ to_part)


def fill_camera_info(message: Any, view: MaskView, size: tuple[int, int], *, header: Any, camera_info: Any) -> Any:
    """Fill an empty CameraInfo with the intrinsics of a mask.

    A pixel's center has integer coordinates, and a resized picture keeps its outer edges: fx becomes s fx, and cx
    becomes s (cx + 0.5) - 0.5. Distortion does not change.

    Args:
        message: the empty message.
        view: what the mask shows.
        size: (height, width) of the mask, pixels.
        header: of the mask.
        camera_info: of the frame camera; unused where the view is the event camera's.

    Returns:
        The message; equal to `camera_info` but for the header if the mask has the camera's pixels.

    Raises:
        ValueError: `camera_info` is of images of another size.
    """
    message.header = header
    if view.camera is not None:
        matrix = view.to_mask @ view.camera.matrix()
        message.distortion_model, message.d, message.r = "plumb_bob", [0.0] * 5, np.eye(3).ravel().tolist()
        return _fill(message, size, matrix, matrix @ np.eye(3, 4))
    taken = image_size(camera_info)
    if min(taken) == 0 or (view.has_image and taken != view.size):
        raise ValueError(
            f"camera_info is of images of {taken[1]}x{taken[0]} pixels and the image has {view.size[1]}x"
            f"{view.size[0]} (width x height); expected one size: correct the camera driver, or remap camera_info"
        )
    to_mask = view.to_mask @ resize_pixels(taken, view.size)
    if size == taken and np.array_equal(to_mask, np.eye(3)):
        for name in _COPIED:
            setattr(message, name, getattr(camera_info, name))
        return message
    to_mask = to_mask @ _from_full_sensor(camera_info)
    k, p = (np.reshape(values, (3, -1)) for values in (camera_info.k, camera_info.p))
    message.distortion_model, message.d, message.r = camera_info.distortion_model, camera_info.d, camera_info.r
    return _fill(message, size, to_mask @ k, to_mask @ p)


def image_size(camera_info: Any) -> tuple[int, int]:
    """Return (height, width) of the images of a CameraInfo, whose own size is before cropping and binning."""
    roi = camera_info.roi
    full = (roi.height or camera_info.height, roi.width or camera_info.width)
    return full[0] // max(1, camera_info.binning_y), full[1] // max(1, camera_info.binning_x)


def _fill(message: Any, size: tuple[int, int], k: Matrix, p: Matrix) -> Any:
    message.height, message.width = size
    message.k, message.p = k.ravel().tolist(), p.ravel().tolist()
    return message


def _from_full_sensor(camera_info: Any) -> Matrix:
    """Return the map from pixels of the full sensor to pixels of the image; binning scales as in image_geometry."""
    x, y = max(1, camera_info.binning_x), max(1, camera_info.binning_y)
    roi = camera_info.roi
    return np.array([[1 / x, 0, -roi.x_offset / x], [0, 1 / y, -roi.y_offset / y], [0, 0, 1]])
