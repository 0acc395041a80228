from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mambaseg_ros.parameters import PARAMETERS, TABLE, markdown_table

ROOT = Path(__file__).parents[2]


def test_defaults_pass_their_own_check() -> None:
    assert len(TABLE) == len(PARAMETERS) == 24
    for parameter in PARAMETERS:
        parameter.check(parameter.default)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("overlay_alpha", 1.5, "0 to 1"),
        ("overlay_alpha", "half", "expected a float"),
        ("buffer_mib", 2.5, "expected a int"),
        ("buffer_mib", 0, "1 to 65536"),
        ("autostart", 1, "expected a bool"),
        ("events_type", "dvs", "'auto'"),
        ("precision", "int8", "'bfloat16'"),
    ],
)
def test_bad_values_are_refused_with_name_value_and_what_is_expected(name: str, value: object, expected: str) -> None:
    with pytest.raises(ValueError, match=name) as error:
        TABLE[name].check(value)
    assert repr(value) in str(error.value)
    assert expected in str(error.value)


def test_a_whole_number_is_good_for_a_float() -> None:
    TABLE["event_wait_ms"].check(20)


def test_the_parameter_file_is_the_table() -> None:
    text = (ROOT / "config" / "mambaseg.param.yaml").read_text()
    values = yaml.safe_load(text)["/**"]["ros__parameters"]
    assert values == {parameter.name: parameter.default for parameter in PARAMETERS}


def test_the_documentation_holds_the_table() -> None:
    assert markdown_table() in (ROOT / "docs" / "ros.md").read_text()
