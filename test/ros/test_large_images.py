"""Fast DDS with config/fastdds.xml carries large images without loss; docs/ros.md, "Large images"."""

from __future__ import annotations

import sys
import textwrap
import time
from collections.abc import Callable
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image

COUNT, RATE_HZ = 200, 20.0

PUBLISHER = textwrap.dedent(
    f"""
    import time
    from mambaseg_ros.resources import use_large_image_profile
    use_large_image_profile()
    import rclpy
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image
    rclpy.init()
    node = rclpy.create_node("camera")
    publisher = node.create_publisher(Image, "image", qos_profile_sensor_data)
    message = Image(height=1080, width=1440, step=4320, encoding="rgb8")
    message.data.frombytes(bytes(1080 * 4320))
    while publisher.get_subscription_count() == 0:
        time.sleep(0.05)
    time.sleep(0.5)
    start = time.monotonic()
    for index in range({COUNT}):
        message.header.stamp.sec = index
        publisher.publish(message)
        time.sleep(max(0.0, start + (index + 1) / {RATE_HZ} - time.monotonic()))
    print("published", flush=True)
    time.sleep(60)
    """
)


def test_1440x1080_rgb_at_20_hz_for_10_s_loses_none(domain: int, start: Callable[..., Any]) -> None:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=domain)
    node = rclpy.create_node("viewer", context=context)
    seen: list[int] = []
    node.create_subscription(
        Image, "image", lambda message: seen.append(message.header.stamp.sec), qos_profile_sensor_data
    )
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    camera = start(sys.executable, "-c", PUBLISHER)
    deadline = time.monotonic() + 60
    while "published" not in camera.output and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.1)
    for _ in range(20):
        executor.spin_once(timeout_sec=0.05)
    executor.shutdown()
    rclpy.shutdown(context=context)
    assert seen == list(range(COUNT)), f"{len(seen)} of {COUNT} arrived; {camera.output}"
    assert "XMLPARSER" not in camera.output  # the profile is read once, without complaints
