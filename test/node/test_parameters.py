from __future__ import annotations

import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import yaml

from mambaseg_ros.parameters import (
    PARAMETERS,
    TABLE,
    Parameters,
    launch_arguments,
    markdown_table,
    read_parameters,
    read_value,
)

ROOT = Path(__file__).parents[2]


def test_every_value_is_checked_when_they_are_made() -> None:
    assert len(TABLE) == len(PARAMETERS)
    assert asdict(Parameters()) == {parameter.name: parameter.default for parameter in PARAMETERS}
    with pytest.raises(ValueError, match="'event_wait_ms' is -1; expected 0 to 10000"):
        Parameters(event_wait_ms=-1)
    with pytest.raises(ValueError, match="'device' is 3"):
        replace(Parameters(), device=3)


def test_units_are_those_of_the_code() -> None:
    parameters = Parameters(buffer_mib=2, events_stale_ms=1.5, images_stale_ms=20)
    assert parameters.buffer_bytes == 2 * 2**20
    assert (parameters.events_stale_ns, parameters.images_stale_ns) == (1_500_000, 20_000_000)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("overlay_alpha", 1.5, "0 to 1"),
        ("overlay_alpha", "half", "expected a float"),
        ("buffer_mib", 2.5, "expected a int"),
        ("buffer_mib", 0, "1 to 65536"),
        ("autostart", 1, "expected a bool"),
        ("events_type", "dvs", "one of auto, mambaseg_ros"),
        ("precision", "int8", "one of float32, tf32, bfloat16"),
    ],
)
def test_bad_values_are_refused_with_name_value_and_what_is_expected(name: str, value: object, expected: str) -> None:
    with pytest.raises(ValueError, match=name) as error:
        TABLE[name].check(value)
    assert repr(value) in str(error.value)
    assert expected in str(error.value)


def test_a_whole_number_is_good_for_a_float() -> None:
    TABLE["event_wait_ms"].check(20)


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [
        ("event_wait_ms", 10, 10.0),
        ("buffer_mib", 10.0, 10),
        ("buffer_mib", 10.5, 10.5),
        ("event_wait_ms", True, True),
        ("buffer_mib", True, True),
        ("autostart", 1, 1),
        ("event_wait_ms", "10", "10"),
        ("model", 10, 10),
        ("buffer_mib", float("inf"), float("inf")),
    ],
)
def test_a_number_takes_the_type_of_its_parameter_where_nothing_is_lost(
    name: str, value: object, taken: object
) -> None:
    found = TABLE[name].whole_or_float(value)
    assert (found, type(found)) == (taken, type(taken))


def test_parameters_are_read_from_words() -> None:
    words = ["event_wait_ms=1e1", "buffer_mib=10.0", "autostart=false", "weights=10", "overlay_alpha=1"]
    found = read_parameters(words)
    assert (found.event_wait_ms, found.buffer_mib, found.autostart) == (10.0, 10, False)
    assert (found.weights, found.overlay_alpha, type(found.buffer_mib)) == ("10", 1.0, int)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("event_clok=sensor", r"'event_clok=sensor' sets no parameter; .*; nearest is 'event_clock'"),
        ("event_wait=3", r"nearest is 'event_wait_ms'"),
        ("event_clock", r"'event_clock' sets no parameter; expected name=value"),
        ("event_wait_ms=[", r"'event_wait_ms' is '\['"),
        ("event_wait_ms=", r"'event_wait_ms' is None"),
        ("autostart=1", r"'autostart' is 1 \(int\); expected a bool, such as true"),
        ("buffer_mib=10.5", r"'buffer_mib' is 10\.5 \(float\)"),
        ("event_wait_ms=nan", r"'event_wait_ms' is nan; expected 0 to 10000"),
    ],
)
def test_words_that_set_nothing_are_refused(word: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_parameters([word])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [("event_wait_ms", "10", 10.0), ("buffer_mib", "64.0", 64), ("weights", "10", "10"), ("autostart", "false", False)],
)
def test_a_launch_argument_has_its_parameters_type(name: str, text: str, value: object) -> None:
    found = read_value(name, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("buffer_mib", "64.5", r"'buffer_mib' is 64.5 \(float\); expected a int"),
        ("event_wait_ms", "ten", r"'event_wait_ms' is 'ten' \(str\); expected a float"),
        ("overlay_alpha", "2", "'overlay_alpha' is 2.0; expected 0 to 1"),
    ],
)
def test_a_launch_argument_of_another_type_is_refused(name: str, text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        read_value(name, text)


def test_the_launch_file_has_an_argument_for_every_parameter() -> None:
    arguments = launch_arguments()
    assert list(arguments) == list(TABLE)
    for name, (kind, text) in arguments.items():
        assert kind is type(TABLE[name].default)
        assert text.startswith(TABLE[name].meaning)
        assert TABLE[name].limits in text
    assert arguments["autostart"][1].endswith("(bool; not given: as in params_file)")
    assert arguments["overlay_alpha"][1].endswith("(float, 0 to 1; not given: as in params_file)")
    assert "(str, one of image_only, hold, drop; not given" in arguments["when_events_missing"][1]


def test_the_launch_file_needs_only_what_comes_with_ros() -> None:
    """It is run by ROS's own Python, which may have no torch."""
    unwanted = {"torch", "numpy", "cv2", "rclpy", "rosbags", "mambaseg_core"}
    code = "import mambaseg_ros.parameters, mambaseg_ros.resources, sys; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], timeout=300, capture_output=True, text=True, check=True)
    assert "mambaseg_ros.resources" in found.stdout.split()
    assert unwanted.isdisjoint(found.stdout.split())


def test_the_parameter_file_is_the_table() -> None:
    text = (ROOT / "config" / "mambaseg.param.yaml").read_text()
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert values == {parameter.name: parameter.default for parameter in PARAMETERS}


def test_the_documentation_holds_the_table() -> None:
    assert markdown_table() in (ROOT / "docs" / "ros.md").read_text()
