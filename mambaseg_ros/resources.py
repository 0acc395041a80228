"""Files that ship beside the Python folders: message definitions, configuration, the Fast DDS profile."""

from __future__ import annotations

import os
from importlib.metadata import version
from pathlib import Path

# Of Fast DDS 3 (Kilted and later) and 2 (Humble, Jazzy); 3 reads both, and complains of a profile met twice.
PROFILE_VARIABLES = ("FASTDDS_DEFAULT_PROFILES_FILE", "FASTRTPS_DEFAULT_PROFILES_FILE")
RCLPY_OF_FAST_DDS_3 = 8  # first such major version; installs from wheels have no ROS_DISTRO to tell


def share_folder() -> Path:
    """Return the folder that holds `msg/` and `config/`: the source tree, or share/mambaseg_ros of the install prefix.

    Raises:
        FileNotFoundError: the Python folders were copied without them.
    """
    for parent in Path(__file__).parents:
        for folder in (parent, parent / "share" / "mambaseg_ros"):
            if (folder / "msg" / "EventArray.msg").is_file() and (folder / "config" / "fastdds.xml").is_file():
                return folder
    raise FileNotFoundError(
        f"share/mambaseg_ros was found in no folder above {__file__}; expected msg/ and config/ there: "
        "install mambaseg with pip or colcon instead of copying its Python folders"
    )


def large_image_profile() -> dict[str, str]:
    """Return the environment in which Fast DDS loses no large images (docs/ros.md, "Large images").

    It is empty where the user has set a profile.
    """
    if any(name in os.environ for name in PROFILE_VARIABLES):
        return {}
    older = int(version("rclpy").split(".")[0]) < RCLPY_OF_FAST_DDS_3
    return {PROFILE_VARIABLES[older]: str(share_folder() / "config" / "fastdds.xml")}


def use_large_image_profile() -> None:
    """Set that environment for this process; to be called before `rclpy.init`."""
    os.environ.update(large_image_profile())
