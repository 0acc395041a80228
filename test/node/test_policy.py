from __future__ import annotations

import re
from typing import Any

import pytest

from mambaseg_ros.policy import Freshness, Health, Limits, judge_age, judge_clock, judge_events, judge_image_age

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
    judged = judge_events(1000 * MS, newest_ns, used, Limits(50 * MS))
    assert judged[0] == health
    assert sentence in judged[1]
    assert bool(judged[1]) == bool(sentence)


@pytest.mark.parametrize(
    ("age_ms", "here_ms", "simulated", "health", "said"),
    [
        (0, 0, False, Health.GOOD, ""),
        (1000, 900, False, Health.GOOD, ""),
        (1400, 900, False, Health.GOOD, "the mask is 1400 ms old, and 900 ms of these passed in the node; expected"),
        (1400, 399, False, Health.STALE, "the stamp is 1.400 s behind the node's clock, and 399 ms passed in the node"),
        (3_600_000, 30, False, Health.STALE, "3600.000 s behind .* set the camera's clock, or .* set use_sim_time"),
        (3_600_000, 30, True, Health.STALE, "3600.000 s behind .* play the bag with its own clock"),
        (-100, 30, False, Health.GOOD, ""),
        (-101, 30, False, Health.STALE, "0.101 s ahead of the node's clock, .* expected at most 100 ms ahead of it"),
        (-1000, 30, True, Health.GOOD, ""),  # /clock comes in steps
        (-1001, 30, True, Health.STALE, "1.001 s ahead of .* expected at most 1000 ms ahead of it"),
    ],
)  # fmt: skip
def test_an_image_is_judged_by_its_age(age_ms: int, here_ms: float, simulated: bool, health: Health, said: str) -> None:
    now_ns = 10**18
    judged = judge_age(now_ns, now_ns - age_ms * MS, here_ms, 1000.0, simulated=simulated)
    assert judged[0] == health
    assert re.match(f"^(the stamp is )?{said}" if said else "$", judged[1])
    assert judge_age(now_ns, now_ns - age_ms * MS, here_ms, 0.0, simulated=simulated) == (Health.GOOD, "")


@pytest.mark.parametrize(
    ("days", "simulated", "said"),
    [
        (0.9, False, ""),
        (1112, False, "1112 days behind .* set use_sim_time to true"),
        (20000, True, "20000 days behind .* play the bag with its own clock"),
        (-3, False, "3 days ahead of"),
    ],
)
def test_stamps_of_another_clock_tell_no_age(days: float, simulated: bool, said: str) -> None:
    now_ns = 2 * 10**18
    sentence = judge_clock(now_ns, now_ns - int(days * 86_400 * 1e9), simulated=simulated)
    assert re.search(said, sentence)
    assert bool(said) == bool(sentence)


def test_without_a_clock_the_age_is_unknown() -> None:
    health, said = judge_age(0, 10**18, 30.0, 1000.0, simulated=True)
    assert health == Health.STALE
    assert "the node's clock stands at 0" in said


def test_the_period_is_that_of_the_last_messages_and_an_outage_is_none() -> None:
    freshness = Freshness(0)
    for now_ms, period_ms in ((700, 0), (1700, 0), (2700, 1000), (62_700, 1000), (63_700, 1000), (64_700, 1000)):
        freshness.seen(now_ms * MS)
        assert freshness.period_ns == period_ms * MS
    for now_ms in (164_700, 264_700):
        freshness.seen(now_ms * MS)
    assert freshness.period_ns == 5000 * MS


def test_silence_is_measured_on_a_clock_that_starts_late_stands_still_and_jumps_back() -> None:
    freshness = Freshness(0)  # simulated time before the first /clock
    assert freshness.silent_ns(7_000 * MS) == 0
    assert freshness.silent_ns(7_400 * MS) == 400 * MS
    freshness.seen(7_500 * MS)
    assert freshness.silent_ns(7_500 * MS) == 0
    assert freshness.silent_ns(100 * MS) == 0  # the bag looped
    assert freshness.silent_ns(700 * MS) == 600 * MS


@pytest.mark.parametrize(
    ("newest_ms", "later_ms", "said"),
    [
        (1000, 1000, ""),
        (900, 5000, ""),
        (899.9, 899.9, "the newest image is 100.1 ms old at the mask's time; expected one of at most image_age_max_ms"),
        (None, 3000, "the newest image is 2000.0 ms later than the mask's time, and none before it is left; expected"),
        (None, None, "there is no image at the mask's time; expected one of at most image_age_max_ms = 100"),
        (None, 10, "there is no image at the mask's time; expected one of at most image_age_max_ms = 100"),
    ],
)
def test_an_image_that_is_too_old_for_a_mask_is_told_by_its_age(newest_ms: Any, later_ms: Any, said: str) -> None:
    newest_ns, later_ns = (None if ms is None else round(ms * MS) for ms in (newest_ms, later_ms))
    sentence = judge_image_age(1000 * MS, newest_ns, later_ns, 100 * MS)
    assert sentence.startswith(said)
    assert bool(sentence) == bool(said)
