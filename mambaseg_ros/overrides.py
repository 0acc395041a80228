"""What a command line sets that no node takes: misspelt parameters, topics, and sections of parameter files.

ROS ignores all of these in silence. Pure: no node.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

MOST_DEPTH = 10_000  # of a publisher's queue
QOS_CHOICES = {
    "history": ("keep_last", "keep_all"),
    "reliability": ("reliable", "best_effort"),
    "durability": ("volatile", "transient_local"),
}


def nearest(name: str, known: Collection[str]) -> str:
    """Return "; nearest is 'event_clock'", or an empty string where no known name resembles this one."""
    found = difflib.get_close_matches(name, known, 1)
    return f"; nearest is {found[0]!r}" if found else ""


def unknown_parameters(given: Collection[str], known: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each parameter that was given and is not known."""
    for name in given:
        if name not in known:
            yield f"parameter {name!r} is ignored: the node has none of this name{nearest(name, known)}"


def qos_parameters(topics: Iterable[str]) -> list[str]:
    """Return the parameters that override the QoS of publishers, by rclpy's names."""
    return [f"qos_overrides.{topic}.publisher.{policy}" for topic in topics for policy in ("depth", *QOS_CHOICES)]


def check_qos(name: str, value: object) -> None:
    """Refuse a value of a parameter of `qos_parameters` that rclpy would not take; other parameters may have any.

    Raises:
        ValueError: one sentence.
    """
    policy = name.rpartition(".publisher.")[2]
    if not name.startswith("qos_overrides.") or policy not in ("depth", *QOS_CHOICES):
        return
    choices = QOS_CHOICES.get(policy, ())
    if value not in choices and not (policy == "depth" and type(value) is int and 0 < value <= MOST_DEPTH):
        expected = " or ".join(choices) or f"a whole number of messages, 1 to {MOST_DEPTH}"
        raise ValueError(f"parameter {name!r} is {value!r}; expected {expected}: correct it")


def misspelt(given: Collection[str], known: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each argument that resembles a known one; others may be of an including launch file."""
    for name in given:
        if name not in known and (like := nearest(name, known)):
            yield f"launch argument {name!r} is ignored: there is none of this name{like}"


def unknown_topics(words: list[str], known: Collection[str]) -> Iterator[str]:
    """Yield a sentence for each remapping of a relative name that is not one of the node's topics."""
    for rule in _after(words, "-r", "--remap"):
        name = rule.partition(":=")[0]
        if re.fullmatch(r"\w+", name) and not name.startswith("__") and name not in known:
            yield f"the remapping of {name!r} is ignored: the node has no topic of this name{nearest(name, known)}"


def sections_of_others(words: list[str], node: str) -> Iterator[str]:
    """Yield a sentence for each parameter file, and each parameter, that names other nodes only.

    Args:
        words: The command line.
        node: The node's full name, such as /front/mambaseg.
    """
    for path in _after(words, "--params-file"):
        sections = list(_sections(_read(path)))
        if sections and not any(_matches(section, node) for section in sections):
            names = ", ".join(sections[:3]) + (", ..." if len(sections) > 3 else "")
            yield (
                f"parameter file {path} sets nothing here: it is for {names}, and this node is {node}; expected a "
                f"section {node} or /**: rename it"
            )
    for rule in _after(words, "-p", "--param"):
        name = rule.partition(":=")[0]
        section, colon, parameter = name.rpartition(":")
        if colon and not _matches("/" + section.lstrip("/"), node):
            yield f"parameter {parameter!r} is ignored: it is for node {section!r}, and this one is {node}"


def _after(words: list[str], *options: str) -> Iterator[str]:
    """Yield the word after each option."""
    for option, value in pairwise(words):
        if option in options:
            yield value


def _read(path: str) -> Any:
    """Return a file's content; None where it cannot be read, of which ROS itself complains."""
    try:
        return yaml.safe_load(Path(path).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _sections(content: Any, place: str = "") -> Iterator[str]:
    """Yield the names of the nodes that a parameter file has sections for."""
    if not isinstance(content, dict):
        return
    for key, value in content.items():
        if key == "ros__parameters":
            yield place
        else:
            yield from _sections(value, f"{place}/{str(key).strip('/')}")


def _matches(section: str, node: str) -> bool:
    """Return whether a section is for a node, by ROS's wildcards: * is one part of a name, ** any number of them."""
    pattern = re.escape(section).replace(r"/\*\*", r"(/\w+)*").replace(r"/\*", r"/\w+")
    return re.fullmatch(pattern, node) is not None
