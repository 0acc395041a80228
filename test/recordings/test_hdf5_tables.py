"""Tables in HDF5 recordings that are wrong: windows are those of the times, or there is one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mambaseg_core.recordings import EventFileError, EventReader, open_events

COUNT, SPAN_US = 5000, 100_000
T_US = np.sort(np.random.default_rng(0).integers(0, SPAN_US, COUNT))
TABLE = np.searchsorted(T_US, np.arange(0, SPAN_US + 1000, 1000))
STEPS_US = [0, 1, 999, 1000, 10_000, 30_000, 39_500, 50_000, 60_000, 70_000, 98_000, 99_000, 99_500, SPAN_US, 10**7]


def write(folder: Path, **changes: Any) -> Path:
    """Write DSEC's layout with members replaced; a member of None is left out."""
    members: dict[str, Any] = {
        "events/x": np.arange(COUNT, dtype=np.uint16) % 640,
        "events/y": np.zeros(COUNT, np.uint16),
        "events/t": T_US.astype(np.uint32),
        "events/p": np.arange(COUNT, dtype=np.uint8) % 2,
        "ms_to_idx": TABLE.astype(np.uint64),
        "t_offset": np.int64(0),
    }
    path = folder / "events.h5"
    with h5py.File(path, "w") as file:
        for name, value in (members | {name.replace("__", "/"): value for name, value in changes.items()}).items():
            if value is not None:
                file[name] = value
    return path


def check_windows(reader: EventReader, t_us: np.ndarray = T_US) -> None:
    for start in STEPS_US:
        for end in STEPS_US:
            got = reader.between(start * 1000, end * 1000).events
            kept = np.flatnonzero((t_us >= start) & (t_us < end))
            np.testing.assert_array_equal(got.t_ns, t_us[kept] * 1000)
            np.testing.assert_array_equal(got.x, kept % 640)


def spoilt(at: int, value: int) -> np.ndarray:
    table = TABLE.copy()
    table[at] = value
    return table


@pytest.mark.parametrize(
    "table",
    {
        "right": TABLE,
        "of 40 of 100 ms": TABLE[:40],
        "of one entry": TABLE[:1],
        "empty": TABLE[:0],
        "shifted to the left": TABLE[1:],
        "shifted to the right": np.concatenate([[0], TABLE[:-1]]),
        "shifted by one event": TABLE + 1,
        "zero": TABLE * 0,
        "all at the end": np.full_like(TABLE, COUNT),
        "without its last entries": TABLE[:-2],
        "too long": np.concatenate([TABLE, np.full(50, COUNT)]),
        "too long, with zeros": np.concatenate([TABLE, np.zeros(50, np.int64)]),
        "one entry too small": spoilt(50, 10),
        "one entry too large": spoilt(50, 4900),
        "one entry that is negative": spoilt(50, -3),
        "one entry beyond the events": spoilt(50, 10**9),
        "falling": TABLE[::-1],
        "of microseconds": np.searchsorted(T_US, np.arange(SPAN_US)),
        "of tenths of milliseconds": np.searchsorted(T_US, np.arange(0, SPAN_US, 100)),
        "of seconds": np.searchsorted(T_US, np.arange(0, 10**7, 10**6)),
        "that counts from another time": np.searchsorted(T_US, np.arange(37_000, 10**6, 1000)),
        "of times": np.arange(0, SPAN_US, 1000),
        "of floats": TABLE.astype(float),
        "of two dimensions": TABLE[:, None],
        "of words": np.array([b"no"] * 5),
        "missing": None,
    }.items(),
    ids=lambda item: item[0],
)
def test_a_wrong_ms_to_idx_changes_no_window(tmp_path: Path, table: tuple[str, Any]) -> None:
    with open_events(write(tmp_path, ms_to_idx=table[1])) as reader:
        check_windows(reader)
        assert len(reader.last(300, 60_000_000).events) == 300


def test_a_group_in_place_of_ms_to_idx_changes_no_window(tmp_path: Path) -> None:
    path = write(tmp_path, ms_to_idx=None, ms_to_idx__left=TABLE)
    check_windows(open_events(path))


@pytest.mark.parametrize("burst", [0, 1, 40_000, 99_999])
def test_many_events_of_one_time(tmp_path: Path, burst: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of which many begin at one time."""
    monkeypatch.setattr("mambaseg_core.recordings.hdf5.events._BLOCK", 64)
    t_us = np.sort(np.where(np.arange(COUNT) % 3, T_US, burst))
    for table in (None, np.searchsorted(t_us, np.arange(0, SPAN_US, 1000))):
        check_windows(open_events(write(tmp_path, events__t=t_us.astype(np.uint32), ms_to_idx=table)), t_us)


@pytest.mark.parametrize("offset", [None, np.int64(0), np.array([0]), np.array([[0]]), np.float64(0), np.uint8(0)])
def test_t_offset_of_any_shape(tmp_path: Path, offset: Any) -> None:
    check_windows(open_events(write(tmp_path, t_offset=offset)))


@pytest.mark.parametrize(
    "offset", [np.float64(5.5), np.nan, np.inf, np.array([1, 2]), np.zeros(0), np.int64(-(2**63)), np.bytes_(b"5")]
)
def test_a_t_offset_that_is_no_whole_number(tmp_path: Path, offset: Any) -> None:
    with pytest.raises(EventFileError, match=r"/t_offset of .* is .*expected one whole number of microseconds"):
        len(open_events(write(tmp_path, t_offset=offset)))


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.int32, ">u4"])
def test_t_of_any_integers(tmp_path: Path, dtype: Any) -> None:
    check_windows(open_events(write(tmp_path, events__t=T_US.astype(dtype))))


@pytest.mark.parametrize(
    "changes",
    [
        {"events__t": T_US.astype(np.float64)},
        {"events__t": (T_US / 1e6).astype(np.float32)},
        {"events__x": np.zeros(COUNT)},
        {"events__p": np.zeros(COUNT)},
        {"events__t": T_US[:, None]},
    ],
)
def test_columns_of_another_type(tmp_path: Path, changes: dict[str, Any]) -> None:
    name = next(iter(changes)).replace("__", "/")
    with pytest.raises(EventFileError, match=rf"/{name} of .* is float|/{name} of .* is int64 \[5000, 1\]"):
        len(open_events(write(tmp_path, **changes)))


@pytest.mark.parametrize("p", [[-1, 1], [0, 1], [False, True]])
def test_polarity_of_any_kind(tmp_path: Path, p: list[Any]) -> None:
    with open_events(write(tmp_path, events__p=np.array(p * (COUNT // 2)))) as reader:
        got = reader.between(0, 10**12).events.p
    np.testing.assert_array_equal(got, [-1, 1] * (COUNT // 2))


@pytest.mark.parametrize(
    "t_us",
    {
        "two recordings": np.concatenate([T_US[::2], T_US[::2]]),
        "falling": T_US[::-1],
        "a late part first": np.roll(T_US, 700),
        "zeros at the end": np.concatenate([T_US[:-200], np.zeros(200, np.int64)]),
    }.items(),
    ids=lambda item: item[0],
)
@pytest.mark.parametrize("with_table", [True, False])
def test_times_that_run_backwards_are_refused(tmp_path: Path, t_us: tuple[str, Any], with_table: bool) -> None:
    table = np.searchsorted(np.sort(t_us[1]), np.arange(0, SPAN_US, 1000)) if with_table else None
    path = write(tmp_path, events__t=t_us[1].astype(np.uint32), ms_to_idx=table)
    with pytest.raises(EventFileError, match=r"the times in /events/t of .* run backwards.*; sort the events by time"):
        open_events(path).between(30_000_000, 40_000_000)


def test_one_step_back_is_refused_where_it_is_read(tmp_path: Path) -> None:
    t_us = T_US.copy()
    t_us[[2000, 2001]] = t_us[2000] + 5, t_us[2000]
    reader = open_events(write(tmp_path, events__t=t_us.astype(np.uint32)))
    with pytest.raises(EventFileError, match=r"run backwards in events"):
        reader.last(1, int(t_us[2000]) * 1000 + 1)
    for count in (1000, 2001, 667):  # a chunk that begins at the step, and others
        with pytest.raises(EventFileError, match="run backwards"):
            list(reader.chunks(count=count))


def test_times_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    for t_us in (np.full(COUNT, 2**63 - 1), np.full(COUNT, 2**64 - 1, np.uint64)):
        with pytest.raises(EventFileError, match=r"cannot be read \(times reach .*/events/t"):
            open_events(write(tmp_path, events__t=t_us)).between(0, 1)


def test_few_reads_find_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A right table costs one read a time; a wrong one little more, however long the file is."""
    count = 1 << 20
    t_us = np.arange(count, dtype=np.uint32)
    path = tmp_path / "events.h5"
    with h5py.File(path, "w") as file:
        for name in "xyp":
            file.create_dataset(f"events/{name}", (count,), np.uint8, chunks=(1 << 15,))
        file["events/t"] = t_us
        file["ms_to_idx"] = np.arange(0, count, 1000)
    reads: list[int] = []
    original = h5py.Dataset.__getitem__

    def count_reads(dataset: h5py.Dataset, key: Any, **options: Any) -> Any:
        reads.append(key.stop - key.start if isinstance(key, slice) else 0)
        return original(dataset, key, **options)

    for wrong, most in ((False, 2), (True, 16)):
        if wrong:
            with h5py.File(path, "r+") as file:
                file["ms_to_idx"][...] = 0
        reader = open_events(path)
        len(reader)
        with monkeypatch.context() as patch:
            patch.setattr(h5py.Dataset, "__getitem__", count_reads)
            assert reader._source.index(700_500_500) == 700_501
        reader.close()
        assert len(reads) <= most
        assert sum(reads) <= 1 << 16
        reads.clear()


@settings(max_examples=60, derandomize=True, database=None, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=1, max_size=120),
    st.lists(st.integers(-5, 130), max_size=130),
    st.lists(st.integers(-2_000, 125_000), min_size=2, max_size=6),
    st.integers(-3_000, 3_000),
    st.integers(1, 16),
)
def test_no_table_changes_a_window(
    tmp_path_factory: pytest.TempPathFactory,
    steps: list[int],
    table: list[int],
    edges: list[int],
    offset_us: int,
    block: int,
) -> None:
    """Any times, any table, any offset: a window has the events whose times are in it."""
    t_us = np.cumsum(np.array(steps) ** 2)
    zeros = np.zeros(len(t_us), np.uint16)
    columns = {f"events__{name}": zeros for name in "xyp"}
    path = tmp_path_factory.getbasetemp()
    write(path, events__t=t_us, ms_to_idx=np.array(table, np.int64), t_offset=np.int64(offset_us), **columns)
    with pytest.MonkeyPatch.context() as patch, open_events(path / "events.h5") as reader:
        patch.setattr("mambaseg_core.recordings.hdf5.events._BLOCK", block)
        for start in edges:
            for end in edges:
                got = reader.between(start * 1000 + 1, end * 1000).events.t_ns
                absolute = (t_us + offset_us) * 1000
                np.testing.assert_array_equal(got, absolute[(absolute > start * 1000) & (absolute < end * 1000)])
