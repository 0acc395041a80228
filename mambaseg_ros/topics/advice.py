"""Advice while nothing comes: the cause in one sentence, with the remedy. Pure functions of what the graph shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from mambaseg_ros.messages.numbers import MOST_LOST
from mambaseg_ros.messages.types import STATUS_TYPE

MOST_CANDIDATES = 5  # that are listed


class Publisher(NamedTuple):
    """A publisher of a topic, as the graph shows it; `gid` is that of its messages."""

    node: str
    kind: str
    reliable: bool
    gid: bytes = b""


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


def candidates(topic: Topic, published: Mapping[str, Sequence[Publisher]], taken: Collection[str]) -> list[str]:
    """Return the topics that could be meant where nobody publishes an input, sorted.

    Outputs of this node and of others like it are none, whoever sends them on, nor is a compressed twin of another one.

    Args:
        topic: the input.
        published: who publishes, by topic; all of the graph.
        taken: topics that are inputs of the node already.
    """
    statuses = {name: of for name, of in published.items() if any(publisher.kind == STATUS_TYPE for publisher in of)}
    outputs = tuple(name.removesuffix("status") for name in statuses if name.count("/") > 1)
    segmenters = {publisher.node for name, of in statuses.items() for publisher in of}
    segmenters &= {name.removesuffix("/status") for name in statuses}  # others play what was recorded
    names = {
        name
        for name, of in published.items()
        if name not in taken
        and not name.startswith(outputs)
        and any(publisher.kind in topic.kinds and publisher.node not in segmenters for publisher in of)
    }
    return sorted(name for name in names if name.rpartition("/")[0] not in names)


def _proposal(argument: str, names: Sequence[str]) -> str:
    """Return how to remap an input to the one topic that could be meant, or which ones could."""
    if not names:
        return f"start it, check its ROS_DOMAIN_ID, or remap {argument!r} to its topic"
    if len(names) == 1:
        return f"is it {names[0]}? Then launch with {argument}_topic:={names[0]}, or run with -r {argument}:={names[0]}"
    listed = ", ".join(names[:MOST_CANDIDATES]) + (", ..." if len(names) > MOST_CANDIDATES else "")
    return f"choose one of {listed}: launch with {argument}_topic:=NAME, or run with -r {argument}:=NAME"


def why_silent(topic: Topic, publishers: Sequence[Publisher], found: Sequence[str] = ()) -> str:
    """Return why nothing comes on a topic, and what to do.

    Args:
        topic: the input.
        publishers: those of the topic.
        found: its `candidates`.
    """
    names = ", ".join(sorted({publisher.node for publisher in publishers})) or "none"
    start = f"nothing comes on {topic.name} ({len(publishers)} publishers: {names}); "
    if not publishers:
        return start + f"expected one: {_proposal(topic.argument, found)}"
    fitting = [publisher for publisher in publishers if publisher.kind in topic.kinds]
    if not fitting:
        kinds = ", ".join(sorted({publisher.kind for publisher in publishers}))
        expected = " or ".join(topic.kinds)
        remedy = _proposal(topic.argument, found) if found else f"convert it, or remap {topic.argument!r}"
        return start + f"they publish {kinds}, expected {expected}: {remedy}"
    if topic.reliable and not any(publisher.reliable for publisher in fitting):
        return start + (
            f"they offer best effort, but parameter '{topic.argument}_reliability' asks for 'reliable': "
            "set it to 'best_effort'"
        )
    return start + (
        "expected messages: check that it publishes, and give it the Fast DDS profile for large messages "
        '(docs/ros.md, "Large images")'
    )


def why_mixed(topic: Topic, publishers: Sequence[Publisher], delivering: Collection[bytes]) -> str:
    """Return what is wrong where several publishers deliver on a topic side by side, and what to do.

    Args:
        topic: the input.
        publishers: all of the topic.
        delivering: gids of those that deliver; all of them where none of these is known.
    """
    known = [publisher for publisher in publishers if publisher.gid in delivering] or publishers
    names = Counter(publisher.node for publisher in known)
    listed = " and ".join(f"{name} ({count} times)" if count > 1 else name for name, count in sorted(names.items()))
    harm = "every event counts as often as it is sent" if topic.argument == "events" else "their images are mixed"
    return (
        f"several publishers send on {topic.name} at the same time: {listed or 'unknown ones'}; expected one, since "
        f"{harm}: end the others (a recording beside its driver?), or remap {topic.argument!r}"
    )


def why_own(topic: Topic) -> str:
    """Return what is wrong where the node hears its own output."""
    return f"{topic.name} is an output of this node; expected the topic of a sensor: remap {topic.argument!r} to that"


def why_not_alone(node: str, nodes: int, publishers: Mapping[str, Sequence[str]]) -> str:
    """Return what is wrong where another node has this node's name or publishes its outputs; else an empty string.

    Args:
        node: this node's full name.
        nodes: how many nodes have it.
        publishers: the nodes that publish each output.
    """
    if nodes > 1:
        return (
            f"{nodes} nodes have the name {node}; expected one, since masks, statuses and services of all of them are "
            "mixed: end the others (one that a killed launch left behind?), or give each a name or a namespace"
        )
    for topic, names in publishers.items():
        if others := sorted(set(names) - {node}):
            return (
                f"{' and '.join(others)} publishes {topic} beside this node; expected this node alone: end it, leave "
                "the topic out of the bag that it plays, or remap it"
            )
    return ""


def why_not_lost(topic: str, what: str) -> str:
    """Return why a step of the numbers of messages is not counted as a loss."""
    return (
        f"{topic}: {what}; expected fewer than {MOST_LOST}, so it is not counted as lost: restart the publisher if it "
        "goes on"
    )


def why_no_time(publishers: int) -> str:
    """Return what to do where `use_sim_time` is true and the clock stands at 0."""
    return (
        f"parameter 'use_sim_time' is true and nothing comes on /clock ({publishers} publishers); expected the time: "
        "play the bag with --clock, or set use_sim_time to false"
    )
