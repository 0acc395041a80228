"""Bags as recorders leave them, written table by table and record by record: /image and /events, 20 + 4 messages."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import event_recordings as recordings
import numpy as np
import yaml
from rosbags.typesys import Stores
from rosbags.typesys.store import Typestore

from mambaseg_core.events import Events
from mambaseg_core.events.messages import PACKET_TYPES
from mambaseg_core.recordings.bag.types import known_typestore, new_typestore

MS = 1_000_000
T0_NS = 1_700_000_000_000_000_000
PACKET, OLD_PACKET = PACKET_TYPES
IMAGE = "sensor_msgs/msg/Image"
TYPES = {"/image": IMAGE, "/events": PACKET}
EVENTS, PACKETS, IMAGES = 2000, 20, 4


class Message(NamedTuple):
    """One message as it is recorded."""

    time_ns: int
    topic: str
    data: bytes


def header(store: Typestore, stamp_ns: int) -> Any:
    stamp = store.types["builtin_interfaces/msg/Time"](sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
    fields = {"seq": 0} if "seq" in store.types["std_msgs/msg/Header"].__dataclass_fields__ else {}
    return store.types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera", **fields)


def image(store: Typestore, stamp_ns: int) -> Any:
    pixels = np.full(36 * 48 * 3, stamp_ns // MS % 200, np.uint8)
    fields = {"header": header(store, stamp_ns), "height": 36, "width": 48, "encoding": "rgb8"}
    return store.types[IMAGE](**fields, is_bigendian=0, step=144, data=pixels)


def packet(store: Typestore, kind: str, stamp_ns: int, seq: int, events: Events) -> Any:
    words = np.frombuffer(recordings.evt3(events), np.uint8)
    fields = {"header": header(store, stamp_ns), "height": 260, "width": 346, "seq": seq, "time_base": 0}
    return store.types[kind](**fields, encoding="evt3", is_bigendian=False, events=words)


def some_events() -> Events:
    return recordings.some_events(EVENTS, first_us=1000, span_us=100_000)


@cache
def messages(kind: str = PACKET, *, ros1: bool = False) -> list[Message]:
    """Return a packet every 5 ms and an image every 25 ms, in the order of their times."""
    store = new_typestore(Stores.ROS1_NOETIC) if ros1 else known_typestore()
    serialize = store.serialize_ros1 if ros1 else store.serialize_cdr
    events, found = some_events(), []
    size = EVENTS // PACKETS
    for seq in range(PACKETS):
        time_ns = T0_NS + (seq + 1) * 5 * MS
        part = packet(store, kind, time_ns, seq, events.part(seq * size, (seq + 1) * size))
        found.append(Message(time_ns, "/events", bytes(serialize(part, kind))))
    for number in range(IMAGES):
        time_ns = T0_NS + (number + 1) * 25 * MS + 1
        found.append(Message(time_ns, "/image", bytes(serialize(image(store, time_ns), IMAGE))))
    return sorted(found)


def changed(topic: str, change: Callable[[int, Any], None]) -> list[Message]:
    """Return `messages` after `change(number, message)` edited those of a topic in place."""
    store, kind, found, number = known_typestore(), TYPES[topic], [], 0
    for message in messages():
        if message.topic == topic:
            edited = store.deserialize_cdr(message.data, kind)
            change(number, edited)
            message = message._replace(data=bytes(store.serialize_cdr(edited, kind)))
            number += 1
        found.append(message)
    return found


def sqlite(
    path: Path, found: Sequence[Message], types: Mapping[str, str] = TYPES, *, schema: int = 3, qos: str = ""
) -> sqlite3.Connection:
    """Write a `.db3` file as rosbag2 did, by the version of its tables; none of these has definitions of messages."""
    path.parent.mkdir(parents=True, exist_ok=True)
    database = sqlite3.connect(path)
    columns = "id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT"
    database.execute(f"CREATE TABLE topics({columns}{', offered_qos_profiles TEXT' if schema > 1 else ''})")
    database.execute("CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)")
    if schema > 2:
        database.execute("CREATE TABLE schema(schema_version INTEGER PRIMARY KEY, ros_distro TEXT)")
        database.execute("INSERT INTO schema VALUES(3, 'humble')")
    numbers = {topic: number for number, topic in enumerate(types, 1)}
    for topic, number in numbers.items():
        row = (number, topic, types[topic], "cdr", *([qos] if schema > 1 else []))
        database.execute(f"INSERT INTO topics VALUES({','.join('?' * len(row))})", row)
    add(database, found, numbers)
    return database


def add(database: sqlite3.Connection, found: Sequence[Message], numbers: Mapping[str, int]) -> None:
    rows = [(numbers[message.topic], message.time_ns, message.data) for message in found]
    database.executemany("INSERT INTO messages(topic_id, timestamp, data) VALUES(?, ?, ?)", rows)
    database.commit()


def metadata(
    folder: Path, files: Sequence[str], found: Sequence[Message], types: Mapping[str, str] = TYPES, **changes: Any
) -> None:
    """Write `metadata.yaml`; `changes` replace what is true."""
    times = [message.time_ns for message in found]
    topics = [
        {
            "topic_metadata": {
                "name": topic,
                "type": kind,
                "serialization_format": "cdr",
                "offered_qos_profiles": changes.get("qos", ""),
            },
            "message_count": sum(message.topic == topic for message in found),
        }
        for topic, kind in types.items()
    ]
    content = {
        "version": 5,
        "storage_identifier": "mcap" if "mcap" in files[0] else "sqlite3",
        "starting_time": {"nanoseconds_since_epoch": changes.get("start_ns", min(times))},
        "duration": {"nanoseconds": changes.get("duration_ns", max(times) - min(times))},
        "message_count": len(found),
        "topics_with_message_count": topics,
        "compression_format": changes.get("format", ""),
        "compression_mode": changes.get("mode", ""),
        "relative_file_paths": list(files),
    }
    (folder / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": content}))


def humble(folder: Path, kind: str = PACKET) -> Path:
    """Write a bag as Humble does by default."""
    types = {**TYPES, "/events": kind}
    sqlite(folder / "b_0.db3", messages(kind), types).close()
    metadata(folder, ["b_0.db3"], messages(kind), types)
    return folder


class Schema(NamedTuple):
    """What an mcap file says of a topic's type."""

    name: str
    encoding: str = "ros2msg"
    text: str = ""


def definition(kind: str) -> Schema:
    return Schema(kind, "ros2msg", known_typestore().generate_msgdef(kind, ros_version=2)[0])


def mcap(
    path: Path,
    found: Sequence[Message],
    schemas: Mapping[str, Schema | None],
    *,
    encodings: Mapping[str, str] | None = None,
    profile: str = "ros2",
) -> Path:
    """Write an mcap file without chunks and without an index; a topic without a schema has channel schema 0."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def text(value: str) -> bytes:
        return struct.pack("<I", len(value.encode())) + value.encode()

    def record(operation: int, body: bytes) -> bytes:
        return struct.pack("<BQ", operation, len(body)) + body

    magic = b"\x89MCAP0\r\n"
    content = magic + record(1, text(profile) + text("by hand"))
    for number, (topic, schema) in enumerate(schemas.items(), 1):
        if schema is not None:
            content += record(3, struct.pack("<H", number) + b"".join(text(part) for part in schema))
        encoding = (encodings or {}).get(topic, "cdr")
        ids = struct.pack("<HH", number, 0 if schema is None else number)
        content += record(4, ids + text(topic) + text(encoding) + struct.pack("<I", 0))
    numbers = {topic: number for number, topic in enumerate(schemas, 1)}
    for sequence, message in enumerate(found):
        head = struct.pack("<HIQQ", numbers[message.topic], sequence, message.time_ns, message.time_ns)
        content += record(5, head + message.data)
    path.write_bytes(content + record(0x0F, bytes(4)) + record(2, bytes(20)) + magic)
    return path
