"""Advice while nothing comes: the cause in one sentence, with the remedy. Pure functions of what the graph shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Publisher(NamedTuple):
    """A publisher of a topic, as the graph shows it."""

    node: str
    kind: str
    reliable: bool


class Topic(NamedTuple):
    """An input of the node.

    Attributes:
        name: as it was resolved, such as "/camera/image_raw".
        argument: what has to be remapped, "image", "events" or "second".
        kinds: the types that the node reads now: all known ones, or the one that a parameter names.
        reliable: whether the node asks for reliable publishers.
    """

    name: str
    argument: str
    kinds: Sequence[str]
    reliable: bool


def choose_kind(topic: Topic, publishers: Sequence[Publisher], current: str = "") -> str:
    """Choose the type to subscribe with: the present one while somebody publishes it or nobody publishes anything.

    Returns:
        a type of `topic.kinds`, or "" where no publisher has one.
    """
    kinds = [publisher.kind for publisher in publishers if publisher.kind in topic.kinds]
    if current and (current in kinds or not publishers):
        return current
    return kinds[0] if kinds else current


def why_silent(topic: Topic, publishers: Sequence[Publisher]) -> str:
    """Return why nothing comes on a topic, and what to do."""
    names = ", ".join(sorted({publisher.node for publisher in publishers})) or "none"
    start = f"nothing comes on {topic.name} ({len(publishers)} publishers: {names}); "
    if not publishers:
        return start + f"expected one: start it, check its ROS_DOMAIN_ID, or remap {topic.argument!r} to its topic"
    fitting = [publisher for publisher in publishers if publisher.kind in topic.kinds]
    if not fitting:
        kinds = ", ".join(sorted({publisher.kind for publisher in publishers}))
        expected = " or ".join(topic.kinds)
        return start + f"they publish {kinds}, expected {expected}: convert it, or remap {topic.argument!r}"
    if topic.reliable and not any(publisher.reliable for publisher in fitting):
        return start + (
            f"they offer best effort, but parameter '{topic.argument}_reliability' asks for 'reliable': "
            "set it to 'best_effort'"
        )
    return start + (
        "expected messages: check that it publishes, and give it the Fast DDS profile for large messages "
        '(docs/ros.md, "Large images")'
    )


def why_no_time(publishers: int) -> str:
    """Return what to do where `use_sim_time` is true and the clock stands at 0."""
    return (
        f"parameter 'use_sim_time' is true and nothing comes on /clock ({publishers} publishers); expected the time: "
        "play the bag with --clock, or set use_sim_time to false"
    )
