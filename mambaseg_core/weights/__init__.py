"""Weights that come with the package, safetensors checkpoints of ours in this folder; `models.presets` lists them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent
