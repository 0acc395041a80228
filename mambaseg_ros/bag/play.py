"""`mambaseg bag play`: publish a bag over DDS with its own timing, for machines without `ros2 bag`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import rclpy
import yaml
from builtin_interfaces.msg import Time
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from mambaseg_core.recordings.bag import Bag, BagMessage, BagTopic
from mambaseg_ros.messages.types import IMAGE_TYPE, message_class
from mambaseg_ros.resources import use_large_image_profile

DEPTHS = {IMAGE_TYPE: 10}  # messages kept for a slow subscriber; event packets and all else: 1000
CLOCK_PERIOD_S = 0.01  # between messages on /clock, of this machine's time
LONGEST_SLEEP_S = 1e6  # the system's sleep has an end
CLOCK_QOS = QoSProfile(depth=10)
LATCHED = (1, "transient_local")  # the durability of a bag's QoS profile, in its versions up to 8 and from 9 on


def play(
    bag: Path,
    *,
    rate: float = 1.0,
    start_s: float = 0.0,
    loops: int = 1,
    clock: bool = False,
    wait_for_subscribers_s: float = 10.0,
    need_subscriber: bool = False,
    topics: Collection[str] = (),
    exclude: Collection[str] = (),
    longest_gap_s: float = 60.0,
    say: Callable[[str], None] = print,
    warn: Callable[[str], None] = print,
) -> dict[str, int]:
    """Publish the messages of a bag. A topic whose type is not installed here is left out with a warning.

    Args:
        bag: as of `Bag`.
        rate: 1.0 is as recorded, 0.5 half as fast.
        start_s: seconds of the bag that are left out at its beginning, in every loop.
        loops: how often the bag is played.
        clock: also publish the bag's time as /clock, for nodes with `use_sim_time`, 100 times a second.
        wait_for_subscribers_s: wait at most so long until every topic has a subscriber, then start anyway.
        need_subscriber: refuse to play where no topic has a subscriber after the wait.
        topics: names of the topics to publish; empty: all.
        exclude: names of topics to leave out.
        longest_gap_s: a longer time without any message, seconds of the bag, is skipped with a warning.
        say: called with one sentence when the wait for subscribers begins.
        warn: called with one sentence about what is not played as it was recorded.

    Returns:
        messages published by topic.

    Raises:
        ValueError: no such bag or topic, an argument that is out of range, a start that lies outside the bag, or no
            subscriber where one is needed.
    """
    _check(rate, start_s, wait_for_subscribers_s, longest_gap_s)
    with Bag(bag) as reader:
        first_ns = _start(reader, start_s)
        chosen = _choose(reader, topics, exclude, warn)
        use_large_image_profile()
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)  # signals end this process as they do any other
        node = rclpy.create_node("mambaseg_player")
        try:
            publishers = {topic: _publisher(node, reader, topic) for topic in chosen}
            pace = _Pace(
                rate, longest_gap_s, warn, node.create_publisher(Clock, "/clock", CLOCK_QOS) if clock else None
            )
            silent = _wait_for_subscribers(publishers, wait_for_subscribers_s, say)
            if silent:
                names, after = ", ".join(silent), f"after {wait_for_subscribers_s:g} s"
                if need_subscriber and len(silent) == len(publishers):
                    raise ValueError(f"nobody subscribes to {names} {after}; expected a node that takes one: start it")
                warn(f"nobody subscribes to {names} {after}: playing anyway")
            counts = dict.fromkeys((topic.name for topic in publishers), 0)
            for _ in range(loops):
                pace.restart(first_ns)
                for topic, stamp_ns, data in _playable(reader, chosen, first_ns, warn):
                    pace.wait_until(stamp_ns)
                    publishers[topic].publish(data)
                    counts[topic.name] += 1
            time.sleep(0.5)  # best-effort readers acknowledge nothing: leave them time to take the last message
            return counts
        finally:
            node.destroy_node()
            rclpy.try_shutdown()


def _check(rate: float, start_s: float, wait_s: float, longest_gap_s: float) -> None:
    """Raise ValueError if a number is none that bags can be played with; NaN never is."""
    if not 0 < rate < math.inf:
        raise ValueError(f"rate is {rate}; expected a number above 0, such as 100 for as fast as possible")
    if not math.isfinite(start_s):
        raise ValueError(f"start is {start_s}; expected seconds, 0 or more")
    if not wait_s >= 0:
        raise ValueError(f"wait is {wait_s}; expected seconds, 0 or more")
    if not longest_gap_s > 0:
        raise ValueError(f"longest gap is {longest_gap_s}; expected seconds above 0, or inf to skip none")


def _start(bag: Bag, start_s: float) -> int:
    if bag.start_ns is None or bag.last_ns is None:
        raise ValueError(f"bag {bag.path} has no messages; expected at least one: record it again")
    first_ns = bag.start_ns + round(start_s * 1e9)
    if not bag.start_ns <= first_ns <= bag.last_ns:
        length = f"{(bag.last_ns - bag.start_ns) / 1e9:g} s, the length of {bag.path}"
        raise ValueError(f"start is {start_s:g} s; expected 0 or more and at most {length}")
    return first_ns


def _choose(bag: Bag, names: Collection[str], exclude: Collection[str], warn: Callable[[str], None]) -> list[BagTopic]:
    """Return the topics that are asked for and can be published."""
    known = {topic.name for topic in bag.topics}
    if unknown := [name for name in (*names, *exclude) if name not in known]:
        raise ValueError(
            f"topic {unknown[0]} is not in bag {bag.path} (it has {', '.join(sorted(known))}): name one of these"
        )
    chosen = []
    for topic in bag.topics:
        if topic.name in exclude or (names and topic.name not in names):
            continue
        try:
            if topic.serialization != "cdr" and (reason := bag.why_unreadable(topic)):
                raise ValueError(reason)
            message_class(topic.type)
        except ValueError as error:
            warn(f"topic {topic.name} ({topic.type or topic.serialization}) is left out: {error}")
        else:
            chosen.append(topic)
    if not chosen:
        raise ValueError(f"bag {bag.path} has no topic to publish; expected at least one: see the warnings")
    return chosen


def _playable(bag: Bag, topics: list[BagTopic], start_ns: int, warn: Callable[[str], None]) -> Iterator[BagMessage]:
    """Yield messages as ROS 2 serializes them; leave out a topic of ROS 1 that has another layout there."""
    refused: set[BagTopic] = set()
    for message in bag.messages(topics, start_ns):
        if message.topic in refused:
            continue
        try:
            yield message._replace(data=bag.as_cdr(message.topic, message.data))
        except ValueError as error:
            refused.add(message.topic)
            warn(f"topic {message.topic.name} is left out from here: {error}")


class _Pace:
    """Let the bag's time pass at `rate`, and publish it as /clock; skip gaps that are longer than `longest_gap_s`."""

    def __init__(self, rate: float, longest_gap_s: float, warn: Callable[[str], None], clock: Any) -> None:
        self._rate = rate
        self._longest_gap_s = longest_gap_s
        self._warn = warn
        self._period_ns = max(1, round(CLOCK_PERIOD_S * rate * 1e9))
        self._clock = clock

    def restart(self, bag_ns: int) -> None:
        """Set the bag's time to `bag_ns`."""
        self._bag_ns, self._start, self._last_ns = bag_ns, time.monotonic(), bag_ns
        self._tell(bag_ns)

    def wait_until(self, bag_ns: int) -> None:
        """Return when the bag's time is `bag_ns`."""
        gap_ns = bag_ns - self._last_ns
        if gap_ns > self._longest_gap_s * 1e9:
            self._warn(
                f"no message for {_duration(gap_ns)} of the bag after {self._last_ns} ns: skipped, since it is longer "
                f"than {self._longest_gap_s:g} s"
            )
            self.restart(bag_ns)
        self._last_ns = bag_ns
        while self._clock is not None and (tick_ns := self._told_ns + self._period_ns) < bag_ns:
            self._sleep_until(tick_ns)
            self._tell(tick_ns)
        self._sleep_until(bag_ns)

    def _sleep_until(self, bag_ns: int) -> None:
        due = self._start + (bag_ns - self._bag_ns) / 1e9 / self._rate
        while (left := due - time.monotonic()) > 0:
            time.sleep(min(left, LONGEST_SLEEP_S))

    def _tell(self, bag_ns: int) -> None:
        self._told_ns = bag_ns
        if self._clock is not None:
            seconds, nanoseconds = divmod(bag_ns, 1_000_000_000)
            self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))


def _duration(ns: int) -> str:
    years = ns / (365.25 * 86400e9)
    return f"{years:.1f} years" if years >= 1 else f"{ns / 1e9:g} s"


def _publisher(node: Any, bag: Bag, topic: BagTopic) -> Any:
    profile = QoSProfile(depth=DEPTHS.get(topic.type, 1000))
    try:
        offers = yaml.safe_load(bag.qos(topic)) or []
        if any(offer["durability"] in LATCHED for offer in offers):
            profile.durability = DurabilityPolicy.TRANSIENT_LOCAL
    except (yaml.YAMLError, TypeError, KeyError):
        pass  # a bag's QoS may be edited or empty, and no message depends on it
    return node.create_publisher(message_class(topic.type), topic.name, profile)


def _wait_for_subscribers(publishers: dict[BagTopic, Any], timeout_s: float, say: Callable[[str], None]) -> list[str]:
    """Wait until every topic has a subscriber; return the names of the topics that have none."""
    deadline, silent = time.monotonic() + timeout_s, _silent(publishers)
    if silent and timeout_s:
        say(f"waiting for a subscriber of {', '.join(silent)} (at most {timeout_s:g} s)")
    while silent and time.monotonic() < deadline:
        time.sleep(0.05)
        silent = _silent(publishers)
    if not silent:
        time.sleep(1.0)  # until both sides know each other, and a recorder those who answer
    return silent


def _silent(publishers: dict[BagTopic, Any]) -> list[str]:
    """Return the names of the topics that nobody subscribes to."""
    return [topic.name for topic, publisher in publishers.items() if not publisher.get_subscription_count()]
