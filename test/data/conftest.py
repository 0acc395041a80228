"""A small synthetic sequence that the data tests share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mambaseg_core.synth.dsec_drive import SequenceSummary, write_sequence

SMALL = {"seconds": 0.3, "fps": 20.0, "image_size": (135, 180), "event_size": (120, 160)}


@pytest.fixture(scope="session")
def write_small() -> Callable[..., SequenceSummary]:
    """Writes a sequence of 0.3 s with 120x160 events and 135x180 images."""

    def write(root: Path, **options: object) -> SequenceSummary:
        return write_sequence(root, **{**SMALL, **options})  # type: ignore[arg-type]

    return write


@pytest.fixture(scope="session")
def summary(tmp_path_factory: pytest.TempPathFactory, write_small: Callable[..., SequenceSummary]) -> SequenceSummary:
    """What was written; tests must not change the files."""
    return write_small(tmp_path_factory.mktemp("synthetic"), seed=0)
