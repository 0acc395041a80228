from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from mambaseg_core.events import Events


def make(**changed: Any) -> Events:
    columns: dict[str, Any] = {
        "x": [0, 639, 5],
        "y": [0, 479, 7],
        "t_ns": [10, 10, 12],
        "p": [1, 0, 1],
        "height": 480,
        "width": 640,
    }
    return Events.from_arrays(**{**columns, **changed})


def test_dtypes_and_values() -> None:
    events = make()
    assert [a.dtype for a in (events.x, events.y, events.t_ns, events.p)] == [
        np.uint16,
        np.uint16,
        np.int64,
        np.int8,
    ]
    assert events.x.tolist() == [0, 639, 5]
    assert events.y.tolist() == [0, 479, 7]
    assert events.t_ns.tolist() == [10, 10, 12]
    assert events.p.tolist() == [1, -1, 1]
    assert len(events) == 3
    assert repr(events) == "Events(3 events, 10..12 ns, height=480, width=640)"


POLARITIES = [
    np.array([True, False, True]),
    np.array([1, 0, 1], np.uint8),
    np.array([1, 0, 1], np.int8),
    np.array([1, -1, 1], np.int8),
    np.array([1, -1, 1], np.int64),
    np.array([1, 0, 1], np.uint64),
]


@pytest.mark.parametrize("p", POLARITIES, ids=lambda p: f"{p.dtype}{p.tolist()}")
def test_every_polarity_convention_and_the_input_is_kept(p: np.ndarray) -> None:
    before = p.copy()
    assert make(p=p).p.tolist() == [1, -1, 1]
    assert Events.from_sensor([0, 1, 2], [0, 1, 2], [1, 2, 3], p, height=4, width=4)[0].p.tolist() == [
        1,
        -1,
        1,
    ]
    np.testing.assert_array_equal(p, before)
    assert p.flags.writeable


def test_polarity_of_one_value() -> None:
    assert make(p=[0, 0, 0]).p.tolist() == [-1, -1, -1]
    assert make(p=[1, 1, 1]).p.tolist() == [1, 1, 1]
    assert make(p=[-1, -1, -1]).p.tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("p", "sentence"), [([1, 0, -1], "with zeros"), ([0, 1, 2], "0 to 2"), ([-2, 1, 1], "from -2")]
)
def test_other_polarities_are_refused(p: list[int], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make(p=p)


def test_arrays_are_read_only_and_shared_where_they_fit() -> None:
    x = np.array([1, 2, 3], np.uint16)
    events = make(x=x)
    assert np.shares_memory(events.x, x)
    with pytest.raises(ValueError, match="read-only"):
        events.x[0] = 4
    x[0] = 9  # the caller's own array stays writeable


@pytest.mark.parametrize(
    ("changed", "error", "sentence"),
    [
        ({"x": [0.5, 1, 2]}, TypeError, "x is float64, expected integers"),
        ({"t_ns": np.array([1, 2, 3], "datetime64[ns]")}, TypeError, "t_ns is datetime64"),
        ({"p": [1.0, 0.0, 1.0]}, TypeError, "p is float64, expected integers or bool"),
        ({"x": [[1, 2, 3]]}, TypeError, r"x has shape \[1, 3\]"),
        ({"x": [1, 2]}, ValueError, "'x': 2, 'y': 3"),
        ({"x": [0, 640, 641]}, ValueError, "2 of 3 .* index 1: x=640, y=479, expected x < 640"),
        ({"y": [0, 0, -1]}, ValueError, "1 of 3 .* index 2: x=5, y=-1"),
        ({"t_ns": [10, 12, 11]}, ValueError, "backwards at index 2: 11 after 12"),
        ({"t_ns": np.array([1, 2, 2**63], np.uint64)}, ValueError, "9223372036854775808"),
        ({"height": 0}, ValueError, "height is 0"),
        ({"width": 65537}, ValueError, "width is 65537"),
        ({"height": 480.0}, TypeError, "float"),
    ],
)
def test_what_is_refused(changed: dict[str, Any], error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        make(**changed)


def test_small_signed_coordinates_do_not_wrap() -> None:
    with pytest.raises(ValueError, match="x=-128"):
        make(x=np.array([-128, 1, 2], np.int8))


def test_from_sensor_drops_counts_and_sorts() -> None:
    events, dropped = Events.from_sensor(
        [5, 640, 1, -1, 2], [1, 1, 1, 1, 2], [30, 0, 10, 0, 10], [3, 1, 0, 1, 1], height=480, width=640
    )
    assert dropped == 2
    assert events.t_ns.tolist() == [10, 10, 30]
    assert events.x.tolist() == [1, 2, 5]  # stable: 1 was before 2
    assert events.p.tolist() == [-1, 1, 1]


def test_none_and_one() -> None:
    for events in (Events.empty(480, 640), make(x=[], y=[], t_ns=[], p=[])):
        assert len(events) == 0
        assert events.x.dtype == np.uint16
        assert len(events.between(0, 10)) == 0
        assert "none" in repr(events)
    assert Events.from_sensor([], [], [], [], height=4, width=4)[1] == 0
    assert len(make(x=[1], y=[1], t_ns=[1], p=[1])) == 1


STRUCTURED = np.array(
    [(1, 2, 1_700_000_000_000_000, True), (3, 4, 1_700_000_000_000_001, False)],
    dtype=[("x", "i2"), ("y", "i2"), ("t", "i8"), ("p", "?")],
)


@pytest.mark.parametrize(
    "array",
    [
        STRUCTURED,
        {name: STRUCTURED[name] for name in "xytp"},
        {"x": [1, 3], "y": [2, 4], "timestamp": STRUCTURED["t"], "polarity": [1, -1], "more": []},
        STRUCTURED[["p", "t", "y", "x"]],
    ],
    ids=["structured", "dict", "long names", "other order"],
)
def test_from_structured(array: Any) -> None:
    events = Events.from_structured(array, height=480, width=640)
    assert events.x.tolist() == [1, 3]
    assert events.y.tolist() == [2, 4]
    assert events.t_ns.tolist() == [1_700_000_000_000_000_000, 1_700_000_000_000_001_000]
    assert events.p.tolist() == [1, -1]


def test_from_structured_uint32_microseconds_do_not_overflow() -> None:
    columns = {"x": [1], "y": [1], "t": np.array([2**32 - 1], np.uint32), "p": [1]}
    assert Events.from_structured(columns, height=4, width=4).t_ns.tolist() == [(2**32 - 1) * 1000]
    assert Events.from_structured(columns, height=4, width=4, t_unit_ns=1).t_ns.tolist() == [2**32 - 1]


@pytest.mark.parametrize(
    ("array", "error", "sentence"),
    [
        ({"x": [1], "y": [1], "p": [1]}, ValueError, r"\['x', 'y', 'p'\], expected t or timestamp"),
        ({"x": [1], "y": [1], "t": [0.5], "p": [1]}, TypeError, "t is float64"),
        ({"x": [1], "y": [1], "t": [2**62], "p": [1]}, ValueError, "units of 1000 ns"),
        (np.zeros(3), ValueError, r"fields \[\]"),
        ([1, 2], TypeError, "got list"),
    ],
)
def test_from_structured_refuses(array: Any, error: type[Exception], sentence: str) -> None:
    with pytest.raises(error, match=sentence):
        Events.from_structured(array, height=480, width=640)
    with pytest.raises(ValueError, match="t_unit_ns is 0"):
        Events.from_structured(STRUCTURED, height=480, width=640, t_unit_ns=0)


def test_between_is_half_open_and_copies_nothing() -> None:
    events = make(t_ns=[10, 20, 20])
    assert events.between(10, 20).t_ns.tolist() == [10]
    assert events.between(20, 21).t_ns.tolist() == [20, 20]
    assert len(events.between(21, 30)) == len(events.between(20, 10)) == 0
    assert np.shares_memory(events.between(10, 20).x, events.x)


def test_concatenate() -> None:
    a, b = make(t_ns=[1, 2, 3]), make(t_ns=[3, 4, 5])
    both = Events.concatenate([a, Events.empty(480, 640), b])
    assert both.t_ns.tolist() == [1, 2, 3, 3, 4, 5]
    assert both.p.tolist() == [1, -1, 1] * 2
    assert Events.concatenate([a]) is a
    with pytest.raises(ValueError, match=r"begins at 1 ns, before .* ends at 5 ns"):
        Events.concatenate([b, a])
    with pytest.raises(ValueError, match="640x260, expected 640x480"):
        Events.concatenate([a, Events.empty(260, 640)])
    with pytest.raises(ValueError, match="no parts"):
        Events.concatenate([])


def test_constructor_names_the_wrong_dtype() -> None:
    good = make()
    with pytest.raises(TypeError, match="t_ns is float64"):
        Events(good.x, good.y, good.t_ns.astype(np.float64), good.p, 480, 640)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"x is uint16 \[2\]"):
        Events(good.x[:2], good.y, good.t_ns, good.p, 480, 640)


def test_pickles_for_data_loader_workers() -> None:
    events = pickle.loads(pickle.dumps(make()))
    assert events.t_ns.tolist() == [10, 10, 12]
