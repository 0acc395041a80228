"""Several publishers that deliver on one topic side by side."""

from __future__ import annotations

import pytest

from mambaseg_ros.topics.deliveries import RECENT_S, Deliveries


@pytest.mark.parametrize(
    ("publishers", "mixed"),
    [("AAAA", False), ("AAABBB", False), ("AB", False), ("ABA", True), ("ABCD", False), ("AABBCCAA", True)],
    ids=["one", "started anew", "the first of another", "two", "started anew again and again", "three"],
)
def test_only_one_that_is_heard_after_another_delivers_beside_it(publishers: str, mixed: bool) -> None:
    found = Deliveries()
    for number, publisher in enumerate(publishers):
        found.heard(publisher.encode(), 100 + number * 0.1)
    assert found.mixed(101) == mixed
    assert not found.mixed(102 + RECENT_S)  # until one of them ended
    assert found.recent(101) == {name.encode() for name in publishers}
    assert found.recent(102 + RECENT_S) == set()


def test_one_that_pauses_while_another_delivers_is_not_beside_it() -> None:
    found = Deliveries()
    for publisher, now in ((b"A", 0.0), (b"B", 1.0), (b"A", RECENT_S + 1)):
        found.heard(publisher, now)
    assert not found.mixed(RECENT_S + 1)


@pytest.mark.parametrize(
    ("numbers", "mixed"),
    [([7, 8, 12], False), ([100, 101, 0, 1, 2], False), ([5, 5, 6, 6], True), ([900, 1, 901, 2, 902], True)],
    ids=["one", "started anew", "two in step", "two"],
)
def test_without_names_numbers_that_fall_back_again_are_of_several(numbers: list[int], mixed: bool) -> None:
    found = Deliveries()
    for at, number in enumerate(numbers):
        found.numbered(number, 100 + at * 0.1)
    assert found.mixed(101) == mixed


def test_the_publishers_that_are_remembered_are_bounded() -> None:
    found = Deliveries()
    for number in range(1000):
        found.heard(str(number).encode(), 0.0)
    assert len(found.recent(0.0)) <= 100
