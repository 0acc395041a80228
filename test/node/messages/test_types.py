from __future__ import annotations

from enum import IntEnum

import pytest

from mambaseg_core.events import messages
from mambaseg_ros.bag.types import typestore
from mambaseg_ros.messages import types
from mambaseg_ros.parameters import TABLE
from mambaseg_ros.pipeline.results import Report, State
from mambaseg_ros.policy import Health
from mambaseg_ros.topics.diagnostic_entries import DiagnosticLevel


def test_a_parameter_names_each_type_that_is_read() -> None:
    assert TABLE["image_type"].choices == TABLE["second_type"].choices == ("auto", *types.IMAGE_TYPES)
    assert TABLE["events_type"].choices == ("auto", *types.EVENT_TYPES)
    assert set(types.EVENT_TYPES) == {*types.NUMBERED_TYPES, *types.NESTED_TYPES}
    for name in ("COLUMNS_TYPE", "PACKET_TYPES", "NESTED_TYPES", "EVENT_TYPES"):
        assert getattr(types, name) == getattr(messages, name)


def test_a_type_whose_package_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"type no_such_msgs/msg/Event cannot be imported .* expected the package"):
        types.message_class("no_such_msgs/msg/Event")


@pytest.mark.parametrize(
    ("numbers", "message", "prefix"),
    [
        (State, types.STATUS_TYPE, "STATE_"),
        (Health, types.STATUS_TYPE, "HEALTH_"),
        (DiagnosticLevel, "diagnostic_msgs/msg/DiagnosticStatus", ""),
    ],
)
def test_enums_are_the_constants_of_their_message(numbers: type[IntEnum], message: str, prefix: str) -> None:
    constants = {name: value for name, _, value in typestore().fielddefs[message][0] if name.startswith(prefix)}
    assert constants == {prefix + number.name: number.value for number in numbers}


def test_a_report_fills_the_status_with_plain_numbers() -> None:
    fields = Report("the header", State.ERROR, images_health=Health.BAD, class_shares=lambda: [0.25, 0.75]).fields()
    assert fields["class_shares"] == [0.25, 0.75]
    assert fields.keys() <= {name for name, _ in typestore().fielddefs[types.STATUS_TYPE][1]}
    assert {name: type(fields[name]) for name in ("state", "images_health", "events_health")} == dict.fromkeys(
        ("state", "images_health", "events_health"), int
    )
