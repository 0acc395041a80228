"""The library of ZSTD, imported where a file is packed with it."""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any


def zstd_library() -> Any:
    """Import and return Python's own from 3.14 on, else the package backports.zstd."""
    return import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
