"""Repair the CMake files of the ROS 2 wheels in this Python environment.

The wheels carry the include folders of the Python that built them; a message package compiled against them
would not find Python.h and numpy. Run it with the environment's own Python; a second run changes nothing.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy

PYTHON_INCLUDE = re.compile(r"/opt/python/[^/;\"]+/include/python3\.\d+")
NUMPY_INCLUDE = re.compile(r"/opt/python/[^/;\"]+/lib/python3\.\d+/site-packages/numpy/(?:_core|core)/include")


def repaired(text: str) -> str:
    """Return the text of a CMake file with this environment's include folders."""
    text = NUMPY_INCLUDE.sub(lambda _: numpy.get_include(), text)
    return PYTHON_INCLUDE.sub(lambda _: sysconfig.get_paths()["include"], text)


def main() -> int:
    """Repair every CMake file under share/ and print how many changed."""
    changed = 0
    for path in sorted(Path(sys.prefix, "share").glob("**/*.cmake")):
        before = path.read_text()
        after = repaired(before)
        if after != before:
            path.write_text(after)
            changed += 1
    print(f"repair_ros_wheels: {changed} CMake files now name this environment's Python and numpy")
    return 0


if __name__ == "__main__":
    sys.exit(main())
