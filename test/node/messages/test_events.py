from __future__ import annotations

from typing import Any

import pytest

from mambaseg_core.events.messages import events_from_message


def test_event_columns_become_events(event_message: Any) -> None:
    events, refused = events_from_message(event_message([5, 0], [3, 1], [0, 7], [1, 0], stamp_ns=10**18))
    assert refused == 0
    assert events.t_ns.tolist() == [10**18, 10**18 + 7]
    assert (events.x.tolist(), events.y.tolist(), events.p.tolist()) == ([5, 0], [3, 1], [1, -1])
    assert (events.height, events.width) == (4, 6)


def test_events_outside_are_dropped_and_counted(event_message: Any) -> None:
    events, refused = events_from_message(event_message([6, 0, 0], [0, 4, 3], [0, 1, 2], [1, 1, 1]))
    assert refused == 2
    assert events.y.tolist() == [3]


def test_empty_columns_are_no_events(event_message: Any) -> None:
    events, refused = events_from_message(event_message([], [], [], []))
    assert (len(events), refused) == (0, 0)


def test_columns_of_different_lengths_are_refused(event_message: Any) -> None:
    with pytest.raises(ValueError, match="'y': 1"):
        events_from_message(event_message([1, 2], [1], [0, 0], [0, 0]))


def test_times_that_decrease_are_sorted(event_message: Any) -> None:
    events, _ = events_from_message(event_message([1, 2], [1, 1], [5, 4], [0, 0]))
    assert (events.t_ns.tolist(), events.x.tolist()) == ([4, 5], [2, 1])
