"""The `mambaseg` commands that need no ROS, one file per command. `mambaseg_ros.cli` adds `bag`."""

from mambaseg_core.cli import bench, convert, convert_checkpoint, evaluate, export, info, predict, synth, train, view
from mambaseg_core.cli.app import app, console, progress_bar, say, shown_warnings, warn

__all__ = [
    "app",
    "bench",
    "console",
    "convert",
    "convert_checkpoint",
    "evaluate",
    "export",
    "info",
    "predict",
    "progress_bar",
    "say",
    "shown_warnings",
    "synth",
    "train",
    "view",
    "warn",
]
