from __future__ import annotations

import pytest

from mambaseg_ros.policy import Freshness, Health, judge_events

MS = 1_000_000


@pytest.mark.parametrize(
    ("newest_ns", "used", "health", "sentence"),
    [
        (None, 0, Health.SILENT, "no events have come"),
        (1000 * MS, 5, Health.GOOD, ""),
        (1001 * MS, 5, Health.GOOD, ""),
        (950 * MS, 5, Health.GOOD, ""),
        (
            949 * MS,
            5,
            Health.STALE,
            "events end 51.0 ms before the image's stamp; expected less than events_stale",
        ),
        (5000 * MS, 0, Health.STALE, "no events in the window that ends at the image's stamp 1000000000 ns"),
    ],
)
def test_events_are_judged_by_the_image(newest_ns: int | None, used: int, health: Health, sentence: str) -> None:
    judged = judge_events(1000 * MS, newest_ns, used, 50 * MS)
    assert judged[0] == health
    assert sentence in judged[1]
    assert bool(judged[1]) == bool(sentence)


def test_silence_is_measured_on_a_clock_that_starts_late_stands_still_and_jumps_back() -> None:
    freshness = Freshness(0)  # simulated time before the first /clock
    assert freshness.silent_ns(7_000 * MS) == 0
    assert freshness.silent_ns(7_400 * MS) == 400 * MS
    freshness.seen(7_500 * MS)
    assert freshness.silent_ns(7_500 * MS) == 0
    assert freshness.silent_ns(100 * MS) == 0  # the bag looped
    assert freshness.silent_ns(700 * MS) == 600 * MS
