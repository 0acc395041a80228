"""Messages of a second camera, thermal or depth, to the second images of a `Preprocessing`. Pure functions.

Depth is in millimetres where it is an integer and in metres where it is a float (REP 118); 0, NaN and infinity mean
that nothing was measured.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from mambaseg_core.pictures import decode
from mambaseg_core.preprocessing import Preprocessing, Reading
from mambaseg_ros.messages.compressed import REMEDY, decompress, describe, stored_encoding
from mambaseg_ros.messages.images import ENCODINGS, image_from_message, pixel_rows, wide_pixels

MOST_OF_8_BITS = 255
WIDE = ("16UC1", "mono16")
MM_PER_M = 1000.0
COMPRESSED_DEPTH = "compressedDepth"  # of compressed_depth_image_transport: what follows its header is a PNG
COMPRESSED_DEPTH_HEADER = struct.Struct("<iff")  # kind, and a and b of the inverse depths v = a / metres + b
PNG = b"\x89PNG"
JPEG_STEP = 256  # of compressed_image_transport: from 8 bits to the 16 of the raw image


def second_image_from_message(message: Any, setup: Preprocessing) -> Reading:
    """Return what a sensor_msgs/Image or CompressedImage of a thermal or depth camera holds.

    Args:
        message: depth as 16UC1, mono16 (millimetres), 32FC1 (metres), PNG of 16 bits, TIFF, or compressedDepth as
            PNG; thermal as the encodings of `image_from_message`, 16UC1 or 32FC1, in as many bits as the model was
            trained with.
        setup: its `second` and `second_range` say what the model takes.

    Returns:
        [H, W] uint8, uint16 or float32, or of a coloured thermal image uint8 [H, W, 3].

    Raises:
        ValueError: an encoding that carries no such values, or data that do not fill the rows.
    """
    image = _decompressed(message, setup) if hasattr(message, "format") else _raw(message, setup)
    if image is None or not (_fits_depth(image) if setup.second == "depth" else _fits_thermal(image, setup)):
        form = getattr(message, "encoding", "") or message.format
        got = "" if image is None else f", {image.dtype} {list(image.shape)}"
        expected = "16UC1 in millimetres or 32FC1 in metres" if setup.second == "depth" else _expected_thermal(setup)
        raise ValueError(
            f"{setup.second} image has encoding {form!r}{got}; expected {expected}: "
            "set it in the camera driver, or take a model that was trained with such images"
        )
    if setup.second == "depth" and image.dtype == np.float32:
        return image * np.float32(MM_PER_M)
    return image


def _fits_depth(image: Reading) -> bool:
    return image.dtype != np.uint8 and image.ndim == 2


def _fits_thermal(image: Reading, setup: Preprocessing) -> bool:
    if image.dtype == np.uint8:
        return not _is_deep(setup)
    return image.ndim == 2 and (image.dtype == np.float32 or _is_deep(setup))


def _is_deep(setup: Preprocessing) -> bool:
    """Return whether the model's values take more than 8 bits."""
    return setup.second_range[1] > MOST_OF_8_BITS


def _expected_thermal(setup: Preprocessing) -> str:
    low, high = setup.second_range
    form = "mono8" if high <= MOST_OF_8_BITS else "16UC1"
    return f"{form}, because the model's values go from {low:g} to {high:g}"


def _raw(message: Any, setup: Preprocessing) -> Reading | None:
    """Return None for an encoding that no camera here has."""
    if message.encoding == "32FC1":
        order = ">f4" if message.is_bigendian else "<f4"
        numbers: npt.NDArray[np.float32] = np.ascontiguousarray(pixel_rows(message, 4)).view(order).astype(np.float32)
        return numbers
    wanted = setup.second == "depth" or _is_deep(setup)
    if message.encoding == "16UC1" or (message.encoding in WIDE and wanted):
        return wide_pixels(message)
    if message.encoding == "8UC1":
        return pixel_rows(message, 1)
    return image_from_message(message) if message.encoding in ENCODINGS else None


def _decompressed(message: Any, setup: Preprocessing) -> Reading:
    if COMPRESSED_DEPTH in message.format:
        return _decompressed_depth(message)
    encoding = stored_encoding(message.format)
    if encoding == "32fc1":
        return decode(message.data, describe(message), REMEDY, floats=True)
    if encoding.startswith("bayer_"):
        return image_from_message(message)
    image = decompress(message)
    raw = message.format.partition(";")[0].strip()
    if raw == "mono16" and image.dtype == np.uint8 and setup.second == "thermal" and _is_deep(setup):
        return image.astype(np.uint16) * np.uint16(JPEG_STEP)
    return image


def _decompressed_depth(message: Any) -> Reading:
    """Return the depth of compressed_depth_image_transport: as it is (16UC1), or from its inverse in metres (32FC1)."""
    data, what = np.frombuffer(message.data, np.uint8), describe(message)
    size = COMPRESSED_DEPTH_HEADER.size
    inverse = message.format.startswith("32FC1")
    if not inverse and data[: len(PNG)].tobytes() == PNG:
        size = 0  # some publishers leave the header out
    if data[size : size + len(PNG)].tobytes() != PNG:
        raise ValueError(f"{what} with {len(data)} bytes holds no PNG; expected compressedDepth as PNG: {REMEDY}")
    values = decode(data[size:], what, REMEDY)
    if not inverse:
        return values
    _, a, b = COMPRESSED_DEPTH_HEADER.unpack(data[:size].tobytes())
    if not a > 0:
        raise ValueError(f"{what} has the depth scale {a:g}; expected a number above 0: {REMEDY}")
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.float32(a) / (values.astype(np.float32) - np.float32(b))
    return np.where(values > 0, metres, np.float32(np.nan)).astype(np.float32)
