"""Parameters of a real node: what the command line sets in vain, and numbers of another type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from rcl_interfaces.srv import GetParameters

pytestmark = pytest.mark.ros


def test_misspelt_names_are_said_and_whole_numbers_taken(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]], tmp_path: Path
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text("segmenter: {ros__parameters: {event_wait_ms: 3.0}}\n")
    own = tmp_path / "own.yaml"
    own.write_text("mambaseg: {ros__parameters: {buffer_ms: 3000, timer_m: 20.0}}\n")
    words = node_command(autostart="false", event_wait_ms=10, buffer_ms=None, buffer_mib=64.0, event_clok="sensor")
    node = start(*words, "--params-file", other, "--params-file", own, "-r", "imge:=/camera/image")
    for said in (
        "parameter 'event_clok' is ignored: the node has none of this name; nearest is 'event_clock'",
        "parameter 'timer_m' is ignored: the node has none of this name; nearest is 'timer_ms'",
        f"parameter file {other} sets nothing here: it is for /segmenter, and this node is /mambaseg",
        "the remapping of 'imge' is ignored: the node has no topic of this name; nearest is 'image'",
    ):
        node.wait_for_line(said)
    assert f"parameter file {own}" not in node.output

    def values(*names: str) -> list[tuple[int, float, int]]:
        answer = peer.call(GetParameters, "/mambaseg/get_parameters", GetParameters.Request(names=names))
        return [(value.type, value.double_value, value.integer_value) for value in answer.values]

    whole, double = 2, 3  # rcl_interfaces/ParameterType
    assert values("event_wait_ms", "buffer_ms", "buffer_mib") == [(double, 10, 0), (double, 3000, 0), (whole, 0, 64)]
    assert peer.set_parameter("event_wait_ms", 20) == ""
    assert peer.set_parameter("buffer_mib", 32.0) == ""
    assert values("event_wait_ms", "buffer_mib") == [(double, 20, 0), (whole, 0, 32)]
    assert "Wrong parameter type" in peer.set_parameter("buffer_mib", 32.5)
    assert "range" in peer.set_parameter("event_wait_ms", -1)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("event_wait_ms", "'10'", "parameter 'event_wait_ms' is '10' (str); expected a float, such as 10.0"),
        ("autostart", 1, "parameter 'autostart' is 1 (int); expected a bool, such as true"),
        (
            "qos_overrides./mambaseg/mask.publisher.durability",
            "latched",
            "expected volatile or transient_local",
        ),
        ("device", 0, "parameter 'device' is 0 (int); expected a str, such as '10' in quotes"),
    ],
)
def test_a_value_of_another_type_ends_the_start_with_a_sentence(
    start: Callable[..., Any], node_command: Callable[..., list[str]], name: str, value: object, said: str
) -> None:
    node = start(*node_command(**{name: value}))
    assert node.child.wait(timeout=300) == 2
    node.stop()
    assert said in node.output
    assert "Traceback" not in node.output


def test_a_ros_that_cannot_change_a_value_before_it_is_set_takes_whole_numbers_too(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]]
) -> None:
    """Humble has no add_pre_set_parameters_callback."""
    code = (
        "import sys, rclpy.node; del rclpy.node.Node.add_pre_set_parameters_callback\n"
        "from mambaseg_ros.node import main; sys.exit(main())"
    )
    start(*node_command("-c", code, autostart="false", event_wait_ms=10))
    assert peer.set_parameter("event_wait_ms", 20) == ""
    assert peer.set_parameter("buffer_mib", 32.0) == ""
    assert "expected a int" in peer.set_parameter("buffer_mib", 32.5)
    assert "expected a float" in peer.set_parameter("event_wait_ms", "long")
    assert "expected 0 to 10000" in peer.set_parameter("event_wait_ms", -1)
    assert peer.change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    assert peer.set_parameter("event_wait_ms", 30) == ""
