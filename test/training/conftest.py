"""A tiny data set in DSEC's layout, and a configuration that trains on it in seconds."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from mambaseg_core.synth.dsec_drive import write_sequence
from mambaseg_core.training.config import TrainConfig, parse_config


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads only slow such small tensors down."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streets")
    for seed, name in enumerate(("street_a", "street_b")):
        write_sequence(folder, name=name, seconds=0.3, seed=seed)
    (folder / "splits.yaml").write_text("train: [street_a]\ntest: [street_b]\n")
    return folder


@pytest.fixture
def values(root: Path) -> dict[str, dict[str, Any]]:
    """The configuration as plain values."""
    return {
        "model": {"name": "mambaseg_nano"},
        "data": {"root": str(root), "size": [64, 96], "crop": [32, 48], "workers": 0, "window_ms": 50},
        "optimizer": {"lr": 1.0e-3, "warmup": 2, "clip": 1.0},
        "loop": {"steps": 6, "batch": 2, "checkpoint_every": 2, "log_every": 1, "validate_samples": 2},
    }


@pytest.fixture
def configure(values: dict[str, dict[str, Any]]) -> Callable[..., TrainConfig]:
    """The configuration with some values replaced: configure({"loop.steps": 2})."""
    return lambda changes=None: parse_config(values, changes or {})


@pytest.fixture
def config_file(values: dict[str, dict[str, Any]], tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(values))
    return path
