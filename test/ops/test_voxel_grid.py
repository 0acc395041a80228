from __future__ import annotations

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mambaseg_core.events import Events, Window
from mambaseg_core.ops import backends, voxel_reference
from mambaseg_core.ops.voxel_grid import _as_tensor, voxel_grid
from mambaseg_core.ops.voxel_packed import pack_events, scatter_reference_

TOLERANCE = 1e-5  # float32 sums against float64 ones


def make(t_ns: Any, p: Any = None, x: Any = None, height: int = 1, width: int = 4) -> Events:
    n = len(t_ns)
    x = np.zeros(n, int) if x is None else x
    p = np.ones(n, int) if p is None else p
    return Events.from_arrays(x, np.zeros(n, int), t_ns, p, height=height, width=width)


def slow_bilinear(events: Events, bins: int, first: int, last: int) -> np.ndarray:
    """Return the grid of the released definition, one event at a time in float64."""
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
        ({"edges_ns": [0, 2**60]}, ValueError, "span 1152921504606846976 ns, expected 461168601842738790 at most"),
        ({"out": torch.empty(10, 4, 1)}, ValueError, r"out is contiguous torch.float32 \[10, 4, 1\], .* \[10, 1, 4\]"),
        ({"out": torch.empty(10, 1, 4).double()}, ValueError, "contiguous torch.float64"),
        ({"out": torch.empty(10, 1, 8)[..., ::2]}, ValueError, "out is strided"),
    ],
)
def test_refuses(arguments: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        voxel_grid(make([1, 2]), **arguments)


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 3), st.booleans()), max_size=40),
    st.integers(1, 6),
    st.lists(st.integers(0, 50), min_size=7, max_size=7),
)
def test_both_modes_are_the_slow_ones(drawn: list[tuple[int, int, bool]], bins: int, marks: list[int]) -> None:
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


def random_events(n: int, seed: int = 0, height: int = 24, width: int = 32) -> Events:
    """Return bursts and simultaneous events, with nothing most of the time."""
    rng = np.random.default_rng(seed)
    t = np.sort(10**18 + (rng.exponential(1, n).cumsum() ** 3 % 1e8).astype(np.int64))
    t[n // 2 : n // 2 + n // 10] = t[n // 2] if n else 0
    x, y, p = rng.integers(0, width, n), rng.integers(0, height, n), rng.integers(0, 2, n)
    return Events.from_arrays(x, y, np.sort(t), p, height=height, width=width)


def columns(events: Events) -> list[torch.Tensor]:
    return [_as_tensor(column) for column in (events.x, events.y, events.t_ns, events.p)]


def own_edges(events: Events, mode: str, bins: int) -> torch.Tensor:
    first, last = int(events.t_ns[0]), int(events.t_ns[-1])
    return torch.linspace(0, last - first, 2 if mode == "bilinear" else bins + 1).long() + first


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
@pytest.mark.parametrize("bins", [1, 2, 3, 10])
def test_kernel_is_the_reference(mode: str, bins: int) -> None:
    events = random_events(20_000)
    edges = own_edges(events, mode, bins)
    edges[0] += 10_000_000 if bins < 10 else 0
    wanted = torch.empty(bins, 24, 32)
    voxel_reference.voxel_grid_(wanted, *columns(events), edges, mode == "bilinear")
    grid = voxel_grid(events, bins, mode, edges_ns=edges.numpy())
    torch.testing.assert_close(grid, wanted, rtol=TOLERANCE, atol=TOLERANCE * 30)  # some 30 events a cell
    assert wanted.abs().sum() > 1000


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("mode", ["bilinear", "binned"])
@pytest.mark.parametrize("bins", [1, 4, 10])
def test_threads_change_no_bit(mode: str, bins: int) -> None:
    if "cpu" not in backends():
        pytest.skip("the extension is not built")
    events, grids = random_events(1_000_000), []  # enough for four threads
    for number in (1, 2, 3, 8):
        torch.set_num_threads(number)
        grids.append(voxel_grid(events, bins, mode))
    assert all(torch.equal(grids[0], other) for other in grids[1:])


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
@pytest.mark.parametrize("n", [0, 1, 5000])
def test_out_is_overwritten(mode: str, n: int) -> None:
    events, out = random_events(n), torch.full((10, 24, 32), torch.nan)
    assert voxel_grid(events, mode=mode, out=out) is out
    assert torch.equal(out, voxel_grid(events, mode=mode))


def test_strided_columns() -> None:
    events = random_events(999)
    table = np.zeros(999, [("x", "u2"), ("y", "u2"), ("t", "i8"), ("p", "i1")])
    table["x"], table["y"], table["t"], table["p"] = events.x, events.y, events.t_ns, events.p
    strided = Events(table["x"], table["y"], table["t"], table["p"], 24, 32)
    assert torch.equal(voxel_grid(strided), voxel_grid(events))


@pytest.mark.parametrize("direct", [torch.ops.mambaseg.voxel_grid_, voxel_reference.voxel_grid_])
def test_coordinates_outside_are_left_out(direct: Any) -> None:
    """`Events` has none; an operator that is called directly may receive some."""
    x, y = torch.tensor([[0, 4, 3, 65535], [0, 0, 3, 65535]]).to(torch.uint16)
    t, p = torch.arange(4), torch.ones(4, dtype=torch.int8)
    grid = torch.full((4, 3, 4), torch.nan)
    direct(grid, x, y, t, p, torch.tensor([0, 3]), True)
    assert grid.sum() == grid[0, 0, 0] == 1
    direct(grid, x, y, t, p, torch.tensor([0, 1, 2, 3, 4]), False)
    assert grid.sum() == grid[0, 0, 0] == 1


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
def test_opcheck(mode: str) -> None:
    events = random_events(50)
    arguments = (torch.empty(3, 24, 32), *columns(events), own_edges(events, mode, 3), mode == "bilinear")
    torch.library.opcheck(torch.ops.mambaseg.voxel_grid_.default, arguments)


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (0, torch.empty(0, 2, 2), r"grid has shape \[0, 2, 2\]"),
        (0, torch.empty(2, 2, 2).double(), "expected contiguous float32"),
        (1, torch.zeros(3, dtype=torch.uint16), r"x has shape \[3\], expected contiguous uint16 \[2\]"),
        (2, torch.zeros(2, dtype=torch.int16), "y has shape .* uint16"),
        (4, torch.zeros(2), r"p has shape \[2\], expected contiguous int8"),
        (5, torch.zeros(3, dtype=torch.int64), r"edges_ns has shape \[3\]"),
        (5, torch.tensor([1, 0]), r"edges_ns is \[1, 0\]"),
        (5, torch.tensor([-(2**63), 2**63 - 1]), "not more than"),
    ],
)
def test_the_kernel_refuses_what_would_read_elsewhere(place: int, value: torch.Tensor, told: str) -> None:
    if "cpu" not in backends():
        pytest.skip("the extension is not built")
    x, t, p = torch.zeros(2, dtype=torch.uint16), torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int8)
    arguments: list[Any] = [torch.empty(2, 2, 2), x, x, t, p, torch.tensor([0, 1]), True]
    arguments[place] = value
    with pytest.raises(RuntimeError, match=told):
        torch.ops.mambaseg.voxel_grid_(*arguments)


def test_packed_by_hand() -> None:
    events = make([0, 3, 8], p=[1, -1, 1], x=[0, 1, 3], height=3)
    first, second, third = pack_events(events, np.array([0, 8]), bins=3, mode="bilinear").tolist()
    assert first == 1 << 31
    assert second == 1 | int(0.75 * 2**30) << 32  # 2 bits of bin, 30 of fraction
    assert (third & 2**64 - 1) == 3 | 1 << 31 | 2 << 62
    assert pack_events(events, np.array([0, 2, 4, 6]), bins=3, mode="binned").tolist() == [1 << 31, 1 | 1 << 62]
    with pytest.raises(ValueError, match="40000 rows"):
        pack_events(Events.empty(40_000, 4), np.array([0, 1]), bins=3, mode="binned")


@pytest.mark.parametrize("mode", ["bilinear", "binned"])
@pytest.mark.parametrize("bins", [1, 2, 10, 16, 17])
@pytest.mark.parametrize("n", [1, 20_000])
def test_packed_events_give_the_same_grid(mode: str, bins: int, n: int) -> None:
    events = random_events(n, seed=bins)
    edges = own_edges(events, mode, bins).numpy()
    edges[0] += min(1000, int(edges[-1] - edges[0]))
    grid = torch.full((bins, 24, 32), torch.nan)
    packed = pack_events(events, edges, bins=bins, mode=mode)
    assert packed.dtype.itemsize == 8
    scatter_reference_(grid, torch.from_numpy(packed))
    wanted = voxel_grid(events, bins, mode, edges_ns=edges)
    torch.testing.assert_close(grid, wanted, rtol=TOLERANCE, atol=TOLERANCE * 30)


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
