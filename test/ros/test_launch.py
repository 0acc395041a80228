"""launch/*.launch.py; `launch` is not on PyPI, so all but the first test need a full ROS 2.

test/node/test_parameters.py tests what the launch file takes from the table.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from typing import Any

import pytest

from mambaseg_ros.parameters import TABLE

FILE = Path(__file__).parents[2] / "launch" / "mambaseg.launch.py"


def tables(file: Path) -> dict[str, ast.Dict]:
    """The literal dicts of a launch file; `launch` is not needed to read them."""
    assigned = [node for node in ast.parse(file.read_text()).body if isinstance(node, ast.Assign)]
    return {node.targets[0].id: node.value for node in assigned if isinstance(node.value, ast.Dict)}  # type: ignore


@pytest.mark.parametrize(
    ("file", "arguments"), [(FILE, 11), (FILE.with_name("replay.launch.py"), 5)], ids=lambda value: str(value)[-20:]
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
    assert len(declared) == len(description.ARGUMENTS) + len(TABLE) + 1 == 35  # and use_sim_time
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
