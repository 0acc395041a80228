"""`mambaseg convert checkpoint` as a user types it, with a network small enough to be quick."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from mambaseg_core.checkpoint import load_checkpoint
from mambaseg_core.cli import app

SHARED = Path(os.environ.get("MAMBASEG_SHARED", Path(__file__).parents[2] / ".." / "shared"))


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("best.safetensors", "ours.safetensors", r"best\.safetensors; expected the authors' file"),
        ("best.pth", "ours.pth", r"out is .*ours\.pth; expected a name that ends in \.safetensors"),
    ],
)
def test_names_are_checked_before_anything_is_loaded(tmp_path: Path, source: str, out: str, message: str) -> None:
    words = ["convert", "checkpoint", str(tmp_path / source), str(tmp_path / out)]
    with pytest.raises(ValueError, match=message):
        CliRunner().invoke(app, words, catch_exceptions=False)


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
