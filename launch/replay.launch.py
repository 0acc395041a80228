"""Plays a bag into segmentation_node. `ros2 launch mambaseg_ros replay.launch.py --show-args` is its manual."""

from launch.actions import DeclareLaunchArgument, ExecuteProcess, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition
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


def generate_launch_description():
    """Describe the launch: the node on the bag's clock, the player, which waits for it, and RViz on request."""
    declared = [
        DeclareLaunchArgument(name, description=text, **({} if default is None else {"default_value": default}))
        for name, (default, text) in ARGUMENTS.items()
    ]
    node = IncludeLaunchDescription(
        PathJoinSubstitution([SHARE, "launch", "mambaseg.launch.py"]), launch_arguments={"use_sim_time": "true"}.items()
    )
    player = ExecuteProcess(
        cmd=[
            *("mambaseg", "bag", "play", LaunchConfiguration("bag"), "--clock", "--wait", "120"),
            *("--rate", LaunchConfiguration("rate"), "--start", LaunchConfiguration("start")),
            *("--loops", LaunchConfiguration("loops")),
        ],
        output="screen",
        on_exit=Shutdown(reason="the bag has ended"),
    )
    rviz = Node(
        package="rviz2",
        executable="rviz2",
        arguments=["-d", PathJoinSubstitution([SHARE, "config", "mambaseg.rviz"])],
        parameters=[{"use_sim_time": True}],
        condition=IfCondition(LaunchConfiguration("rviz")),
    )
    return LaunchDescription([*declared, node, player, rviz])
