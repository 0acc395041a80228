"""The packages that other engines need and the rest of mambaseg does not: the extra `export`."""

from __future__ import annotations

import os
from importlib import import_module
from types import ModuleType

NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
"""Variable without which ONNX Runtime from 1.29 sends usage data and writes a database below ~/.cache."""


def need(name: str) -> ModuleType:
    """Import a package of the extra `export`, with ONNX Runtime's telemetry off unless its variable is set otherwise.

    Raises:
        ValueError: It is not installed; one sentence.
    """
    os.environ.setdefault(NO_TELEMETRY, "1")
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != name.split(".")[0]:
            raise
        package = name.split(".")[0]
        raise ValueError(
            f"an exported file needs the package {package}, which is not installed here; pip install {package}, or all "
            "that one may need: pip install 'mambaseg[export]'"
        ) from error
