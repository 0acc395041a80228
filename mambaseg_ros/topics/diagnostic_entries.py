"""What /diagnostics is made of: entries, latencies and rates.

Pure: no node, no messages. Levels are those of diagnostic_msgs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from mambaseg_ros.faults import Fault
from mambaseg_ros.parameters import RANDOM
from mambaseg_ros.policy import Health

RECENT_S = 5.0  # how long a fault keeps the level up


class DiagnosticLevel(IntEnum):
    """Level of an entry. The numbers are the constants of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


LEVELS = {
    Health.GOOD: DiagnosticLevel.OK,
    Health.SILENT: DiagnosticLevel.WARN,
    Health.STALE: DiagnosticLevel.WARN,
    Health.BAD: DiagnosticLevel.ERROR,
}


class Latencies:
    """Keep the last stage latencies of published masks, milliseconds."""

    def __init__(self, most: int = 300) -> None:
        self._rows: deque[tuple[float, ...]] = deque(maxlen=most)

    def add(self, **stages_ms: float) -> None:
        """Add those of one mask, always with the same names."""
        self._names = tuple(stages_ms)
        self._rows.append(tuple(stages_ms.values()))

    def summary(self) -> dict[str, str]:
        """Return p50 and p95 of each stage, as text."""
        if not self._rows:
            return {}
        p50, p95 = np.percentile(np.array(self._rows), (50, 95), axis=0)
        pairs = zip(self._names, p50, p95, strict=True)
        return {f"{name} p50 / p95 [ms]": f"{low:.1f} / {high:.1f}" for name, low, high in pairs}


class Rates:
    """Turn counts into rates."""

    def __init__(self) -> None:
        self._before: dict[str, int] = {}
        self._at = time.monotonic()

    def per_second(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Return the rate of each count since the last call, 0 at the first one."""
        now = time.monotonic()
        seconds = max(now - self._at, 1e-3)
        rates = {name: max(0, count - self._before.get(name, count)) / seconds for name, count in counts.items()}
        self._before, self._at = dict(counts), now
        return rates


@dataclass
class Entry:
    """One DiagnosticStatus."""

    name: str
    level: DiagnosticLevel
    message: str
    values: dict[str, str] = field(default_factory=dict)


def topic_entry(
    what: str,
    *,
    health: Health,
    topic: Mapping[str, str],
    counts: Mapping[str, int],
    rates: Mapping[str, float],
    faults: Sequence[str] = (),
) -> Entry:
    """Return the entry of an input: level by health and lasting faults, counts and rates of its topic."""
    values = dict(topic)
    values |= {f"{name} [1/s]": f"{rate:.1f}" for name, rate in rates.items()}
    values |= {name: str(count) for name, count in counts.items()}
    level = max(LEVELS[health], DiagnosticLevel.WARN) if faults else LEVELS[health]
    said = faults if health == Health.GOOD and faults else (health.name.lower(), *faults)
    return Entry(what, level, "; ".join(said), values)


def faults_entry(faults: list[Fault], now: float) -> Entry:
    """Return the entry of all faults. Its level stays up for some seconds after the last one."""
    recent = [fault for fault in faults if now - fault.at < RECENT_S]
    values = {fault.sentence: f"{fault.count} times, last {now - fault.at:.0f} s ago" for fault in faults}
    if recent:
        return Entry("faults", DiagnosticLevel.WARN, recent[0].sentence, values)
    return Entry("faults", DiagnosticLevel.OK, "none now", values)


def model_entry(model: Mapping[str, str], measured: Mapping[str, str]) -> Entry:
    """Return what runs, with what was measured of it; a warning raises the level.

    Masks of random weights mean nothing, which is an error. Those of the weights that ship mean something, and a level
    that is up in every first launch would teach people to overlook it: their caveat is the message alone.
    """
    warning, caveat = model.get("warning", ""), model.get("caveat", "")
    level = DiagnosticLevel.WARN if warning else DiagnosticLevel.OK
    if model.get("weights") == RANDOM:
        level = DiagnosticLevel.ERROR
    message = "; ".join(filter(None, (caveat and f"{model['model']} has {caveat}", warning)))
    return Entry("model", level, message or model["model"], {**model, **measured})


def state_entry(state: str, enabled: bool, reason: str, rival: str = "") -> Entry:
    """Return the entry of the life cycle, with the reason if the last transition failed or the node has a rival."""
    if reason or rival:
        return Entry("state", DiagnosticLevel.ERROR, "; ".join(filter(None, (reason, rival))), {"state": state})
    if not enabled:
        return Entry("state", DiagnosticLevel.WARN, f"{state}, disabled by ~/enable")
    return Entry("state", DiagnosticLevel.OK, state)
