"""A node that loads a model answers meanwhile. The model waits for its calibration, a pipe that the test fills."""

from __future__ import annotations

import gc
import os
import signal
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import GetParameters

from mambaseg_ros.node import Done, SegmentationNode

pytestmark = pytest.mark.ros


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    """A file that is read to its end when the test has written it."""
    path = tmp_path / "cam_to_cam.yaml"
    os.mkfifo(path)
    return path


def state_of(peer: Any) -> str:
    return str(peer.call(GetState, "/mambaseg/get_state", GetState.Request()).current_state.label)


def test_everything_is_answered_while_a_model_is_loaded(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]], pipe: Path
) -> None:
    peer.process = start(*node_command(autostart="false", calibration=pipe))
    assert state_of(peer) == "unconfigured"
    client = peer.client(ChangeState, "/mambaseg/change_state")
    asked = [
        client.call_async(ChangeState.Request(transition=Transition(id=number)))
        for number in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    ]
    peer.spin_until(lambda: state_of(peer) == "configuring", "the load")
    first, second = (peer.diagnosed("state").message for _ in range(2))
    assert first.startswith("configuring: loading mambaseg_nano (weights ")
    assert first != second  # the seconds pass
    names = GetParameters.Request(names=["model"])
    assert peer.call(GetParameters, "/mambaseg/get_parameters", names).values[0].string_value == "mambaseg_nano"
    assert "cannot change while the node is configuring" in peer.set_parameter("overlay_alpha", 0.4)
    assert not any(future.done() for future in asked)

    pipe.write_text("no: calibration")
    peer.spin_until(lambda: all(future.done() for future in asked), "both answers")
    assert [future.result().success for future in asked] == [False, False]
    assert peer.process.output.count("cannot configure: ") == 1, peer.process.output
    assert peer.diagnosed("state").values == {"state": "unconfigured"}
    assert peer.set_parameter("calibration", "") == ""
    assert peer.change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    assert peer.call(GetState, "/mambaseg/get_state", GetState.Request()).current_state.id == State.PRIMARY_STATE_ACTIVE
    peer.wait_until_connected()


def test_signals_end_a_node_that_loads(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]], pipe: Path
) -> None:
    peer.process = node = start(*node_command(calibration=pipe))
    peer.spin_until(lambda: state_of(peer) == "configuring", "the load")
    for number in (signal.SIGINT, signal.SIGTERM):
        node.child.send_signal(number)
    assert node.stop() == 0, node.output
    assert "Traceback" not in node.output


def test_one_camera_that_loads_does_not_hold_up_another(
    peer: Any, start: Callable[..., Any], node_command: Callable[..., list[str]], pipe: Path
) -> None:
    words = node_command(autostart="false", calibration=pipe)
    peer.process = start(*words, "--", "--cameras", "left", "right")

    def state(camera: str) -> str:
        return str(peer.call(GetState, f"/{camera}/mambaseg/get_state", GetState.Request()).current_state.label)

    assert (state("left"), state("right")) == ("unconfigured", "unconfigured")
    client = peer.client(ChangeState, "/left/mambaseg/change_state")
    future = client.call_async(ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE)))
    peer.spin_until(lambda: state("left") == "configuring", "the load")
    assert state("right") == "unconfigured"
    pipe.write_text("no: calibration")
    peer.spin_until(future.done, "the end of the load")
    assert (state("left"), state("right")) == ("unconfigured", "unconfigured")


def test_what_failed_to_load_is_free_when_its_memory_is_given_back() -> None:
    """A traceback holds all that its functions made; on a full GPU that is what the next try needs."""
    made: list[weakref.ref[Any]] = []
    freed: list[bool] = []

    def work() -> None:
        model = {1, 2}
        made.append(weakref.ref(model))
        raise MemoryError("the GPU is full")

    def undo() -> None:
        gc.collect()
        freed.append(made[0]() is None)

    said: list[str] = []
    node: Any = SimpleNamespace(
        _state="unconfigured",
        _condition=SimpleNamespace(reason=""),
        get_logger=lambda: SimpleNamespace(error=said.append),
    )
    assert SegmentationNode._transition(node, "configure", work, undo, "inactive") == Done.FAILURE
    assert freed == [True]
    assert (said, node._state) == ([node._condition.reason], "unconfigured")
    assert "the GPU is full" in said[0]
