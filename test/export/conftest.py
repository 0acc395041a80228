"""What tests of the export need: the packages of the extra `export`."""

from __future__ import annotations

import pytest


@pytest.fixture
def engines() -> None:
    """Skip a test where a package that it needs is absent."""
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"needs {package}, which is not installed here: pip install {package}")
