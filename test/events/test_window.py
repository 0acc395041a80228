from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mambaseg_core.events import Events, Window
from mambaseg_core.events.window import DEFAULT_MAX_AGE_NS, equal_edges


def at(*times: int) -> Events:
    """Return events at these times; x numbers them."""
    n = len(times)
    return Events.from_arrays(np.arange(n), np.zeros(n, int), list(times), np.ones(n, int), height=1, width=100)


@pytest.mark.parametrize(
    ("given_", "sentence"),
    [
        ({}, "expected exactly one"),
        ({"duration_ns": 1, "count": 1}, "expected exactly one"),
        ({"duration_ns": 0}, "duration_ns is 0"),
        ({"count": -5}, "count is -5"),
        ({"count": 5, "max_age_ns": 0}, "max_age_ns is 0"),
        ({"duration_ns": 5, "max_age_ns": 7}, "max_age_ns=7 with duration_ns=5"),
    ],
)
def test_refuses(given_: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Window(**given_)
    with pytest.raises(TypeError, match="float"):
        Window(duration_ns=5e6)  # type: ignore[arg-type]


def test_duration_is_half_open_and_ends_at_the_image() -> None:
    events = at(9, 10, 15, 19, 20)
    assert Window(10).cut(events, 20).t_ns.tolist() == [10, 15, 19]
    assert np.shares_memory(Window(10).cut(events, 20).x, events.x)


def test_duration_per_bin() -> None:
    events = at(*range(100))
    window = Window(duration_ns=5, per_bin=True)
    assert window.start_ns(100, 4) == 80
    assert window.cut(events, 100, 4).t_ns.tolist() == list(range(80, 100))


def test_count_takes_the_newest() -> None:
    events = at(1, 2, 3, 4, 5)
    assert Window(count=2).cut(events, 5).t_ns.tolist() == [3, 4]
    assert Window(count=99).cut(events, 5).t_ns.tolist() == [1, 2, 3, 4]
    assert Window(count=2, per_bin=True).cut(events, 6, 2).t_ns.tolist() == [2, 3, 4, 5]
    assert Window(count=2).cut(at(7, 7, 7), 8).x.tolist() == [1, 2]


def test_count_of_a_parked_car_stops_at_the_age() -> None:
    events = at(0, 10**9, 60 * 10**9)
    assert Window(count=3).max_age_ns == DEFAULT_MAX_AGE_NS
    assert Window(count=3).cut(events, 60 * 10**9 + 1).t_ns.tolist() == [60 * 10**9]
    assert len(Window(count=3, max_age_ns=10**12).cut(events, 60 * 10**9 + 1)) == 3


def test_none_and_one() -> None:
    for window in (Window(10), Window(count=10), Window(count=10, per_bin=True)):
        none = window.cut(at(), 20)
        assert len(none) == 0
        assert window.edges_ns(none, 20, bins=2, mode="bilinear").tolist() == [20, 20]
        one = window.cut(at(15), 20)
        assert window.edges_ns(one, 20, bins=2, mode="bilinear").tolist() == [15, 15]
    assert Window(10).edges_ns(at(), 20, bins=2, mode="binned").tolist() == [10, 15, 20]
    assert Window(count=10).edges_ns(at(), 20, bins=2, mode="binned").tolist() == [20, 20, 20]


def test_bilinear_edges_are_first_and_last() -> None:
    edges = Window(10).edges_ns(at(11, 12, 17), 20, bins=10, mode="bilinear")
    assert edges.tolist() == [11, 17]
    assert edges.dtype == np.int64


def test_binned_edges() -> None:
    events = at(10, 11, 12, 19)
    assert Window(10).edges_ns(events, 20, bins=3, mode="binned").tolist() == [10, 13, 16, 20]
    per_bin = Window(5, per_bin=True)
    assert per_bin.edges_ns(events, 20, bins=2, mode="binned").tolist() == [10, 15, 20]
    assert Window(count=4).edges_ns(events, 30, bins=2, mode="binned").tolist() == [10, 15, 20]
    by_count = Window(count=2, per_bin=True)
    assert by_count.edges_ns(events, 30, bins=2, mode="binned").tolist() == [10, 12, 20]
    # three bins of two would take six events: the oldest bin is empty
    assert by_count.edges_ns(events, 30, bins=3, mode="binned").tolist() == [10, 10, 12, 20]
    # simultaneous events are not split
    assert by_count.edges_ns(at(10, 11, 11, 12), 30, bins=2, mode="binned").tolist() == [10, 11, 13]
    assert by_count.edges_ns(at(10, 10, 10, 10), 30, bins=2, mode="binned").tolist() == [10, 10, 11]


def test_edges_refuse() -> None:
    with pytest.raises(ValueError, match="'nearest'"):
        Window(10).edges_ns(at(1), 20, bins=10, mode="nearest")
    with pytest.raises(ValueError, match="bins is 0"):
        Window(10).edges_ns(at(1), 20, bins=0, mode="bilinear")


@given(st.integers(0, 2**62), st.integers(0, 2**40), st.integers(1, 20))
def test_equal_edges_end_exactly(start: int, span: int, bins: int) -> None:
    edges = equal_edges(start, start + span, bins)
    assert (edges[0], edges[-1], len(edges)) == (start, start + span, bins + 1)
    steps = np.diff(edges)
    assert steps.min() >= 0
    assert steps.max() - steps.min() <= 1
