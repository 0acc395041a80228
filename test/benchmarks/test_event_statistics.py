"""Statistics of sensors and conditions: by hand on made-up events, and what the conditions are made for."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mambaseg_core.events import Events

SCRIPTS = Path(__file__).parents[2] / "benchmarks" / "events"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, SCRIPTS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def conditions() -> ModuleType:
    return load("condition_statistics")


def test_the_row_of_a_recording_by_hand() -> None:
    """One second of 16x16 pixels: a pixel of 100 Hz in a quiet block, one of 1 Hz beside it, a block that is busy."""
    hot_ns = np.arange(0, 1_000_000_001, 10_000_000)
    busy = np.repeat(np.arange(64), 1)
    x = np.r_[np.full(len(hot_ns), 1), [3], 8 + busy % 8].astype(np.uint16)
    y = np.r_[np.full(len(hot_ns), 2), [3], 8 + busy // 8].astype(np.uint16)
    t_ns = np.r_[hot_ns, [500_000_000], 100_000_000 + busy]
    order = np.argsort(t_ns, kind="stable")
    p = np.where(np.arange(len(x)) % 2, 1, -1).astype(np.int8)
    events = Events(x[order], y[order], t_ns[order], p, 16, 16)
    cells = [cell.strip() for cell in load("sensor_statistics").row("made up", events).strip("|").split("|")]
    assert cells[:3] == ["made up, 16x16, 1 s", f"{len(x) / 256:.2f}", f"{np.mean(p > 0):.2f}"]
    assert cells[4] == "10 10 10"
    assert cells[5] == f"{1 / (3 * 64 - 1):.2f} (in 75%)"
    assert cells[6] == f"{1 / (3 * 64):.2%}"
    assert cells[7] == "101 1 1"


def test_the_area_under_the_curve_by_hand(conditions: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions, "ENOUGH", 1)
    values, positive = np.asarray([1.0, 2.0, 2.0, 3.0, 9.0]), np.asarray([False, False, True, True, True])
    inside = np.asarray([True, True, True, True, False])
    assert conditions.auc(values, positive, inside) == pytest.approx(3.5 / 4)  # 2 of 4 pairs right, a tie is a half
    assert np.isnan(conditions.auc(values, positive & ~inside, inside))


@pytest.mark.parametrize(
    ("condition", "place", "gain"), [("night", 0, 0.12), ("tunnel", 0, 0.2), ("glare", 3, 0.1)], ids=str
)
def test_events_show_boundaries_that_the_image_does_not(
    conditions: ModuleType, monkeypatch: pytest.MonkeyPatch, condition: str, place: int, gain: float
) -> None:
    """Everywhere at night and at a tunnel's end (place 0); in glare where the image is saturated (place 3)."""
    monkeypatch.setattr(conditions, "SIZE", (120, 160))
    monkeypatch.setattr(conditions, "ENOUGH", 20)
    found = [conditions.evidence(conditions.moment(condition, seed)) for seed in (0, 1)]
    image, events = np.nanmean(np.asarray(found)[:, [place, place + 1]], axis=0)
    assert events > 0.6
    assert events > image + gain
    if condition == "glare":
        assert np.nanmean([one[place + 2] for one in found]) > 0.13  # active pixels of saturated boundaries
