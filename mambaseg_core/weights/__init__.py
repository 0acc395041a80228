"""Weights that come with the package: by model, then by name, a safetensors checkpoint of ours in this folder."""

from __future__ import annotations

from pathlib import Path

SHIPPED: dict[str, dict[str, Path]] = {}
