"""Fast DDS with config/fastdds.xml carries large images without loss; docs/ros.md, "Large images"."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Int32

COUNT = 30

CAMERA = """
from mambaseg_ros.resources import use_large_image_profile
use_large_image_profile()
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from std_msgs.msg import Int32

def send(asked):
    message.header.stamp.sec = asked.data
    publisher.publish(message)

rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, "large", qos_profile_sensor_data)
message = Image(height=1080, width=1440, step=4320, encoding="rgb8")
message.data.frombytes(bytes(1080 * 4320))
node.create_subscription(Int32, "ask", send, 1)
rclpy.spin(node)
"""


def test_images_of_1440x1080_rgb_arrive_at_the_first_attempt(peer: Any, start: Callable[..., Any]) -> None:
    """Without the profile some are lost. Each is sent when it is asked for, so that no slow machine loses any."""
    seen: list[int] = []
    peer.node.create_subscription(
        Image, "large", lambda message: seen.append(message.header.stamp.sec), qos_profile_sensor_data
    )
    ask = peer.node.create_publisher(Int32, "ask", 1)
    peer.process = start(sys.executable, "-c", CAMERA)
    peer.spin_until(lambda: ask.publish(Int32(data=0)) or bool(seen), "an image")  # both sides know each other now
    for number in range(1, COUNT):
        ask.publish(Int32(data=number))
        peer.spin_until(lambda n=number: n in seen, f"image {number}", timeout=60)
    assert "XMLPARSER" not in peer.process.output  # the profile is read once, without complaints
