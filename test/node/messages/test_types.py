from __future__ import annotations

import pytest

from mambaseg_ros.messages import types
from mambaseg_ros.parameters import TABLE


def test_a_parameter_names_each_type_that_is_read() -> None:
    assert TABLE["image_type"].choices == TABLE["other_type"].choices == ("auto", *types.IMAGE_TYPES)
    assert TABLE["events_type"].choices == ("auto", *types.EVENT_TYPES)
    assert set(types.EVENT_TYPES) == {*types.NUMBERED_TYPES, *types.NESTED_TYPES}


def test_a_type_whose_package_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match=r"type no_such_msgs/msg/Event cannot be imported .* expected the package"):
        types.message_class("no_such_msgs/msg/Event")
