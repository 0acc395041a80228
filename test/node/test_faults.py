from __future__ import annotations

import math

import pytest

from mambaseg_ros.faults import FaultLog, Throttle, kind_of


def test_only_the_numbers_differ_is_the_same_kind() -> None:
    throttle = Throttle(period_s=math.inf)
    assert throttle.lets_through("got 3 events")
    assert not throttle.lets_through("got 4 events")
    assert throttle.lets_through("got 4 images")
    assert throttle.lets_through("the image's encoding is 'evt9', sizes {'x': 1}")
    assert not throttle.lets_through("the image's encoding is 'evt8', sizes {'y': 2}")


def test_a_number_is_one_thing_whatever_its_sign_and_its_digits() -> None:
    kinds = {kind_of(f"{number} ms from the stamp") for number in ("+1.5", "-20", "0.0625", "3e-05", "1e+16", "7")}
    assert len(kinds) == 1
    assert kind_of("evt2 of 5 events") != kind_of("evt2 of 5 images")


def test_it_is_said_again_after_the_period() -> None:
    throttle = Throttle(period_s=0.0)
    assert throttle.lets_through("a")
    assert throttle.lets_through("a")


def test_a_timer_of_that_period_that_fires_early_is_not_held_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Warnings of every 5 s came every 10 s: the timer's jitter met a throttle of 5 s."""
    now = [100.0]
    monkeypatch.setattr("mambaseg_ros.faults.time.monotonic", lambda: now[0])
    faults = FaultLog()
    said = []
    for at in (100.0, 104.99, 110.2, 114.8, 119.9):
        now[0] = at
        said.append(faults.note("nothing comes on /image"))
    assert said == [True] * 5
    now[0] += 3.0
    assert not faults.note("nothing comes on /image")


def test_memory_is_bounded() -> None:
    throttle = Throttle(period_s=60)
    for index in range(1000):
        throttle.lets_through("x" * index)
    assert len(throttle._said) <= 100


def test_kinds_of_faults_are_bounded() -> None:
    faults = FaultLog()
    for index in range(1000):
        faults.note("x" * index)
    assert len(faults.all()) == 20
    assert faults.all()[0].sentence == "x" * 999
