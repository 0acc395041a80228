"""Bags as recorders leave them: what metadata.yaml says wrongly, what definitions lack, and bad neighbours."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import event_recordings as recordings
import handmade_bags as bags
import numpy as np
import pytest
from backports import zstd
from handmade_bags import MS, T0_NS, TYPES, Schema
from mcap.records import Message
from mcap.writer import IndexType
from mcap.writer import Writer as McapWriter
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores

from mambaseg_core.recordings import open_events
from mambaseg_core.recordings.bag import Bag
from mambaseg_core.recordings.bag.types import new_typestore
from mambaseg_core.recordings.errors import EventFileError, RecordingWarning


def counts(path: Path) -> Counter[str]:
    with Bag(path) as bag:
        found = Counter(message.topic.name for message in bag.messages())
        assert found == Counter({topic.name: count for topic, count in bag.topics.items()})
        return found


def check(path: Path) -> None:
    """Check that a bag has every message, and the events of `some_events`."""
    assert {name: counts(path)[name] for name in TYPES} == {"/events": bags.PACKETS, "/image": bags.IMAGES}
    with open_events(path) as reader:
        events, expected = reader.between(0, 2**62).events, bags.some_events()
    for name in ("t_ns", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(events, name), getattr(expected, name))
    with Bag(path) as bag:
        (images,) = [topic for topic in bag.topics if topic.type == bags.IMAGE]
        for message in bag.messages([images]):
            assert bag.deserialize(images, message.data).data[0] == message.time_ns // MS % 200


@contextmanager
def warned(match: str) -> Iterator[None]:
    with pytest.warns(RecordingWarning, match=match):
        yield


# --- what metadata.yaml says ---

PROFILE = "- history: 1\n  depth: 10\n  reliability: {}\n  durability: 2\n  avoid_ros_namespace_conventions: false"


@pytest.mark.parametrize("qos", [PROFILE.format(1), PROFILE.format(2), "", "[]", "not: [a profile"])
def test_the_profiles_of_metadata_may_differ(tmp_path: Path, qos: str) -> None:
    bags.sqlite(tmp_path / "q_0.db3", bags.messages(), qos=PROFILE.format(1)).close()
    bags.metadata(tmp_path, ["q_0.db3"], bags.messages(), qos=qos)
    check(tmp_path)


@pytest.mark.parametrize("changes", [{"start_ns": T0_NS + 60 * MS}, {"duration_ns": 10 * MS}, {"start_ns": 0}, {}])
def test_times_are_those_of_the_messages(tmp_path: Path, changes: dict[str, int]) -> None:
    found = bags.messages()
    bags.sqlite(tmp_path / "s_0.db3", found[:12]).close()
    bags.sqlite(tmp_path / "s_1.db3", found[12:]).close()
    bags.metadata(tmp_path, ["s_0.db3", "s_1.db3"], found, **changes)
    check(tmp_path)
    with Bag(tmp_path) as bag:
        assert (bag.start_ns, bag.last_ns) == (found[0].time_ns, found[-1].time_ns)
        assert sum(1 for _ in bag.messages(start_ns=found[7].time_ns)) == len(found) - 7


def test_splits_are_read_in_the_order_of_their_times_even_where_they_overlap(tmp_path: Path) -> None:
    found = bags.messages()
    bags.sqlite(tmp_path / "a_0.db3", found[1::2]).close()
    bags.sqlite(tmp_path / "a_1.db3", found[::2]).close()
    bags.metadata(tmp_path, ["a_1.db3", "a_0.db3"], found)
    check(tmp_path)
    with Bag(tmp_path) as bag:
        assert [message.time_ns for message in bag.messages()] == [message.time_ns for message in found]


def test_a_missing_split_is_named(tmp_path: Path) -> None:
    bags.sqlite(tmp_path / "s_1.db3", bags.messages()).close()
    bags.metadata(tmp_path, ["s_0.db3", "s_1.db3", "s_2.db3"], bags.messages())
    with pytest.raises(EventFileError, match=r"lacks s_0.db3, s_2.db3, .*\(it has s_1.db3\).*reindex"):
        open_events(tmp_path)


def test_a_split_that_metadata_does_not_list_is_named(tmp_path: Path) -> None:
    found = bags.messages()
    bags.sqlite(tmp_path / "s_0.db3", found).close()
    bags.sqlite(tmp_path / "s_1.db3", found).close()
    bags.metadata(tmp_path, ["s_0.db3"], found)
    with warned(r"does not list s_1.db3, which is left out"):
        check(tmp_path)


@pytest.mark.parametrize("files", [["b_0.db3", "b_0.db3"], ["C:\\bags\\b_0.db3"], ["/mnt/disk/bags/b_0.db3"]])
def test_files_that_metadata_list_twice_or_elsewhere_are_read_once_from_the_folder(
    tmp_path: Path, files: list[str]
) -> None:
    bags.sqlite(tmp_path / "b_0.db3", bags.messages()).close()
    bags.metadata(tmp_path, files, bags.messages())
    check(tmp_path)


def test_a_backslash_in_a_name_is_no_folder(tmp_path: Path) -> None:
    bags.sqlite(tmp_path / "b\\a_0.db3", bags.messages()).close()
    bags.metadata(tmp_path, ["b\\a_0.db3"], bags.messages())
    check(tmp_path)


@pytest.mark.parametrize(("encoding", "text"), [(None, None), ("ros2msg", None), ("unknown", ""), ("ros2idl", "?")])
def test_rows_of_definitions_that_hold_none(tmp_path: Path, encoding: str | None, text: str | None) -> None:
    database = bags.sqlite(tmp_path / "b_0.db3", bags.messages())
    database.execute(
        "CREATE TABLE message_definitions(topic_type TEXT, encoding TEXT, encoded_message_definition TEXT)"
    )
    database.executemany(
        "INSERT INTO message_definitions VALUES(?, ?, ?)", [(kind, encoding, text) for kind in TYPES.values()]
    )
    database.commit()
    database.close()
    check(tmp_path)


def test_messages_of_a_topic_without_a_row_are_counted(tmp_path: Path) -> None:
    database = bags.sqlite(tmp_path / "b_0.db3", bags.messages())
    database.execute("DELETE FROM topics WHERE name = '/image'")
    database.commit()
    database.close()
    with warned(r"b_0.db3 has 4 messages whose topic it does not name"):
        assert counts(tmp_path) == {"/events": bags.PACKETS}


@pytest.mark.parametrize("data", [None, b""])
def test_a_message_without_bytes_does_no_harm_to_other_topics(tmp_path: Path, data: bytes | None) -> None:
    database = bags.sqlite(tmp_path / "b_0.db3", bags.messages())
    database.execute("INSERT OR IGNORE INTO topics SELECT 9, '/other', 'a/msg/B', serialization_format, '' FROM topics")
    database.execute("INSERT INTO messages(topic_id, timestamp, data) VALUES(9, ?, ?)", (T0_NS, data))
    database.commit()
    database.close()
    check(tmp_path)


@pytest.mark.parametrize("text", ["", "rosbag2_bagfile_information:\n", "\0\0\0", "{", "[1, 2]"])
def test_metadata_that_a_crash_left_are_passed_over(tmp_path: Path, text: str) -> None:
    bags.humble(tmp_path)
    (tmp_path / "metadata.yaml").write_text(text)
    with warned("metadata.yaml is damaged"):
        check(tmp_path)


def test_a_bag_of_splits_without_metadata(tmp_path: Path) -> None:
    found = bags.messages()
    bags.sqlite(tmp_path / "s_0.db3", found[:9]).close()
    bags.sqlite(tmp_path / "s_1.db3", found[9:]).close()
    (tmp_path / "._s_0.db3").write_bytes(b"\0\5\26\7")  # of macOS
    check(tmp_path)
    assert counts(tmp_path / "s_0.db3").total() == 9
    bags.metadata(tmp_path, ["s_0.db3", "s_1.db3"], found)
    with warned("is one of 2 files of a bag and read alone"):
        assert counts(tmp_path / "s_1.db3").total() == len(found) - 9


def test_files_of_two_bags_are_not_one(tmp_path: Path) -> None:
    bags.sqlite(tmp_path / "b_0.db3", bags.messages()).close()
    bags.mcap(tmp_path / "b_0.mcap", bags.messages(), {topic: bags.definition(kind) for topic, kind in TYPES.items()})
    with pytest.raises(EventFileError, match=r"b_0.db3, b_0.mcap are not numbered parts of one bag"):
        open_events(tmp_path)


def test_a_journal_beside_the_database_is_read(tmp_path: Path) -> None:
    found = bags.messages()
    database = bags.sqlite(tmp_path / "writing" / "b_0.db3", found[:5])
    database.execute("PRAGMA journal_mode=WAL")
    database.execute("PRAGMA wal_autocheckpoint=0")
    bags.add(database, found[5:], {"/image": 1, "/events": 2})
    shutil.copytree(tmp_path / "writing", tmp_path / "killed")  # as it lies there while the recorder runs
    check(tmp_path / "writing")
    database.close()
    assert (tmp_path / "killed" / "b_0.db3-wal").stat().st_size > 1000
    check(tmp_path / "killed")


def test_a_half_written_transaction_is_no_answer(tmp_path: Path) -> None:
    """A rollback journal that a kill left must be applied, for which SQLite writes to the database."""
    database = bags.sqlite(tmp_path / "b_0.db3", bags.messages())
    database.execute("PRAGMA cache_size=1")
    database.execute("BEGIN")
    database.execute("DELETE FROM messages WHERE topic_id = 2")
    shutil.copytree(tmp_path, tmp_path / "killed")
    database.rollback()
    database.close()
    assert (tmp_path / "killed" / "b_0.db3-journal").exists()
    with pytest.raises(EventFileError, match=r"b_0\.db3-journal beside it holds more of the bag"):
        open_events(tmp_path / "killed")


# --- types ---


@pytest.mark.parametrize("schema", [1, 2, 3])
@pytest.mark.parametrize("kind", [bags.PACKET, bags.OLD_PACKET])
def test_databases_without_definitions(tmp_path: Path, schema: int, kind: str) -> None:
    types = {**TYPES, "/events": kind}
    bags.sqlite(tmp_path / "b_0.db3", bags.messages(kind), types, schema=schema).close()
    check(tmp_path)


FULL = {topic: bags.definition(kind) for topic, kind in TYPES.items()}
BARE = "std_msgs/Header header\nuint32 height\nuint32 width\nuint64 seq\nuint64 time_base\nstring encoding\n"


@pytest.mark.parametrize(
    ("topic", "schema"),
    [
        ("/events", Schema(bags.PACKET, "", "")),
        ("/events", Schema(bags.PACKET, "ros2msg", "")),
        ("/events", Schema(bags.PACKET, "ros2msg", "float64<=3 a = what?\n")),
        ("/events", Schema(bags.PACKET, "ros2idl", "module {{{")),
        ("/events", Schema(bags.PACKET, "ros2msg", f"{BARE}bool is_bigendian\nuint8[] events\n")),  # no std_msgs/Header
        ("/events", Schema("event_camera_msgs/EventPacket", "ros2msg", FULL["/events"].text)),
        ("/events", Schema("event_camera_msgs::msg::dds_::EventPacket_", "", "")),
        ("/image", Schema(bags.IMAGE, "", "")),
        ("/image", Schema(bags.IMAGE, "ros2msg", " \n")),
    ],
)
def test_definitions_that_are_missing_are_those_known_here(tmp_path: Path, topic: str, schema: Schema) -> None:
    check(bags.mcap(tmp_path / "x_0.mcap", bags.messages(), {**FULL, topic: schema}))


def test_a_type_that_only_metadata_name(tmp_path: Path) -> None:
    bags.mcap(tmp_path / "x_0.mcap", bags.messages(), {**FULL, "/events": None})
    bags.metadata(tmp_path, ["x_0.mcap"], bags.messages())
    check(tmp_path)


@pytest.mark.parametrize("profile", ["", "ros2", "other"])
def test_profiles_of_mcap_files(tmp_path: Path, profile: str) -> None:
    check(bags.mcap(tmp_path / "x_0.mcap", bags.messages(), FULL, profile=profile))


def test_a_file_without_an_index_is_entered_in_its_middle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else each block of a long recording would be searched from its beginning."""
    monkeypatch.setattr("mambaseg_core.recordings.bag.mcap_storage._PLACE_BYTES", 2000)
    monkeypatch.setattr("mambaseg_core.recordings.bag.events._BLOCK_BYTES", 2000)
    found = bags.messages()
    path = bags.mcap(tmp_path / "x.mcap", found, FULL)
    check(path)
    with Bag(path) as bag:
        for start, message in enumerate(found):
            assert [m.time_ns for m in bag.messages(start_ns=message.time_ns)] == [m.time_ns for m in found[start:]]
        monkeypatch.setattr(Message, "read", reads := CountedReads(Message.read))
        assert len(list(bag.messages(start_ns=found[-1].time_ns))) == 1
        assert reads.count < 5


def test_a_file_without_an_index_and_out_of_order(tmp_path: Path) -> None:
    path = bags.mcap(tmp_path / "x.mcap", list(reversed(bags.messages())), FULL)
    check(path)
    with Bag(path) as bag:
        assert [m.time_ns for m in bag.messages()] == [m.time_ns for m in bags.messages()]


@pytest.mark.parametrize("package", ["dvs_msgs", "prophesee_event_msgs", "dv_ros_msgs", "dv_ros2_msgs"])
def test_nested_arrays_of_every_package(tmp_path: Path, package: str) -> None:
    kind, events = f"{package}/msg/EventArray", recordings.some_events(500)
    found = [bags.Message(T0_NS, "/events", recordings.nested_cdr(events))]
    bags.sqlite(tmp_path / "b_0.db3", found, {"/events": kind}).close()
    with open_events(tmp_path) as reader:
        assert reader.encoding == package
        np.testing.assert_array_equal(reader.between(0, 2**62).events.t_ns, events.t_ns)


def test_a_nested_message_with_other_fields_is_refused(tmp_path: Path) -> None:
    text = bags.definition("dvs_msgs/msg/EventArray").text.replace("uint16 x\nuint16 y", "uint16 y\nuint16 x")
    found = [bags.Message(T0_NS, "/events", bytes(100))]
    bags.mcap(tmp_path / "x.mcap", found, {"/events": Schema("dvs_msgs/msg/EventArray", "ros2msg", text)})
    with pytest.raises(EventFileError, match=r"with the fields \['y', 'x', .*expected those of the published package"):
        open_events(tmp_path / "x.mcap")
    with Bag(tmp_path / "x.mcap") as bag:
        (topic,) = bag.topics
        for _ in range(2):  # bag segment goes on after a message that is refused
            with pytest.raises(EventFileError, match="expected those of the published package"):
                bag.event_message(topic, found[0].data)
        assert "expected those of the published package" in bag.why_unreadable(topic)


class CountedReads:
    """Count calls of a function."""

    def __init__(self, function: Callable[..., Message]) -> None:
        self.count, self._function = 0, function

    def __call__(self, *values: object) -> Message:
        self.count += 1
        return self._function(*values)


# --- bad neighbours ---

FOO = Schema("foo_msgs/msg/Foo")


@pytest.mark.parametrize(
    ("schema", "encoding", "reason"),
    [
        (Schema("foo.Foo", "jsonschema", "{}"), "json", "encoded as 'json'"),
        (Schema("foxglove.Foo", "protobuf", "xx"), "protobuf", "encoded as 'protobuf'"),
        (Schema("foo", "flatbuffer", "xx"), "flatbuffer", "encoded as 'flatbuffer'"),
        (None, "", "encoded as ''"),
        (FOO._replace(text="float64<=3 a = what?\n"), "cdr", "cannot be parsed"),
        (FOO._replace(text="other_msgs/Bar bar\n"), "cdr", "lacks other_msgs/msg/Bar"),
        (FOO, "cdr", "no definition"),
        (Schema("std_msgs/msg/Header", "ros2msg", "uint8 other\n"), "cdr", ""),
    ],
)
def test_a_neighbour_that_cannot_be_read_does_no_harm(
    tmp_path: Path, schema: Schema | None, encoding: str, reason: str
) -> None:
    found = sorted([*bags.messages(), bags.Message(T0_NS + 1, "/foo", b"\0\1\0\0" + bytes(8))])
    path = bags.mcap(tmp_path / "x.mcap", found, {**FULL, "/foo": schema}, encodings={"/foo": encoding})
    check(path)
    with Bag(path) as bag:
        (foo,) = [topic for topic in bag.topics if topic.name == "/foo"]
        assert bag.topics[foo] == 1
        assert reason in bag.why_unreadable(foo)
        assert bool(bag.why_unreadable(foo)) == bool(reason)


def test_one_topic_with_two_types(tmp_path: Path) -> None:
    """As a topic that was renamed while the recorder ran."""
    found = bags.messages()
    database = bags.sqlite(tmp_path / "b_0.db3", found)
    database.execute("INSERT INTO topics VALUES(3, '/events', 'std_msgs/msg/String', 'cdr', '')")
    bags.add(database, [bags.Message(T0_NS, "/s", b"\0\1\0\0\1\0\0\0\0")], {"/s": 3})
    database.close()
    with open_events(tmp_path, topic="/events") as reader:
        assert len(reader) == bags.EVENTS


# --- compression ---


def packed(data: bytes) -> bytes:
    return bytes(zstd.compress(data))


@pytest.mark.parametrize("listed", ["b_0.db3.zstd", "b_0.db3"])
def test_files_packed_as_a_whole(tmp_path: Path, listed: str) -> None:
    """What metadata.yaml says of it does not matter: files are unpacked and packed by hand."""
    bags.humble(tmp_path)
    file = tmp_path / "b_0.db3"
    (tmp_path / "b_0.db3.zstd").write_bytes(packed(file.read_bytes()))
    bags.metadata(tmp_path, [listed], bags.messages(), mode="FILE", format="zstd")
    check(tmp_path)  # both lie there
    file.unlink()
    check(tmp_path)
    check(tmp_path / "b_0.db3.zstd")
    (tmp_path / "metadata.yaml").unlink()
    check(tmp_path)


def test_messages_packed_one_by_one_and_not(tmp_path: Path) -> None:
    found = bags.messages()
    mixed = [m._replace(data=packed(m.data)) if number % 3 else m for number, m in enumerate(found)]
    bags.sqlite(tmp_path / "b_0.db3", mixed).close()
    check(tmp_path)
    bags.metadata(tmp_path, ["b_0.db3"], found, mode="MESSAGE", format="zstd")
    check(tmp_path)


@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE, CompressionMode.STORAGE])
def test_packed_mcap_files(tmp_path: Path, mode: CompressionMode) -> None:
    store, path = new_typestore(), tmp_path / "bag"
    writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        channels = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in TYPES.items()}
        for message in bags.messages():
            writer.write(channels[message.topic], message.time_ns, message.data)
    check(path)


@pytest.mark.parametrize(
    "left_out",
    [{"repeat_channels": False}, {"repeat_schemas": False}, {"use_statistics": False}, {"index_types": IndexType.NONE}],
)
def test_summaries_of_mcap_files_may_leave_out_anything(tmp_path: Path, left_out: dict[str, Any]) -> None:
    chunked(tmp_path / "b.mcap", **left_out)
    check(tmp_path)


def test_statistics_of_mcap_files_may_lack_the_counts_of_channels(tmp_path: Path) -> None:
    """An empty map means that the counts are not there, by the format's specification."""

    def forget(writer: McapWriter) -> None:
        writer._Writer__statistics.channel_message_counts.clear()  # type: ignore[attr-defined]

    chunked(tmp_path / "b.mcap", at_end=forget)
    check(tmp_path)


def test_messages_of_mcap_files_may_lie_beside_chunks(tmp_path: Path) -> None:
    def leave_chunks(writer: McapWriter) -> None:
        writer._Writer__finalize_chunk()  # type: ignore[attr-defined]
        writer._Writer__chunk_builder = None  # type: ignore[attr-defined]

    chunked(tmp_path / "b.mcap", at_middle=leave_chunks)
    check(tmp_path)


def chunked(
    path: Path,
    *,
    at_middle: Callable[[McapWriter], None] = lambda writer: None,
    at_end: Callable[[McapWriter], None] = lambda writer: None,
    **options: Any,
) -> None:
    """Write an mcap file in chunks, as the library of mcap does with options."""
    with path.open("wb") as file:
        writer = McapWriter(file, chunk_size=5000, **options)
        writer.start("ros2")
        writer.add_metadata("note", {"driver": "v1"})
        channels = {}
        for topic, kind in TYPES.items():
            name, encoding, text = bags.definition(kind)
            channels[topic] = writer.register_channel(
                topic, "cdr", writer.register_schema(name, encoding, text.encode())
            )
        for number, message in enumerate(bags.messages()):
            if number == 15:
                at_middle(writer)
            writer.add_message(channels[message.topic], message.time_ns, message.data, message.time_ns)
        at_end(writer)
        writer.finish()


def test_packing_that_is_unknown_or_damaged_is_one_sentence(tmp_path: Path) -> None:
    found = bags.messages()
    bags.sqlite(tmp_path / "b_0.db3", [m._replace(data=b"\x04\x22\x4d\x18" + m.data) for m in found]).close()
    with pytest.raises(EventFileError, match=r"a message on /events of bag .* begins with .*, expected CDR"):
        open_events(tmp_path)
    (tmp_path / "b_0.db3").write_bytes(packed((tmp_path / "b_0.db3").read_bytes())[:-40])
    with pytest.raises(EventFileError, match=r"b_0.db3 cannot be read .*reindex"):
        open_events(tmp_path)


# --- what packets say ---


@pytest.mark.parametrize("encoding", ["", "evt3"])
def test_an_empty_packet_at_the_beginning_may_lack_size_and_encoding(tmp_path: Path, encoding: str) -> None:
    def empty(number: int, packet: Any) -> None:
        if number == 0:
            packet.height, packet.width, packet.encoding, packet.events = 0, 0, encoding, np.zeros(0, np.uint8)

    bags.sqlite(tmp_path / "b_0.db3", bags.changed("/events", empty)).close()
    with open_events(tmp_path) as reader:
        assert (len(reader), reader.height, reader.width) == (bags.EVENTS - bags.EVENTS // bags.PACKETS, 260, 346)


@pytest.mark.parametrize(("field", "value"), [("encoding", "evt2"), ("width", 640), ("is_bigendian", True)])
def test_packets_of_another_camera_are_refused_with_what_can_be_done(tmp_path: Path, field: str, value: Any) -> None:
    def other(number: int, packet: Any) -> None:
        if number == 9:
            setattr(packet, field, value)

    bags.sqlite(tmp_path / "b_0.db3", bags.changed("/events", other)).close()
    with pytest.raises(EventFileError, match=r"topic /events of bag .* expected packets of one camera; .*bag convert"):
        len(open_events(tmp_path))


def test_packets_that_all_lack_the_size_are_refused_without_advice_on_options(tmp_path: Path) -> None:
    def sizeless(number: int, packet: Any) -> None:
        packet.height = 0

    bags.sqlite(tmp_path / "b_0.db3", bags.changed("/events", sizeless)).close()
    with pytest.raises(
        EventFileError, match=r"/events of bag .* the size 346x0, expected .* the sensor's size; record"
    ):
        open_events(tmp_path)


# --- ROS 1 ---


def ros1(
    path: Path, write: Callable[[Ros1Writer], None], compression: Ros1Writer.CompressionFormat | None = None
) -> Path:
    writer = Ros1Writer(path)
    if compression:
        writer.set_compression(compression)
    with writer:
        write(writer)
    return path


@pytest.mark.parametrize("compression", [None, *Ros1Writer.CompressionFormat])
def test_bags_of_ros1(tmp_path: Path, compression: Ros1Writer.CompressionFormat | None) -> None:
    store = new_typestore(Stores.ROS1_NOETIC)

    def write(writer: Ros1Writer) -> None:
        channels = {topic: writer.add_connection(topic, kind, typestore=store) for topic, kind in TYPES.items()}
        for message in bags.messages(ros1=True):
            writer.write(channels[message.topic], message.time_ns, message.data)

    path = ros1(tmp_path / "r.bag", write, compression)
    check(path)
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(path, folder / "r.bag")
    check(folder)


@pytest.mark.parametrize("package", ["dvs_msgs", "prophesee_event_msgs"])
def test_nested_arrays_of_ros1(tmp_path: Path, package: str) -> None:
    store, events, kind = new_typestore(Stores.ROS1_NOETIC), recordings.some_events(700), f"{package}/msg/EventArray"

    def write(writer: Ros1Writer) -> None:
        channel = writer.add_connection("/dvs/events", kind, typestore=store)
        for number in range(7):
            writer.write(channel, T0_NS + number, recordings.nested_ros1(events.part(100 * number, 100 * number + 100)))

    with open_events(ros1(tmp_path / "r.bag", write)) as reader:
        assert (reader.encoding, reader.height, reader.width) == (package, 260, 346)
        found = reader.between(0, 2**62).events
    for name in ("t_ns", "x", "y", "p"):
        np.testing.assert_array_equal(getattr(found, name), getattr(events, name))


def test_a_bag_of_ros1_that_was_not_closed(tmp_path: Path) -> None:
    path = tmp_path / "r.bag.active"
    path.write_bytes(b"#ROSBAG V2.0\n" + bytes(4096))
    with pytest.raises(EventFileError, match=r"cannot be read .*rosbag reindex"):
        open_events(path)


# --- files ---


@pytest.mark.parametrize("name", ["a b", "a#b", "a?mode=rwc", "a%20b", "é中", "a:b", "{x}[y]*", 'it\'s "so"', "a&b=c"])
def test_paths_with_every_character(tmp_path: Path, name: str) -> None:
    (tmp_path / "a").mkdir()  # what a path cut off at a special character would name
    sqlite3.connect(tmp_path / "a" / "b_0.db3").close()
    check(bags.humble(tmp_path / name))


def test_a_locked_database_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mambaseg_core.recordings.bag.sqlite_storage._LOCKED_S", 0.1)
    bags.humble(tmp_path)
    database = sqlite3.connect(tmp_path / "b_0.db3", isolation_level=None)
    database.execute("BEGIN EXCLUSIVE")
    with pytest.raises(EventFileError, match=r"b_0.db3 cannot be read \(database is locked\)"):
        open_events(tmp_path)
    database.rollback()
    database.close()
