"""`mambaseg convert checkpoint` as a user types it, with a small network."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mambaseg_core.checkpoint import create_model, load_checkpoint, save_checkpoint
from mambaseg_core.cli import app
from mambaseg_core.models.presets import preset_preprocessing

SHARED = Path(os.environ.get("MAMBASEG_SHARED", Path(__file__).parents[2] / ".." / "shared"))


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("best.onnx", "ours.safetensors", r"best\.onnx does not exist; expected a \.safetensors or \.pth file"),
        ("best.pth", "ours.pth", r"out is .*ours\.pth; expected a name that ends in \.safetensors"),
    ],
)
def test_names_are_checked_before_anything_is_loaded(tmp_path: Path, source: str, out: str, message: str) -> None:
    words = ["convert", "checkpoint", str(tmp_path / source), str(tmp_path / out)]
    with pytest.raises(ValueError, match=message):
        CliRunner().invoke(app, words, catch_exceptions=False)


def test_a_checkpoint_of_ours_at_half_the_size(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, setup = create_model("mambaseg_nano"), preset_preprocessing("mambaseg_nano", size=(240, 320), channels=3)
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    save_checkpoint(whole, model, setup)
    result = CliRunner().invoke(app, ["convert", "checkpoint", str(whole), str(half), "--half"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert half.stat().st_size < 0.53 * whole.stat().st_size
    loaded, preprocessing = load_checkpoint(half)
    assert preprocessing == setup
    for (name, tensor), got in zip(model.state_dict().items(), loaded.state_dict().values(), strict=True):
        torch.testing.assert_close(got, tensor.half().to(tensor.dtype), rtol=0, atol=0, msg=name)


@pytest.mark.slow
def test_the_authors_ddd17_checkpoint_becomes_ours(tmp_path: Path) -> None:
    keys = SHARED / "golden" / "ddd17_keys.json"
    if not keys.is_file():
        pytest.skip(f"{keys} is missing: set MAMBASEG_SHARED to the folder with the golden answers")
    shapes = json.loads(keys.read_text())
    weights = {name: torch.full(shape, 0.01) for name, shape in shapes.items()}
    weights = {name: tensor.long() if name.endswith("batches_tracked") else tensor for name, tensor in weights.items()}
    torch.save({"epoch": 3, "state_dict": weights}, tmp_path / "best_model.pth")
    words = ["convert", "checkpoint", str(tmp_path / "best_model.pth"), str(tmp_path / "ours.safetensors")]
    result = CliRunner().invoke(app, [*words, "--model", "mambaseg_ddd17"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    model, setup = load_checkpoint(tmp_path / "ours.safetensors")
    assert (model.name, setup.labels, setup.size) == ("mambaseg_ddd17", "ddd17_6", (200, 346))
    learned = torch.cat([parameter.flatten() for parameter in model.parameters()])
    assert torch.equal(learned, torch.full_like(learned, 0.01))  # every one comes from the file
