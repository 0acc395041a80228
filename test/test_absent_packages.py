"""What runs on a machine that lacks the libraries of some recordings, as one with a GPU alone does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from event_recordings import aedat4

import mambaseg_core
from mambaseg_core.events import Events

ABSENT = ("lz4", "rosbags", "mcap", "hdf5plugin", "backports", "compression", "rclpy", "typer", "rich", "torchmetrics")
HIDE = f"""
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {ABSENT}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Hidden())
"""
MODELS = """
import numpy as np
import torch
import torch.nn.functional as F
import mambaseg_core as mc
import mambaseg_core.bench, mambaseg_core.checkpoint, mambaseg_core.data, mambaseg_core.inference
import mambaseg_core.evaluation.evaluate, mambaseg_core.evaluation.metrics, mambaseg_core.training
import mambaseg_core.data.loading, mambaseg_core.recordings.summary, mambaseg_core.synth.rgbx_pairs

model = mc.create_model("mambaseg_nano", image_size=(32, 48))
logits = model(torch.rand(1, 3, 32, 48), torch.rand(1, 10, 32, 48))
F.cross_entropy(logits, torch.zeros(1, 32, 48, dtype=torch.int64)).backward()
torch.optim.AdamW(model.parameters()).step()
events = mc.Events.from_arrays([1, 2], [3, 4], [5, 6], [0, 1], height=480, width=640)
mask = mc.Segmenter(model, "cpu").segment(np.zeros((480, 640, 3), np.uint8), events)
print(mask.ids.shape, mc.DsecDataset.__name__, mc.RgbxDataset.__name__)
"""
OPEN = """
from mambaseg_core.recordings import EventFileError, open_events
try:
    print("events:", len(open_events(sys.argv[1])))
except EventFileError as error:
    print(error)
"""


def run(code: str, *words: object) -> str:
    command = [sys.executable, "-c", HIDE + code, *map(str, words)]
    ended = subprocess.run(command, cwd=Path(mambaseg_core.__file__).parents[1], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_models_data_sets_and_training_steps_need_no_library_of_recordings() -> None:
    assert run(MODELS).endswith("DsecDataset RgbxDataset")


@pytest.mark.parametrize(
    ("name", "content", "package"),
    [
        ("a.mcap", b"\x89MCAP0\r\n", "rosbags"),
        ("a.db3", b"SQLite format 3\0", "rosbags"),
        ("a.bag", b"#ROSBAG V2.0\n", "rosbags"),
    ],
)
def test_a_recording_whose_library_is_absent_says_which(
    name: str, content: bytes, package: str, tmp_path: Path
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    assert run(OPEN, path) == (
        f"event file {path} needs the package {package}, which is not installed here; pip install {package}"
    )


@pytest.mark.parametrize(
    ("compression", "said"),
    [
        (0, "events: 50"),
        (1, "needs the package lz4, which is not installed here; pip install lz4"),
        (3, "which is not installed here; pip install "),
    ],
)
def test_of_aedat4_only_packed_files_need_a_library(compression: int, said: str, tmp_path: Path) -> None:
    n = np.arange(50)
    path = aedat4(compression)(tmp_path, Events.from_arrays(n, n, 1000 * n, n % 2, height=260, width=346))
    assert said in run(OPEN, path)
