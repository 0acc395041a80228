"""Our conversions of images against those of cv_bridge, where it is installed: of ROS 2, or its port on PyPI."""

from __future__ import annotations

from array import array
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from mambaseg_ros.messages.compressed import fill_compressed_message
from mambaseg_ros.messages.images import ENCODINGS, fill_image_message, image_from_message, wide_pixels

cv_bridge = pytest.importorskip(
    "cv_bridge",
    reason="cv_bridge cannot be imported: apt install ros-$ROS_DISTRO-cv-bridge, or make test",
    exc_type=ImportError,
)

HEIGHT, WIDTH = 6, 8
RANDOM = np.random.default_rng(0)
BIG_ENDIAN = [(name, big) for name in sorted(ENCODINGS) for big in ((0, 1) if name.endswith("16") else (0,))]


def theirs(message: Any, encoding: str) -> np.ndarray:
    """What cv_bridge makes of a message; a skip where it cannot: each release knows other encodings."""
    try:
        return cv_bridge.CvBridge().imgmsg_to_cv2(message, encoding)
    except (cv_bridge.CvBridgeError, KeyError, AttributeError) as error:
        pytest.skip(
            f"this cv_bridge does not convert {message.encoding} (big endian: {message.is_bigendian}): {error!r}"
        )


def random_message(image_message: Any, encoding: str, big_endian: int = 0) -> Any:
    message = image_message(RANDOM.integers(0, 256, (HEIGHT, WIDTH * ENCODINGS[encoding][0]), np.uint8), encoding)
    message.width, message.is_bigendian = WIDTH, big_endian
    return message


@pytest.mark.parametrize(("encoding", "big_endian"), BIG_ENDIAN)
def test_every_encoding_becomes_the_same_picture(image_message: Any, encoding: str, big_endian: int) -> None:
    message = random_message(image_message, encoding, big_endian)
    ours = image_from_message(message)
    expected = theirs(message, "mono8" if encoding.startswith("mono") else "rgb8")
    assert ours.shape == expected.shape
    rounding = 1 if encoding.startswith("bayer") and encoding.endswith("16") else 0  # theirs rounds after the mosaic
    np.testing.assert_allclose(ours.astype(int), expected.astype(int), rtol=0, atol=rounding)


@pytest.mark.parametrize("big_endian", [0, 1])
def test_16_bits_are_the_same_numbers(image_message: Any, big_endian: int) -> None:
    message = random_message(image_message, "mono16", big_endian)
    np.testing.assert_array_equal(wide_pixels(message), theirs(message, "passthrough"))


@pytest.mark.parametrize(("encoding", "shape"), [("mono8", (HEIGHT, WIDTH)), ("rgb8", (HEIGHT, WIDTH, 3))])
def test_cv_bridge_reads_what_we_publish(encoding: str, shape: tuple[int, ...]) -> None:
    picture = RANDOM.integers(0, 256, shape, np.uint8)
    message = fill_image_message(SimpleNamespace(data=array("B")), picture, header=None, encoding=encoding)
    np.testing.assert_array_equal(theirs(message, "passthrough"), picture)


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_compressed_colours_are_the_same(kind: str) -> None:
    picture = RANDOM.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    message = SimpleNamespace(format=kind[1:], data=array("B", cv2.imencode(kind, picture)[1].tobytes()))
    blue_first = cv_bridge.CvBridge().compressed_imgmsg_to_cv2(message)
    np.testing.assert_array_equal(image_from_message(message), blue_first[..., ::-1])


def test_cv_bridge_reads_a_compressed_mask() -> None:
    ids = RANDOM.integers(0, 12, (HEIGHT, WIDTH), np.uint8)
    empty = SimpleNamespace(header=None, format="", data=array("B"))
    message = fill_compressed_message(empty, ids, header=None)
    np.testing.assert_array_equal(cv_bridge.CvBridge().compressed_imgmsg_to_cv2(message), ids)
