"""Image messages to pictures and back. Pure functions: no node, no clock, no state.

The buffers of sensor_msgs/Image are viewed, not copied; `message.data.frombytes` fills a `uint8[]` in one copy, in the
rclpy of every distribution.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mambaseg_core.pictures import in_8_bits
from mambaseg_ros.messages.compressed import decompress, stored_encoding

Image = npt.NDArray[np.uint8]

# encoding: (bytes of a pixel, OpenCV's conversion to RGB or None). OpenCV names Bayer patterns by their second row.
ENCODINGS: dict[str, tuple[int, int | None]] = {
    "rgb8": (3, None),
    "bgr8": (3, cv2.COLOR_BGR2RGB),
    "rgba8": (4, cv2.COLOR_RGBA2RGB),
    "bgra8": (4, cv2.COLOR_BGRA2RGB),
    "mono8": (1, None),
    "mono16": (2, None),
    "bayer_rggb8": (1, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr8": (1, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg8": (1, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg8": (1, cv2.COLOR_BayerGB2RGB),
    "bayer_rggb16": (2, cv2.COLOR_BayerBG2RGB),
    "bayer_bggr16": (2, cv2.COLOR_BayerRG2RGB),
    "bayer_gbrg16": (2, cv2.COLOR_BayerGR2RGB),
    "bayer_grbg16": (2, cv2.COLOR_BayerGB2RGB),
    "yuv422": (2, cv2.COLOR_YUV2RGB_UYVY),
    "uyvy": (2, cv2.COLOR_YUV2RGB_UYVY),
    "yuv422_yuy2": (2, cv2.COLOR_YUV2RGB_YUY2),
    "yuyv": (2, cv2.COLOR_YUV2RGB_YUY2),
}


def image_from_message(message: Any) -> Image:
    """Return the picture of a sensor_msgs/Image or CompressedImage: RGB uint8 [H, W, 3], or grey uint8 [H, W].

    Honours `step` (rows may be padded) and `is_bigendian`, or the `format`. 16 bits become 8 by rounding v / 257.

    Raises:
        ValueError: an unknown encoding, a size of 0, or data that do not fill the rows, cannot be decompressed or
            contradict the format.
    """
    if hasattr(message, "format"):
        return _from_compressed(message)
    if message.encoding not in ENCODINGS:
        raise ValueError(
            f"image has encoding {message.encoding!r}; expected one of {', '.join(ENCODINGS)}: "
            "set it in the camera driver or convert the topic"
        )
    pixel_bytes, conversion = ENCODINGS[message.encoding]
    pixels = pixel_rows(message, pixel_bytes)
    return _converted(pixels, message, (int(message.height), int(message.width), pixel_bytes), conversion)


def pixel_rows(message: Any, pixel_bytes: int) -> Image:
    """Return the bytes of a sensor_msgs/Image without what pads its rows, uint8 [H, W * pixel_bytes].

    Raises:
        ValueError: a size of 0, or data that do not fill the rows.
    """
    height, width, step = int(message.height), int(message.width), int(message.step)
    if height == 0 or width == 0 or step < width * pixel_bytes:
        raise ValueError(
            f"image is {height} x {width} {message.encoding} with step {step}; expected a size above 0 and a step of "
            f"at least {width * pixel_bytes}: check the camera driver"
        )
    if len(message.data) < height * step:
        raise ValueError(
            f"image holds {len(message.data)} bytes; expected height x step = {height * step}: check the camera driver"
        )
    return np.frombuffer(message.data, np.uint8, count=height * step).reshape(height, step)[:, : width * pixel_bytes]


def wide_pixels(message: Any) -> npt.NDArray[np.uint16]:
    """Return pixels of 16 bits, uint16 [H, W], in either order of their bytes; raise as `pixel_rows` does."""
    order = ">u2" if message.is_bigendian else "<u2"
    return np.ascontiguousarray(pixel_rows(message, 2)).view(order).astype(np.uint16)


def _from_compressed(message: Any) -> Image:
    picture, encoding = in_8_bits(decompress(message)), stored_encoding(message.format)
    mosaic = encoding.startswith("bayer_") and encoding in ENCODINGS
    return _to_rgb(picture, encoding, ENCODINGS[encoding][1]) if mosaic else picture


def _converted(pixels: Image, message: Any, shape: tuple[int, int, int], conversion: int | None) -> Image:
    """Return bytes of rows [H, W * bytes] as grey [H, W] or RGB [H, W, 3]."""
    height, width, pixel_bytes = shape
    if message.encoding.endswith("16"):
        pixels, pixel_bytes = in_8_bits(wide_pixels(message)), 1
    picture = pixels if pixel_bytes == 1 else pixels.reshape(height, width, pixel_bytes)
    return _to_rgb(picture, message.encoding, conversion)


def _to_rgb(picture: Image, encoding: str, conversion: int | None) -> Image:
    if conversion is None:
        return picture
    try:
        return cv2.cvtColor(np.ascontiguousarray(picture), conversion)  # type: ignore[return-value]
    except cv2.error as error:
        raise ValueError(
            f"image of {picture.shape[0]} x {picture.shape[1]} {encoding} cannot be converted to RGB; expected an even "
            "width for yuv422 and at least 2 x 2 pixels for bayer: check the camera driver"
        ) from error


def fill_image_message(message: Any, picture: Image, *, header: Any, encoding: str) -> Any:
    """Fill an empty sensor_msgs/Image with a picture [H, W] (mono8) or [H, W, 3] (rgb8)."""
    describe_image(message, picture, header=header, encoding=encoding)
    message.data.frombytes(np.ascontiguousarray(picture).reshape(-1).data)
    return message


def describe_image(message: Any, picture: Image, *, header: Any, encoding: str) -> Any:
    """Fill all fields of a sensor_msgs/Image but its data; arguments as of `fill_image_message`."""
    message.header = header
    message.height, message.width = picture.shape[:2]
    message.encoding = encoding
    message.is_bigendian = 0
    message.step = message.width * (1 if picture.ndim == 2 else picture.shape[2])
    return message
