"""What engines leave behind in their process and on its disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run(code: str, *arguments: str | Path, **environment: str) -> str:
    """Run code in a process of its own and return what it printed."""
    kept = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        env={**kept, **environment},
    )
    assert result.returncode == 0, (result.returncode, result.stderr)
    return result.stdout.strip()


CLOSED_AND_SIGNALLED = """
import os, signal, sys
from pathlib import Path
from mambaseg_core.engines import openvino

data = Path(sys.argv[1]).read_bytes()
first, second = openvino.load(data), openvino.load(data)
del first
del second
signal.signal(signal.SIGUSR1, lambda number, frame: print("signalled"))
os.kill(os.getpid(), signal.SIGUSR1)
"""


def test_signals_work_after_engines_were_closed_in_the_order_in_which_they_were_opened(
    exported: dict[str, Path],
) -> None:
    """With a core for each engine the process died here on a processor with AMX."""
    pytest.importorskip("openvino", reason="needs openvino, which is not installed here: pip install openvino")
    assert run(CLOSED_AND_SIGNALLED, exported["mask"]) == "signalled"


RUN_ONCE = """
import sys
from mambaseg_core.inference import Segmenter

Segmenter(sys.argv[1], "cpu", engine="onnxruntime").warm_up()
"""


def test_onnx_runtime_collects_no_usage_data(exported: dict[str, Path], tmp_path: Path) -> None:
    run(RUN_ONCE, exported["mask"], HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / ".cache"))
    assert not [path.name for path in tmp_path.rglob("*.onnxruntime*")]
