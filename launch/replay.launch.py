"""Plays a bag into segmentation_node. `ros2 launch mambaseg_ros replay.launch.py --show-args` is its manual."""

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    OpaqueFunction,
    RegisterEventHandler,
    Shutdown,
)
from launch.conditions import IfCondition
from launch.event_handlers import OnProcessExit
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

SHARE = FindPackageShare("mambaseg_ros")
ARGUMENTS = {
    "bag": (None, "folder of a ROS 2 bag with an image and an event topic (`mambaseg bag convert` makes one)"),
    "rate": ("1.0", "speed of the bag: 1 as recorded, 0.5 half as fast; a CPU keeps up with less than a GPU"),
    "start": ("0.0", "seconds of the bag that are left out at its beginning"),
    "loops": ("1", "how often the bag is played; all ends after the last time"),
    "rviz": ("false", "true: show camera, mask and overlay in RViz"),
}


def check_rviz(context):
    """Raise RuntimeError before anything is started if RViz is asked for and not installed."""
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        raise RuntimeError(
            "rviz is true and package rviz2 is not installed; expected it: install ros-$ROS_DISTRO-rviz2, or leave "
            "rviz false"
        ) from None


def end(event, context):
    """End all when a process has ended; an exception is what makes `ros2 launch` end with 1."""
    if context.is_shutdown:
        return []
    if event.returncode == 0:
        return [Shutdown(reason=f"{event.process_name} has ended")]

    def fail(context):
        raise RuntimeError(f"{event.process_name} ended with {event.returncode}; expected 0: read what it printed last")

    return [OpaqueFunction(function=fail)]


def generate_launch_description():
    """Describe the launch: the node on the bag's clock, the player, which waits for it, and RViz on request."""
    declared = [
        DeclareLaunchArgument(name, description=text, **({} if default is None else {"default_value": default}))
        for name, (default, text) in ARGUMENTS.items()
    ]
    wanted = IfCondition(LaunchConfiguration("rviz"))
    node = IncludeLaunchDescription(
        PathJoinSubstitution([SHARE, "launch", "mambaseg.launch.py"]),
        launch_arguments={"use_sim_time": "true", "exit_on_failure": "true"}.items(),
    )
    player = ExecuteProcess(
        name="player",
        cmd=[
            *("mambaseg", "bag", "play", LaunchConfiguration("bag"), "--clock", "--wait", "120", "--need-subscriber"),
            *("--rate", LaunchConfiguration("rate"), "--start", LaunchConfiguration("start")),
            *("--loops", LaunchConfiguration("loops")),
        ],
        output="screen",
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", PathJoinSubstitution([SHARE, "config", "mambaseg.rviz"])],
        parameters=[{"use_sim_time": True}],
        condition=wanted,
    )
    check = OpaqueFunction(function=check_rviz, condition=wanted)
    handler = RegisterEventHandler(OnProcessExit(on_exit=end))
    return LaunchDescription([*declared, check, handler, node, player, rviz])
