from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: run `make test`, or source ROS 2's setup.bash")

from mambaseg_ros.cameras import places
from mambaseg_ros.model import make_segmenter
from mambaseg_ros.parameters import Parameters

NODE = "segmentation_node"


def test_without_cameras_there_is_one_node_with_the_arguments_of_the_process() -> None:
    assert places([NODE, "--ros-args", "-r", "__ns:=/robot", "-p", "device:=cpu"]) == [{}]


def test_each_camera_has_a_node_in_a_namespace_below_that_of_the_process() -> None:
    words = [NODE, "--cameras", "left", "right", "--ros-args", "-r", "__ns:=/robot", "-p", "device:=cpu"]
    assert places(words) == [
        {"cli_args": ["--ros-args", "-p", "device:=cpu", "-r", f"__ns:=/robot/{name}"], "use_global_arguments": False}
        for name in ("left", "right")
    ]
    assert places([NODE, "--cameras", "a"])[0]["cli_args"] == ["--ros-args", "-r", "__ns:=/a"]


@pytest.mark.parametrize(("names", "wrong"), [(["a", "2"], "'2'"), (["a", "a"], "'a'"), (["fr/ont"], "'fr/ont'")])
def test_a_name_that_is_no_namespace_is_refused(names: list[str], wrong: str) -> None:
    with pytest.raises(ValueError, match=f"--cameras has {wrong}; expected different names"):
        places([NODE, "--cameras", *names, "--ros-args"])


def test_nodes_of_one_process_share_a_model_while_its_file_and_parameters_are_the_same() -> None:
    said: list[str] = []
    small = {"image_height": 32, "image_width": 48, "device": "cpu"}
    left, right = (make_segmenter(Parameters(**small), said.append) for _ in range(2))
    assert left is not right
    assert left.model is right.model
    assert left._traced is right._traced is not None
    assert len(said) == 2  # each node says what its weights are
    other = make_segmenter(Parameters(**{**small, "image_width": 64}), said.append)
    assert other.model is not left.model
