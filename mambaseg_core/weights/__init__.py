"""Weights that come with the package: by model, then by name, a safetensors checkpoint of ours in this folder."""

from __future__ import annotations

from pathlib import Path

_FOLDER = Path(__file__).parent

SHIPPED: dict[str, dict[str, Path]] = {
    "mambaseg_nano": {"synthetic": _FOLDER / "mambaseg_nano_synthetic.safetensors"},
}
