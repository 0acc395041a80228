"""The node with an exported file: the same masks over DDS, and what runs them in /diagnostics."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lifecycle_msgs.msg import Transition

from mambaseg_core.checkpoint import load_checkpoint
from mambaseg_core.export.network import ExportForm
from mambaseg_core.export.onnx_file import export_onnx

pytestmark = pytest.mark.ros

SIZE = (52, 70)  # rows, columns of the test's sensors
START_NS = 1_700_000_000_000_000_000
AGAIN = (
    Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP, Transition.TRANSITION_CONFIGURE,
    Transition.TRANSITION_ACTIVATE,
)  # fmt: skip


def mask_of(peer: Any) -> np.ndarray:
    """Send 500 events and an image, and return the mask."""
    peer.masks.clear()
    rng = np.random.default_rng(5)
    t_ns = np.append(START_NS - 50_000_000 + np.arange(500) * 100_000, START_NS + 1000)
    x, y = rng.integers(0, SIZE[1], 501), rng.integers(0, SIZE[0], 501)
    peer.send_events(x, y, t_ns, rng.integers(0, 2, 501), height=SIZE[0], width=SIZE[1])
    status = peer.exchange(START_NS, rng.integers(0, 255, SIZE, np.uint8))
    assert (status.message, status.events_used) == ("", 500)
    peer.spin_until(lambda: len(peer.masks) == 1, "the mask")
    return np.frombuffer(peer.masks[0].data, np.uint8)


@pytest.mark.usefixtures("engines")
def test_the_node_gives_the_masks_of_the_checkpoint_that_the_file_came_from(
    peer: Any,
    start: Callable[..., Any],
    node_command: Callable[..., list[str]],
    small_checkpoint: Path,
    tmp_path: Path,
) -> None:
    model, _ = load_checkpoint(small_checkpoint)
    export_onnx(model, tmp_path / "nano.onnx", ExportForm(outputs="mask"), frames=1)
    process = start(*node_command(model=None, image_height=None, image_width=None))
    peer.process = process
    peer.wait_until_connected()
    expected = mask_of(peer)
    assert len(np.unique(expected)) > 2
    assert peer.diagnosed("model").values["engine"] == "torch"
    assert peer.change(Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
    assert peer.set_parameter("weights", str(tmp_path / "nano.onnx")) == ""
    assert peer.set_parameter("engine", "openvino2") != ""
    assert peer.set_parameter("engine", "aoti") == ""
    assert not peer.change(Transition.TRANSITION_CONFIGURE)
    process.wait_for_line("engine is 'aoti', but")
    assert peer.set_parameter("engine", "auto") == ""
    assert peer.change(Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)
    peer.wait_until_connected()
    assert ", onnxruntime (CPUExecutionProvider), float32, " in process.output
    assert (mask_of(peer) == expected).mean() >= 0.9999
    import onnxruntime

    values = peer.diagnosed("model").values
    assert values["engine"] == "onnxruntime"
    assert values["engine version"] == onnxruntime.__version__
    assert (values["device"], values["provider"]) == ("cpu", "CPUExecutionProvider")
    assert peer.change(*AGAIN)  # another load of the same file
    peer.wait_until_connected()
    assert (mask_of(peer) == expected).mean() >= 0.9999
    assert process.stop() == 0
    assert "Traceback" not in process.output
