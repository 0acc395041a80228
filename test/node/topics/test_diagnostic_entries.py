from __future__ import annotations

import math
import time

from mambaseg_ros.faults import FaultLog
from mambaseg_ros.policy import Health
from mambaseg_ros.topics.diagnostic_entries import (
    DiagnosticLevel,
    Entry,
    Latencies,
    Rates,
    faults_entry,
    model_entry,
    state_entry,
    topic_entry,
)


def test_faults_are_counted_by_kind_the_newest_first() -> None:
    faults = FaultLog(period_s=math.inf)
    assert faults.note("got 3 events")
    assert faults.note("got 1 images")
    assert not faults.note("got 4 events")
    assert [(fault.sentence, fault.count) for fault in faults.all()] == [("got 4 events", 2), ("got 1 images", 1)]
    now = faults.all()[0].at
    entry = faults_entry(faults.all(), now)
    assert (entry.level, entry.message) == (DiagnosticLevel.WARN, "got 4 events")
    assert entry.values["got 4 events"].startswith("2 times")
    later = faults_entry(faults.all(), now + 60)
    assert (later.level, later.message, len(later.values)) == (DiagnosticLevel.OK, "none now", 2)


def test_rates_are_of_the_time_between_two_looks() -> None:
    rates = Rates()
    assert rates.per_second({"a": 5}) == {"a": 0.0}
    time.sleep(0.05)
    assert 0 < rates.per_second({"a": 15})["a"] <= 10 / 0.05


def test_latencies_are_summed_up_as_percentiles() -> None:
    latencies = Latencies(most=100)
    assert latencies.summary() == {}
    for index in range(200):
        latencies.add(total=float(index), own=1.0)
    assert latencies.summary() == {"total p50 / p95 [ms]": "149.5 / 194.1", "own p50 / p95 [ms]": "1.0 / 1.0"}


def test_health_gives_the_level_of_a_topic() -> None:
    levels = {}
    for health in Health:
        entry = topic_entry("images", health=health, topic={"topic": "/image"}, counts={"a": 1}, rates={"a": 2.0})
        levels[entry.message] = entry.level
    assert levels == {
        "good": DiagnosticLevel.OK,
        "silent": DiagnosticLevel.WARN,
        "stale": DiagnosticLevel.WARN,
        "bad": DiagnosticLevel.ERROR,
    }
    assert entry.values == {"topic": "/image", "a [1/s]": "2.0", "a": "1"}


def test_a_failed_transition_is_an_error_and_a_resting_node_a_warning() -> None:
    assert state_entry("active", True, "") == Entry("state", DiagnosticLevel.OK, "active")
    assert state_entry("active", False, "").level == DiagnosticLevel.WARN
    assert state_entry("unconfigured", True, "cannot configure: x").level == DiagnosticLevel.ERROR
    rival = state_entry("active", True, "", "2 nodes have the name /x")
    assert (rival.level, rival.message) == (DiagnosticLevel.ERROR, "2 nodes have the name /x")


def test_a_warning_about_the_model_raises_its_level() -> None:
    assert model_entry({"model": "nano"}, {"rate": "9"}) == Entry(
        "model", DiagnosticLevel.OK, "nano", {"model": "nano", "rate": "9"}
    )
    warned = model_entry({"model": "nano", "warning": "precision is slow"}, {})
    assert (warned.level, warned.message, warned.values["model"]) == (DiagnosticLevel.WARN, "precision is slow", "nano")
    synthetic = {"model": "nano", "weights": "synthetic", "caveat": "weights of drives made up"}
    assert model_entry(synthetic, {}).level == DiagnosticLevel.OK  # it is what the first launch runs
    assert model_entry(synthetic, {}).message == "nano has weights of drives made up"
    both = model_entry({"model": "nano", "weights": "random", "caveat": "random weights", "warning": "slow"}, {})
    assert (both.level, both.message) == (DiagnosticLevel.ERROR, "nano has random weights; slow")


def test_lasting_faults_raise_the_level_of_a_topic() -> None:
    def entry(health: Health, *faults: str) -> Entry:
        return topic_entry("images", health=health, topic={}, counts={}, rates={}, faults=faults)

    assert (entry(Health.GOOD, "old").level, entry(Health.GOOD, "old").message) == (DiagnosticLevel.WARN, "old")
    assert entry(Health.BAD, "old", "twice").level == DiagnosticLevel.ERROR
    assert entry(Health.BAD, "old", "twice").message == "bad; old; twice"
