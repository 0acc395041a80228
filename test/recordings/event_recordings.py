"""One small recording in every format, written here word by word."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import hdf5_recordings
import lz4.frame
import numpy as np
from backports import zstd
from rosbags.rosbag1 import Writer as Ros1Writer
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores

from mambaseg_core.events import Events
from mambaseg_core.events.messages import COLUMNS_TYPE, NESTED_TYPES, PACKET_TYPES
from mambaseg_core.recordings import open_events
from mambaseg_core.recordings.bag.types import new_typestore
from mambaseg_core.recordings.hdf5.dsec_writer import new_dsec

US = 1000
SIZE = (260, 346)


def some_events(count: int = 3000, *, first_us: int = 16_700_000, span_us: int = 150_000, seed: int = 0) -> Events:
    """Return events across the wrap of EVT3's clock (16.777216 s), some simultaneous."""
    rng = np.random.default_rng(seed)
    t_us = np.sort(rng.integers(first_us, first_us + span_us, count) // 7 * 7)
    x, y, p = rng.integers(0, SIZE[1], count), rng.integers(0, SIZE[0], count), rng.choice([-1, 1], count)
    return Events.from_arrays(x, y, t_us * US, p, height=SIZE[0], width=SIZE[1])


def rows(events: Events) -> list[tuple[int, int, int, int]]:
    """Return (x, y, t in us, 1 for ON else 0) of each event."""
    columns = (events.x, events.y, events.t_ns // US, (events.p > 0).astype(int))
    return list(zip(*(column.tolist() for column in columns), strict=True))


def columns(path: Path, **options: object) -> list[tuple[int, ...]]:
    """Return (x, y, us, p) of each event."""
    with open_events(path, **options) as reader:  # type: ignore[arg-type]
        events = reader.between(-(2**62), 2**62).events
    values = (events.x, events.y, events.t_ns // 1000, events.p)
    return list(zip(*(column.tolist() for column in values), strict=True))


def evt2(events: Events) -> bytes:
    words, high = [], None
    for x, y, t, on in rows(events):
        if t >> 6 != high:
            high = t >> 6
            words.append(0x8 << 28 | high)
        words.append(on << 28 | (t & 63) << 22 | x << 11 | y)
    return np.array(words, "<u4").tobytes()


def evt21(events: Events) -> bytes:
    words, high = [], None
    for x, y, t, on in rows(events):
        if t >> 6 != high:
            high = t >> 6
            words.append(0x8 << 60 | high << 32)
        words.append(on << 60 | (t & 63) << 54 | x << 43 | y << 32 | 1)
    return np.array(words, "<u8").tobytes()


def evt21_legacy(events: Events) -> bytes:
    return np.frombuffer(evt21(events), "<u4").reshape(-1, 2)[:, ::-1].tobytes()


def evt3(events: Events) -> bytes:
    """Encode every third event as a vector of one, so that vectors, rows and times all run across blocks."""
    words: list[int] = []
    high = low = row = None
    for number, (x, y, t, on) in enumerate(rows(events)):
        if t >> 12 & 0xFFF != high:
            high, low = t >> 12 & 0xFFF, None
            words.append(0x8000 | high)
        if t & 0xFFF != low:
            low = t & 0xFFF
            words.append(0x6000 | low)
        if y != row:
            row = y
            words.append(y)
        words += [0x3000 | on << 11 | x, 0x5001] if number % 3 == 0 else [0x2000 | on << 11 | x]
    return np.array(words, "<u2").tobytes()


def raw(header: str, encode: Callable[[Events], bytes]) -> Callable[[Path, Events], Path]:
    def write(folder: Path, events: Events) -> Path:
        path = folder / "recording.raw"
        path.write_bytes(header.encode() + encode(events))
        return path

    return write


def ddd17(folder: Path, events: Events) -> Path:
    events.t_ns.astype("<i8").tofile(folder / "events.dat.t")
    np.stack([events.x, events.y, events.p > 0], -1).astype("<i2").tofile(folder / "events.dat.xyp")
    return folder


def dsec(folder: Path, events: Events) -> Path:
    path = folder / "events.h5"
    first_us = int(events.t_ns[0]) // US if len(events) else 0
    with new_dsec(path, first_us) as writer:
        relative = events.t_ns - first_us * US
        writer.write(Events(events.x, events.y, relative, events.p, events.height, events.width))
    return path


def flatbuffer(identifier: bytes, fields: dict[int, bytes | tuple[int, bytes]]) -> bytes:
    """Build a buffer with a size prefix and one table; a field is its bytes, or (length, elements) of a vector."""
    count = max(fields) + 1
    vtable_at, table_at = 8, 8 + -(-(4 + 2 * count) // 8) * 8
    at, inline, tail = 8, b"", b""
    offsets = [0] * count
    tail_at = table_at + 8 + 8 * count
    for field, value in sorted(fields.items()):
        offsets[field] = at
        if isinstance(value, tuple):
            tail += b"\0" * (-(tail_at + len(tail)) % 8 + 4)  # the elements begin at a multiple of 8
            inline += struct.pack("<II", tail_at + len(tail) - (table_at + at), 0)
            tail += struct.pack("<I", value[0]) + value[1]
        else:
            inline += value.ljust(8, b"\0")
        at += 8
    vtable = struct.pack(f"<HH{count}H", 4 + 2 * count, at, *offsets)
    body = struct.pack("<I4s", table_at, identifier) + vtable
    body = body.ljust(table_at, b"\0") + struct.pack("<iI", table_at - vtable_at, 0) + inline
    body = body.ljust(tail_at, b"\0") + tail
    return struct.pack("<I", len(body)) + body


def stream_xml(number: int, kind: str) -> str:
    return (
        f'<node name="{number}"><attr key="typeIdentifier" type="string">{kind}</attr><node name="info">'
        f'<attr key="sizeX" type="int">{SIZE[1]}</attr><attr key="sizeY" type="int">{SIZE[0]}</attr></node></node>'
    )


def aedat4(compression: int = 1, xml: str | None = None) -> Callable[[Path, Events], Path]:
    pack = [bytes, lz4.frame.compress, lz4.frame.compress, zstd.compress, zstd.compress][compression]

    def write(folder: Path, events: Events) -> Path:
        text = xml or f'<dv><node name="outInfo">{stream_xml(0, "EVTS")}{stream_xml(1, "FRME")}</node></dv>'
        fields = {0: struct.pack("<i", compression), 1: struct.pack("<q", -1), 2: (len(text), text.encode())}
        content = b"#!AER-DAT4.0\r\n" + flatbuffer(b"IOHE", fields)
        struct_dtype = np.dtype({"names": list("txyp"), "formats": ["<i8", "<i2", "<i2", "?"], "itemsize": 16})
        for start in range(0, len(events), 500):
            part = events.part(start, min(start + 500, len(events)))
            table = np.zeros(len(part), struct_dtype)
            table["t"], table["x"], table["y"], table["p"] = part.t_ns // US, part.x, part.y, part.p > 0
            packet = pack(flatbuffer(b"EVTS", {0: (len(part), table.tobytes())}))
            content += struct.pack("<ii", 0, len(packet)) + packet
        path = folder / "recording.aedat4"
        path.write_bytes(content)
        return path

    return write


def bag(kind: str, encoding: str = "", plugin: StoragePlugin = StoragePlugin.MCAP) -> Callable[[Path, Events], Path]:
    """Write messages of 100 events; EventPackets share one stream of words."""

    def write(folder: Path, events: Events) -> Path:
        path, store = folder / "bag", new_typestore()
        with Writer(path, version=9, storage_plugin=plugin) as writer:
            connection = writer.add_connection("/events", kind, typestore=store)
            for number in range(-(-len(events) // 100)):
                part = events.part(number * 100, min(number * 100 + 100, len(events)))
                # two messages share each time of the recorder
                writer.write(connection, number // 2 * 1_000_000, _message(store, kind, encoding, part, number))
        return path

    return write


def _message(store: object, kind: str, encoding: str, part: Events, seq: int) -> bytes:
    types = store.types  # type: ignore[attr-defined]
    first = int(part.t_ns[0])
    if kind in NESTED_TYPES:
        return nested_cdr(part)
    stamp = types["builtin_interfaces/msg/Time"](sec=first // 10**9, nanosec=first % 10**9)
    header = types["std_msgs/msg/Header"](stamp=stamp, frame_id="camera")
    common = {"header": header, "height": SIZE[0], "width": SIZE[1], "seq": seq}
    if kind == COLUMNS_TYPE:
        offset, p = (part.t_ns - first).astype("u4"), (part.p > 0).astype("u1")
        message = types[kind](**common, x=part.x, y=part.y, t_offset_ns=offset, p=p)
    else:
        data = mono(part) if encoding == "mono" else evt3(part)
        message = types[kind](
            **common, time_base=first, encoding=encoding, is_bigendian=False, events=np.frombuffer(data, "u1")
        )
    return bytes(store.serialize_cdr(message, kind))  # type: ignore[attr-defined]


def mono(events: Events) -> bytes:
    first = int(events.t_ns[0])
    return np.array([on << 63 | y << 48 | x << 32 | t * US - first for x, y, t, on in rows(events)], "<u8").tobytes()


def nested_cdr(events: Events, frame_id: bytes = b"cam\0") -> bytes:
    """Serialize a dvs_msgs/EventArray; CDR does not pad structures, so x follows the polarity on the next even byte."""
    data = b"\0\1\0\0" + struct.pack("<iII", 1, 2, len(frame_id)) + frame_id
    data += struct.pack("<III", events.height, events.width, len(events))
    for number, (x, y, t, on) in enumerate(rows(events)):
        data += struct.pack("<xHHxxiIB" if number else "<HHiIB", x, y, t // 10**6, t % 10**6 * US, on)
    return data


def dat(version: int = 2, header: str | None = None) -> Callable[[Path, Events], Path]:
    """Write CD events; version 1 has x in 9 bits, y in 8 and the polarity in 1, version 2 in 14, 14 and 4."""
    bits = {1: (9, 17), 2: (14, 28)}[version]

    def write(folder: Path, events: Events) -> Path:
        text = header or f"% Data file containing CD events.\n% Version {version}\n% Height 260\n% Width 346\n"
        words = [(t & 0xFFFF_FFFF, x | y << bits[0] | on << bits[1]) for x, y, t, on in rows(events)]
        path = folder / "recording_td.dat"
        path.write_bytes(text.encode() + b"\x0c\x08" + np.array(words, "<u4").tobytes())
        return path

    return write


def aedat2(
    chip: str = "eu.seebetter.ini.chips.davis.Davis346blue", more: bytes = b""
) -> Callable[[Path, Events], Path]:
    """Write jAER's addresses of a DAVIS, (0, 0) at the lower right; an IMU sample and an external event among them."""

    def write(folder: Path, events: Events) -> Path:
        header = f"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n# AEChip: {chip}\r\n"
        records = [
            ((SIZE[0] - 1 - y) << 22 | (SIZE[1] - 1 - x) << 12 | on << 11, t & 0xFFFF_FFFF)
            for x, y, t, on in rows(events)
        ]
        for at in sorted({0, len(records) // 2}, reverse=True) if records else ():
            records[at:at] = [(0x8012_3C00, records[at][1]), (0x400, records[at][1])]
        path = folder / "recording.aedat"
        path.write_bytes(header.encode() + np.array(records, ">u4").tobytes() + more)
        return path

    return write


def aedat3_packet(kind: int, size: int, number: int, payload: bytes, *, overflow: int = 0, source: int = 1) -> bytes:
    return struct.pack("<hhiiiiii", kind, source, size, 4, overflow, number, number, number) + payload


def aedat3(folder: Path, events: Events, source: str = "DAVIS346", more: bytes = b"") -> Path:
    """Write packets of 500 events; each ends where bit 31 of the time changes."""
    content = f"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: {source}\r\n#!END-HEADER\r\n".encode() + more
    content += aedat3_packet(0, 8, 1, struct.pack("<Ii", 1, 0))  # a special event
    words = [(1 | on << 1 | y << 2 | x << 17, t) for x, y, t, on in rows(events)]
    for high in sorted({t >> 31 for _, t in words}):
        part = [(data, t & 0x7FFF_FFFF) for data, t in words if t >> 31 == high]
        for start in range(0, len(part), 500):
            chunk = part[start : start + 500]
            content += aedat3_packet(1, 8, len(chunk), np.array(chunk, "<u4").tobytes(), overflow=high)
    path = folder / "recording.aedat"
    path.write_bytes(content)
    return path


def npy_structured(folder: Path, events: Events) -> Path:
    table = np.zeros(len(events), [("x", "<u2"), ("y", "<u2"), ("timestamp", "<i8"), ("polarity", "?")])
    table["x"], table["y"], table["timestamp"], table["polarity"] = events.x, events.y, events.t_ns // US, events.p > 0
    np.save(folder / "events.npy", table)
    return folder / "events.npy"


def npy_table(folder: Path, events: Events) -> Path:
    columns = [events.x, events.y, events.t_ns // US, events.p]
    np.save(folder / "events.npy", np.stack([column.astype(np.float64) for column in columns], -1))
    return folder / "events.npy"


def npz(folder: Path, events: Events) -> Path:
    np.savez_compressed(folder / "events.npz", x=events.x, y=events.y, t_ns=events.t_ns, p=events.p > 0)
    return folder / "events.npz"


def text(folder: Path, events: Events) -> Path:
    """Write RPG's events.txt: seconds, column, row and polarity between blanks."""
    lines = [f"{t // 10**6}.{t % 10**6:06d} {x} {y} {on}\n" for x, y, t, on in rows(events)]
    (folder / "events.txt").write_text("".join(lines))
    return folder / "events.txt"


def csv(folder: Path, events: Events) -> Path:
    """Write Prophesee's CSV, with names."""
    lines = [f"{x},{y},{2 * on - 1},{t}\n" for x, y, t, on in rows(events)]
    (folder / "events.csv").write_text("%geometry:346,260\nx,y,p,t_us\n" + "".join(lines))
    return folder / "events.csv"


def nested_ros1(events: Events) -> bytes:
    """Serialize a dvs_msgs/EventArray as ROS 1 does: nothing is aligned."""
    data = struct.pack("<IIII", 9, 1, 2, 3) + b"cam" + struct.pack("<III", events.height, events.width, len(events))
    for x, y, t_us, on in rows(events):
        data += struct.pack("<HHIIB", x, y, t_us // 10**6, t_us % 10**6 * US, on)
    return data


def bag_ros1(folder: Path, events: Events) -> Path:
    """Write messages of 100 events with the packing that `rosbag record --lz4` chooses."""
    path, store = folder / "recording.bag", new_typestore(Stores.ROS1_NOETIC)
    writer = Ros1Writer(path)
    writer.set_compression(Ros1Writer.CompressionFormat.LZ4)
    with writer:
        connection = writer.add_connection("/dvs/events", "dvs_msgs/msg/EventArray", typestore=store)
        for number in range(-(-len(events) // 100)):
            part = events.part(number * 100, min(number * 100 + 100, len(events)))
            writer.write(connection, number // 2 * 1_000_000, nested_ros1(part))
    return path


FORMATS: dict[str, Callable[[Path, Events], Path]] = {
    "dsec": dsec,
    "ddd17": ddd17,
    "evt2": raw("% evt 2.0\n% geometry 346x260\n% end\n", evt2),
    "evt21": raw("% format EVT21;height=260;width=346\n% end\n", evt21),
    "evt21_legacy": raw("% format EVT21;endianness=legacy;height=260;width=346\n% end\n", evt21_legacy),
    "evt3": raw("% format EVT3;height=260;width=346\n", evt3),
    "dat": dat(),
    "aedat2": aedat2(),
    "aedat3": aedat3,
    "npy_structured": npy_structured,
    "npy_table": npy_table,
    "npz": npz,
    "text": text,
    "csv": csv,
    "aedat4": aedat4(),
    "aedat4_plain": aedat4(0),
    "aedat4_zstd": aedat4(3),
    "bag_columns": bag(COLUMNS_TYPE),
    "bag_mono": bag(PACKET_TYPES[0], "mono", StoragePlugin.SQLITE3),
    "bag_evt3": bag(PACKET_TYPES[0], "evt3"),
    "bag_dvs": bag("dvs_msgs/msg/EventArray"),
    "bag_ros1": bag_ros1,
    **hdf5_recordings.FORMATS,
}
