"""Bags as recorders leave them, through the commands: events of every type reach the model, one answer everywhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import handmade_bags as bags
import numpy as np
import pytest
from handmade_bags import T0_NS, TYPES, Schema
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.typesys import Stores

from mambaseg_core.recordings import open_events
from mambaseg_core.recordings.bag import Bag
from mambaseg_core.recordings.bag.types import new_typestore
from mambaseg_core.recordings.errors import RecordingWarning
from mambaseg_ros.bag.bag_sequence import BagSequence
from mambaseg_ros.bag.convert import convert
from mambaseg_ros.bag.segment import segment
from mambaseg_ros.bag.types import STORAGES, new_bag
from mambaseg_ros.parameters import read_parameters

SMALL = ["model=mambaseg_nano", "weights=random", "image_height=32", "image_width=48", "device=cpu"]


def full(path: Path) -> Path:
    return bags.mcap(path, bags.messages(), {topic: bags.definition(kind) for topic, kind in TYPES.items()})


def no_definition(path: Path) -> Path:
    schemas = {"/image": Schema(bags.IMAGE, "", ""), "/events": Schema(bags.PACKET, "", "")}
    return bags.mcap(path, bags.messages(), schemas)


def old_name(path: Path) -> Path:
    return bags.humble(path.with_suffix(""), bags.OLD_PACKET)


def foreign(path: Path) -> Path:
    found = sorted([*bags.messages(), bags.Message(T0_NS, "/foo", b"{}")])
    schemas = {topic: bags.definition(kind) for topic, kind in TYPES.items()}
    schemas["/foo"] = Schema("foo", "jsonschema", "{}")
    return bags.mcap(path, found, schemas, encodings={"/foo": "json"})


def ros1(path: Path) -> Path:
    store = new_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(path.with_suffix(".bag")) as writer:
        channels = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in TYPES.items()}
        for message in bags.messages(ros1=True):
            writer.write(channels[message.topic], message.time_ns, message.data)
    return path.with_suffix(".bag")


RECORDERS: dict[str, Callable[[Path], Path]] = {
    "humble": lambda path: bags.humble(path.with_suffix("")),
    "old_name": old_name,
    "no_definition": no_definition,
    "foreign": foreign,
    "ros1": ros1,
}


def masks(bag: Path, out: Path) -> list[bytes]:
    result = segment(bag, out, parameters=read_parameters(SMALL), registered=True, warn=print)
    assert (result.images, result.masks) == (bags.IMAGES, bags.IMAGES)
    assert not result.complaints
    with Bag(out) as reader:
        return [message.data for message in reader.messages()]


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Masks of the same messages in a bag that holds all definitions."""
    folder = tmp_path_factory.mktemp("expected")
    found = masks(full(folder / "bag.mcap"), folder / "masks")
    blind = folder / "blind.mcap"
    bags.mcap(
        blind,
        [message for message in bags.messages() if message.topic == "/image" or message.time_ns > T0_NS + 95 * 10**6],
        {topic: bags.definition(kind) for topic, kind in TYPES.items()},
    )
    result = segment(blind, folder / "blind", parameters=read_parameters(SMALL), registered=True, warn=print)
    assert result.complaints  # events matter, and a bag without them is complained about
    return found


@pytest.mark.parametrize("recorder", RECORDERS)
def test_every_recorders_bag_gets_the_same_masks(tmp_path: Path, recorder: str, expected: list[bytes]) -> None:
    assert masks(RECORDERS[recorder](tmp_path / "bag.mcap"), tmp_path / "out") == expected


@pytest.mark.parametrize("recorder", RECORDERS)
def test_a_bag_is_converted_with_its_images_and_events_in_ros_time(tmp_path: Path, recorder: str) -> None:
    bag = RECORDERS[recorder](tmp_path / "bag.mcap")
    sequence = BagSequence(bag)
    images = [m.time_ns for m in bags.messages() if m.topic == "/image"]
    assert sequence.image_times_ns.tolist() == images
    assert [int(sequence.image(k)[0, 0, 0]) for k in (2, 0, 3, 1)] == [images[k] // 10**6 % 200 for k in (2, 0, 3, 1)]
    summary = convert(bag, tmp_path / "new", storage="sqlite3")
    assert (summary.images, summary.events) == (bags.IMAGES, bags.EVENTS)
    with open_events(tmp_path / "new") as reader:
        events = reader.between(0, 2**62).events
    np.testing.assert_array_equal(events.x, bags.some_events().x)
    assert abs(int(events.t_ns[-1]) - images[-1]) < 50_000_000  # the packets' stamps, not the sensor's own clock


def stereo(path: Path, left: str) -> Path:
    """Write a bag with two topics of images, and events under a driver's name; /right has 2 images."""
    names = {"/image": left, "/events": "/event_camera/events"}
    found = [m._replace(topic=names[m.topic]) for m in bags.messages()]
    found += [m._replace(topic="/right") for m in found if m.topic == left][:2]
    types = {left: bags.IMAGE, "/right": bags.IMAGE, "/event_camera/events": bags.PACKET}
    return bags.mcap(path, sorted(found), {topic: bags.definition(kind) for topic, kind in types.items()})


def test_a_bag_with_two_topics_of_images_asks_which(tmp_path: Path) -> None:
    bag = stereo(tmp_path / "bag.mcap", "/left")
    with pytest.raises(ValueError, match=r"has 2 topics of images .*/right.*--image-topic"):
        BagSequence(bag)
    with pytest.raises(ValueError, match=r"has 2 topics of images .*/right.*--image-topic"):
        segment(bag, tmp_path / "out", parameters=read_parameters(SMALL), warn=print)
    assert len(BagSequence(bag, "/right").image_times_ns) == 2


def test_topics_under_other_names_are_found(tmp_path: Path, expected: list[bytes]) -> None:
    """The only topic of events, and /image among several of images."""
    bag = stereo(tmp_path / "bag.mcap", "/image")
    assert len(BagSequence(bag).image_times_ns) == bags.IMAGES
    assert masks(bag, tmp_path / "out") == expected
    with open_events(bag) as reader:
        assert len(reader) == bags.EVENTS


@pytest.mark.parametrize("storage", STORAGES)
@pytest.mark.parametrize("name", ["a b", "a#b", "a?mode=rwc", "a%20b", "é中", "{x}[y]*", 'it\'s "so"'])
def test_bags_are_written_under_every_name(tmp_path: Path, name: str, storage: str) -> None:
    store = new_typestore()
    with new_bag(tmp_path / name / name, storage) as writer:
        channel = writer.add_connection("/s", "std_msgs/msg/String", typestore=store)
        writer.write(
            channel, 1, store.serialize_cdr(store.types["std_msgs/msg/String"](data="x"), "std_msgs/msg/String")
        )
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert [path.name for path in (tmp_path / name).iterdir()] == [name]
    with Bag(tmp_path / name / name) as bag:
        (topic,) = bag.topics
        assert [bag.deserialize(topic, message.data).data for message in bag.messages()] == ["x"]


def test_a_warning_is_one_sentence_of_the_command(tmp_path: Path, mambaseg: Callable[..., Any]) -> None:
    bags.humble(tmp_path)
    (tmp_path / "metadata.yaml").write_text("")
    answer = mambaseg("info", tmp_path)
    assert answer.returncode == 0
    assert answer.stdout.count("warning:") == 1
    assert "metadata.yaml is damaged; all storage files of the folder are read" in answer.stdout


def test_a_broken_image_does_not_stop_the_others(tmp_path: Path) -> None:
    found = [m._replace(data=m.data[:30]) if k == 5 else m for k, m in enumerate(bags.messages())]
    assert found[5].topic == "/image"
    bags.sqlite(tmp_path / "in" / "b_0.db3", found).close()
    result = segment(tmp_path / "in", tmp_path / "out", parameters=read_parameters(SMALL), registered=True, warn=print)
    assert (result.images, result.masks) == (bags.IMAGES - 1, bags.IMAGES - 1)
    (complaint,) = result.complaints
    assert "sensor_msgs/msg/Image on /image" in complaint


def test_events_outside_the_sensor_are_said_by_every_command(tmp_path: Path) -> None:
    def swap(number: int, packet: Any) -> None:
        packet.height, packet.width = packet.width, packet.height

    bags.sqlite(tmp_path / "b_0.db3", bags.changed("/events", swap)).close()
    with open_events(tmp_path) as reader:
        outside = bags.EVENTS - len(reader)
    assert outside > 0
    with pytest.warns(RecordingWarning, match=f"{outside} events on /events of bag"):
        summary = convert(tmp_path, tmp_path / "converted", warn=pytest.fail)
    assert summary.events == bags.EVENTS - outside
    result = segment(tmp_path, tmp_path / "out", parameters=read_parameters(SMALL), registered=True, warn=print)
    assert result.outside == outside


def test_a_packet_that_cannot_be_read_is_left_out_of_a_conversion(tmp_path: Path) -> None:
    def sizeless(number: int, packet: Any) -> None:
        packet.height *= number != 3

    bags.sqlite(tmp_path / "b_0.db3", bags.changed("/events", sizeless)).close()
    with pytest.warns(RecordingWarning, match=r"1 messages of events on /events of bag .* left out: height is 0"):
        summary = convert(tmp_path, tmp_path / "converted", warn=pytest.fail)
    assert summary.events == bags.EVENTS - bags.EVENTS // bags.PACKETS


def test_images_that_cannot_be_read_are_left_out_of_a_conversion(tmp_path: Path) -> None:
    def cut(number: int, image: Any) -> None:
        image.data = image.data[: None if number in (0, 3) else 5]

    bags.sqlite(tmp_path / "b_0.db3", bags.changed("/image", cut)).close()
    said: list[str] = []
    summary = convert(tmp_path, tmp_path / "converted", warn=said.append)
    assert (summary.images, len(said)) == (2, 1)
    assert said[0].startswith("2 of 4 images are left out: image holds 5 bytes")
    with Bag(tmp_path / "converted") as bag:
        assert {topic.name: count for topic, count in bag.topics.items()}["/image"] == 2


def test_a_conversion_without_any_image_that_can_be_read_is_refused(tmp_path: Path) -> None:
    def cut(number: int, image: Any) -> None:
        image.data = image.data[:5]

    bags.sqlite(tmp_path / "b_0.db3", bags.changed("/image", cut)).close()
    with pytest.raises(ValueError, match="image holds 5 bytes"):
        convert(tmp_path, tmp_path / "converted")
    assert not (tmp_path / "converted").exists()
