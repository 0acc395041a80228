"""Gaps in the numbers of messages."""

from __future__ import annotations

from itertools import pairwise

import pytest

from mambaseg_ros.messages.numbers import MOST_LOST, Numbers


@pytest.mark.parametrize(
    ("numbers", "lost", "of_several"),
    [
        ([0, 1, 2], 0, False),
        ([7, 8, 12, 13], 3, False),
        ([0, 1, 2, 0, 1, 2] * 3, 0, True),
        ([*range(50), *range(0, 50, 2)], 24, False),
        ([0, 1, 1 + MOST_LOST + 1, 3 + MOST_LOST, 2**64 - 1], 0, False),
        ([10, 500, 11, 501, 12, 502], 489 + 488 + 488, True),
        ([], 0, False),
    ],
    ids=["whole", "gap", "restarts", "restart with gaps", "garbage", "two publishers", "none"],
)
def test_gaps_are_counted(numbers: list[int], lost: int, of_several: bool) -> None:
    found = Numbers()
    total = sum(found.missing(number) for number in numbers)
    assert (total, found.of_several) == (found.lost, of_several)
    assert found.lost == lost or of_several
    assert found.jumps == sum(b - a > MOST_LOST for a, b in pairwise(numbers))
