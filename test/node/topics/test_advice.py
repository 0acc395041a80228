from __future__ import annotations

import pytest

from mambaseg_ros.topics.advice import (
    Publisher,
    Topic,
    candidates,
    choose_kind,
    why_mixed,
    why_no_time,
    why_not_alone,
    why_own,
    why_silent,
)

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


IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
STATUS = "mambaseg_ros/msg/SegmentationStatus"
IMAGES = Topic("/image", "image", (IMAGE, COMPRESSED), reliable=False)


def graph(**topics: str) -> dict[str, list[Publisher]]:
    """Publishers by topic, from words such as camera__image="node type"; / is __ in names."""
    found = {}
    for topic, words in topics.items():
        node, kind = words.split()
        found["/" + topic.replace("__", "/")] = [Publisher(node, kind, True)]
    return found


SEGMENTED = graph(
    seg__mask=f"/seg {IMAGE}", seg__overlay=f"/seg {IMAGE}", seg__status=f"/seg {STATUS}", drawn=f"/seg {IMAGE}",
    seg__overlay__compressed=f"/republisher {COMPRESSED}",
)  # fmt: skip


@pytest.mark.parametrize(
    ("published", "found"),
    [
        (graph(camera__image_raw=f"/camera {IMAGE}"), ["/camera/image_raw"]),
        (graph(camera__image_raw=f"/camera {IMAGE}", cam__events=f"/e {A}"), ["/camera/image_raw"]),
        (graph(cam__events=f"/e {A}"), []),
        (graph(raw=f"/c {IMAGE}", raw__compressed=f"/c {COMPRESSED}", raw__theora=f"/c {COMPRESSED}"), ["/raw"]),
        (graph(raw__compressed=f"/c {COMPRESSED}"), ["/raw/compressed"]),
        (SEGMENTED, []),
        (SEGMENTED | graph(raw=f"/c {IMAGE}"), ["/raw"]),
        (graph(second=f"/thermal {IMAGE}", raw=f"/c {IMAGE}"), ["/raw"]),
        (  # a bag with the masks of then
            graph(raw=f"/player {IMAGE}", seg__mask=f"/player {IMAGE}", seg__status=f"/player {STATUS}"), ["/raw"]
        ),
        (graph(b=f"/c {IMAGE}", a=f"/c {IMAGE}"), ["/a", "/b"]),
    ],
    ids=["one", "beside events", "no image", "twins", "compressed only", "masks", "mixed", "second", "bag", "two"],
)  # fmt: skip
def test_topics_that_could_be_meant(published: dict[str, list[Publisher]], found: list[str]) -> None:
    assert candidates(IMAGES, published, ("/image", "/second")) == found


def test_the_remapping_that_would_help_is_said() -> None:
    one = why_silent(IMAGES, [], ["/camera/image_raw"])
    launch, run = "launch with image_topic:=/camera/image_raw", "run with -r image:=/camera/image_raw"
    assert one.endswith(f"expected one: is it /camera/image_raw? Then {launch}, or {run}")
    several = why_silent(IMAGES, [], [f"/{name}" for name in "abcdef"])
    assert several.endswith(
        "choose one of /a, /b, /c, /d, /e, ...: launch with image_topic:=NAME, or run with -r image:=NAME"
    )
    wrong = why_silent(TOPIC, [Publisher("/d", C, True)], ["/davis/events"])
    assert (
        "they publish c/msg/C, expected a/msg/A or b/msg/B: is it /davis/events? Then launch with events_topic:="
        in wrong
    )


def test_publishers_that_are_mixed_are_named() -> None:
    publishers = [Publisher("/driver", A, True, b"1"), Publisher("/player", A, True, b"2"), Publisher("/old", A, True)]
    sentence = why_mixed(TOPIC, publishers, {b"1", b"2"})
    assert sentence.startswith("several publishers send on /cam/events at the same time: /driver and /player; expected")
    assert "every event counts as often" in sentence
    images = why_mixed(Topic("/image", "image", (A,), reliable=False), 2 * publishers[:1], set())
    assert "on /image at the same time: /driver (2 times); expected one, since their images are mixed" in images


def test_an_input_that_is_an_output_of_the_node_is_named() -> None:
    sentence = why_own(Topic("/mambaseg/overlay", "image", (A,), reliable=False))
    assert "/mambaseg/overlay is an output of this node; expected the topic of a sensor: remap 'image'" in sentence


def test_a_node_of_the_same_name_and_one_that_publishes_its_outputs_are_named() -> None:
    alone = {"/seg/mask": ["/seg"], "/seg/status": ["/seg"]}
    assert why_not_alone("/seg", 1, alone) == ""
    assert why_not_alone("/seg", 1, {"/seg/mask": [], "/seg/status": []}) == ""  # not configured yet
    assert "2 nodes have the name /seg; expected one" in why_not_alone("/seg", 2, alone)
    assert why_not_alone("/seg", 1, {**alone, "/seg/mask": ["/seg", "/player"]}).startswith(
        "/player publishes /seg/mask beside this node; expected this node alone"
    )


def test_a_clock_that_stands_at_0_is_explained() -> None:
    assert "nothing comes on /clock (0 publishers)" in why_no_time(0)
