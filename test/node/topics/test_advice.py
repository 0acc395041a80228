from __future__ import annotations

import pytest

from mambaseg_ros.topics.advice import Publisher, Topic, choose_kind, why_no_time, why_silent

A, B, C = "a/msg/A", "b/msg/B", "c/msg/C"
TOPIC = Topic("/cam/events", "events", (A, B), reliable=False)
RELIABLE = TOPIC._replace(reliable=True)


@pytest.mark.parametrize(
    ("publishers", "current", "chosen"),
    [
        ([], "", ""),
        ([], A, A),  # its publisher died: wait for the next
        ([Publisher("/d", A, True)], "", A),
        ([Publisher("/d", C, True), Publisher("/e", B, True)], "", B),
        ([Publisher("/d", B, True), Publisher("/e", A, True)], A, A),
        ([Publisher("/d", B, True)], A, B),  # the driver came back with another type
        ([Publisher("/d", C, True)], A, A),
        ([Publisher("/d", C, True)], "", ""),
    ],
)
def test_the_type_is_that_of_the_publishers(publishers: list[Publisher], current: str, chosen: str) -> None:
    assert choose_kind(TOPIC, publishers, current) == chosen


@pytest.mark.parametrize(
    ("topic", "publishers", "remedy"),
    [
        (TOPIC, [], r"\(0 publishers: none\); expected one: start it, check its ROS_DOMAIN_ID, or remap 'events'"),
        (TOPIC, [Publisher("/d", C, True)], r"\(1 publishers: /d\); they publish c/msg/C, expected a/msg/A or b/msg/B"),
        (RELIABLE, [Publisher("/d", A, False)], "parameter 'events_reliability' asks for 'reliable': set it to"),
        (RELIABLE, [Publisher("/d", A, True)], "Fast DDS profile"),
        (TOPIC, [Publisher("/e", A, False), Publisher("/d", C, True)], r"2 publishers: /d, /e\); expected messages"),
    ],
)
def test_silence_is_explained_with_topic_publishers_and_remedy(
    topic: Topic, publishers: list[Publisher], remedy: str
) -> None:
    with pytest.raises(ValueError, match=f"^nothing comes on /cam/events .*{remedy}"):
        raise ValueError(why_silent(topic, publishers))


def test_a_clock_that_stands_at_0_is_explained() -> None:
    assert "nothing comes on /clock (0 publishers)" in why_no_time(0)
