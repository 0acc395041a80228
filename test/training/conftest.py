"""A tiny data set in DSEC's layout, and a configuration that trains on it in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mambaseg_core.data.synthetic import write_sequence

SIZE = [32, 48]


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("streets")
    for seed, name in enumerate(("street_a", "street_b")):
        write_sequence(folder, name=name, seconds=0.5, seed=seed)
    (folder / "splits.yaml").write_text("train: [street_a]\ntest: [street_b]\n")
    return folder


@pytest.fixture
def values(root: Path) -> dict[str, Any]:
    """The configuration as plain values."""
    return {
        "model": {"name": "mambaseg_dsec"},
        "data": {"layout": "dsec", "root": str(root), "size": SIZE, "workers": 0, "window_ms": 50},
        "optimizer": {"lr": 1.0e-4, "warmup": 2},
        "loop": {"steps": 4, "batch": 2, "checkpoint_every": 2, "log_every": 1, "validate_samples": 2},
    }
