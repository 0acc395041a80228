"""Starts segmentation_node. `ros2 launch mambaseg_ros mambaseg.launch.py --show-args` is its manual."""

from launch.actions import DeclareLaunchArgument, LogInfo, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription
from mambaseg_ros.overrides import misspelt
from mambaseg_ros.parameters import TABLE, launch_arguments, read_value
from mambaseg_ros.resources import large_image_profile

CONFIG = PathJoinSubstitution([FindPackageShare("mambaseg_ros"), "config"])
ARGUMENTS = {
    "namespace": ("", "namespace of the node, for several cameras"),
    "cameras": ("", "names of several cameras in one process, such as 'left right': a node in a namespace for each"),
    "node_name": ("mambaseg", "name of the node; its outputs are <node_name>/mask and so on"),
    "params_file": (PathJoinSubstitution([CONFIG, "mambaseg.param.yaml"]), "parameter file of the node"),
    "image_topic": ("image", "sensor_msgs/Image or CompressedImage of the camera"),
    "events_topic": ("events", "EventPacket or EventArray (also of dvs_msgs, prophesee_event_msgs) of its camera"),
    "second_topic": ("second", "in place of events: Image or CompressedImage of a thermal or depth camera"),
    "camera_info_topic": ("camera_info", "CameraInfo of the camera; read where calibration is camera_info"),
    "event_camera_info_topic": ("event_camera_info", "the same of the event camera"),
    "log_level": ("info", "debug, info, warn, error or fatal"),
    "respawn": ("false", "true: start the node anew 2 s after it ended by itself"),
}
PARAMETERS = {
    **launch_arguments(),
    "use_sim_time": (bool, "whether time is taken from /clock (bool; not given: as in params_file)"),
}
OF_REPLAY = ("bag", "rate", "start", "loops", "rviz")  # replay.launch.py includes this file


def segmentation_node(context):
    """Return the node; arguments that were given override the parameter file."""
    overrides = {}
    for name, (kind, _) in PARAMETERS.items():
        if text := LaunchConfiguration(name).perform(context):
            value = read_value(name, text) if name in TABLE else LaunchConfiguration(name)
            overrides[name] = ParameterValue(value, value_type=kind)
    names = LaunchConfiguration("cameras").perform(context).split()
    cameras = ["--cameras", *names] if names else []
    warnings = misspelt(context.launch_configurations, {*ARGUMENTS, *PARAMETERS, *OF_REPLAY})
    return [
        *(LogInfo(msg=f"warning: {sentence}") for sentence in warnings),
        Node(
            package="mambaseg_ros",
            executable="segmentation_node",
            namespace=LaunchConfiguration("namespace"),
            name=LaunchConfiguration("node_name"),
            output="screen",
            parameters=[LaunchConfiguration("params_file"), *([overrides] if overrides else [])],
            remappings=[
                ("image", LaunchConfiguration("image_topic")),
                ("events", LaunchConfiguration("events_topic")),
                ("second", LaunchConfiguration("second_topic")),
                ("camera_info", LaunchConfiguration("camera_info_topic")),
                ("event_camera_info", LaunchConfiguration("event_camera_info_topic")),
            ],
            respawn=LaunchConfiguration("respawn").perform(context) == "true",
            respawn_delay=2.0,
            arguments=[*cameras, "--ros-args", "--log-level", LaunchConfiguration("log_level")],
        ),
    ]


def generate_launch_description():
    """Describe the launch: arguments, environment, node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ] + [DeclareLaunchArgument(name, default_value="", description=text) for name, (_, text) in PARAMETERS.items()]
    profile = [SetEnvironmentVariable(name, value) for name, value in large_image_profile().items()]
    return LaunchDescription([*declared, *profile, OpaqueFunction(function=segmentation_node)])
