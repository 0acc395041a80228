from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mambaseg_core.events import Events, Window
from mambaseg_core.ops.voxel_grid import voxel_grid

TOLERANCE = 1e-5  # float32 sums against float64 ones


def make(t_ns: Any, p: Any = None, x: Any = None, height: int = 1, width: int = 4) -> Events:
    n = len(t_ns)
    x = np.zeros(n, int) if x is None else x
    p = np.ones(n, int) if p is None else p
    return Events.from_arrays(x, np.zeros(n, int), t_ns, p, height=height, width=width)


def slow_bilinear(events: Events, bins: int, first: int, last: int) -> np.ndarray:
    """The released definition, an event at a time in float64."""
    grid = np.zeros((bins, events.height, events.width))
    for x, y, t, p in zip(events.x, events.y, events.t_ns.tolist(), events.p.tolist(), strict=True):
        if not first <= t <= last:
            continue
        tn = (bins - 1) * (t - first) / ((last - first) or 1)
        left = int(tn)
        grid[left, y, x] += p * (1 - (tn - left))
        if left + 1 < bins:
            grid[left + 1, y, x] += p * (tn - left)
    return grid


def slow_binned(events: Events, edges: list[int]) -> np.ndarray:
    grid = np.zeros((len(edges) - 1, events.height, events.width))
    for x, y, t, p in zip(events.x, events.y, events.t_ns.tolist(), events.p.tolist(), strict=True):
        for k, (start, stop) in enumerate(pairwise(edges)):
            if start <= t < stop:
                grid[k, y, x] += p
    return grid


def test_bilinear_by_hand() -> None:
    # 3 bins over 0..8 ns: tn = t / 4
    grid = voxel_grid(make([0, 2, 6, 8], p=[1, -1, 1, 1], x=[0, 1, 2, 3]), bins=3)
    assert grid.dtype == torch.float32
    assert grid[:, 0, :].tolist() == [
        [1.0, -0.5, 0.0, 0.0],
        [0.0, -0.5, 0.5, 0.0],
        [0.0, 0.0, 0.5, 1.0],
    ]


def test_binned_by_hand() -> None:
    # own edges of 2 bins over 0..8: 0, 4, 9 (the last event + 1, cut: 9 // 2 = 4)
    grid = voxel_grid(make([0, 3, 4, 8], p=[1, 1, -1, 1]), bins=2, mode="binned")
    assert grid[:, 0, 0].tolist() == [2.0, 0.0]
    given_ = voxel_grid(make([0, 3, 4, 8]), bins=2, mode="binned", edges_ns=[3, 4, 8])
    assert given_[:, 0, 0].tolist() == [1.0, 1.0]  # 0 is before, 8 is at the exclusive end
    empty_bin = voxel_grid(make([0, 3, 4, 8]), bins=3, mode="binned", edges_ns=[0, 0, 0, 9])
    assert empty_bin[:, 0, 0].tolist() == [0.0, 0.0, 4.0]


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
def test_none_one_and_simultaneous(mode: str) -> None:
    none = voxel_grid(Events.empty(6, 8), mode=mode)
    assert none.shape == (10, 6, 8)
    assert not none.any()
    home = 0 if mode == "bilinear" else 9
    for times in ([7], [7, 7, 7]):
        grid = voxel_grid(make(times), mode=mode)
        assert torch.isfinite(grid).all()
        assert grid[home, 0, 0] == grid.sum() == len(times)
    assert voxel_grid(make([1, 2, 3]), bins=1, mode=mode).tolist() == [[[3.0, 0.0, 0.0, 0.0]]]


@pytest.mark.parametrize("p", [[True, False], np.array([1, 0], np.uint8), np.array([1, -1], np.int8)])
def test_off_is_negative_and_the_callers_polarity_is_kept(p: Any) -> None:
    before = np.array(p).copy()
    grid = voxel_grid(make([0, 10], p=p, x=[0, 1]), bins=2)
    assert grid[:, 0, :2].tolist() == [[1.0, 0.0], [0.0, -1.0]]
    np.testing.assert_array_equal(p, before)


def test_absolute_time_loses_nothing() -> None:
    times = np.array([0, 1000, 2000, 3000, 9000])
    near, far = voxel_grid(make(times)), voxel_grid(make(times + 1_744_227_144_732_712_000))
    assert torch.equal(near, far)
    assert near[:, 0, 0].tolist() == [1, 1, 1, 1, 0, 0, 0, 0, 0, 1]


def test_bilinear_edges_narrower_and_wider() -> None:
    events = make([0, 4, 8, 12])
    assert voxel_grid(events, bins=2, edges_ns=(4, 8))[:, 0, 0].tolist() == [1.0, 1.0]  # both ends belong
    assert voxel_grid(events, bins=2, edges_ns=np.array([0, 16]))[:, 0, 0].tolist() == [2.5, 1.5]
    assert voxel_grid(events, bins=2, edges_ns=(4, 4))[:, 0, 0].tolist() == [1.0, 0.0]
    assert not voxel_grid(events, bins=2, edges_ns=(20, 30)).any()


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"bins": 0}, ValueError, "bins is 0"),
        ({"mode": "nearest"}, ValueError, "'nearest'"),
        ({"edges_ns": [0, 1, 2]}, ValueError, r"shape \[3\], expected \[2\]"),
        ({"edges_ns": [0, 1], "mode": "binned"}, ValueError, r"expected \[11\]"),
        ({"edges_ns": [5, 3]}, ValueError, r"\[5, 3\]"),
        ({"edges_ns": [0.0, 1.0]}, TypeError, "float64"),
    ],
)
def test_refuses(arguments: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        voxel_grid(make([1, 2]), **arguments)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3), st.booleans()), max_size=40),
    st.integers(1, 6),
    st.lists(st.integers(0, 50), min_size=7, max_size=7),
)
def test_both_modes_are_the_slow_ones(
    drawn: list[tuple[int, int, bool]], bins: int, marks: list[int]
) -> None:
    drawn.sort()
    t, x, p = ([row[k] for row in drawn] for k in range(3))
    events = make(t, p=p, x=x)
    first, last = sorted(marks[:2])
    bilinear = voxel_grid(events, bins, edges_ns=(first, last)).numpy()
    np.testing.assert_allclose(bilinear, slow_bilinear(events, bins, first, last), atol=TOLERANCE)
    edges = sorted(marks[: bins + 1])
    binned = voxel_grid(events, bins, "binned", edges_ns=edges).numpy()
    np.testing.assert_array_equal(binned, slow_binned(events, edges))


def test_more_events_than_a_block() -> None:
    rng = np.random.default_rng(0)
    n = 150_000
    t = np.sort(rng.integers(0, 10**8, n))
    events = Events.from_arrays(
        rng.integers(0, 32, n), rng.integers(0, 24, n), t, rng.integers(0, 2, n), height=24, width=32
    )
    grid = voxel_grid(events).numpy()
    expected = slow_bilinear(events, 10, int(t[0]), int(t[-1]))
    np.testing.assert_allclose(grid, expected, atol=1e-3)  # cells of some 40 events
    assert torch.equal(voxel_grid(events), torch.from_numpy(grid))


WINDOWS = [Window(60), Window(6, per_bin=True), Window(count=30), Window(count=3, per_bin=True)]


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
@pytest.mark.parametrize("window", WINDOWS, ids=str)
def test_rectified_events_keep_the_raw_windows_time(window: Window, mode: str) -> None:
    raw = make(np.arange(100), x=np.arange(100) % 4)
    cut = window.cut(raw, 99, bins=10)
    edges = window.edges_ns(cut, 99, bins=10, mode=mode)
    whole = voxel_grid(cut, mode=mode, edges_ns=edges)
    stays = cut.x > 0  # rectification moved column 0 out of the frame, and with it the first event
    rectified = Events(cut.x[stays], cut.y[stays], cut.t_ns[stays], cut.p[stays], cut.height, cut.width)
    grid = voxel_grid(rectified, mode=mode, edges_ns=edges)
    assert torch.equal(grid[..., 1:], whole[..., 1:])
    assert not grid[..., 0].any()
    assert whole.sum() == pytest.approx(len(cut))  # no event of the window falls outside its own edges


def read_evt2(path: Path) -> Events:
    """EVT2, see docs of the format: 32-bit words, type in [31:28]; 0 OFF, 1 ON, 8 the high bits of time."""
    data = path.read_bytes()
    start = 0
    while data[start : start + 1] == b"%":
        start = data.index(b"\n", start) + 1
    word = np.frombuffer(data[start : len(data) - (len(data) - start) % 4], "<u4").astype(np.int64)
    kind = word >> 28
    high_at = np.flatnonzero(kind == 8)
    nth_high = np.cumsum(kind == 8) - 1
    is_event = (kind <= 1) & (nth_high >= 0)
    high = (word[high_at] & 0xFFFFFFF)[nth_high[is_event]]
    event = word[is_event]
    t_ns = (high << 6 | event >> 22 & 0x3F) * 1000
    return Events.from_arrays(event >> 11 & 0x7FF, event & 0x7FF, t_ns, event >> 28, height=480, width=640)


def test_real_recording_gives_the_released_codes_grid() -> None:
    shared = Path(os.environ.get("MAMBASEG_SHARED", Path(__file__).parents[2] / ".." / "shared"))
    path = shared / "data" / "prophesee" / "gen3_vga_evt2.raw"
    if not path.is_file():
        pytest.skip(f"no recording {path}; set MAMBASEG_SHARED to the folder that has data/")
    events = read_evt2(path)
    assert len(events) == 521_252
    assert (events.t_ns[0], events.t_ns[-1]) == (913_716_224_000, 913_812_095_000)
    grid = voxel_grid(events).double()
    assert grid.sum().item() == pytest.approx(-149530.0, abs=0.02)
    assert grid.abs().sum().item() == pytest.approx(156145.0883, abs=0.02)
    assert grid.max().item() == pytest.approx(2.7565, abs=1e-4)
    # 'not zero' counts in float64; in float32 a few cells that cancel there do not, or the reverse
    assert abs(int((grid != 0).sum()) - 139_333) <= 5
    expected = [-25770.124, -18166.001, -18852.608, -12665.783, -22690.306]
    expected += [-16502.092, -3183.163, -5162.463, -21705.358, -4832.101]
    assert grid.sum(dim=(1, 2)).tolist() == pytest.approx(expected, abs=0.01)
