"""Starts segmentation_node. `ros2 launch mambaseg_ros mambaseg.launch.py --show-args` is its manual."""

import os
from importlib.metadata import version

from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

from launch import LaunchDescription

CONFIG = PathJoinSubstitution([FindPackageShare("mambaseg_ros"), "config"])
ARGUMENTS = {
    "namespace": ("", "namespace of the node, for several cameras"),
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
# Arguments that are parameters of the node. Empty means: as params_file has it.
PARAMETERS = {
    "model": (str, "name of the model, as `mambaseg info` lists them"),
    "weights": (str, ".safetensors checkpoint, the authors' .pth, a name that ships with the model, or random"),
    "image_height": (int, "rows of the model's input; 0: as the model was made"),
    "image_width": (int, "columns of the model's input; 0: as the model was made"),
    "device": (str, "auto, cpu, cuda or cuda:N"),
    "calibration": (str, "DSEC's cam_to_cam.yaml, or camera_info; without it both are registered to one view"),
    "image_type": (str, "type of the image topic; auto takes that of its publisher"),
    "events_type": (str, "type of the events topic; auto takes that of its publisher"),
    "event_clock": (str, "auto, header, sensor or filtered: how event times become those of the header stamps"),
    "event_wait_ms": (float, "longest wait for events up to an image's stamp, milliseconds"),
    "events_stale_ms": (float, "events or pictures farther from an image are missing, milliseconds"),
    "when_events_missing": (str, "image_only, hold or drop"),
    "when_images_missing": (str, "drop, events_only or hold"),
    "precision": (str, "float32, bfloat16 or float16"),
    "use_sim_time": (bool, "true: take time from /clock"),
    "autostart": (bool, "configure and activate at once; false leaves it to a lifecycle manager"),
}
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")  # of Fast DDS 3 and 2
RCLPY_OF_FAST_DDS_3 = 8


def large_image_profile():
    """Fast DDS's default profile loses large images; a profile that the user has set stays."""
    if any(name in os.environ for name in PROFILE_VARIABLES):
        return []
    older = int(version("rclpy").split(".")[0]) < RCLPY_OF_FAST_DDS_3
    return [SetEnvironmentVariable(PROFILE_VARIABLES[older], PathJoinSubstitution([CONFIG, "fastdds.xml"]))]


def segmentation_node(context):
    """The node, with those arguments that were given laid over the parameter file."""
    overrides = {}
    for name, (kind, _) in PARAMETERS.items():
        if LaunchConfiguration(name).perform(context):
            overrides[name] = ParameterValue(LaunchConfiguration(name), value_type=kind)
    return [
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
            arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        )
    ]


def generate_launch_description():
    """Arguments, environment, node."""
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=text)
        for name, (default, text) in ARGUMENTS.items()
    ] + [
        DeclareLaunchArgument(name, default_value="", description=f"{text} (empty: as in params_file)")
        for name, (_, text) in PARAMETERS.items()
    ]
    return LaunchDescription([*declared, *large_image_profile(), OpaqueFunction(function=segmentation_node)])
