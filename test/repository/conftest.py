from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def colcon_prefix() -> Path | None:
    """Return the prefix of the package that colcon installed, as `ros2 pkg prefix` does; None without a build."""
    prefixes = [Path(word) for word in os.environ.get("AMENT_PREFIX_PATH", "").split(":") if word]
    marker = Path("share", "ament_index", "resource_index", "packages", "mambaseg_ros")
    return next((prefix for prefix in prefixes if (prefix / marker).is_file()), None)
