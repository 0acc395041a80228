"""launch/*.launch.py; `launch` is not on PyPI, so all but the first test need a full ROS 2 (CONTRIBUTING.md).

test/node/test_parameters.py tests what the launch file takes from the table.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import handmade_bags as bags
import pytest

from mambaseg_ros.parameters import TABLE

LAUNCH = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

file, *words = sys.argv[1:]
arguments = [word.split(":=", 1) for word in words]
service = LaunchService(noninteractive=True)
included = IncludeLaunchDescription(PythonLaunchDescriptionSource(file), launch_arguments=arguments)
service.include_launch_description(LaunchDescription([included]))
sys.exit(service.run())
"""  # as `ros2 launch FILE name:=value ...`
FILE = Path(__file__).parents[2] / "launch" / "mambaseg.launch.py"


def tables(file: Path) -> dict[str, ast.Dict]:
    """The literal dicts of a launch file; `launch` is not needed to read them."""
    assigned = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign)]
    return {node.targets[0].id: node.value for node in assigned if isinstance(node.value, ast.Dict)}  # type: ignore


@pytest.mark.parametrize(
    ("file", "arguments"), [(FILE, 12), (FILE.with_name("replay.launch.py"), 5)], ids=lambda value: str(value)[-20:]
)
def test_every_argument_is_described_in_its_table(file: Path, arguments: int) -> None:
    rows = [row for table in tables(file).values() for row in table.values if isinstance(row, ast.Tuple)]
    texts = [ast.literal_eval(row.elts[-1]) for row in rows]
    assert len(texts) == arguments
    assert all(len(text) > 20 for text in texts), texts


def evaluated(file: Path) -> Any:
    """A launch file as a module."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed (it is not on PyPI): needs a full ROS 2")
    spec = importlib.util.spec_from_file_location("launch_file", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def description() -> Any:
    """The evaluated launch file of the node."""
    return evaluated(FILE)


def test_every_argument_is_described(description: Any) -> None:
    declared = description.generate_launch_description().get_launch_arguments()
    assert len(declared) == len(description.ARGUMENTS) + len(TABLE) + 1  # and use_sim_time
    assert set(TABLE) < {argument.name for argument in declared}
    assert all(len(argument.description) > 10 for argument in declared)


def test_only_arguments_that_were_given_win_over_the_parameter_file(description: Any) -> None:
    from launch import LaunchContext

    context = LaunchContext()
    for action in description.generate_launch_description().entities:
        if type(action).__name__ == "DeclareLaunchArgument":
            action.execute(context)
    context.launch_configurations["image_height"] = "200"
    node = description.segmentation_node(context)[0]
    given = [parameters for parameters in node._Node__parameters if isinstance(parameters, dict)]
    names = {"".join(part.text for part in name) for parameters in given for name in parameters}
    assert names == {"image_height"}


def test_a_replay_takes_the_nodes_arguments_and_its_own() -> None:
    module = evaluated(FILE.with_name("replay.launch.py"))
    declared = module.generate_launch_description().get_launch_arguments()
    own = [argument for argument in declared if argument.name in module.ARGUMENTS]
    assert [argument.name for argument in own if argument.default_value is None] == ["bag"]
    assert len(own) == 5
    assert all(len(argument.description) > 10 for argument in own)


@pytest.fixture
def launch(start: Callable[..., Any]) -> Iterator[Callable[..., Any]]:
    """Start a launch file with arguments; nothing may be left of it when the test ends."""
    pytest.importorskip("launch_ros", reason="launch_ros is not installed (it is not on PyPI): needs a full ROS 2")
    mark = str(uuid.uuid4())

    def run(file: str, *words: str) -> Any:
        arguments = (FILE.with_name(file), *words)
        return start(sys.executable, "-c", LAUNCH, *arguments, env={**os.environ, "LAUNCH_MARK": mark})

    yield run
    left = [path for path in Path("/proc").glob("[0-9]*/environ") if mark in _text(path)]
    assert not left, [_text(path.with_name("cmdline")) for path in left]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:  # it has ended, or is another user's
        return ""


def test_a_replay_ends_where_the_node_cannot_be_configured(launch: Callable[..., Any], tmp_path: Path) -> None:
    bags.humble(tmp_path / "bag")
    replay = launch("replay.launch.py", f"bag:={tmp_path / 'bag'}", "weights:=syntetic")
    assert replay.child.wait(timeout=300) == 1
    replay.stop()
    assert "cannot configure: unknown weights 'syntetic'" in replay.output
    assert "segmentation_node-1 ended with 1; expected 0" in replay.output
    assert "Traceback" not in replay.output
    assert "is ignored" not in replay.output  # start is an argument of its own, no misspelt autostart


def test_a_replay_of_no_bag_ends_the_node(launch: Callable[..., Any], tmp_path: Path) -> None:
    replay = launch("replay.launch.py", f"bag:={tmp_path / 'nothing'}")
    assert replay.child.wait(timeout=300) == 1
    replay.stop()
    assert "nothing is missing" in replay.output
    assert "player-2 ended with 1; expected 0" in replay.output


def test_without_rviz_a_replay_starts_nothing(launch: Callable[..., Any], tmp_path: Path) -> None:
    if _has_rviz():
        pytest.skip("rviz2 is installed")
    replay = launch("replay.launch.py", f"bag:={tmp_path / 'nothing'}", "rviz:=true")
    assert replay.child.wait(timeout=300) == 1
    replay.stop()
    assert "rviz is true and package rviz2 is not installed" in replay.output
    assert "process started" not in replay.output


def _has_rviz() -> bool:
    from ament_index_python.packages import PackageNotFoundError, get_package_prefix

    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return False
    return True


def test_a_replay_that_is_interrupted_ends_with_all_it_started(launch: Callable[..., Any], tmp_path: Path) -> None:
    bags.humble(tmp_path / "bag")
    replay = launch("replay.launch.py", f"bag:={tmp_path / 'bag'}")
    replay.wait_for_line("[player-2] waiting for a subscriber")
    assert replay.stop() == 0
    assert "Traceback" not in replay.output
