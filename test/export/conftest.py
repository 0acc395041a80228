"""What tests of the export need: the packages of the extra `export`, and a torch that it takes."""

from __future__ import annotations

import pytest


@pytest.fixture
def engines() -> None:
    """Skip a test where something that it needs is absent; the environment of `make test` has the packages."""
    from mambaseg_core.export.network import need_torch

    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"needs {package}, which is not installed here: pip install {package}")
    try:
        need_torch()
    except ValueError as error:  # the workflow also runs the oldest torch that the package takes
        pytest.skip(str(error))
