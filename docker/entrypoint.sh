#!/usr/bin/env bash
# Runs a command with ROS 2, the workspace and its Python.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /ws/venv/bin/activate
source /ws/install/setup.bash
exec "$@"
