"""What the script of the reliabilities prints, on a network as it was made."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from mambaseg_core.checkpoint import save_checkpoint
from mambaseg_core.models import create_model
from mambaseg_core.preprocessing import picture_preprocessing


def test_a_missing_sensor_is_trusted_to_nothing_and_the_others_to_something(scripts, pairs, tmp_path):
    torch.manual_seed(0)
    model = create_model("mambaseg_nano", num_classes=9, image_size=(48, 64), reliability=True)
    save_checkpoint(tmp_path / "a.safetensors", model, picture_preprocessing((48, 64), repeat=10))
    command = [sys.executable, scripts / "trust.py", pairs, "--every", "1", "--checkpoints", tmp_path / "a.safetensors"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    _, _, *rows = [line.strip("| ").split(" | ") for line in done.stdout.splitlines()]
    found = {name: tuple(float(number) for number in cell.split(" / ")) for name, cell in rows}
    assert len(found) == 9
    assert (found["image missing"][0], found["other missing"][1]) == (0, 0)
    assert found["clean"] == (pytest.approx(0.88, abs=0.06), pytest.approx(0.88, abs=0.06))  # as training starts
    assert min(found["image covered"]) > 0.5  # an untrained network knows no lens cap
