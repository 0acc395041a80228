"""Several cameras in one process: a node in a namespace of its own for each; the nodes share one model."""

from __future__ import annotations

import argparse
import re
from typing import Any

from rclpy.utilities import remove_ros_args

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NAMESPACE = re.compile(r"(?:[^:]*:)?__ns:=(?P<namespace>.*)")


def places(words: list[str]) -> list[dict[str, Any]]:
    """Return the arguments of each node of a command line: of one node, or of one for each of `--cameras`.

    Args:
        words: the whole command line, the program's name first.

    Raises:
        ValueError: a camera's name cannot be a namespace, or comes twice.
    """
    parser = argparse.ArgumentParser("segmentation_node", description="Parameters: docs/ros.md.")
    parser.add_argument("--cameras", nargs="+", default=[], metavar="NAME", help="a node in namespace NAME for each")
    cameras = parser.parse_args(remove_ros_args(words)[1:]).cameras
    if wrong := [name for name in cameras if not _NAME.fullmatch(name)] or [n for n in cameras if cameras.count(n) > 1]:
        raise ValueError(
            f"--cameras has {wrong[0]!r}; expected different names of letters, digits and _: a camera's name is the "
            "namespace of its node"
        )
    return [_place(words, camera) for camera in cameras] or [{}]


def _place(words: list[str], camera: str) -> dict[str, Any]:
    """Return the arguments of a camera's node: the ROS arguments of all, within a namespace below theirs."""
    start = words.index("--ros-args") if "--ros-args" in words else len(words)
    kept: list[str] = []
    base = ""
    for word in words[start:]:
        if found := _NAMESPACE.fullmatch(word):
            base = found["namespace"].rstrip("/")
            kept.pop()  # -r, --remap
        else:
            kept.append(word)
    kept = kept or ["--ros-args"]
    return {"cli_args": [*kept, "-r", f"__ns:={base}/{camera}"], "use_global_arguments": False}
