"""Memory of a node that rests: what events took goes back to the system."""

from __future__ import annotations

import platform
import resource
from pathlib import Path

import numpy as np
import pytest
import rclpy

from mambaseg_core.events import Events
from mambaseg_core.memory import give_back_memory
from mambaseg_ros.node import Done, SegmentationNode
from mambaseg_ros.sources.runs import DecodedMessage

pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is given back through glibc"),
]

MIB = 1 << 20


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def test_a_node_that_was_deactivated_gives_back_what_its_events_took(domain: int, small_checkpoint: Path) -> None:
    context = rclpy.Context()
    words = {"autostart": "false", "weights": small_checkpoint, "device": "cpu", "buffer_mib": 256}
    rclpy.init(args=["--ros-args", *(w for name in words for w in ("-p", f"{name}:={words[name]}"))], context=context)
    node = SegmentationNode(context=context)
    try:
        assert node.trigger_configure() == Done.SUCCESS
        assert node.trigger_activate() == Done.SUCCESS
        give_back_memory()  # of the tests before
        before = resident()
        source = node._pipeline.source  # type: ignore[union-attr]
        number, ones = np.arange(100_000), np.ones(100_000, np.int8)
        for packet in range(60):  # 1.5 s
            t_ns = 10**18 + packet * 25_000_000 + 250 * number
            events = Events((number % 346).astype(np.uint16), (number % 260).astype(np.uint16), t_ns, ones, 260, 346)
            source._keep(DecodedMessage(events, 0, "events"))  # type: ignore[union-attr]
        assert source.fill[0] == 6_000_000
        full = resident()
        assert full - before > 60 * MIB
        del source, events
        assert node.trigger_deactivate() == Done.SUCCESS
        assert full - resident() > 60 * MIB
    finally:
        node.stop()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
