"""Decoding of event streams against other libraries, in one run; prints tables in Markdown.

    python benchmarks/events/decode.py [--repeats 11]

Needs the recordings (MAMBASEG_SHARED), `pip install expelliarmus faery`, and for the last row a sourced workspace with
rclpy and dvs_msgs (test/interfaces). Rows of an absent one are left out, with a message. Files are read from the page
cache; every time includes opening, header and reading. The tasks take turns. Times are CPU times, which other work on
the machine disturbs little. Each answer is compared with the Python references of this package, which follow OpenEB's
rule. All readers accept evt3_trigger without its two triggers. Eight times in a row it is only timed, since each reader
has its own rule for its steps back in time.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from rosbags.rosbag2 import Reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from mambaseg_core.events import Decoder, Events
from mambaseg_core.events.decode.cdr import read_event_array

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("MAMBASEG_SHARED", ROOT.parent / "shared")) / "data"
HEADER = b"% evt 3.0\n% format EVT3;height=720;width=1280\n% geometry 1280x720\n% end\n"
REPEATS_OF_RECORDING = 8  # evt3_trigger is short: 82,467 events
PACKET = (
    "std_msgs/Header header\nuint32 height\nuint32 width\nuint64 seq\nuint64 time_base\nstring encoding\n"
    "bool is_bigendian\nuint8[] events"
)
Task = Callable[[], Any]


def medians(tasks: dict[str, Task], repeats: int) -> dict[str, float]:
    """Return the median seconds of each task; the tasks take turns, and the first turn does not count."""
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for turn in range(repeats + 1):
        for name, task in tasks.items():
            begin = time.process_time()
            task()
            if turn:
                times[name].append(time.process_time() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def without_header(path: Path) -> memoryview:
    data, start = path.read_bytes(), 0
    while data[start : start + 1] == b"%":
        start = data.index(b"\n", start) + 1
    return memoryview(data)[start:]


def ours(encoding: str, path: Path, backend: str | None = None) -> Events:
    size = {"evt2": (480, 640), "evt3": (720, 1280)}[encoding]
    decoder = Decoder(encoding, height=size[0], width=size[1], backend=backend)
    return decoder.decode(without_header(path))


def peers(encoding: str, path: Path) -> dict[str, Task]:
    """Return the readers that are installed."""
    found: dict[str, Task] = {}
    try:
        import expelliarmus

        found["expelliarmus"] = lambda: expelliarmus.Wizard(encoding=encoding, fpath=path).read()
    except ImportError:
        print("expelliarmus is not installed, left out")
    try:
        import faery

        found["faery"] = lambda: faery.events_stream_from_file(path).to_array()
    except ImportError:
        print("faery is not installed, left out")
    return found


def verdict(array: Any, expected: Events) -> str:
    """Describe how a peer's structured array differs from the reference; times in us."""
    if array is None:
        return "reads nothing"
    t_us = np.asarray(array["t"], np.int64)
    if len(t_us) != len(expected):
        return f"{len(t_us):,} events of {len(expected):,}"
    columns = (array["x"] == expected.x) & (array["y"] == expected.y)
    wrong = np.abs(t_us - expected.t_ns // 1000)
    places = "" if columns.all() else f"{np.count_nonzero(~columns):,} places wrong; "
    return places + (f"{np.count_nonzero(wrong):,} times wrong, up to {wrong.max():,} us" if wrong.any() else "right")


def evt3_words() -> np.ndarray:
    """Return all words of evt3_trigger."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    store.register(get_types_from_msg(PACKET, "event_camera_msgs/msg/EventPacket"))
    store.register(get_types_from_msg(PACKET, "event_array_msgs/msg/EventArray"))
    with Reader(DATA / "ros2" / "evt3_trigger") as reader:
        payloads = [store.deserialize_cdr(raw, c.msgtype).events for c, _, raw in reader.messages()]
    return np.concatenate(payloads).view("<u2")


def file_table(encoding: str, path: Path, repeats: int, *, judge: bool = True) -> None:
    expected = ours(encoding, path, "reference" if judge else None)
    tasks: dict[str, Task] = {"mambaseg": lambda: ours(encoding, path), **peers(encoding, path)}
    answers = {name: verdict(as_fields(task()), expected) if judge else "timed only" for name, task in tasks.items()}
    tasks = {name: task for name, task in tasks.items() if answers[name] != "reads nothing"}
    seconds = medians(tasks, repeats)
    fastest = min((seconds[name] for name in seconds if name != "mambaseg"), default=float("nan"))
    for name, answer in answers.items():
        if name in seconds:
            rate, ratio = len(expected) / seconds[name] / 1e6, fastest / seconds[name]
            print(f"| {path.name}, {len(expected):,} events | {name} | {rate:.1f} | {ratio:.2f} | {answer} |")
        else:
            print(f"| {path.name}, {len(expected):,} events | {name} | - | - | {answer} |")


def as_fields(answer: Any) -> Any:
    if not isinstance(answer, Events):
        return answer
    return {"t": answer.t_ns // 1000, "x": answer.x, "y": answer.y}


def cdr_table(repeats: int, number: int = 100_000) -> None:
    try:
        from dvs_msgs.msg import EventArray
        from rclpy.serialization import deserialize_message
    except ImportError as error:
        print(f"| EventArray | left out: {error} | | | |")
        return
    data = event_array(number)
    message = read_event_array("dvs_msgs", data)
    theirs = deserialize_message(data, EventArray)
    t_ns = [event.ts.sec * 10**9 + event.ts.nanosec for event in theirs.events]
    right = message.events.t_ns.tolist() == t_ns and all(
        getattr(message.events, name).tolist() == [getattr(event, name) for event in theirs.events] for name in "xy"
    )
    seconds = medians(
        {
            "mambaseg": lambda: read_event_array("dvs_msgs", data),
            "rclpy": lambda: deserialize_message(data, EventArray),
        },
        repeats,
    )
    for name, value in seconds.items():
        rate, ratio = number / value / 1e6, seconds["rclpy"] / value
        answer = "the same events" if right else "NOT the same events"
        print(f"| dvs_msgs/EventArray, {number:,} events | {name} | {rate:.2f} | {ratio:.0f} | {answer} |")


def event_array(number: int) -> bytes:
    """Return a serialized EventArray of random events in 50 ms."""
    random = np.random.default_rng(0)
    rows = np.zeros(number, np.dtype("<u2, <u2, <u2, <i4, <u4, u1, u1"))  # from two bytes before the first event on
    rows["f0"], rows["f1"] = random.integers(0, 640, number), random.integers(0, 480, number)
    rows["f3"], rows["f4"] = 1_700_000_000, np.sort(random.integers(0, 50_000_000, number))
    rows["f5"] = random.integers(0, 2, number)
    body = bytearray(rows.tobytes())
    head = np.array([1_700_000_000, 0, 4, int.from_bytes(b"cam\0", "little"), 480, 640, number], "<u4").tobytes()
    first = body[0:4]  # the first event is aligned to 4, so no padding separates its place and its seconds
    return b"\0\1\0\0" + head + bytes(first) + bytes(body[6:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11, help="turns that count; 7 or more for a median to quote")
    repeats = parser.parse_args().repeats
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {date.today()}, ", end="")
    print(f"Python {platform.python_version()}, load before {os.getloadavg()[0]:.1f}; medians of {repeats}\n")
    print("| what | by | Mev/s | times the fastest peer | answer |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        file_table("evt2", DATA / "prophesee" / "gen3_vga_evt2.raw", repeats)
        words = evt3_words()
        whole, clean, once = (Path(folder) / name for name in ("evt3_trigger.raw", "evt3_x8.raw", "evt3.raw"))
        without = words[words >> 12 != 0xA]
        whole.write_bytes(HEADER + words.tobytes())
        once.write_bytes(HEADER + without.tobytes())
        clean.write_bytes(HEADER + np.tile(without, REPEATS_OF_RECORDING).tobytes())
        for path in (whole, once, clean):
            file_table("evt3", path, repeats, judge=path != clean)
    cdr_table(repeats)
    print(f"\nLoad after: {os.getloadavg()[0]:.1f}.")


if __name__ == "__main__":
    main()
