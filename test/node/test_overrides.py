"""What a command line sets in vain is said, with the nearest name."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mambaseg_ros.overrides import (
    check_qos,
    misspelt,
    nearest,
    qos_parameters,
    sections_of_others,
    unknown_parameters,
    unknown_topics,
)
from mambaseg_ros.parameters import TABLE

TOPICS = ("image", "events", "second", "camera_info", "event_camera_info")


@pytest.mark.parametrize(
    ("name", "like"),
    [("event_clok", "event_clock"), ("event_wait", "event_wait_ms"), ("weigths", "weights"), ("Model", "model")],
)
def test_a_misspelt_parameter_gets_the_nearest_name(name: str, like: str) -> None:
    assert list(unknown_parameters([name, "model"], TABLE)) == [
        f"parameter {name!r} is ignored: the node has none of this name; nearest is {like!r}"
    ]


def test_a_name_that_resembles_none_gets_none() -> None:
    assert nearest("zzz", TABLE) == ""
    assert list(unknown_parameters(["zzz"], TABLE)) == ["parameter 'zzz' is ignored: the node has none of this name"]


def test_launch_arguments_of_other_files_are_left_alone() -> None:
    found = list(misspelt(["bag", "rate", "event_clok", "model"], TABLE))
    assert found == ["launch argument 'event_clok' is ignored: there is none of this name; nearest is 'event_clock'"]


def test_a_misspelt_topic_gets_the_nearest_name() -> None:
    words = ["node", "--ros-args", "-r", "imge:=/camera/image", "--remap", "events:=/events", "-r", "__ns:=/front"]
    words += ["-r", "/image:=/a", "-r", "~/mask:=/mask", "-r", "mambaseg:__node:=b"]
    (sentence,) = unknown_topics(words, TOPICS)
    assert "'imge'" in sentence
    assert "nearest is 'image'" in sentence


def section(name: str, tmp_path: Path) -> list[str]:
    """Return a command line with a parameter file for a node; slashes nest."""
    content: object = {"ros__parameters": {"event_wait_ms": 20.0}}
    for part in reversed(name.split(" ")):
        content = {part: content}
    path = tmp_path / "parameters.yaml"
    path.write_text(yaml.safe_dump(content))
    return ["node", "--ros-args", "--params-file", str(path)]


@pytest.mark.parametrize("name", ["/**", "/*", "mambaseg", "/mambaseg", "/**/mambaseg"])
def test_a_section_for_the_node_is_taken(tmp_path: Path, name: str) -> None:
    assert list(sections_of_others(section(name, tmp_path), "/mambaseg")) == []


@pytest.mark.parametrize("name", ["/**", "/front/mambaseg", "front mambaseg", "/front mambaseg", "/*/mambaseg"])
def test_a_section_for_a_node_in_a_namespace_is_taken(tmp_path: Path, name: str) -> None:
    assert list(sections_of_others(section(name, tmp_path), "/front/mambaseg")) == []


@pytest.mark.parametrize(
    "name", ["mambasegg", "/front/mambaseg", "/front mambaseg", "/*/mambaseg", "segmentation_node"]
)
def test_a_section_for_another_node_is_said(tmp_path: Path, name: str) -> None:
    words = section(name, tmp_path)
    (sentence,) = sections_of_others(words, "/mambaseg")
    assert f"parameter file {words[-1]} sets nothing here: it is for /{name.strip('/').replace(' ', '/')}, " in sentence
    assert "expected a section /mambaseg or /**" in sentence


def test_a_parameter_for_another_node_is_said() -> None:
    words = ["node", "--ros-args", "-p", "other:event_wait_ms:=3.0", "-p", "mambaseg:model:=a", "-p", "weights:=/a:b"]
    (sentence,) = sections_of_others(words, "/mambaseg")
    assert sentence == "parameter 'event_wait_ms' is ignored: it is for node 'other', and this one is /mambaseg"


@pytest.mark.parametrize("text", ["[", "- 1", "", "\0"])
def test_a_file_that_ros_refuses_is_left_to_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    words = ["--params-file", str(tmp_path / "a.yaml"), "--params-file", str(tmp_path / "none.yaml")]
    assert list(sections_of_others(words, "/mambaseg")) == []


def test_qos_of_our_topics_is_known_and_that_of_others_is_said() -> None:
    known = qos_parameters(["/mambaseg/mask"])
    assert list(unknown_parameters(known, known)) == []
    for name in (
        "/mambaseg/mask.publisher.reliabilty",
        "/mambaseg/mask.publisher.lifespan",
        "/mambaseg/mas.publisher.depth",
    ):
        (said,) = unknown_parameters([f"qos_overrides.{name}"], known)
        assert said.startswith(f"parameter 'qos_overrides.{name}' is ignored")
        assert "nearest is 'qos_overrides./mambaseg/mask.publisher." in said


@pytest.mark.parametrize(
    ("policy", "good", "bad"),
    [
        ("reliability", ("reliable", "best_effort"), ("Reliable", "unknown", "system_default", 1, True, "")),
        ("durability", ("volatile", "transient_local"), ("latched", "transient", 0)),
        ("history", ("keep_last", "keep_all"), ("keep", 5)),
        ("depth", (1, 10_000), (0, -1, 10_001, "5", 5.0, True, "keep_last")),
    ],
)
def test_qos_is_checked_before_rclpy_takes_it(policy: str, good: tuple[object, ...], bad: tuple[object, ...]) -> None:
    name = f"qos_overrides./a/mask.publisher.{policy}"
    for value in good:
        check_qos(name, value)
    for value in bad:
        with pytest.raises(ValueError, match=rf"^parameter '{name}' is {value!r}; expected [^;]+: correct it$"):
            check_qos(name, value)
    check_qos(policy, "anything")
    check_qos(f"qos_overrides./clock.subscription.{policy}", "anything")
