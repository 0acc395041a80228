"""Serialized images are those of rclpy, but for what happens to stand between their fields."""

from __future__ import annotations

import numpy as np
import pytest
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from mambaseg_ros.messages.images import fill_image_message, image_from_message
from mambaseg_ros.topics.serialized import serialized_image

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("frame_id", ["", "a", "ab", "abc", "camera", "kamera_größe"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (480, 641), (1, 1, 3), (7, 9, 3)])
def test_a_serialized_image_is_what_rclpy_makes_of_the_message(shape: tuple[int, ...], frame_id: str) -> None:
    whole = np.random.default_rng(0).integers(0, 256, (shape[0] + 1, *shape[1:]), np.uint8)
    header, encoding = Header(frame_id=frame_id), "mono8" if len(shape) == 2 else "rgb8"
    header.stamp.sec, header.stamp.nanosec = 1_700_000_000, 123_456_789
    for picture in (whole[1:], whole[1:, ::-1]):  # the second is not contiguous
        expected = fill_image_message(Image(), picture, header=header, encoding=encoding)
        data = serialized_image(picture, header=header, encoding=encoding)
        assert len(data) == len(bytes(serialize_message(expected)))
        message = deserialize_message(data, Image)
        assert message == expected
        np.testing.assert_array_equal(image_from_message(message), picture)
