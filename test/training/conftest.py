"""A configuration that trains in seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mambaseg_core.training.config import TrainConfig, parse_config

logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)


@pytest.fixture
def values(streets: Path) -> dict[str, dict[str, Any]]:
    """Return the configuration as plain values."""
    return {
        "model": {"name": "mambaseg_nano"},
        "data": {"root": str(streets), "size": [64, 96], "crop": [32, 48], "workers": 0, "window_ms": 50},
        "optimizer": {"lr": 1.0e-3, "warmup": 2, "clip": 1.0},
        "loop": {"steps": 6, "batch": 2, "checkpoint_every": 2, "log_every": 1, "validate_samples": 2},
    }


@pytest.fixture
def configure(values: dict[str, dict[str, Any]]) -> Callable[..., TrainConfig]:
    """Return the configuration with some values replaced: configure({"loop.steps": 2})."""
    return lambda changes=None: parse_config(values, changes or {})


@pytest.fixture
def config_file(values: dict[str, dict[str, Any]], tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
