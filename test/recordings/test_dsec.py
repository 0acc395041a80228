from __future__ import annotations

import pickle
import resource
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from mambaseg_core.events import Events
from mambaseg_core.recordings.hdf5.dsec import blosc_zstd, open_dsec, read_rectify_map
from mambaseg_core.recordings.hdf5.dsec_writer import new_dsec

SIZE = (48, 64)
T_OFFSET_US = 51_000_000_007
MS = 1_000_000


def random_events(count: int = 5000, *, span_us: int = 40_000, seed: int = 0) -> Events:
    """Return events with many equal times, a gap, and some exactly at whole milliseconds."""
    rng = np.random.default_rng(seed)
    t_us = np.sort(rng.integers(300, span_us, count))
    t_us[(t_us > 15_100) & (t_us < 19_900)] = 15_100
    t_us[::7] = t_us[::7] // 1000 * 1000
    t_us = np.sort(t_us)
    x, y, p = rng.integers(0, SIZE[1], count), rng.integers(0, SIZE[0], count), rng.choice([-1, 1], count)
    return Events.from_arrays(x, y, t_us * 1000, p, height=SIZE[0], width=SIZE[1])


def write(path: Path, events: Events, *, parts: int = 1) -> Path:
    with new_dsec(path, T_OFFSET_US) as writer:
        for block in np.array_split(np.arange(len(events)), parts):
            if len(block):
                writer.write(events.part(int(block[0]), int(block[-1]) + 1))
    return path


@pytest.fixture
def events() -> Events:
    return random_events()


@pytest.fixture
def path(tmp_path: Path, events: Events) -> Path:
    return write(tmp_path / "events.h5", events, parts=3)


def same(got: Events, expected: Events, shift_ns: int = T_OFFSET_US * 1000) -> None:
    np.testing.assert_array_equal(got.t_ns, expected.t_ns + shift_ns)
    for name in ("x", "y", "p"):
        np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
    assert (got.height, got.width) == SIZE


def change(path: Path, name: str, data: Any) -> None:
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if data is not None:
            file.create_dataset(name, data=data)


def test_layout_and_dtypes(path: Path, events: Events) -> None:
    with h5py.File(path) as file:
        assert set(file) == {"events", "ms_to_idx", "t_offset"}
        dtypes = {name: file["events"][name].dtype for name in file["events"]}
        assert dtypes == {"x": np.uint16, "y": np.uint16, "t": np.uint32, "p": np.uint8}
        assert file["ms_to_idx"].dtype == np.uint64
        assert file["t_offset"].dtype == np.int64
        assert file["t_offset"].shape == ()
        assert set(np.unique(file["events/p"])) == {0, 1}
        assert len(file["events/x"]) == len(events)
        blosc = file["events/x"].id.get_create_plist().get_filter(0)
        assert blosc[0] == 32001
        assert blosc[2][6] == 5  # the code of zstd
    assert [file.name for file in path.parent.iterdir()] == ["events.h5"]


def test_ms_to_idx_is_what_dsec_says(path: Path) -> None:
    with h5py.File(path) as file:
        t, table = file["events/t"][()].astype(np.int64), file["ms_to_idx"][()].astype(np.int64)
    assert len(table) == t[-1] // 1000 + 1
    assert table[0] == 0
    for k, index in enumerate(table):
        assert t[index] >= 1000 * k
        assert index == 0 or t[index - 1] < 1000 * k


@pytest.mark.parametrize("parts", [1, 2, 17])
def test_what_is_written_is_read_back(tmp_path: Path, events: Events, parts: int) -> None:
    with open_dsec(write(tmp_path / "events.h5", events, parts=parts), SIZE) as file:
        assert len(file) == len(events)
        same(file.between(0, 2**62).events, events)


def test_more_than_one_buffer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, events: Events) -> None:
    monkeypatch.setattr("mambaseg_core.recordings.hdf5.dsec_writer._BUFFER", 500)
    path = write(tmp_path / "events.h5", events, parts=40)
    same(open_dsec(path, SIZE).between(0, 2**62).events, events)
    test_ms_to_idx_is_what_dsec_says(path)


def edges_ns(events: Events) -> list[int]:
    """Return absolute times where a window may go wrong: times of events, milliseconds, and 1 ns off these."""
    relative = [-5 * MS, 0, 2 * MS, 15_100_000, 17 * MS, 40 * MS, 99 * MS, int(events.t_ns[-1])]
    relative += [int(t) for t in events.t_ns[:: len(events) // 12]]
    relative += [int(t) // MS * MS for t in events.t_ns[:: len(events) // 12]]
    return [t + T_OFFSET_US * 1000 + step for t in sorted(set(relative)) for step in (-1000, -1, 0, 1, 1000)]


def test_windows_are_half_open(path: Path, events: Events) -> None:
    absolute = events.t_ns + T_OFFSET_US * 1000
    with open_dsec(path, SIZE) as file:
        edges = edges_ns(events)
        for start in edges[::6]:
            for end in edges[::7]:
                kept = np.flatnonzero((absolute >= start) & (absolute < end))
                got = file.between(start, end).events
                np.testing.assert_array_equal(got.t_ns, absolute[kept])
                np.testing.assert_array_equal(got.x, events.x[kept])


@pytest.mark.parametrize("count", [0, 1, 100, 10**6])
def test_the_last_events_before_a_time(path: Path, events: Events, count: int) -> None:
    absolute = events.t_ns + T_OFFSET_US * 1000
    with open_dsec(path, SIZE) as file:
        for end in edges_ns(events):
            stop = int((absolute < end).sum())
            got = file.last(count, end).events
            np.testing.assert_array_equal(got.t_ns, absolute[max(0, stop - count) : stop])


@pytest.mark.parametrize("chunk_ns", [50_000, 700_001, 2 * MS, 1000 * MS])
def test_chunks_are_all_events(path: Path, events: Events, chunk_ns: int) -> None:
    chunks = list(open_dsec(path, SIZE).chunks(duration_ns=chunk_ns))
    same(Events.concatenate(chunks), events)
    assert all(len(chunk) for chunk in chunks)
    assert all(chunk.t_ns[-1] - chunk.t_ns[0] < chunk_ns for chunk in chunks)
    first = events.t_ns[0] + T_OFFSET_US * 1000
    numbers = [int(chunk.t_ns[0] - first) // chunk_ns for chunk in chunks]
    assert numbers == sorted(set(numbers))


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.int32])
def test_ms_to_idx_of_any_integers(path: Path, events: Events, dtype: type) -> None:
    with h5py.File(path) as file:
        table = file["ms_to_idx"][()]
    change(path, "ms_to_idx", table.astype(dtype))
    same(open_dsec(path, SIZE).between(0, 2**62).events, events)
    middle = T_OFFSET_US * 1000 + 12 * MS
    assert len(open_dsec(path, SIZE).between(middle, middle + MS).events) > 0


@pytest.mark.parametrize("value", [None, np.uint64(5), np.array([5])])
def test_t_offset(path: Path, events: Events, value: Any) -> None:
    change(path, "t_offset", value)
    same(open_dsec(path, SIZE).between(0, 2**62).events, events, shift_ns=0 if value is None else 5000)


def test_no_events(tmp_path: Path) -> None:
    with open_dsec(write(tmp_path / "events.h5", Events.empty(*SIZE)), SIZE) as file:
        assert len(file) == 0
        assert len(file.between(0, 2**62).events) == 0
        assert len(file.last(10, 2**62).events) == 0
        assert list(file.chunks(duration_ns=1000)) == []


def test_the_file_opens_again_after_closing(path: Path, events: Events) -> None:
    file = open_dsec(path, SIZE)
    assert len(file) == len(events)
    file.close()
    file.close()
    assert len(file) == len(events)


def test_pickled_and_in_another_process(path: Path, events: Events) -> None:
    file = open_dsec(path, SIZE)
    assert len(file) == len(events)  # open
    assert len(pickle.loads(pickle.dumps(file))) == len(events)
    with get_context("fork").Pool(2) as pool:
        totals = pool.starmap(file.last, [(50, T_OFFSET_US * 1000 + 20 * MS)] * 4)
    assert [len(total.events) for total in totals] == [50] * 4


def test_writing_backwards_is_refused_and_leaves_nothing(tmp_path: Path, events: Events) -> None:
    def write_twice() -> None:
        with new_dsec(tmp_path / "events.h5", 0) as writer:
            writer.write(events)
            writer.write(events)

    with pytest.raises(ValueError, match="write in time order"):
        write_twice()
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path: Path, events: Events) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"events\.h5 cannot be written \(File too large\); expected"):
            write(tmp_path / "events.h5", events)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"nowhere\.h5 is missing"):
        len(open_dsec(tmp_path / "nowhere.h5"))


@pytest.mark.parametrize("keep", [0, 100, 3000])
def test_a_truncated_file(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"events\.h5 cannot be read") as caught:
        len(open_dsec(path, SIZE))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["events", "events/p", "events/t"])
def test_a_missing_member(path: Path, name: str) -> None:
    change(path, name, None)
    with pytest.raises(ValueError, match=rf"{path} has no /{name}.*\(it has .*/ms_to_idx uint64"):
        open_dsec(path, SIZE).between(0, 2**62)


def test_damaged_data(path: Path) -> None:
    with h5py.File(path) as file:
        chunk = file["events/x"].id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    content[chunk.byte_offset + 16 : chunk.byte_offset + 200] = b"\xff" * 184
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"cannot be read .*; it is damaged: copy, download"):
        open_dsec(path, SIZE).between(0, 2**62)


def test_events_outside_the_sensor(path: Path) -> None:
    with pytest.raises(ValueError, match=r"events 0 to 5000 of .*events\.h5: .* outside the sensor"):
        open_dsec(path, (20, 20)).between(0, 2**62)


def test_without_hdf5plugin_there_is_one_sentence(path: Path) -> None:
    code = (
        "import sys; sys.modules['hdf5plugin'] = None\n"
        "from mambaseg_core.recordings.hdf5.dsec import open_dsec\n"
        "try: len(open_dsec(sys.argv[1]))\n"
        "except ValueError as error: print(error)"
    )
    result = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True)
    assert "is packed with HDF5 filter 32001 (blosc), which is not installed" in result.stdout
    assert result.stdout.endswith("pip install hdf5plugin\n")


@pytest.mark.parametrize("call", [lambda f: f.last(-1, 0), lambda f: list(f.chunks(duration_ns=0))])
def test_wrong_numbers(path: Path, call: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        call(open_dsec(path, SIZE))


def test_the_compression_is_blosc() -> None:
    assert blosc_zstd()["compression"] == 32001


def test_columns_of_different_lengths(path: Path) -> None:
    change(path, "events/p", np.zeros(4999, np.uint8))
    with pytest.raises(ValueError, match="'/events/p': 4999"):
        len(open_dsec(path, SIZE))


def test_a_header_that_claims_more_events_than_the_file_can_hold(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "events.h5", "w") as file:
        for name in "xytp":
            file.create_dataset(f"events/{name}", (2**50,), np.uint16, chunks=(1024,))
        file.create_dataset("ms_to_idx", data=np.zeros(1, np.int64))
    with pytest.raises(ValueError, match=r"claims 1125899906842624 events"):
        len(open_dsec(tmp_path / "events.h5"))


@pytest.mark.parametrize("value", [2**60, -(2**62)])
def test_an_absurd_t_offset(path: Path, value: int) -> None:
    change(path, "t_offset", np.int64(value))
    with pytest.raises(ValueError, match=f"/t_offset of .* is {value}"):
        len(open_dsec(path, SIZE))


def test_rectify_map(tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=(4, 5, 2)).astype(np.float32)
    path = tmp_path / "rectify_map.h5"
    for data, words in (
        (values, ""),
        (values[..., 0], r"\[4, 5\], expected \[H, W, 2\]"),
        (values * np.nan, "no numbers"),
    ):
        with h5py.File(path, "w") as file:
            file.create_dataset("rectify_map", data=data, **blosc_zstd())
        if words:
            with pytest.raises(ValueError, match=words):
                read_rectify_map(path)
        else:
            np.testing.assert_array_equal(read_rectify_map(path), values)
    path.unlink()
    with pytest.raises(ValueError, match=r"rectify_map\.h5 is missing"):
        read_rectify_map(path)
