"""NumPy and text tables of events: columns, units of time, sizes, and what is refused."""

from __future__ import annotations

import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import event_recordings as recordings
import numpy as np
import numpy.typing as npt
import pytest

from mambaseg_core.events import Events
from mambaseg_core.recordings import EventFileError, open_events

US = 1000


@pytest.fixture(scope="module")
def events() -> Events:
    return recordings.some_events(2000)


def same(path: Path, expected: Events, **options: Any) -> str:
    """Check the events of a file; return its encoding."""
    with open_events(path, **{"size": recordings.SIZE, **options}) as reader:
        got = reader.between(-(2**62), 2**62).events
        for name in ("x", "y", "t_ns", "p"):
            np.testing.assert_array_equal(getattr(got, name), getattr(expected, name))
        return reader.encoding


def table(events: Events, order: str, unit_ns: float = US, off: int = 0) -> npt.NDArray[Any]:
    """Return the columns [N, 4] in an order; whole times as integers."""
    times = events.t_ns // int(unit_ns) if unit_ns <= US else events.t_ns / unit_ns
    columns = {"t": times, "x": events.x, "y": events.y, "p": np.where(events.p > 0, 1, off)}
    return np.stack([columns[name] for name in order], -1)


def text(path: Path, rows: npt.NDArray[Any], *, separator: str = " ", head: str = "", end: str = "\n") -> Path:
    whole = (rows == np.rint(rows)).all(0)
    lines = [
        separator.join(f"{value:.0f}" if w else f"{value:.9f}" for value, w in zip(row, whole, strict=True))
        for row in rows.tolist()
    ]
    path.write_bytes((head + "".join(line + end for line in lines)).encode())
    return path


@pytest.mark.parametrize("off", [0, -1])
@pytest.mark.parametrize(("unit", "unit_ns"), [("s", 1e9), ("us", 1000), ("ns", 1)])
@pytest.mark.parametrize("order", ["txyp", "xytp", "xypt", "pxyt", "xtpy"])
def test_columns_and_units_are_guessed_and_said(
    tmp_path: Path, events: Events, order: str, unit: str, unit_ns: float, off: int
) -> None:
    rows = table(events, order, unit_ns, off)
    said = f"columns {order} (guessed), time in {unit} (guessed)"
    np.save(tmp_path / "a.npy", rows)
    assert same(tmp_path / "a.npy", events) == said
    np.save(tmp_path / "b.npy", rows.T)
    assert same(tmp_path / "b.npy", events) == said
    np.savez_compressed(tmp_path / "c.npz", events=np.asfortranarray(rows))
    assert same(tmp_path / "c.npz", events) == said
    for separator in (" ", ",", ";", "\t", ", "):
        assert same(text(tmp_path / "d.txt", rows, separator=separator), events) == said


def test_a_named_unit_and_order_are_taken(tmp_path: Path, events: Events) -> None:
    path = text(tmp_path / "a.txt", table(events, "xytp"))
    assert same(path, events, columns="xytp", time_unit="us") == "columns xytp, time in us"
    slow = Events(events.x, events.y, events.t_ns * 1000, events.p, events.height, events.width)
    assert same(path, slow, time_unit="ms") == "columns xytp (guessed), time in ms"
    swapped = Events(events.y, events.x, events.t_ns, events.p, *recordings.SIZE[::-1])
    assert same(path, swapped, columns="yxtp", size=recordings.SIZE[::-1]).startswith("columns yxtp,")
    for options, words in [({"time_unit": "min"}, "time_unit is 'min'"), ({"columns": "txy"}, "columns is 'txy'")]:
        with pytest.raises(EventFileError, match=words):
            open_events(path, size=recordings.SIZE, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "names", ["x,y,t,p", "X, Y, Timestamp, Polarity", "x_addr,y_addr,ts,pol", '"x","y","time","on"']
)
@pytest.mark.parametrize("mark", ["", "# ", "% ", "\ufeff"])
def test_names_in_the_first_line(tmp_path: Path, events: Events, names: str, mark: str) -> None:
    path = text(tmp_path / "a.csv", table(events, "xytp"), separator=",", head=f"{mark}{names}\n")
    assert same(path, events) == "columns xytp, time in us (guessed)"


@pytest.mark.parametrize(
    ("name", "unit_ns"), [("t_us", 1000), ("Timestamp [ns]", 1), ("time (s)", 1e9), ("ts_ms", 1e6)]
)
def test_a_unit_in_the_name_of_the_time(tmp_path: Path, events: Events, name: str, unit_ns: float) -> None:
    rows = table(events, "txyp", unit_ns)
    unit = name.strip(")]").replace("_", " ").replace("(", "").replace("[", "").split()[1]
    path = text(tmp_path / "a.csv", rows, separator=",", head=f"{name},x,y,p\n")
    assert same(path, events) == f"columns txyp, time in {unit}"
    np.savez(tmp_path / "b.npz", **dict(zip([name, "x", "y", "p"], rows.T, strict=True)))
    assert same(tmp_path / "b.npz", events) == f"columns txyp, time in {unit}"


def test_the_index_of_a_data_frame_and_commas_at_the_ends(tmp_path: Path, events: Events) -> None:
    rows = np.column_stack([np.arange(len(events)), table(events, "xytp")])
    path = text(tmp_path / "a.csv", rows, separator=",", head=",x,y,t,p\n")
    assert same(path, events) == "columns xytp, time in us (guessed)"
    path = text(tmp_path / "b.csv", table(events, "txyp"), separator=",", end=",\n")
    assert same(path, events) == "columns txyp (guessed), time in us (guessed)"


def test_other_columns_are_passed_over(tmp_path: Path, events: Events) -> None:
    rows = table(events, "xytp")
    lines = [f"a{number},{x},{y},0.5,{t},{p}\n" for number, (x, y, t, p) in enumerate(rows.tolist())]
    path = tmp_path / "a.csv"
    path.write_text("id,x,y,weight,t,p\n" + "".join(lines))
    assert same(path, events).startswith("columns xytp, ")


@pytest.mark.parametrize(
    "head", ["346 260\n", "%geometry:346,260\n", "# resolution: 346x260\n# made by hand\n\n", "% size 346 260\r\n"]
)
def test_the_size_in_the_file(tmp_path: Path, events: Events, head: str) -> None:
    path = text(tmp_path / "events.txt", table(events, "txyp", 1e9), head=head, end="\r\n")
    assert same(path, events, size=None).endswith("time in s (guessed)")


def test_the_size_must_be_given(tmp_path: Path, events: Events) -> None:
    np.save(tmp_path / "a.npy", table(events, "txyp"))
    for path in (tmp_path / "a.npy", text(tmp_path / "a.txt", table(events, "txyp"))):
        with pytest.raises(EventFileError, match=r"no size of the sensor.*--height and --width"):
            open_events(path)


def test_a_size_that_leaves_events_out(tmp_path: Path, events: Events) -> None:
    """Height and width swapped."""
    np.save(tmp_path / "a.npy", table(events, "txyp"))
    for path in (tmp_path / "a.npy", text(tmp_path / "a.txt", table(events, "txyp"))):
        with pytest.raises(EventFileError, match=r"columns up to 345 and rows up to 259, .* sensor of 260x346"):
            open_events(path, size=(346, 260))


def test_comments_blank_lines_and_polarities_in_words(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("# made by hand\nt,x,y,p\n\n10,1,2,True\n# in between\n11,3,4,false\n   \n12,5,6,TRUE # end\n")
    expected = Events.from_arrays([1, 3, 5], [2, 4, 6], [10_000, 11_000, 12_000], [1, -1, 1], height=9, width=9)
    assert same(path, expected, size=(9, 9)) == "columns txyp, time in us (guessed)"


def test_seconds_of_unix_time_are_rounded_to_microseconds(tmp_path: Path, events: Events) -> None:
    """Float64 has steps of 0.24 us there."""
    late = Events(events.x, events.y, events.t_ns + 1_468_940_293 * 10**9, events.p, events.height, events.width)
    lines = [
        f"{t // 10**9}.{t % 10**9:09d} {x} {y} {(p + 1) // 2}\n" for t, x, y, p in table(late, "txyp", 1, -1).tolist()
    ]
    (tmp_path / "events.txt").write_text("".join(lines))
    assert same(tmp_path / "events.txt", late).endswith("time in s (guessed)")


def test_nanoseconds_of_unix_time_are_exact(tmp_path: Path, events: Events) -> None:
    odd = events.t_ns + 1_468_940_293 * 10**9 + 1
    late = Events(events.x, events.y, odd, events.p, events.height, events.width)
    rows = np.stack([late.t_ns, late.x, late.y, late.p], -1)
    (tmp_path / "a.txt").write_text("".join(" ".join(map(str, row)) + "\n" for row in rows.tolist()))
    assert same(tmp_path / "a.txt", late).endswith("time in ns (guessed)")
    np.save(tmp_path / "a.npy", rows)
    assert same(tmp_path / "a.npy", late).endswith("time in ns (guessed)")


def test_blocks_of_a_text_are_read_again(tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mambaseg_core.recordings.tables.text_table._BLOCK_BYTES", 700)
    path = text(tmp_path / "a.txt", table(events, "txyp"), head="# x\n" * 30)
    same(path, events)
    reader = open_events(path, size=recordings.SIZE)
    for end in range(1900, 0, -170):
        got = reader.between(int(events.t_ns[end - 100]), int(events.t_ns[end])).events
        np.testing.assert_array_equal(got.x, events.between(int(events.t_ns[end - 100]), int(events.t_ns[end])).x)


@pytest.mark.parametrize("rate", [2e2, 5e8])
def test_an_unclear_unit_is_refused(tmp_path: Path, rate: float) -> None:
    """2000 events at a rate that no camera has in us."""
    times = np.floor(np.arange(2000) * 1e6 / rate) + 7
    rows = np.stack([times, np.arange(2000) % 300, np.arange(2000) % 200, np.arange(2000) % 2], -1).astype(np.int64)
    np.save(tmp_path / "a.npy", rows)
    for path in (tmp_path / "a.npy", text(tmp_path / "a.txt", rows)):
        with pytest.raises(
            EventFileError, match=r"does not say the unit of its times .*time_unit='us'\), or --time-unit"
        ):
            open_events(path, size=recordings.SIZE, columns="txyp")
        assert len(open_events(path, size=recordings.SIZE, columns="txyp", time_unit="us")) == 2000


def test_milliseconds_with_microseconds_as_fractions(tmp_path: Path, events: Events) -> None:
    assert same(text(tmp_path / "a.txt", table(events, "txyp", 1e6)), events) == (
        "columns txyp (guessed), time in ms (guessed)"
    )


def test_unclear_columns_are_refused(tmp_path: Path) -> None:
    rows = np.array([[1, 1, 1, 1], [2, 2, 2, 1]])
    np.save(tmp_path / "a.npy", rows)
    for path in (tmp_path / "a.npy", text(tmp_path / "a.txt", rows)):
        with pytest.raises(EventFileError, match=r"that can be txyp or .*--columns txyp"):
            open_events(path, size=recordings.SIZE)
        assert len(open_events(path, size=recordings.SIZE, columns="txyp")) == 2


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([[10, 1.5, 2, 1], [11, 1, 2, 0]], r"x = \[1\.5\]"),
        ([[10, 1, 2, 1], [11, 1, 2, 7]], r"polarities \[1, 7\]"),
        ([[10, 1, 2, -1], [11, 1, 2, 0]], r"polarities \[-1, 0\]"),
        ([[float("nan"), 1, 2, 1], [11, 1, 2, 0]], "times up to nan"),
        ([[1e300, 1, 2, 1], [1e301, 1, 2, 0]], r"less than 146 years"),
    ],
)
def test_values_that_are_no_events(tmp_path: Path, rows: list[list[float]], words: str) -> None:
    np.save(tmp_path / "a.npy", np.array(rows))
    with pytest.raises(EventFileError, match=words):
        len(open_events(tmp_path / "a.npy", size=recordings.SIZE, columns="txyp", time_unit="us"))


def test_rows_that_are_not_sorted(tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    """All ON events ahead of all OFF: right within one block, refused across blocks."""
    order = np.argsort(-events.p, kind="stable")
    rows = table(events, "txyp")[order]
    np.save(tmp_path / "a.npy", rows)
    paths = (tmp_path / "a.npy", text(tmp_path / "a.txt", rows))
    for path in paths:
        with open_events(path, size=recordings.SIZE, columns="txyp", time_unit="us") as reader:
            np.testing.assert_array_equal(reader.between(0, 2**62).events.t_ns, events.t_ns)
    monkeypatch.setattr("mambaseg_core.recordings.tables.array_table._BLOCK", 200)
    monkeypatch.setattr("mambaseg_core.recordings.tables.text_table._BLOCK_BYTES", 5000)
    for path in paths:
        with pytest.raises(EventFileError, match="in the order of time; sort it by time"):
            len(open_events(path, size=recordings.SIZE, columns="txyp", time_unit="us"))


def test_float32_that_has_lost_the_time(tmp_path: Path, events: Events) -> None:
    late = table(events, "txyp").astype(np.float64)
    late[:, 0] += 1e15
    np.save(tmp_path / "a.npy", late.astype(np.float32))
    with pytest.raises(EventFileError, match=r"as float32, which holds steps of .* float64"):
        len(open_events(tmp_path / "a.npy", size=recordings.SIZE, columns="txyp", time_unit="us"))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.zeros((3, 4, 5))}, r"images.*float64 \[3, 4, 5\]"),
        ({"t": np.zeros(3), "x": np.zeros(3), "y": np.zeros(3), "p": np.zeros(2)}, "one length"),
        ({"a": np.zeros((3, 4)), "b": np.zeros((3, 4))}, "expected arrays t, x, y and p"),
        ({"events": np.zeros(3, [("x", "i4"), ("y", "i4")])}, r"fields \['x', 'y'\]"),
        ({"events": np.array([["a", "b", "c", "d"]])}, "expected numbers"),
    ],
)
def test_arrays_of_something_else(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(EventFileError, match=words):
        open_events(tmp_path / "a.npz", size=recordings.SIZE)


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"t": 1}], object), allow_pickle=True)
    with pytest.raises(EventFileError, match="Python objects"):
        open_events(tmp_path / "a.npy", size=recordings.SIZE)


def test_an_archive_that_claims_gigabytes(tmp_path: Path) -> None:
    """The member's header claims 32 GB of events; the member has 16 KB."""
    np.savez(tmp_path / "a.npz", events=np.zeros((500, 4)))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        member = archive.read("events.npy")
    forged = member.replace(b"(500, 4)", b"(10**9,4)".replace(b"10**9", b"999999999"))[: len(member)]
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("events.npy", forged)
    with pytest.raises(EventFileError, match="cannot be read"):
        open_events(tmp_path / "b.npz", size=recordings.SIZE)


def test_a_header_that_claims_gigabytes(tmp_path: Path) -> None:
    """A header of version 2 with a length of 4 GB."""
    (tmp_path / "a.npy").write_bytes(b"\x93NUMPY\x02\0\xff\xff\xff\xff" + b"{" * 2000)
    tracemalloc.start()
    try:
        with pytest.raises(EventFileError, match="cannot be read"):
            open_events(tmp_path / "a.npy", size=recordings.SIZE)
        assert tracemalloc.get_traced_memory()[1] < 10 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("17000000 x 2 1", "could not convert"),
        ("17000000 1 2", "cannot be read"),
    ],
)
def test_a_damaged_row_is_named(tmp_path: Path, events: Events, line: str, words: str) -> None:
    path = text(tmp_path / "a.txt", table(events, "txyp"))
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(EventFileError, match=words):
        len(open_events(path, size=recordings.SIZE, columns="txyp"))


def test_a_line_that_never_ends(tmp_path: Path, events: Events, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mambaseg_core.recordings.tables.text_table._BLOCK_BYTES", 1000)
    path = text(tmp_path / "a.txt", table(events, "txyp"))
    path.write_text(path.read_text() + "1" * 3000)
    with pytest.raises(EventFileError, match="a line of more than 1000 bytes"):
        len(open_events(path, size=recordings.SIZE))


@pytest.mark.parametrize("content", ["1 2 3\n4 5 6\n", "a,b,c,d\n1,2,3,4\n", "x y\n1 2\n"])
def test_other_texts_are_no_events(tmp_path: Path, content: str) -> None:
    (tmp_path / "notes.txt").write_text(content)
    with pytest.raises(EventFileError, match="expected"):
        open_events(tmp_path / "notes.txt", size=recordings.SIZE)


def test_a_table_is_no_raw_file(tmp_path: Path) -> None:
    """A comment begins as a header of `.raw` does."""
    path = tmp_path / "a.txt"
    path.write_text("% made by hand\n10 1 2 1\n11 3 4 0\n")
    with open_events(path, size=(9, 9), columns="txyp") as reader:
        assert (reader.format, len(reader)) == ("text", 2)
